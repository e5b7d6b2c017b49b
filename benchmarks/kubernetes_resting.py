"""What a Kubernetes with many apps costs while nothing happens, and what it costs to look at all of it: on a control
plane without nodes, whose pods somebody else tells to run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness import Finding, Goal, Scale, beside, in_turns, until
from benchmarks.kubernetes_cluster import Asked, Plane, gateway_on, plane
from benchmarks.kubernetes_listing import alone
from benchmarks.kubernetes_pods import all_told_to_run
from benchmarks.subject import Subject
from zun_coe.config import Settings

NAME = "kubernetes-rest"
REPLICAS, PROJECTS = 2, 10


@dataclass(frozen=True)
class Rest:
    """A time in which nothing happened. `share`: of one core, of the gateway; `asked`: what it asked for."""

    seconds: float
    share: float
    asked: Sequence[Asked]


def run(scale: Scale) -> Sequence[Finding]:
    """Some projects with a hundred apps each."""
    count = scale.pick(1000, 5)
    with plane() as there, all_told_to_run(there):
        with gateway_on(there) as running:
            bare, calls, full = running.memory(), _fill(there, running, count), running.memory()
            rest = _rest(there, running, scale.pick(2 * Settings().resync, 3))
        return [*_resting(count, calls, bare, full, rest), *_listing(there, scale, count * REPLICAS)]


def _fill(there: Plane, running: Subject, count: int) -> int:
    """How often the API was called until all of them ran."""
    since = there.told
    running.do("create", count=count, replicas=REPLICAS, projects=PROJECTS)
    until(lambda: running.do("phases").keys() <= {"Running"}, 120 + count, "All apps run", pause=0.5)
    running.do("rest")
    return len(there.asked(since))


def _rest(there: Plane, running: Subject, lasting: float) -> Rest:
    """After a list of everything has shown that nothing is to be done any more."""
    time.sleep(lasting / 2)
    since, used, started = there.told, running.processor_time(), time.monotonic()
    time.sleep(lasting)
    passed = time.monotonic() - started
    return Rest(passed, (running.processor_time() - used) / passed, there.asked(since))


def _resting(count: int, calls: int, bare: float, full: float, rest: Rest) -> Sequence[Finding]:
    case = f"{count:,} apps of {REPLICAS} at rest"
    minutes, changes = rest.seconds / 60, sum(call.changes for call in rest.asked)
    kinds = Counter(call.verb for call in rest.asked)
    note = ", ".join(f"{number / minutes:.0f} {verb}" for verb, number in kinds.most_common())
    return [
        Finding(NAME, f"{count:,} apps created until all run: calls of the API for each", calls / count, "calls"),
        Finding(NAME, f"{case}: processor time of the gateway", rest.share * 100, "% of a core"),
        Finding(NAME, f"{case}: memory of the gateway", full, "MB", bare, "nothing on it", full / bare),
        Finding(NAME, f"{case}: calls of the API", len(rest.asked) / minutes, "a minute", note=note),
        Finding(NAME, f"{case}: changes among them", changes / minutes, "a minute", goal=Goal(0, "at most")),
    ]


def _listing(there: Plane, scale: Scale, pods: int) -> Sequence[Finding]:
    """In processes of their own, so that each begins with nothing."""
    rounds = scale.pick(3, 1)
    with alone(there, "adapter") as ours, alone(there, "package") as theirs:
        first, bare = ours.list(), theirs.list()
        found = in_turns(rounds, {"ours": ours.list, "theirs": theirs.list})
    case, named = f"{pods:,} pods and what they belong to", "the kubernetes package, pods alone"
    mine, others = found["ours"], found["theirs"]
    again = [one.seconds for one in mine], [one.seconds for one in others]
    return [
        _next_to(f"the first list of {case}", "s", first.seconds, bare.seconds, named),
        beside(NAME, f"another list of {case}", "s", again[0], again[1], named),
        _next_to(f"memory that a list of {case} takes meanwhile", "MB", mine[-1].peak, others[-1].peak, named),
    ]


def _next_to(case: str, unit: str, value: float, against: float, named: str) -> Finding:
    return Finding(NAME, case, value, unit, against, named, value / against)
