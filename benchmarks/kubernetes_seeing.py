"""How soon the end of a container of a pod is seen, next to a bare watch of the pods."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from functools import partial

import httpx

from benchmarks.dying import Processes
from benchmarks.harness import Finding, Goal, Scale, percentile, until
from benchmarks.kubernetes_cluster import Plane
from benchmarks.kubernetes_deploying import NAME, SPEC
from benchmarks.kubernetes_direct import Following, ends
from benchmarks.seeing import Deaths, Watcher, is_dead
from benchmarks.subject import Subject
from tests.real.kubernetes_node import Node

GOAL = Goal(250, "at most")
BARE = "a bare watch of the pods"


def news(scale: Scale, plane: Plane, node: Node, running: Subject) -> Sequence[Finding]:
    """Each container is an app of its own, and its process is killed. A kubelet takes up to a second to notice; what
    the gateway adds is told apart from that."""
    with running.client() as api, Watcher(running) as watcher, ends(plane) as bare, Processes(node.engine) as processes:
        apps = _deployed(api, scale.pick(24, 3))
        for name, container in _containers(node, set(apps.values())).items():
            processes.follow(name, container)
        looked = _killed(api, apps, processes, bare, watcher)
    ended = processes.ended
    told = {apps[id]: at for id, at in watcher.seen.items() if id in apps}
    return [
        *_compared("on the event stream", ended, bare.seen, told),
        *_compared("through GET", ended, bare.seen, looked),
    ]


def _deployed(api: httpx.Client, count: int) -> Mapping[str, str]:
    """So many apps that run; their names by id."""
    apps = {}
    for number in range(count):
        answer = api.post("/v1/apps", json=SPEC | {"name": f"dying-{number}"})
        answer.raise_for_status()
        apps[answer.json()["id"]] = answer.json()["name"]

    def all_run() -> bool:
        found = api.get("/v1/apps", params={"limit": 1000, "phase": "Running"}).json()["apps"]
        return apps.keys() <= {app["id"] for app in found}

    until(all_run, 60 + 5 * count, "All run", pause=0.5)
    return apps


def _killed(
    api: httpx.Client, apps: Mapping[str, str], processes: Processes, bare: Following, watcher: Watcher
) -> Deaths:
    """Kill one after the other, when everybody has heard of the one before. When those that are looked at were seen
    to have ended, every other one, by name."""
    looked: Deaths = {}
    for number, (id, name) in enumerate(apps.items()):
        processes.kill(name)
        if number % 2:
            until(partial(is_dead, api, id), 60, "It is seen", pause=0.005)
            looked[name] = time.monotonic()
        bare.wait(name)
        until(partial(watcher.seen.get, id), 60, "It is told of")
    return looked


def _containers(node: Node, names: Set[str]) -> Mapping[str, str]:
    """The ids of the containers in the node's engine, by the name of their app."""
    listed = node.engine.client().api.containers(filters={"label": "io.kubernetes.container.name=main"})
    found = {c["Labels"]["io.kubernetes.pod.name"].rsplit("-", 3)[0]: c["Id"] for c in listed}
    return {name: id for name, id in found.items() if name in names}


def _compared(how: str, ended: Deaths, bare: Deaths, seen: Deaths) -> Sequence[Finding]:
    """From the end of the process, next to the bare watch; and from there on."""
    whole, direct, rest = (_delays(seen, *sides) for sides in ((ended, seen), (ended, bare), (bare, seen)))
    case, p99 = f"a pod's container ends: {how}", percentile(direct, 0.99)
    ratio = percentile(whole, 0.99) / p99
    return [
        Finding(NAME, f"p99 from {case}", percentile(whole, 0.99), "ms", p99, BARE, ratio, None, _median(whole)),
        Finding(NAME, f"p99 from {BARE}: {how}", percentile(rest, 0.99), "ms", goal=GOAL, note=_median(rest)),
    ]


def _delays(names: Mapping[str, float], begun: Deaths, then: Deaths) -> list[float]:
    return [(then[name] - begun[name]) * 1000 for name in names]


def _median(delays: Sequence[float]) -> str:
    return f"p50 {percentile(delays, 0.5):.0f} ms"
