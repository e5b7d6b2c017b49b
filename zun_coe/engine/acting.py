"""How the engine writes: always on condition that the cluster is still this process's own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from zun_coe.config import Settings
from zun_coe.engine import telling
from zun_coe.engine.ownership import Ownership
from zun_coe.engine.series import Recent, Series
from zun_coe.errors import KeyExists, OutcomeUnknown, StoreUnavailable
from zun_coe.metrics import Metrics
from zun_coe.model import Event, Intent, Secret, Status, Value
from zun_coe.model.parts import Part, divide
from zun_coe.store import MAX_OPERATIONS, At, Condition, Delete, Missing, Operation, Present, Put, Store
from zun_coe.store.cache import Cache, Entry
from zun_coe.store.records import (
    adopted_key,
    encode,
    event_key,
    intent_key,
    name_key,
    new_id,
    part_key,
    status_key,
    tombstone_key,
    use_key,
)
from zun_coe.store.rules import packs
from zun_coe.vault import Vault

V = TypeVar("V", bound=Value)
# What one transaction of a finalisation takes besides its fixed part; the rest goes in others before. Each has two
# conditions at most.
_ROOM = 60


class Key(NamedTuple):
    """What a worker works on: something of one cluster (the cluster itself among it)."""

    noun: str
    project: str
    id: str


class Conditional(NamedTuple):
    """An operation, and the conditions on which it may be carried out: two at most."""

    operation: Operation
    conditions: Sequence[Condition] = ()


@dataclass(frozen=True)
class Tools:
    """What the engine works with."""

    store: Store
    cache: Cache
    settings: Settings
    vault: Vault
    ownership: Ownership
    installation: str
    metrics: Metrics = field(default_factory=Metrics)

    @cached_property
    def recent(self) -> Recent:
        """What was told lately."""
        return Recent(self.cache, self.settings.event_window)


class Ledger:
    """Reads from the copy and writes to the store, on behalf of one cluster."""

    def __init__(self, tools: Tools, cluster: str) -> None:
        self._tools, self._cluster = tools, cluster
        self._store, self._cache = tools.store, tools.cache
        self._series = Series(tools.recent, cluster)

    def intent(self, key: Key) -> Entry | None:
        """What is wanted, as it is in the copy. None also for what is of another cluster: what happens to something is
        heard of by a backend, which may be anybody's and name whatever it likes."""
        entry = self._cache.get(intent_key(*key))
        if entry is None:
            return None
        record = cast(Any, entry.value)
        return entry if self._cluster == (record.id if key.noun == "cluster" else record.cluster) else None

    def status(self, key: Key, default: V) -> tuple[V, int | None]:
        """The status and its revision (None: there is none yet, and it is the default)."""
        entry = self._cache.get(status_key(*key))
        return (default, None) if entry is None else (cast(V, entry.value), entry.revision)

    def write_status(self, key: Key, status: Value, expected: int | None, events: Sequence[Event] = ()) -> None:
        """Write a status and its events, if nobody else did meanwhile, what it is of is still there, and
        the cluster is still ours. Raises `RevisionConflict`, `KeyNotFound`, `Fenced`, `StoreUnavailable`."""
        write = new_id()
        target = status_key(*key)
        ours, there = self._tools.ownership.guard(self._cluster), Present(intent_key(*key))
        unchanged = Missing(target) if expected is None else At(target, expected)
        marked = msgspec.structs.replace(status, write_id=write)
        kept = {e.key: cast(Part, e.value) for e in self._cache.list(part_key(*key, ""))}
        divided = divide(marked, write, lambda name: kept.get(part_key(*key, name)))
        new = [Put(part_key(*key, name), encode(part)) for name, part in divided.new.items()]
        used = {part_key(*key, name) for name in getattr(divided.status, "parts", ())}
        stale: list[Operation] = [Delete(name) for name in kept if name not in used]
        for some in packs(new):
            self._commit([ours, there], some)
        self._tell([ours, unchanged, there], [Put(target, encode(divided.status))], events, write)
        for some in packs(stale):
            self._commit([ours, there], some)

    def tell(self, event: Event) -> None:
        """An event alone."""
        self._tell([self._tools.ownership.guard(self._cluster)], [], [event], new_id())

    def tell_once(self, event: Event, about: str) -> None:
        """An event alone, unless the same was told about this before and is kept: by a former process, or by
        a write whose answer was lost."""
        (told,) = self._told([event], about)
        with suppress(KeyExists):
            self._commit([self._tools.ownership.guard(self._cluster), Missing(told.key)], [told])

    def finalise(
        self, key: Key, entry: Entry, event: Event, *, tombstone: Value | None, extra: Sequence[Conditional] = ()
    ) -> None:
        """Forget something for good: all of its keys go, its tombstone, its event and those of instances that
        were there come, on condition that its mark for deletion is as it was when it was acted on. Of its revisions
        and of `extra`, what one transaction has no room for goes before, on the same condition; it has to be
        repeatable. Raises `RevisionConflict` also where a condition of `extra` does not hold."""
        record = cast(Intent, entry.value)
        revisions = self._cache.list(f"revision/{key.project}/{key.id}/")
        parts = self._cache.list(part_key(*key, ""))
        more = [*extra, *(Conditional(Delete(e.key)) for e in (*revisions, *parts))]
        gone = [intent_key(*key), status_key(*key), name_key(key.noun, key.project, record.name)]
        gone += [e.key for e in [self._cache.get(use_key(key.noun, key.id))] if e]
        if adopted := getattr(record, "adopted", None):
            gone.append(adopted_key(record.cluster, adopted.namespace, adopted.name))
        operations: list[Operation] = [Delete(k) for k in gone]
        if tombstone is not None:
            operations.append(Put(tombstone_key(self._cluster, key.noun, key.id), encode(tombstone)))
        conditions: list[Condition] = [self._tools.ownership.guard(self._cluster), At(entry.key, entry.revision)]
        for first in range(_ROOM, len(more), _ROOM):
            self._commit_all(conditions, more[first : first + _ROOM])
        told = self._told([*self._left(key, record, event), event], new_id())
        self._commit_all(conditions, more[:_ROOM], [*operations, *told])

    def _left(self, key: Key, record: Intent, last: Event) -> list[Event]:
        """What is told of instances that nobody has seen going."""
        entry = self._cache.get(status_key(*key))
        return telling.gone(record, entry.value, last) if entry and isinstance(entry.value, Status) else []

    def commit(self, conditions: list[Condition], operations: list[Operation]) -> None:
        """Anything else, if the cluster is still ours."""
        self._commit([self._tools.ownership.guard(self._cluster), *conditions], operations)

    def secret(self, project: str, name: str) -> dict[str, str] | None:
        """The values of a secret, in plain text; None where there is none."""
        id = self._cache.get(name_key("secret", project, name))
        entry = self._cache.get(intent_key("secret", project, str(id.value))) if id else None
        return self._tools.vault.open(cast(Secret, entry.value).data) if entry else None

    def keys_of(self, project: str, source: str) -> tuple[str, ...]:
        """The keys of the secret that `source` ("name" or "name/key") names; none where there is no such secret."""
        id = self._cache.get(name_key("secret", project, source.partition("/")[0]))
        entry = self._cache.get(intent_key("secret", project, str(id.value))) if id else None
        return cast(Secret, entry.value).keys if entry else ()

    def _commit(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> None:
        revision = self._store.transact(conditions, operations)
        self._cache.wait_for(revision)

    def _commit_all(
        self, conditions: Sequence[Condition], some: Sequence[Conditional], others: Sequence[Operation] = ()
    ) -> None:
        needed = [condition for one in some for condition in one.conditions]
        self._commit([*conditions, *needed], [*others, *(one.operation for one in some)])

    def _tell(
        self, conditions: Sequence[Condition], operations: Sequence[Operation], events: Sequence[Event], write: str
    ) -> None:
        """Write, with events, of which some continue others. Raises what a write does."""
        continued = self._series.continued(events, MAX_OPERATIONS - len(operations) - len(events))
        puts = self._told([one.event for one in continued], write)
        gone = [Delete(one.former) for one in continued if one.former]
        try:
            self._commit(conditions, [*operations, *puts, *gone])
        except (OutcomeUnknown, StoreUnavailable):  # it may have happened
            self._series.forget()
            raise
        for put, one in zip(puts, continued, strict=True):
            self._series.told(put.key, one.event)

    def _told(self, events: Sequence[Event], write: str) -> list[Put]:
        numbered = [msgspec.structs.replace(e, n=n) for n, e in enumerate(events)]
        return [Put(event_key(e.project, write, e.n), encode(e)) for e in numbered]
