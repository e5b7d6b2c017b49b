"""Events as `text/event-stream`: in order, none missed, none twice, resumable.

A stream remembers where in the order it is, and reads on from there whenever something happened. Nothing
is kept for a client that reads slowly: what it has not read yet is in the store's copy anyway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from zun_coe.api.wakeups import Wakeups, events_of
from zun_coe.gateway import Call, Gateway, Query, StoredEvent, order_of

HEARTBEAT = 15.0
"""Seconds in which nothing was sent, whatever happened, after which a comment is. It tells the place as well, so
that whoever follows few of a project's events does not resume behind one that is no longer kept."""
PAGE = 100
"""How many events are taken at once by one who has to catch up."""
RECENT = 1000
"""How many events are kept as they go out, since many clients follow the same ones."""
MEDIA_TYPE = "text/event-stream; charset=utf-8"


class Follower:
    """Makes streams of events."""

    def __init__(self, gateway: Gateway, wakeups: Wakeups) -> None:
        self._gateway, self._wakeups = gateway, wakeups
        self._recent: dict[tuple[int, int], bytes] = {}

    async def follow(self, call: Call, query: Query, field: str, last_id: str | None) -> AsyncGenerator[bytes, None]:
        """What happens behind the event `last_id` (None: from now on), which the parameter `field` names. The
        first chunk names the place it begins at. Raises, before anything, `Malformed` for an id that is none or
        of the future, `Gone` where events behind it are no longer kept, `Forbidden`."""
        project = self._gateway.events.project(call, query.all_projects)
        last = await self._place(last_id, field) if last_id is not None else self._gateway.events.latest(project)
        with self._wakeups.waiting(events_of(project)) as waiter:
            page, behind = self._gateway.events.after(project, query.filters, last, PAGE)
            yield b": following\n" + _place(last)
            sent = time.monotonic()
            while True:
                for stored in page:
                    yield self._chunk(stored)
                    sent = time.monotonic()
                last = behind
                if self._wakeups.closing:
                    return
                silence = sent + HEARTBEAT - time.monotonic()
                if len(page) == PAGE:
                    await asyncio.sleep(0)  # others have a turn, however much there is to catch up with
                elif silence <= 0 or not await waiter.wait(silence):
                    yield b": heartbeat\n" + _place(last)
                    sent = time.monotonic()
                page, behind = self._gateway.events.after(project, query.filters, last, PAGE)

    async def _place(self, id: str, field: str) -> tuple[int, int]:
        """The place of an event; the store is asked, by a thread, where this process has not seen it."""
        order = order_of(id, field)
        if order[0] <= self._gateway.cache.revision:
            return order
        return await asyncio.get_running_loop().run_in_executor(None, self._gateway.events.place, id, field)

    def _chunk(self, stored: StoredEvent) -> bytes:
        """An event as it goes out; written once for all who follow."""
        chunk = self._recent.get(stored.order)
        if chunk is None:
            head = f"id: {stored.id}\nevent: {stored.event.type}\ndata: ".encode()
            chunk = head + self._gateway.events.body(stored) + b"\n\n"
            if len(self._recent) >= RECENT:
                self._recent.clear()
            self._recent[stored.order] = chunk
        return chunk


def _place(order: tuple[int, int]) -> bytes:
    """A message that is nothing but an id: clients keep it and hand nothing on."""
    return f"id: {order[0]}-{order[1]}\n\n".encode()
