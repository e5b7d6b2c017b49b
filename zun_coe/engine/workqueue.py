"""What is due in one cluster: each key once, by one worker at a time, later again after a failure.

A queue of its own rather than `queue.Queue`, because the same key is asked for many times over while
it waits (once for each hint) and must never be worked on twice at once. It has no thread.

A key that has failed is in backoff: nothing makes it due before its delay has passed, however many hints
arrive, since hints are often caused by the failed attempt itself. Only a change of what is wanted ends the
backoff, and each change does so once.

Keys belong to groups (projects), of which each has a share of the workers at most: one whose keys all take long
leaves workers to the others."""

from __future__ import annotations

import heapq
import random as randomness
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import count
from threading import Condition
from typing import Generic, TypeVar

from zun_coe.adapters.delays import doubled

K = TypeVar("K", bound=Hashable)

# So many entries of a heap that were overtaken may wait for their time, besides two for each that was not: a key that
# is asked for again and again long before it is due leaves one behind each time.
_OVERTAKEN = 1000


@dataclass
class _Backoff:
    """The failures of a key in a row, until when it is not due, and the last change that ended its backoff."""

    failures: int = 0
    until: float = 0.0
    change: Hashable = None


class WorkQueue(Generic[K]):
    """Keys that are due now or later. Thread-safe; only `get` blocks. Times are seconds of `clock`.

    A worker calls `get`, works, calls `forget` (it went well) or `failed` (it did not), and in the end
    always `done`. Keys are handed out in the order in which they became due, but of one group (`group_of`) at most
    `share` at once. The delay after a failure is at least `base` and at most `maximum`."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
        *,
        base: float = 1.0,
        maximum: float = 60.0,
        group_of: Callable[[K], Hashable] = lambda key: None,
        share: float = float("inf"),
    ) -> None:
        self._clock = clock
        self._random = random
        self._base = base
        self._maximum = maximum
        self._changed = Condition()
        self._due: dict[K, float] = {}
        # Heaps of each group. They may hold entries that `_due` has overtaken: those are skipped when they come up.
        self._order: dict[Hashable, list[tuple[float, int, K]]] = {}
        # A heap of the groups that may have another worker, each at the place of its first entry, which is the one in
        # `_places`; others are out of date, and skipped when they come up.
        self._heads: list[tuple[float, int, Hashable]] = []
        self._places: dict[Hashable, tuple[float, int]] = {}
        self._numbers = count()
        self._working: set[K] = set()
        self._group_of, self._share = group_of, share
        self._busy: Counter[Hashable] = Counter()
        self._backoffs: dict[K, _Backoff] = {}
        # Keys being worked on whose intent has changed meanwhile: a failure says nothing about the new intent.
        self._renewed: set[K] = set()
        self._closed = False

    def add(self, key: K, change: Hashable = None) -> None:
        """Make the key due now, or when its backoff ends. `change` names what is otherwise now (the generation
        of an intent): one that was not named before ends the backoff. Idempotent; no-op after `close`."""
        with self._changed:
            if change is not None:
                self._renew(key, change)
            self.add_after(key, 0.0)

    def add_after(self, key: K, seconds: float) -> None:
        """Make the key due in `seconds`, or when its backoff ends, whichever is later, unless it is due earlier
        anyway. No-op after `close`."""
        with self._changed:
            at = max(self._clock() + max(seconds, 0.0), self._backoffs.get(key, _Backoff()).until)
            if self._closed or at >= self._due.get(key, float("inf")):
                return
            self._due[key] = at
            if key not in self._working:
                self._enqueue(key)

    def get(self, timeout: float | None = None) -> K | None:
        """The key that has been due longest, which is the caller's until `done`. Blocks until there is
        one; None after `timeout` seconds (None: no end) or once the queue is closed."""
        with self._changed:
            end = None if timeout is None else self._clock() + timeout
            while not self._closed:
                head = self._head()
                now = self._clock()
                if head is not None and head[0] <= now:
                    return self._hand_out(head[2])
                if end is not None and end <= now:
                    return None
                waits = [at - now for at in (end, head[0] if head else None) if at is not None]
                self._changed.wait(min(waits, default=None))
            return None

    def done(self, key: K) -> None:
        """Give the key back. If it was added meanwhile it is handed out again when due. Raises `KeyError`
        when nobody works on it."""
        with self._changed:
            self._working.remove(key)
            self._renewed.discard(key)
            self._release(self._group_of(key))
            if key in self._due and not self._closed:
                self._enqueue(key)

    def failed(self, key: K, *, retry: bool = True, least: float = 0.0) -> float:
        """Put the key into backoff for a delay, which is returned: from `base` to twice that, doubled with each
        failure since `forget`, up to `maximum`; but not less than `least`. `retry`: it is due when that has passed;
        else only when it is added. What was added meanwhile waits, too, unless its intent has changed. The worker
        still calls `done`."""
        with self._changed:
            backoff = self._backoffs.setdefault(key, _Backoff())
            ceiling = doubled(self._base, backoff.failures + 1, self._maximum)
            delay = max(ceiling * (1 + self._random()) / 2, least)
            if key in self._renewed:
                return 0.0
            backoff.failures, backoff.until = backoff.failures + 1, self._clock() + delay
            added = self._due.pop(key, None) is not None
            if retry or added:
                self.add_after(key, delay)
            return delay

    def forget(self, key: K) -> None:
        """Forget the key's failures, which ends its backoff. Whether it is due stays as it is. Idempotent."""
        with self._changed:
            self._backoffs.pop(key, None)

    def close(self) -> None:
        """Hand out nothing any more and wake whoever waits. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def depth(self) -> int:
        """How many keys are due now, those added again while worked on among them."""
        with self._changed:
            now = self._clock()
            return sum(at <= now for at in self._due.values())

    @property
    def oldest_age(self) -> float:
        """For how many seconds the longest waiting of the due keys has been due; 0.0 with none."""
        with self._changed:
            now = self._clock()
            return max((now - at for at in self._due.values() if at <= now), default=0.0)

    def _renew(self, key: K, change: Hashable) -> None:
        if self._backoffs.get(key, _Backoff()).change == change:
            return
        self._backoffs[key] = _Backoff(change=change)
        if key in self._working:
            self._renewed.add(key)

    def _enqueue(self, key: K) -> None:
        group = self._group_of(key)
        entries = self._order.setdefault(group, [])
        if len(entries) > _OVERTAKEN + 2 * len(self._due):
            entries[:] = filter(self._stands, entries)
            heapq.heapify(entries)
        heapq.heappush(entries, (self._due[key], next(self._numbers), key))
        self._offer(group)

    def _offer(self, group: Hashable) -> None:
        """Place a group, and wake a worker where it may have something of it."""
        self._place(group)
        if group in self._places:
            self._changed.notify()

    def _head(self) -> tuple[float, int, K] | None:
        """The first entry of all that a worker may have."""
        while self._heads:
            at, number, group = self._heads[0]
            if self._places.get(group) == (at, number):
                first = self._first(group)
                if first is not None and first[:2] == (at, number):
                    return first
                self._place(group)
            else:
                heapq.heappop(self._heads)
        return None

    def _first(self, group: Hashable) -> tuple[float, int, K] | None:
        """The first entry of a group."""
        entries = self._order.get(group, [])
        while entries:
            if self._stands(entries[0]):
                return entries[0]
            heapq.heappop(entries)
        self._order.pop(group, None)
        return None

    def _stands(self, entry: tuple[float, int, K]) -> bool:
        """Whether it is what its key is due by, and was not overtaken."""
        at, _, key = entry
        return self._due.get(key) == at and key not in self._working

    def _place(self, group: Hashable) -> None:
        """Have a group stand where its first entry does; nowhere while it has its share of the workers."""
        first = self._first(group) if self._busy[group] < self._share else None
        if first is None:
            self._places.pop(group, None)
        elif self._places.get(group) != first[:2]:
            self._places[group] = first[:2]
            if len(self._heads) > _OVERTAKEN + 2 * len(self._places):
                self._heads = list({head for head in self._heads if self._places.get(head[2]) == head[:2]})
                heapq.heapify(self._heads)
            heapq.heappush(self._heads, (*first[:2], group))

    def _release(self, group: Hashable) -> None:
        waited = self._busy[group] >= self._share
        self._busy[group] -= 1
        if not self._busy[group]:
            del self._busy[group]
        if waited:
            self._offer(group)

    def _hand_out(self, key: K) -> K:
        group = self._group_of(key)
        heapq.heappop(self._order[group])
        del self._due[key]
        self._working.add(key)
        self._busy[group] += 1
        self._place(group)
        # One waiter was woken for the head that is now gone: let another wait for the next one.
        if self._head() is not None:
            self._changed.notify()
        return key
