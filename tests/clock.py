"""Time for tests of what reads a clock."""

from __future__ import annotations

import pytest


class Clock:
    """Time that passes when told to, in seconds since whenever."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock for one test."""
    return Clock()
