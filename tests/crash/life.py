"""The life of one process: all that it changes outside itself, in order, and where it ends.

The store and the adapter of a process are wrapped. At the change where its life ends `Killed` is raised,
before or after the change took effect, and nothing that the process still tries has any effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event as StopEvent
from threading import RLock
from typing import Any, ClassVar, Literal, TypeVar

from tests.simulated import SimulatedAdapter
from zun_coe.adapters import Outcome
from zun_coe.model import ClusterInfo, Observation, Workload, WorkloadRef
from zun_coe.store import Batch, Condition, Lease, Operation, Page, Record, Store

T = TypeVar("T")
Moment = Literal["before", "after"]


class Killed(BaseException):
    """The process ended here. No `Exception`, since nothing may catch it and go on."""


class Life:
    """Counts changes. Thread-safe; one change at a time. `changes`: their names since `end_at`; `leases`:
    those that the process took."""

    def __init__(self) -> None:
        self.dead = False
        self.changes: list[str] = []
        self.leases: list[Lease] = []
        self._end: tuple[int, Moment] | None = None
        self._fatal = True
        self._lock = RLock()

    def end_at(self, n: int, moment: Moment, *, fatal: bool = True) -> None:
        """End at the n-th change from now on. With `fatal` False only the call is cut off there, once, and
        the process goes on."""
        with self._lock:
            self.changes.clear()
            self._end, self._fatal = (n, moment), fatal

    def breathe(self) -> None:
        """Raises `Killed` when it is over."""
        if self.dead:
            raise Killed

    def change(self, name: str, make: Callable[[], T]) -> T:
        """Make a change, if it is not over, or over with this one."""
        with self._lock:
            self.breathe()
            self.changes.append(name)
            moment = self._end[1] if self._end and self._end[0] == len(self.changes) else None
            if moment == "before":
                self.end()
            try:
                return make()
            finally:
                if moment == "after":
                    self.end()

    def end(self) -> None:
        """It ends here. Raises `Killed`."""
        self._end, self.dead = None, self._fatal
        raise Killed


class MortalStore(Store):
    """A store as one process has it. What is behind it is closed by whoever opened it."""

    def __init__(self, store: Store, life: Life) -> None:
        self._store, self._life = store, life

    def get(self, key: str) -> Record | None:
        self._life.breathe()
        return self._store.get(key)

    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        self._life.breathe()
        return self._store.list(prefix, limit=limit, after=after, revision=revision)

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        families = ("/".join(one.key.split("/")[:2]) for one in operations)
        name = "write " + ", ".join(dict.fromkeys(families))
        return self._life.change(name, lambda: self._store.transact(conditions, operations))

    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        for batch in self._store.watch(prefix, since, stop):
            if self._life.dead:
                return
            yield batch

    def grant(self, ttl: float) -> Lease:
        def take() -> Lease:
            self._life.leases.append(self._store.grant(ttl))
            return self._life.leases[-1]

        return self._life.change("grant", take)

    def renew(self, lease: Lease) -> None:
        self._life.change("renew", lambda: self._store.renew(lease))

    def revoke(self, lease: Lease) -> None:
        self._life.change("revoke", lambda: self._store.revoke(lease))

    def compact(self, before: int) -> None:
        self._life.change("compact", lambda: self._store.compact(before))

    def close(self) -> None:
        pass


class MortalAdapter(SimulatedAdapter):
    """An adapter as one process has it; `of` makes the class for a life."""

    life: ClassVar[Life]

    @classmethod
    def of(cls, life: Life) -> type[MortalAdapter]:
        return type("MortalAdapter", (cls,), {"life": life})

    def describe(self) -> ClusterInfo:
        self.life.breathe()
        return super().describe()

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        self.life.breathe()
        return super().observe(ref)

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        make = super().apply
        return self.life.change(f"apply {workload.ref.name}", lambda: make(workload, seen))

    def remove(self, ref: WorkloadRef, seen: Observation | None) -> Outcome:
        make = super().remove
        return self.life.change(f"remove {ref.name}", lambda: make(ref, seen))

    def remove_volume(self, name: str, id: str, project: str) -> None:
        make = super().remove_volume
        self.life.change(f"remove volume {name}", lambda: make(name, id, project))

    def kill(self, ref: WorkloadRef, native_id: str, signal: str) -> None:
        make = super().kill
        self.life.change(f"kill {ref.name}", lambda: make(ref, native_id, signal))

    def delete_instance(self, ref: WorkloadRef, native_id: str) -> None:
        make = super().delete_instance
        self.life.change(f"delete replica of {ref.name}", lambda: make(ref, native_id))

    def watch(self, stop: StopEvent) -> Iterator[Any]:
        for hint in super().watch(stop):
            if self.life.dead:
                return
            yield hint
