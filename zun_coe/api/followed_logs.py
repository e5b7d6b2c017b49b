"""Following the output of containers while they start, stop, restart, come and go."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from zun_coe.adapters import LogLine, LogOptions
from zun_coe.api.lines import Wanted, Writer, must_be_readable, written
from zun_coe.api.tailing import Channel, Ended, Item, Line, Opened, Reader, Share
from zun_coe.api.wakeups import Waiter, Wakeups, resource
from zun_coe.gateway import Gateway, LogSources
from zun_coe.model import Instance

RECHECK = 2.0
"""Seconds after which an instance whose stream ended is read again, if it still runs."""
# An instance in one of these states writes nothing more, unless somebody starts it again.
_OVER = frozenset({"exited", "failed", "removing"})


class Followed:
    """The output of one app or container, for one client."""

    def __init__(self, gateway: Gateway, wakeups: Wakeups, places: Share, sources: LogSources, wanted: Wanted) -> None:
        self._gateway, self._wakeups, self._places = gateway, wakeups, places
        self._sources, self._options, self._single = sources, wanted.options, wanted.noun == "container"
        self._begun = False
        self._tails: dict[str, _Tail] = {}

    async def chunks(self, writer: Writer) -> AsyncGenerator[bytes, None]:
        """What is written, as it is written. The first chunk is empty; before it `TooManyStreams` or a
        `BackendError` may be raised."""
        ref = self._sources.ref
        with self._wakeups.waiting(resource(ref.noun, ref.id)) as waiter:
            channel = Channel(waiter)
            try:
                self._places.check(len(self._sources.instances()))
                self._look(channel)
                early = await self._first(channel, waiter)
                yield b""
                yield self._write(early, writer)
                while not self._over():
                    await waiter.wait(RECHECK)
                    self._look(channel)
                    yield self._write(channel.take(), writer)
            finally:
                channel.close()
                for tail in self._tails.values():
                    tail.close()

    async def _first(self, channel: Channel, waiter: Waiter) -> list[Item]:
        """What comes until it is known whether any of the instances there now can be read."""
        items: list[Item] = []
        heads: dict[str, Item] = {}
        expected = set(self._tails)
        while not expected <= set(heads) and not self._wakeups.closing:
            for item in channel.take():
                items.append(item)
                heads.setdefault(item.instance.native_id, item)
            if not expected <= set(heads):
                await waiter.wait(RECHECK)
        must_be_readable(list(heads.values()))
        return items

    def _look(self, channel: Channel) -> None:
        """Read what is new, and what runs again."""
        there = {instance.native_id: instance for instance in self._sources.instances()}
        for id, instance in there.items():
            tail = self._tails.setdefault(id, _Tail(self._sources, self._options, self._places))
            tail.look(instance, channel)
            self._begun = True
        for id in [id for id, tail in self._tails.items() if id not in there and not tail.reading]:
            del self._tails[id]

    def _write(self, items: Sequence[Item], writer: Writer) -> bytes:
        tails = ((self._tails.get(item.instance.native_id), item) for item in items)
        return b"".join(written(item, writer) for tail, item in tails if tail is None or tail.passes(item))

    def _over(self) -> bool:
        """Whether nothing can come any more: it is gone, or it is one container that has ended."""
        if self._wakeups.closing:
            return True
        if any(tail.reading for tail in self._tails.values()):
            return False
        if self._gateway.views.get(self._sources.ref.noun, self._sources.ref.id) is None:
            return True
        return self._single and self._begun and all(tail.state in _OVER for tail in self._tails.values())


class _Tail:
    """How far one instance was read. A stream that ends is opened anew where it ended, if the instance
    runs (again); lines at that very time that were sent already are left out."""

    def __init__(self, sources: LogSources, options: LogOptions, places: Share) -> None:
        self._sources, self._options, self._places = sources, options, places
        self._reader: Reader | None = None
        self._last: datetime | None = None  # when its newest line was written, and how many were then
        self._at_last = 0
        self._from: datetime | None = None  # where the open stream was resumed, and how many lines to leave out there
        self._skip = 0
        self._not_before = 0.0
        self._failed = False
        self.state = ""

    @property
    def reading(self) -> bool:
        """Whether its stream is open, or about to be."""
        return self._reader is not None

    def look(self, instance: Instance, channel: Channel) -> None:
        """Read it, unless it is read already, has ended for good, or there is no place left."""
        seen_before, self.state = self.state, instance.state
        first = not seen_before
        if self.reading or not self._places.free or time.monotonic() < self._not_before:
            return
        if not first and instance.state != "running":
            return
        self._places.take()
        self._from, self._skip = self._last, self._at_last
        options = self._options if self._last is None else replace(self._options, since=self._last, tail=None)
        self._reader = Reader(instance, self._sources, options, channel)
        self._reader.start()

    def passes(self, item: Item) -> bool:
        """Whether an item is to go out. Each item is to be shown to this once, in order."""
        if isinstance(item, Line):
            return self._is_new(item.line)
        if isinstance(item, Ended):
            self._end()
            first_failure, self._failed = not self._failed, item.error is not None
            return first_failure
        assert isinstance(item, Opened)
        self._failed = False
        return False

    def close(self) -> None:
        """End it."""
        if self._reader is not None:
            self._reader.close()
            self._end()

    def _end(self) -> None:
        if self._reader is not None:
            self._reader = None
            self._places.give()
            self._not_before = time.monotonic() + RECHECK
            self._last = self._last or datetime.now(UTC)

    def _is_new(self, line: LogLine) -> bool:
        if line.at is None:
            return True
        if self._from is not None and line.at <= self._from and (line.at < self._from or self._skip):
            self._skip -= line.at == self._from
            return False
        if self._last is None or line.at > self._last:
            self._last, self._at_last = line.at, 0
        self._at_last += line.at == self._last
        return True
