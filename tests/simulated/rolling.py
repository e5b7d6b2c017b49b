"""How a simulated orchestrator gets from the replicas that there are to those that are wanted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zun_coe.model import Workload, share_of


class Replica(Protocol):
    """What the plan needs to know of a replica."""

    @property
    def slot(self) -> int: ...
    @property
    def hash(self) -> str: ...
    @property
    def ready(self) -> bool: ...


@dataclass(frozen=True)
class Plan:
    """What to do now. `create`: (slot, hash) of each new replica; `remove`: which of those there are."""

    create: tuple[tuple[int, str], ...] = ()
    remove: tuple[int, ...] = ()


def plan(workload: Workload, live: Sequence[Replica], available: Sequence[bool], leaving: int) -> Plan:
    """The next moves, by position in `live`; `available`: ready for long enough, one for each of them;
    `leaving`: how many are on their way out. Nothing to do where all is as wanted."""
    wanted = workload.wanted
    old = [n for n, r in enumerate(live) if r.hash != workload.hash]
    if wanted == 0:
        return Plan(remove=tuple(range(len(live))))
    if not old:
        if workload.update.strategy == "recreate" and leaving and not live:
            return Plan()
        return _scale(workload, live, workload.hash, wanted)
    if workload.halted:
        return _hold(workload, live, available)
    if workload.update.strategy == "recreate":
        return Plan(remove=tuple(old))
    return _roll(workload, live, available)


def bounds(workload: Workload) -> tuple[int, int]:
    """The fewest replicas that must be available and the most that may be there during an update."""
    surge = share_of(workload.update.max_surge, workload.wanted, up=True)
    missing = share_of(workload.update.max_unavailable, workload.wanted, up=False)
    if surge == missing == 0:
        missing = 1
    return max(workload.wanted - missing, 0), workload.wanted + surge


def _scale(workload: Workload, live: Sequence[Replica], hash: str, wanted: int) -> Plan:
    if len(live) > wanted:
        highest = sorted(range(len(live)), key=lambda n: -live[n].slot)
        return Plan(remove=tuple(highest[: len(live) - wanted]))
    return Plan(create=_slots(live, hash, wanted - len(live)))


def _hold(workload: Workload, live: Sequence[Replica], available: Sequence[bool]) -> Plan:
    """A rollout that was stopped half way: replace nothing, but keep up the number."""
    _, most = bounds(workload)
    if len(live) > most:
        worst = sorted(range(len(live)), key=lambda n: (available[n], -live[n].slot))
        return Plan(remove=tuple(worst[: len(live) - most]))
    hash = workload.previous_hash or workload.hash
    return Plan(create=_slots(live, hash, max(workload.wanted - len(live), 0)))


def _roll(workload: Workload, live: Sequence[Replica], available: Sequence[bool]) -> Plan:
    fewest, most = bounds(workload)
    new = [n for n, r in enumerate(live) if r.hash == workload.hash]
    old = [n for n, r in enumerate(live) if r.hash != workload.hash]
    room = max(min(workload.wanted - len(new), most - len(live)), 0)
    free = len(live) - fewest - sum(not available[n] for n in new)
    broken = [n for n in old if not available[n]][: max(free, 0)]
    spare = max(sum(available) - fewest, 0)
    serving = sorted((n for n in old if available[n]), key=lambda n: -live[n].slot)
    return Plan(_slots(live, workload.hash, room), (*broken, *serving[:spare]))


def _slots(live: Sequence[Replica], hash: str, wanted: int) -> tuple[tuple[int, str], ...]:
    """The lowest free slots, counted for each hash by itself."""
    taken = {r.slot for r in live if r.hash == hash}
    free = (s for s in range(1, len(taken) + wanted + 1) if s not in taken)
    return tuple((slot, hash) for slot, _ in zip(free, range(wanted), strict=False))
