"""Tells a workload that converges from one whose steps change nothing. Pure.

An adapter says after each step whether another can follow at once. Where what it does has no effect (what was
started is gone before anybody looks), the steps would follow one another for ever, as quickly as the backend
answers."""

from __future__ import annotations

from collections.abc import Hashable

from zun_coe.model import Observation

PATIENCE = 10
"""So many steps in a row may show no effect: a backend need not show at once what it has accepted."""


class Repetition:
    """Counts the steps in a row that started from the same observation."""

    def __init__(self) -> None:
        self._last: Hashable = None
        self._times = 0

    def endless(self, seen: Observation) -> bool:
        """Whether a step that started from this is one too many."""
        now = substance(seen)
        self._times = self._times + 1 if now == self._last else 1
        self._last = now
        return self._times > PATIENCE


def substance(seen: Observation) -> Hashable:
    """What of an observation is otherwise once a step has had an effect; times and counts of runs are not, since
    each futile start changes them."""
    instances = frozenset((i.native_id, i.hash, i.state, i.ready, i.health, i.cpu, i.memory) for i in seen.instances)
    drift = tuple(d.pointer for d in seen.drift)
    return seen.hash, seen.desired, instances, seen.endpoints, frozenset(seen.leftovers), drift
