"""Hints that a workload may have changed: from whoever comes to know of it to whoever watches."""

from __future__ import annotations

import time
from threading import Condition

from zun_coe.model import WorkloadRef


class Hints:
    """A queue of workloads without doubles; None stands for all of them. Thread-safe."""

    def __init__(self) -> None:
        self._due: dict[WorkloadRef | None, None] = {}
        self._later: dict[WorkloadRef | None, float] = {}
        self._spans: dict[WorkloadRef | None, float] = {}
        self._held: dict[WorkloadRef | None, float] = {}
        self._error: Exception | None = None
        self._changed = Condition()

    def put(self, ref: WorkloadRef | None) -> None:
        """It may have changed now."""
        with self._changed:
            until = self._held.get(ref, 0.0)
            if until > time.monotonic():
                self._later[ref] = min(until, self._later.get(ref, until))
            else:
                self._due[ref] = None
            self._changed.notify()

    def space(self, ref: WorkloadRef, seconds: float) -> None:
        """From now on tell of it once in so many seconds at most, as if it had been told of now: what is put
        meanwhile is told of then. With 0 it is told of at once again."""
        with self._changed:
            until = time.monotonic() + seconds
            if self._held.pop(ref, 0.0) > until and ref in self._later:
                self._later[ref] = min(until, self._later[ref])
            self._spans.pop(ref, None)
            if seconds:
                self._spans[ref], self._held[ref] = seconds, until
            self._changed.notify()

    def put_after(self, ref: WorkloadRef | None, seconds: float) -> None:
        """It will be worth a look in so many seconds; an earlier time that was told before stays."""
        with self._changed:
            due = time.monotonic() + seconds
            self._later[ref] = min(due, self._later.get(ref, due))
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """Nothing more comes from somewhere, for a reason that nobody foresaw: whoever takes hears of it."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def take(self, timeout: float) -> list[WorkloadRef | None]:
        """All that is due, in order; waits up to `timeout` seconds for the first. Raises, once, what was given to
        `fail`."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._ripe() and (now := time.monotonic()) < deadline:
                self._changed.wait(max(0.0, min([deadline, *self._later.values()]) - now))
            error, self._error = self._error, None
            if error is not None:
                raise error
            taken, self._due = list(self._due), {}
            now = time.monotonic()
            self._held |= {ref: now + self._spans[ref] for ref in taken if ref in self._spans}
        return taken

    def _ripe(self) -> bool:
        now = time.monotonic()
        for ref in [ref for ref, due in self._later.items() if due <= now]:
            self._due[ref] = None
            del self._later[ref]
        return bool(self._due) or self._error is not None
