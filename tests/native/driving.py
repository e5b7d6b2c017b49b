"""Drives an adapter as the engine does: observe, apply, again, until something holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from tests.real.waiting import wait_until
from zun_coe.adapters import Done, Outcome, Wait
from zun_coe.errors import BackendError
from zun_coe.model import Instance, Observation, Workload, WorkloadRef
from zun_coe.native.adapter import NativeAdapter

Condition = Callable[[Observation], object]


@dataclass
class Driver:
    """One adapter and what its last steps came to."""

    adapter: NativeAdapter
    outcomes: list[Outcome | BackendError] = field(default_factory=list)
    seen: Observation | None = None

    def see(self, ref: WorkloadRef) -> Observation:
        """What there is now."""
        return self.adapter.observe(ref)[0]

    def step(self, workload: Workload) -> Observation:
        """One step; what was seen before it."""
        seen = self.see(workload.ref)
        try:
            outcome: Outcome | BackendError = self.adapter.apply(workload, seen)
        except BackendError as error:
            outcome = error
        self.outcomes.append(outcome)
        return seen

    def until(self, workload: Workload, condition: Condition, timeout: float = 30.0, message: str = "") -> Observation:
        """Step until it holds; the observation of which it does."""

        def attempt() -> Observation | None:
            self.seen = self.step(workload)
            return self.seen if condition(self.seen) else None

        found = wait_until(attempt, timeout, lambda: f"{message or 'It holds'} ({self.outcomes[-3:]}, {self.seen})")
        assert found is not None
        return found

    def settle(self, workload: Workload, timeout: float = 30.0) -> Observation:
        """Step until nothing is left to do and all is ready that should be."""
        ready = workload.wanted if workload.desired_state == "running" else 0

        def settled(seen: Observation) -> bool:
            return self.outcomes[-1] == Done() and sum(i.ready for i in seen.instances) >= ready

        return self.until(workload, settled, timeout, "All is done and ready")

    def remove(self, ref: WorkloadRef, timeout: float = 30.0) -> None:
        """Step until nothing is left of it."""
        wait_until(lambda: self.adapter.remove(ref, self.see(ref)) == Done(), timeout, "It is gone")

    @property
    def wait(self) -> Wait:
        """The last outcome, which is a wait."""
        last = self.outcomes[-1]
        assert isinstance(last, Wait), last
        return last


def changed(workload: Workload, **fields: object) -> Workload:
    """The same workload, otherwise."""
    return msgspec.structs.replace(workload, **fields)


def by_slot(seen: Observation) -> dict[int, Instance]:
    """The instances by their slots; no slot has two."""
    found = {i.slot: i for i in seen.instances}
    assert len(found) == len(seen.instances)
    return found
