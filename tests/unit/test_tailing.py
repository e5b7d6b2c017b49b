"""What is read ahead of a client that does not read is bounded in bytes."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.real.waiting import wait_until
from zun_coe.adapters import LogLine
from zun_coe.api.tailing import Channel, Line, size_of
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
