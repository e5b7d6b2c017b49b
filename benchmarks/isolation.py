"""Ten clusters, and the same with one of them hanging in every call: what that costs the others.

`python -m benchmarks.isolation [FILE]` writes the findings as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.harness import Finding, Goal, Scale, beside, in_turns, record, until
from benchmarks.subject import folder
from tests.simulated import CLUSTERS, KIND, SCHEME, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.auth import Principal
from zun_coe.cli.recording import record as record_log
from zun_coe.config import Settings
from zun_coe.gateway import Call
from zun_coe.process import Process

NAME = "isolation"
COUNT = 10
REPLICAS = 3
LATENCY = (0.005, 0.01)
"""The seconds that a call to a cluster takes, at least and at most, as on a network."""
PATIENCE = 120.0
_numbers = count()


def run(scale: Scale) -> Sequence[Finding]:
    """From the request until the app runs, the median of the nine others, in pairs."""
    with _clusters() as clusters, folder() as place, _process(place, clusters) as process:
        hanging, *others = clusters

        def without() -> float:
            _let_go(process, clusters[hanging], hanging)
            return _deploy(process, others)

        def beside_one_that_hangs() -> float:
            _let_go(process, clusters[hanging], hanging)
            _hang(clusters[hanging])
            return _deploy(process, others)

        without()
        found = in_turns(scale.pick(10, 1), {"hanging": beside_one_that_hangs, "without": without})
        clusters[hanging].faults.resume()
    case = f"from request to Running on nine clusters, a tenth hangs ({REPLICAS} replicas)"
    goal = Goal(1.1, "at most", "ratio")
    return [beside(NAME, case, "s", found["hanging"], found["without"], "none hangs", goal)]


def _deploy(process: Process, names: Sequence[str]) -> float:
    """An app on each cluster, one after the other; the median of the seconds until it runs."""
    taken = []
    for name in names:
        app = f"app-{next(_numbers)}"
        started = time.perf_counter()
        body = {"name": app, "cluster": name, "image": "web:1", "replicas": REPLICAS}
        process.gateway.apps.create(_call(), body)
        _wait(process, app, "Running")
        taken.append(time.perf_counter() - started)
        process.gateway.apps.delete(_call(), app)
        _wait(process, app, "")
    return median(taken)


def _wait(process: Process, app: str, phase: str) -> None:
    until(lambda: _phase(process, "app", app) == phase, PATIENCE, f"{app} is {phase or 'gone'}", pause=0.001)


def _hang(cluster: SimulatedCluster) -> None:
    """Let it hang, and wait until somebody waits for it."""
    cluster.faults.hang()
    before = cluster.faults.calls.total()
    until(lambda: cluster.faults.calls.total() > before, PATIENCE, "it is called")


def _let_go(process: Process, cluster: SimulatedCluster, name: str) -> None:
    cluster.faults.resume()
    until(lambda: _phase(process, "cluster", name) == "Ready", PATIENCE, f"{name} is ready")


def _phase(process: Process, noun: str, name: str) -> str:
    found = process.gateway.views.named(noun, "default", name)
    return str(found.status.phase) if found else ""


def _call() -> Call:
    return Call(principal=Principal(), request_id=f"req-{next(_numbers)}")


@contextmanager
def _clusters() -> Iterator[dict[str, SimulatedCluster]]:
    kinds = adapters.kinds()
    kinds[KIND] = SimulatedAdapter  # type: ignore[index]  # the mapping is a dict, open to whoever measures
    made = {f"{NAME}-{n}": SimulatedCluster() for n in range(COUNT)}
    for name, cluster in made.items():
        cluster.identity, cluster.faults.latency = name, LATENCY
    CLUSTERS.update(made)
    try:
        yield made
    finally:
        for name in made:
            del CLUSTERS[name]


@contextmanager
def _process(place: Path, clusters: dict[str, SimulatedCluster]) -> Iterator[Process]:
    process = Process(Settings(store=f"sqlite:///{place}/state.db", resync=1.0))
    process.start()
    try:
        for name in clusters:
            process.gateway.clusters.create(_call(), {"name": name, "kind": KIND, "endpoint": f"{SCHEME}{name}"})
        for name, cluster in clusters.items():
            _let_go(process, cluster, name)
        yield process
    finally:
        for cluster in clusters.values():
            cluster.faults.resume()
        process.stop()


if __name__ == "__main__":
    record_log(Settings(log_level="warning"))
    told = json.dumps(record(run(Scale())), indent=2) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(told)
    else:
        sys.stdout.write(told)
