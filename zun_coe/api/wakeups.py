"""Waking whoever waits for a change of the store, inside the event loop and without a thread for each.

The cache has one listener for the whole process; it runs in the watch's thread and looks each change up
among those who wait, so that thousands of them cost nothing while nothing of theirs changes."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from zun_coe.store.cache import Update

Key = Hashable
EVENTS = "event"


def resource(noun: str, id: str) -> Key:
    """What changes when a resource's intent or status does."""
    return (noun, id)


def events_of(project: str | None) -> Key:
    """What changes when something happens in a project (None: in any)."""
    return (EVENTS, project)


class Wakeups:
    """Who waits for what. Thread-safe; `close` wakes everybody for good."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[Key, set[Waiter]] = {}
        self.closing = False

    def listener(self, revision: int, updates: Sequence[Update]) -> None:
        """What the cache calls."""
        keys = {key for update in updates for key in _keys(update.key)}
        with self._lock:
            woken = {waiter for key in keys for waiter in self._waiting.get(key, ())}
        for waiter in woken:
            waiter.wake()

    @contextmanager
    def waiting(self, *keys: Key) -> Iterator[Waiter]:
        """Somebody who is woken by changes of any of the keys from now on. To be used in an event loop."""
        waiter = Waiter(asyncio.get_running_loop())
        with self._lock:
            for key in keys:
                self._waiting.setdefault(key, set()).add(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                for key in keys:
                    self._leave(key, waiter)

    def close(self) -> None:
        """End every stream and every wait: the process is about to stop. Idempotent; from any thread."""
        with self._lock:
            self.closing = True
            everybody = {waiter for waiters in self._waiting.values() for waiter in waiters}
        for waiter in everybody:
            waiter.wake()

    def __len__(self) -> int:
        with self._lock:
            return len({waiter for waiters in self._waiting.values() for waiter in waiters})

    def _leave(self, key: Key, waiter: Waiter) -> None:
        waiters = self._waiting[key]
        waiters.discard(waiter)
        if not waiters:
            del self._waiting[key]


class Waiter:
    """One who waits. A wake-up that comes between two waits is not lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._event = loop, asyncio.Event()

    def wake(self) -> None:
        """From any thread; also when the loop is gone."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float | None) -> bool:
        """Until woken, at most so many seconds (None: for ever). Whether it was woken."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        self._event.clear()
        return True


def _keys(key: str) -> tuple[Key, ...]:
    family, *rest = key.split("/")
    if family in ("intent", "status") and len(rest) == 3:
        return (resource(rest[0], rest[2]),)
    if family == "event" and len(rest) == 3:
        return (events_of(rest[0]), events_of(None))
    return ()
