"""What is kept only for a time: events, answers to idempotency keys, tombstones, old revisions of the store.

Any engine may do it; doing it twice does no harm. Writes are small and conditional on nothing but time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby
from typing import cast

import structlog

from zun_coe.config import Settings
from zun_coe.model import Event, IdempotentAnswer, Tombstone
from zun_coe.store import Delete, Operation, Put, Store
from zun_coe.store.cache import Cache, Entry
from zun_coe.store.records import floor_key, utc_now

log = structlog.get_logger()

_BATCH = 100
_TOMBSTONES = timedelta(days=30)
# Watches that were lost are taken up within this many revisions without listing everything again.
_KEPT_REVISIONS = 10_000


def tidy(store: Store, cache: Cache, settings: Settings) -> None:
    """One round. Raises `StoreError`."""
    now = utc_now()
    age = timedelta(seconds=settings.idempotency_age)
    _events(store, cache, settings, now)
    _old(store, cache, "idem/", lambda e: cast(IdempotentAnswer, e.value).at, age)
    _old(store, cache, "tombstone/", lambda e: cast(Tombstone, e.value).at, _TOMBSTONES)
    if cache.revision > _KEPT_REVISIONS:
        store.compact(cache.revision - _KEPT_REVISIONS)


def _events(store: Store, cache: Cache, settings: Settings, now: datetime) -> None:
    """The oldest events of each project go first, and a floor tells which is the first that is left."""
    for project, entries in groupby(cache.list("event/"), key=lambda e: e.key.split("/")[1]):
        ordered = sorted(entries, key=_order)
        surplus = ordered[: max(0, len(ordered) - settings.event_count)]
        limit = now - timedelta(seconds=settings.event_age)
        aged = [e for e in ordered[len(surplus) :] if cast(Event, e.value).at < limit]
        gone = surplus + aged
        for start in range(0, len(gone), _BATCH):
            batch = gone[start : start + _BATCH]
            revision, n = _order(batch[-1])
            floor = Put(floor_key(project), f"{revision}-{n}".encode())
            store.transact([], [floor, *(Delete(e.key) for e in batch)])


def _order(entry: Entry) -> tuple[int, int]:
    return (entry.created, cast(Event, entry.value).n)


def _old(store: Store, cache: Cache, prefix: str, at: Callable[[Entry], datetime], age: timedelta) -> None:
    limit = utc_now() - age
    gone: list[Operation] = [Delete(e.key) for e in cache.list(prefix) if at(e) < limit]
    for start in range(0, len(gone), _BATCH):
        store.transact([], gone[start : start + _BATCH])
