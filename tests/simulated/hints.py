"""How a simulated cluster tells that something may have changed, and how time passes in it unasked."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count

from tests.simulated.faults import Faults
from tests.simulated.group import Group
from tests.simulated.program import FOREVER
from zun_coe.model import WorkloadRef


class Listener:
    """Hints on their way to one adapter, of one installation and one cluster of it."""

    def __init__(self, scope: tuple[str, str]) -> None:
        self.scope = scope
        self.hints: deque[WorkloadRef | None] = deque()


class Hints:
    """Who listens, and which workload is to be looked at when. Guarded by the lock of the cluster."""

    def __init__(self, faults: Faults) -> None:
        self.listeners: list[Listener] = []
        self._faults = faults
        self._timers: list[tuple[float, int, Group]] = []
        self._numbers = count()

    @property
    def next_at(self) -> float:
        """When there is something to look at."""
        return self._timers[0][0] if self._timers else FOREVER

    def schedule(self, group: Group, now: float) -> None:
        """Have the group looked at when something happens in it by itself."""
        at = group.next_at(now)
        if at < group.scheduled:
            group.scheduled = at
            heapq.heappush(self._timers, (at, next(self._numbers), group))

    def due(self, now: float) -> list[Group]:
        """The groups to look at now, each once."""
        groups: dict[int, Group] = {}
        while self.next_at <= now:
            _, _, group = heapq.heappop(self._timers)
            group.scheduled = FOREVER
            groups[id(group)] = group
        return list(groups.values())

    def tell(self, ref: WorkloadRef) -> None:
        """Something of this workload changed."""
        for listener in self.listeners:
            if listener.scope == (ref.installation, ref.cluster):
                listener.hints.extend([ref] * self._faults.copies())
