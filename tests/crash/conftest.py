"""What tests of processes that are turned by hand share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.clockwork import hand_turned, quick_folder


@pytest.fixture
def engines_by_hand() -> Iterator[None]:
    """Engines that are made meanwhile do nothing by themselves."""
    with hand_turned():
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """One for the files of many processes, in memory."""
    with quick_folder() as made:
        yield made
