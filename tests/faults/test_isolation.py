"""One cluster that hangs in every call delays none of the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import call, shown
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, KIND, SCHEME, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.config import Settings
from zun_coe.gateway import Gateway
from zun_coe.model import WorkloadRef
from zun_coe.process import Process

COUNT = 10
FOR_EVER = 300.0
"""Seconds that a call may take: longer than the test, so that nothing is carried by a deadline."""


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, SimulatedCluster]]:
    """Ten, and one that nobody has registered."""
    monkeypatch.setitem(adapters.kinds(), KIND, SimulatedAdapter)
    made = {f"many-{n}": SimulatedCluster() for n in range(COUNT + 1)}
    for n, cluster in enumerate(made.values()):
        cluster.identity = f"identity-{n}"
    for name, cluster in made.items():
        monkeypatch.setitem(CLUSTERS, name, cluster)
    yield made
    for cluster in made.values():
        cluster.faults.resume()


@pytest.fixture
def gateway(tmp_path: Path, clusters: dict[str, SimulatedCluster]) -> Iterator[Gateway]:
    settings = Settings(
        store=f"sqlite:///{tmp_path / 'state.db'}", backoff=0.1, max_backoff=1.0, resync=0.5, backend_timeout=FOR_EVER
    )
    process = Process(settings)
    process.start()
    for name in list(clusters)[:COUNT]:
        register(process.gateway, name)
    yield process.gateway
    for cluster in clusters.values():
        cluster.faults.resume()
    process.stop()


def register(gateway: Gateway, name: str) -> None:
    gateway.clusters.create(call(), {"name": name, "kind": KIND, "endpoint": f"{SCHEME}{name}"})
    wait_until(lambda: phase(gateway.clusters, name) == "Ready", 30, f"{name} is ready")


def phase(cases: Any, name: str) -> str:
    return str(shown(cases.show(call(), name))["status"]["phase"])


def hang(cluster: SimulatedCluster) -> int:
    """Let it hang, and wait until it is in a call; how many calls there were."""
    cluster.faults.hang()
    before = cluster.faults.calls.total()
    wait_until(lambda: cluster.faults.calls.total() > before, 30, "it is called")
    return cluster.faults.calls.total()


def test_the_others_go_on(gateway: Gateway, clusters: dict[str, SimulatedCluster]) -> None:
    hanging, *others = list(clusters)[:COUNT]
    calls = hang(clusters[hanging])
    for name in (hanging, *others):
        gateway.apps.create(call(), {"name": f"on-{name}", "cluster": name, "image": "web:1", "replicas": 3})
    for name in others:
        wait_until(lambda name=name: phase(gateway.apps, f"on-{name}") == "Running", 30, f"the app on {name} runs")
    assert phase(gateway.apps, f"on-{hanging}") == "Pending"
    # No call came back meanwhile, and its workers are not more than it has.
    assert clusters[hanging].faults.calls.total() <= calls + Settings().workers
    clusters[hanging].faults.resume()
    wait_until(lambda: phase(gateway.apps, f"on-{hanging}") == "Running", 30, "the last one runs, too")


def test_giving_up_on_one_holds_up_nobody(gateway: Gateway, clusters: dict[str, SimulatedCluster]) -> None:
    """Its registration changes while it hangs, so that a new connection takes the place of one in a call."""
    hanging, *_, spare = clusters
    hang(clusters[hanging])
    gateway.clusters.patch(call(), hanging, {"endpoint": f"{SCHEME}{spare}", "labels": {"moved": "yes"}})
    clusters["late"] = CLUSTERS["late"] = SimulatedCluster()
    clusters["late"].identity = "late"
    try:
        register(gateway, "late")
    finally:
        clusters[hanging].faults.resume()
        del CLUSTERS["late"]
    wait_until(lambda: clusters[spare].faults.calls["describe"], 30, "the new endpoint is asked")


def test_one_that_names_what_is_on_another_gets_nothing_of_it(
    gateway: Gateway, clusters: dict[str, SimulatedCluster]
) -> None:
    """Whoever has a backend decides what it tells of. It would be given the values of secrets, among others."""
    lying, other = list(clusters)[:2]
    gateway.apps.create(call(), {"name": "theirs", "cluster": other, "image": "web:1", "replicas": 1})
    wait_until(lambda: phase(gateway.apps, "theirs") == "Running", 30, "it runs")
    found = shown(gateway.apps.show(call(), "theirs"))
    (listener,) = clusters[lying]._hints.listeners
    installation, cluster = listener.scope
    ref = WorkloadRef(
        installation=installation, cluster=cluster, project="default", noun="app", id=found["id"], name="theirs"
    )
    with clusters[lying].changed:
        listener.hints.append(ref)
        clusters[lying].changed.notify_all()
    gateway.apps.create(call(), {"name": "own", "cluster": lying, "image": "web:1", "replicas": 1})
    wait_until(lambda: phase(gateway.apps, "own") == "Running", 30, "its own goes on")
    there = [group.ref.name for groups in clusters[lying]._groups.values() for group in groups.values()]
    assert there == ["own"]
    assert phase(gateway.apps, "theirs") == "Running"
