"""Differences that come back as often as they are put right, since somebody else keeps making them.

Putting them right each time at once would never end, and restart what runs each time: so it is done at growing
intervals, and whoever looks is told who is at it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zun_coe.adapters import Wait
from zun_coe.adapters.delays import doubled
from zun_coe.model import Drift

TRIES = 4
"""So often a difference is put right at once."""
FIRST, LAST = 10.0, 1800.0
"""Seconds between the corrections after these; each interval is twice the one before."""
CALM = 600.0
"""A difference that has not come back for so many seconds, and twice its interval, counts as new."""


@dataclass(frozen=True)
class _Contest:
    corrections: int
    at: float

    @property
    def interval(self) -> float:
        return 0.0 if self.corrections < TRIES else doubled(FIRST, self.corrections - TRIES, LAST)


class Contests:
    """How often each difference of each workload was put right. In memory only; not thread-safe for one workload.
    `clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, dict[str, _Contest]] = {}

    def corrected(self, id: str, drifts: Iterable[Drift]) -> None:
        """These differences of a workload are being put right."""
        now, known = self._clock(), self._known.setdefault(id, {})
        for pointer in {drift.pointer for drift in drifts}:
            before = known.get(pointer)
            calm = before is None or now - before.at > CALM + 2 * before.interval
            known[pointer] = _Contest(1 if calm or before is None else before.corrections + 1, now)

    def left(self, id: str, drift: Drift) -> float:
        """For how many seconds a difference is left alone; 0: it may be put right now."""
        contest = self._known.get(id, {}).get(drift.pointer)
        return 0.0 if contest is None else max(contest.at + contest.interval - self._clock(), 0.0)

    def forget(self, id: str) -> None:
        """The workload is being removed. Idempotent."""
        self._known.pop(id, None)

    def waiting(self, id: str, drifts: Sequence[Drift]) -> Wait:
        """The outcome of a step that leaves differences alone for now."""
        seconds = min(self.left(id, drift) for drift in drifts)
        managers = sorted({drift.manager for drift in drifts if drift.manager})
        named = ", ".join(drift.pointer for drift in drifts[:3]) + (", …" if len(drifts) > 3 else "")
        message = (
            f"{' and '.join(managers) or 'Somebody'} changed {named} again each time it was put right; "
            f"it is left so for {math.ceil(self._interval(id, drifts))} s."
        )
        return Wait(
            max(seconds, 0.1), "Contested", message, {"pointers": [d.pointer for d in drifts], "managers": managers}
        )

    def _interval(self, id: str, drifts: Sequence[Drift]) -> float:
        known = self._known.get(id, {})
        return max((known[d.pointer].interval for d in drifts if d.pointer in known), default=0.0)
