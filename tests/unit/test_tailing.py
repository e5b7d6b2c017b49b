"""What is read ahead of a client that does not read is bounded in bytes."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.real.waiting import wait_until
from zun_coe.adapters import LogLine
from zun_coe.api.problems import TooManyStreams
from zun_coe.api.tailing import Channel, Line, Places, size_of
from zun_coe.api.wakeups import Waiter
from zun_coe.model import Instance

INSTANCE = Instance(native_id="n", slot=1)


def line(length: int) -> Line:
    return Line(INSTANCE, LogLine("n", "stdout", None, b"x" * length))


@pytest.mark.parametrize("length", [0, 100, 16_384])
def test_a_reader_is_held_back_by_bytes(length: int) -> None:
    loop = asyncio.new_event_loop()
    channel = Channel(Waiter(loop), size=100_000)
    put: list[int] = []

    def read() -> None:
        while channel.put(line(length)):
            put.append(length)

    reader = threading.Thread(target=read)
    reader.start()
    fitting = -(-100_000 // size_of(line(length)))
    wait_until(lambda: len(put) == fitting, message=lambda: f"{len(put)} of {fitting} lines were read")
    assert len(channel.take()) == fitting
    wait_until(lambda: len(put) >= 2 * fitting, message="it does not go on")
    channel.close()
    reader.join(30)
    assert sum(size_of(item) for item in channel.take()) <= 100_000 + size_of(line(length))
    loop.close()


def test_a_project_leaves_places_to_others() -> None:
    places = Places(limit=5, per_project=3)
    one, two = places.of("one"), places.of("two")
    one.take(3)
    with pytest.raises(TooManyStreams):
        one.take()
    with pytest.raises(TooManyStreams, match="Try again later"):
        two.take(3)
    with pytest.raises(TooManyStreams, match=r"a project has 3 at most. Read the logs of one container at a time"):
        places.of("three").check(4)
    two.take(2)
    assert (one.free, two.free, places.of("three").free) == (0, 0, 0)
    one.give(3)
    assert (one.free, two.free) == (3, 1)
    one.check(3)
