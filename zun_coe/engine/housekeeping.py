"""What is kept only for a time: events, answers to idempotency keys, tombstones, old revisions of the store.

Any engine may do it, also one whose copy of the store is behind; doing it twice does no harm. Writes are small."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby
from typing import cast

import structlog

from zun_coe.config import Settings
from zun_coe.errors import KeyExists, RevisionConflict
from zun_coe.model import Event, IdempotentAnswer, Tombstone
from zun_coe.store import At, Delete, Missing, Operation, Put, Store
from zun_coe.store.cache import Cache, Entry
from zun_coe.store.records import floor_key, floor_of, utc_now

log = structlog.get_logger()

_BATCH = 100
_TOMBSTONES = timedelta(days=30)


class Housekeeping:
    """Rounds that tidy a store. Used by one thread. `clock`: monotonic seconds."""

    def __init__(
        self, store: Store, cache: Cache, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._cache, self._settings, self._clock = store, cache, settings, clock
        self._seen: deque[tuple[float, int]] = deque()  # the newest revision at some moments

    def tidy(self) -> None:
        """One round. Raises `StoreError`."""
        store, cache, now = self._store, self._cache, utc_now()
        age = timedelta(seconds=self._settings.idempotency_age)
        _events(store, cache, self._settings, now)
        _old(store, cache, "idem/", lambda e: cast(IdempotentAnswer, e.value).at, age)
        _old(store, cache, "tombstone/", lambda e: cast(Tombstone, e.value).at, _TOMBSTONES)
        self._compact()

    def _compact(self) -> None:
        """Old revisions go by their age: how many others write to a store that is shared says nothing of how long
        a watch that was lost may take to come back."""
        age, now = self._settings.compaction_age, self._clock()
        if not age:
            return
        self._seen.append((now, self._cache.revision))
        while len(self._seen) > 1 and self._seen[1][0] <= now - age:
            self._seen.popleft()
        if self._seen[0][0] <= now - age:
            self._store.compact(self._seen[0][1])


def _events(store: Store, cache: Cache, settings: Settings, now: datetime) -> None:
    """The oldest events of each project go first, and a floor tells which is the last that is gone."""
    for project, entries in groupby(cache.list("event/"), key=lambda e: e.key.split("/")[1]):
        ordered = sorted(entries, key=_order)
        surplus = ordered[: max(0, len(ordered) - settings.event_count)]
        limit = now - timedelta(seconds=settings.event_age)
        aged = [e for e in ordered[len(surplus) :] if cast(Event, e.value).at < limit]
        gone = surplus + aged
        for start in range(0, len(gone), _BATCH):
            batch = gone[start : start + _BATCH]
            _raise_floor(store, project, _order(batch[-1]), [Delete(e.key) for e in batch])


def _raise_floor(store: Store, project: str, upto: tuple[int, int], gone: Sequence[Operation]) -> None:
    """Delete events with the floor above them, which never moves back: an engine whose copy is behind deletes
    again what another has deleted, and leaves that one's floor as it is."""
    key = floor_key(project)
    record = store.get(key)
    if record is not None and floor_of(record.value.decode()) >= upto:
        store.transact([], gone)
        return
    unchanged = Missing(key) if record is None else At(key, record.revision)
    with suppress(RevisionConflict, KeyExists):  # another engine is at it; the next round goes on from there
        store.transact([unchanged], [Put(key, f"{upto[0]}-{upto[1]}".encode()), *gone])


def _order(entry: Entry) -> tuple[int, int]:
    return (entry.created, cast(Event, entry.value).n)


def _old(store: Store, cache: Cache, prefix: str, at: Callable[[Entry], datetime], age: timedelta) -> None:
    limit = utc_now() - age
    gone: list[Operation] = [Delete(e.key) for e in cache.list(prefix) if at(e) < limit]
    for start in range(0, len(gone), _BATCH):
        store.transact([], gone[start : start + _BATCH])
