"""What others change of containers where they are: limits and restart policies, as `docker update` does.

It is told before it is put right, and where it comes back each time it is put right ever more seldom (see `contests`).
Of a container of its own, limits are changed in place by its user, too: what was as wanted before, and is not although
nothing else is wanted now, others have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zun_coe.adapters import Wait
from zun_coe.adapters.contests import Contests
from zun_coe.model import Drift, Sidecar, Template, Workload, WorkloadRef, bytes_of
from zun_coe.native import containers
from zun_coe.native.naming import INFRA, MAIN, sidecar_role
from zun_coe.native.replicas import Replica
from zun_coe.native.runtime import Found, Restart

# Engines count CPUs in billionths, or in parts of a period of a tenth of a second, and round.
_SAME_CPU = 1e-5
# States in which others can have changed a container, and in which it can be changed.
_THERE = frozenset({"running", "paused", "restarting", "exited"})


@dataclass(frozen=True)
class Terms:
    """On which terms a container runs: its limits in CPUs and bytes, None for none, and its restart policy."""

    cpu: float | None
    memory: int | None
    restart: Restart


@dataclass(frozen=True)
class Change:
    """A container that runs on others than its terms."""

    part: Found
    terms: Terms

    @property
    def limits(self) -> bool:
        """Whether its limits are others."""
        same = abs((self.terms.cpu or 0.0) - (self.part.cpu or 0.0)) < _SAME_CPU
        return not same or self.terms.memory != self.part.memory

    @property
    def policy(self) -> bool:
        """Whether its restart policy is another."""
        return self.terms.restart != self.part.restart

    def drift(self, *, limits: bool = True) -> tuple[Drift, ...]:
        """It for people: each field that is otherwise. `limits`: these count."""
        names = ("cpu", "memory") if limits and self.limits else ()
        names = (*names, "restart") if self.policy else names
        pairs = ((name, getattr(self.terms, name), getattr(self.part, name)) for name in names)
        return tuple(Drift(pointer=f"/{self.part.name}/{n}", wanted=w, found=f) for n, w, f in pairs if w != f)


@dataclass(frozen=True)
class Verdict:
    """What is to be put right now: of replicas with these native ids (`altered`). `untold`: it is to be told before.
    `left`: what is left as it is for now."""

    altered: frozenset[str] = frozenset()
    untold: bool = False
    left: tuple[Drift, ...] = ()


def changes(replica: Replica, template: Template) -> list[Change]:
    """Its containers that run on others than the terms of its template. Pure."""
    wanted = {INFRA: Terms(None, None, "always"), MAIN: _terms(template, template.restart)}
    wanted |= {sidecar_role(sidecar.name): _terms(sidecar, "always") for sidecar in template.sidecars}
    found = (Change(part, wanted[role]) for role, part in replica.parts.items() if role in wanted)
    return [change for change in found if change.part.state in _THERE and (change.limits or change.policy)]


class Drifting:
    """What others have changed of each workload's containers. In memory only. Thread-safe as long as no workload is
    looked at twice at once."""

    def __init__(self) -> None:
        self._contests = Contests()
        self._told: dict[str, tuple[Drift, ...]] = {}
        self._agreed: dict[str, Terms] = {}

    def told(self, ref: WorkloadRef) -> tuple[Drift, ...]:
        """What the observations of a workload tell, until it is put right."""
        return self._told.get(ref.id, ())

    def look(self, workload: Workload, replicas: Sequence[Replica]) -> Verdict:
        """What of a workload is otherwise. What is not `untold` counts as put right with this."""
        id, altered, new, left = workload.ref.id, set[str](), list[Drift](), list[Drift]()
        asked = self._is_asked(workload)
        found = [(replica, changes) for replica in replicas if (changes := _changes(workload, replica))]
        for replica, changed in found:
            drift = [each for change in changed for each in change.drift(limits=not asked)]
            if waiting := [each for each in drift if self._contests.left(id, each)]:
                left += waiting
            else:
                altered.add(replica.instance.native_id)
                new += drift
        untold = bool(new) and id not in self._told
        if untold:
            self._told[id] = tuple(new)
        else:
            self._settle(workload, new, as_wanted=not found)
        return Verdict(frozenset(altered), untold, tuple(left))

    def waiting(self, ref: WorkloadRef, verdict: Verdict) -> Wait:
        """The outcome of a step that leaves some of it as it is."""
        return self._contests.waiting(ref.id, verdict.left)

    def forget(self, ref: WorkloadRef) -> None:
        """It is gone. Idempotent."""
        self._contests.forget(ref.id)
        self._told.pop(ref.id, None)
        self._agreed.pop(ref.id, None)

    def _is_asked(self, workload: Workload) -> bool:
        """Whether it may be that other limits are asked for than were before."""
        return workload.standalone and self._agreed.get(workload.ref.id) != _terms(workload.template, "always")

    def _settle(self, workload: Workload, new: Sequence[Drift], *, as_wanted: bool) -> None:
        """It is being put right, or is as wanted."""
        id = workload.ref.id
        if new:
            self._contests.corrected(id, new)
        else:
            self._told.pop(id, None)
        if as_wanted and workload.standalone:
            self._agreed[id] = _terms(workload.template, "always")


def _changes(workload: Workload, replica: Replica) -> list[Change]:
    template = workload.template
    if not workload.standalone:
        known = containers.template_of(workload, replica.instance.hash)
        if known is None or replica.instance.state != "running":
            return []
        template = known
    return changes(replica, template) if replica.instance.state != "unknown" else []


def _terms(process: Template | Sidecar, restart: Restart) -> Terms:
    return Terms(process.cpu, bytes_of(process.memory) if process.memory else None, restart)
