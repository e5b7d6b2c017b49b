"""What tests of processes that are turned by hand share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.clockwork import hand_turned, quick_folder
from tests.crash.life import Killed


@pytest.fixture(autouse=True)
def killed_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a thread ended since its process was killed is no failure of the test; anything else that ends one is."""
    told = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, Killed):
            told(args)

    monkeypatch.setattr(threading, "excepthook", hook)


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
