"""The output that there is by now, of one container or of many in the order of time."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

from zun_coe.adapters import LogOptions
from zun_coe.api.lines import EPOCH, Writer, must_be_readable, written
from zun_coe.api.tailing import BUFFER, LEAST, Channel, Ended, Item, Line, Reader, Share, size_of
from zun_coe.api.wakeups import Waiter
from zun_coe.gateway import LogSources
from zun_coe.model import Instance

BATCH = 64 * 1024
"""Bytes that go out together where so many are there."""


async def kept(sources: LogSources, options: LogOptions, writer: Writer, places: Share) -> AsyncGenerator[bytes, None]:
    """The lines. The first chunk is empty; before it `TooManyStreams` or a `BackendError` may be raised."""
    instances = sources.instances()
    places.take(len(instances))
    size = max(BUFFER // max(1, len(instances)), LEAST)
    tracks = [_Track(instance, sources, options, size) for instance in instances]
    try:
        for track in tracks:
            track.reader.start()
        must_be_readable([await track.first() for track in tracks])
        yield b""
        async for batch in _in_order(tracks):
            yield b"".join(written(item, writer) for item in batch)
    finally:
        places.give(len(instances))
        for track in tracks:
            track.close()


class _Track:
    """One instance's lines, taken one by one."""

    def __init__(self, instance: Instance, sources: LogSources, options: LogOptions, size: int) -> None:
        self._channel = Channel(Waiter(asyncio.get_running_loop()), size)
        self._items: deque[Item] = deque()
        self.reader = Reader(instance, sources, options, self._channel)
        self.time = EPOCH

    async def first(self) -> Item:
        """Whether it can be read: `Opened`, or `Ended` with an error, which is left to be taken again."""
        self._items.extend(await self._channel.next())
        return self._items[0]

    async def next(self) -> Item:
        """The next item; `Ended` is the last. `time` is when it was written, as far as is known."""
        if not self._items:
            self._items.extend(await self._channel.next())
        item = self._items.popleft()
        if isinstance(item, Line) and item.line.at is not None:
            self.time = item.line.at
        return item

    def close(self) -> None:
        """End it."""
        self._channel.close()
        self.reader.close()


async def _in_order(tracks: Sequence[_Track]) -> AsyncGenerator[list[Item], None]:
    """The items of all tracks by time; each track's own order stays as it is."""
    waiting: list[tuple[datetime, int, Item]] = []
    for index, track in enumerate(tracks):
        item = await track.next()
        heapq.heappush(waiting, (track.time, index, item))
    batch: list[Item] = []
    held = 0
    while waiting:
        _, index, item = heapq.heappop(waiting)
        batch.append(item)
        held += size_of(item)
        if held >= BATCH:
            yield batch
            batch, held = [], 0
        if not isinstance(item, Ended):
            following = await tracks[index].next()
            heapq.heappush(waiting, (tracks[index].time, index, following))
    yield batch
