"""The one place in the tests that polls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

POLL = 0.02

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], timeout: float = 30.0, message: str | Callable[[], str] = "", poll: float = POLL
) -> T:
    """Ask until the answer is true and give it back, with `poll` seconds in between. The test fails after `timeout`
    seconds, with the last answer, and with what `message` is by then. What the condition raises is raised."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            told = message if isinstance(message, str) else message()
            pytest.fail(f"{told or 'It did not happen'} within {timeout} s; the last answer was {answer!r}")
        time.sleep(poll)
    return answer
