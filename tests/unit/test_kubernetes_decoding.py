"""Decoders are made in one thread at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import msgspec
import pytest

from zun_coe.adapters.kubernetes.client import _decoder

THREADS = 6


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def nested(depth: int) -> Any:
    """A type that nobody has used before."""
    inner: Any = int
    for level in range(depth):
        inner = msgspec.defstruct(f"Level{level}", [("next", inner | None, None), ("names", dict[str, str], {})])
    return inner


@pytest.mark.usefixtures("hurried")
def test_threads_that_ask_for_one_at_once_do_not_crash() -> None:
    gate = Barrier(THREADS)

    def decode(type: Any) -> Any:
        gate.wait()
        return _decoder(type).decode(b'{"names": {"a": "b"}}')

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(20):
            type = nested(12)
            assert [found.names for found in pool.map(decode, [type] * THREADS)] == [{"a": "b"}] * THREADS
