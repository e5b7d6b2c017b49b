"""From a request until all replicas are ready, next to applying the same Deployment and Service directly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

import httpx

from benchmarks.harness import Finding, Goal, Scale, beside, in_turns
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
        for replicas, rounds in scale.pick([(1, 4), (10, 2), (50, 1)], [(1, 1), (3, 1)]):
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

    found = in_turns(rounds, {"gateway": through, "direct": lambda: _past(direct, ready, replicas)})
    (ours, known), (theirs, _) = (zip(*found[side], strict=True) for side in ("gateway", "direct"))
    case, goal = f"request to {replicas} replicas ready", Goal(1.1, "at most", "ratio")
    note = f"{max(asked)} calls of the API"
    return [
        beside(NAME, case, "s", ours, theirs, "the kubernetes package", goal, note),
        beside(NAME, f"{case}, as ?wait tells it", "s", known, theirs, "the kubernetes package", goal),
    ]


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
