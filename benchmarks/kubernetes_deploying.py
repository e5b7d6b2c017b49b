"""From a request until all replicas are ready, next to applying the same Deployment and Service directly.

A kubelet looks once a second for what has started, and only then tells of it: what is ready a moment after such a look
waits nearly a second for the next. What came before ended with one of these looks, too, so that each way would always
begin at the same time after one. So the turns begin at times that are spread evenly over a second, and what is told
are means: by these a way that is later by a little is as much later as it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from statistics import mean
from time import monotonic, sleep
from typing import NamedTuple

import httpx

from benchmarks.harness import Finding, Goal, Scale, in_turns
from benchmarks.kubernetes_cluster import Plane
from benchmarks.kubernetes_direct import Direct, Following, readiness
from tests.real.kubernetes_node import Node

NAME = "kubernetes"
SPEC = {
    "cluster": "bench",
    "image": Node.image,
    "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
    "ports": [{"port": 80}],
}
"""What is run, besides a name and how many."""
LOOKS = 1.0
"""Seconds from one look of a kubelet to the next."""
_numbers = itertools.count(1)


class Taken(NamedTuple):
    """Seconds from the request: until the server's own watch told that all are ready, and until the client knew."""

    ready: float
    known: float


def starts(scale: Scale, plane: Plane, api: httpx.Client) -> Sequence[Finding]:
    """For 1, 10 and 50 replicas. One app stays throughout, so that the project's namespace is there for all."""
    deploy(api, "keeper", 1)
    direct = Direct(plane, "keeper")
    with readiness(plane) as ready:
        found: list[Finding] = []
        for replicas, rounds in scale.pick([(1, 12), (10, 6), (50, 2)], [(1, 1), (3, 1)]):
            found += _compared(plane, api, direct, ready, replicas, rounds)
        return found


def _compared(
    plane: Plane, api: httpx.Client, direct: Direct, ready: Following, replicas: int, rounds: int
) -> Sequence[Finding]:
    asked: list[int] = []

    def through() -> Taken:
        before = plane.told
        taken, name = _through(api, ready, replicas)
        asked.append(len(plane.asked(before)))
        api.delete(f"/v1/apps/{name}", params={"wait": 300}).raise_for_status()
        return taken

    sides = {"gateway": through, "direct": lambda: _past(direct, ready, replicas)}
    found = in_turns(rounds, {name: _spread(side, rounds) for name, side in sides.items()})
    (ours, known), (theirs, _) = (map(mean, zip(*found[side], strict=True)) for side in sides)
    case, note = f"request to {replicas} replicas ready", f"{max(asked)} calls of the API"
    return [_finding(case, ours, theirs, note), _finding(f"{case}, as ?wait tells it", known, theirs)]


def _finding(case: str, ours: float, theirs: float, note: str = "") -> Finding:
    goal = Goal(1.1, "at most", "ratio")
    return Finding(NAME, case, ours, "s", theirs, "the kubernetes package", ours / theirs, goal, note)


def _spread(turn: Callable[[], Taken], rounds: int) -> Callable[[], Taken]:
    """The turn, each time begun at another time after the one before, all of them spread evenly."""
    waits = iter([LOOKS * (number + 0.5) / rounds for number in range(rounds)])

    def later() -> Taken:
        sleep(next(waits))
        return turn()

    return later


def _through(api: httpx.Client, ready: Following, replicas: int) -> tuple[Taken, str]:
    name = f"app-{next(_numbers)}"
    started = monotonic()
    deploy(api, name, replicas)
    known = monotonic()
    return Taken(ready.wait(name) - started, known - started), name


def _past(direct: Direct, ready: Following, replicas: int) -> Taken:
    started = monotonic()
    name = direct.start(replicas)
    at = ready.wait(name)
    direct.remove(name)
    return Taken(at - started, at - started)


def deploy(api: httpx.Client, name: str, replicas: int) -> str:
    """An app, when all of its replicas run; its id."""
    answer = api.post("/v1/apps", params={"wait": 300}, json=SPEC | {"name": name, "replicas": replicas})
    phase = answer.json().get("status", {}).get("phase")
    if answer.status_code != httpx.codes.OK or phase != "Running":
        raise RuntimeError(f"{name}: {answer.status_code} {answer.text[:500]}")
    return str(answer.json()["id"])
