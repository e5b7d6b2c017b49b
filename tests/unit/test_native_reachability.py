"""A cluster shows which of its hosts answer as soon as that is known, not when it is described next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.clock import Clock
from tests.contract.world import CLUSTER, World, call, shown
from tests.native.fake import HOSTS, FakeHost, FakeRuntime
from zun_coe.engine.cluster import ClusterKeeper
from zun_coe.errors import BackendError, Conflict, Denied, PreconditionFailed, TimedOut, Unavailable
from zun_coe.native import runtimes
from zun_coe.native.reachability import Reachability, tells_of_host

HOUR = 3600.0


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeHost]:
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FakeRuntime)
    HOSTS.clear()
    HOSTS.update({name: FakeHost() for name in "ab"})
    return HOSTS


@pytest.fixture
def world(tmp_path: Path, hosts: dict[str, FakeHost]) -> Iterator[World]:
    listed = [{"name": name, "runtime": "fake", "endpoint": f"unix:///{name}"} for name in hosts]
    world = World(tmp_path, {"kind": "native", "hosts": listed}, describe=HOUR)
    world.register()
    yield world
    for host in hosts.values():
        host.away = False
    world.close()


def reachable(world: World) -> dict[str, bool]:
    return {node["name"]: node["reachable"] for node in world.cluster()["status"]["nodes"]}


def test_hosts_that_go_and_return_are_shown_at_once(world: World, hosts: dict[str, FakeHost]) -> None:
    assert reachable(world) == {"a": True, "b": True}
    hosts["b"].away = True
    world.until(lambda: reachable(world) == {"a": True, "b": False}, "it is shown to be away")
    hosts["b"].away = False
    world.until(lambda: reachable(world) == {"a": True, "b": True}, "it is shown to be back")


def test_replicas_of_an_unreachable_host_are_not_doubled_by_a_restart_of_the_gateway(
    world: World, hosts: dict[str, FakeHost]
) -> None:
    body = {"cluster": CLUSTER, "image": "busybox:local", "command": ["sleep", "1000"], "stop_timeout": 0}
    world.create("app", body | {"name": "web", "replicas": 4})
    world.settled("app", "web", "Running")
    world.create("container", body | {"name": "one"})
    world.settled("container", "one", "Running")
    there = {name: set(host.containers) for name, host in hosts.items()}
    assert all(there.values())
    lost = world.show("container", "one")["host"]
    hosts[lost].away = True
    world.until(lambda: not reachable(world)[lost], "it is shown to be away")
    since = [n["unreachable_since"] for n in world.cluster()["status"]["nodes"] if n["name"] == lost]
    world.restart()
    world.until(lambda: not reachable(world)[lost] and world.show("app", "web")["status"]["phase"] == "Degraded", "")
    world.create("app", body | {"name": "later"})
    world.until(lambda: world.show("app", "later")["status"]["phase"] == "Running", "nothing is created")
    phases = sorted((r["host"], r["status"]["phase"]) for r in world.replicas("web"))
    assert (
        phases
        == [("a", "Unknown" if lost == "a" else "Running")] * 2 + [("b", "Unknown" if lost == "b" else "Running")] * 2
    )
    assert world.show("container", "one")["status"]["phase"] == "Unknown"
    assert since == [n["unreachable_since"] for n in world.cluster()["status"]["nodes"] if n["name"] == lost]
    other = "b" if lost == "a" else "a"
    assert len(hosts[other].containers) == len(there[other]) + 1
    hosts[lost].away = False
    world.settled("app", "web", "Running")
    world.settled("container", "one", "Running")
    assert set(hosts[lost].containers) == there[lost]
    assert there[other] < set(hosts[other].containers)


def test_the_grace_of_a_host_counts_from_when_it_became_unreachable(tmp_path: Path, hosts: dict[str, FakeHost]) -> None:
    listed = [{"name": name, "runtime": "fake", "endpoint": f"unix:///{name}"} for name in hosts]
    world = World(tmp_path, {"kind": "native", "hosts": listed}, describe=HOUR, host_grace=HOUR)
    try:
        world.register()
        body = {"cluster": CLUSTER, "image": "busybox:local", "command": ["sleep", "1000"], "stop_timeout": 0}
        world.create("app", body | {"name": "web", "replicas": 2})
        world.settled("app", "web", "Running")
        hosts["b"].away = True
        world.until(lambda: not reachable(world)["b"], "it is shown to be away")
        since = next(n["unreachable_since"] for n in world.cluster()["status"]["nodes"] if n["name"] == "b")
        world.process.stop()
        passed = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
        world.settings = replace(world.settings, host_grace=passed)
        world.restart()
        world.until(lambda: len(hosts["a"].containers) == 2, "the replica is not placed elsewhere")
    finally:
        hosts["b"].away = False
        world.close()


SLOW = TimedOut("the engine did not answer in time", evidence={"call": "create"})
ONE = TimedOut("the engine did not answer in time", evidence={"call": "inspect"})
DENIED = Denied("not for this tenant", evidence={"call": "create"})
REFUSED = Unavailable("connection refused", evidence={"call": "create", "connecting": True})
PORT = Unavailable("port is already allocated", "PortConflict")


@pytest.mark.parametrize(
    ("error", "deciding", "unreachable"),
    [
        (SLOW, False, False),
        (DENIED, False, False),
        (REFUSED, False, True),
        (SLOW, True, True),
        (DENIED, True, True),
        (ONE, True, False),
        (PORT, True, False),
    ],
)
def test_only_connecting_and_looking_tell_whether_a_host_is_reachable(
    error: BackendError, deciding: bool, unreachable: bool
) -> None:
    assert tells_of_host(error, deciding=deciding) is unreachable


def test_a_host_that_was_away_before_has_been_silent_since_then() -> None:
    clock, now = Clock(), datetime(2026, 1, 1, tzinfo=UTC)
    known = Reachability(lambda: None, clock, lambda: now)
    known.recall(now - timedelta(seconds=50))
    assert not known.reachable
    assert known.silent_for() == 50
    known.failed(SLOW, 0.0)
    assert known.since == now - timedelta(seconds=50)
    clock.now += 5
    assert known.silent_for() == 55
    known.answered()
    assert (known.reachable, known.since, known.silent_for()) == (True, None, 0)
    known.failed(SLOW, 0.0)
    assert known.since == now


def test_a_host_that_was_installed_anew_is_blocked_alone_until_it_is_accepted(
    world: World, hosts: dict[str, FakeHost]
) -> None:
    body = {"cluster": CLUSTER, "image": "busybox:local", "command": ["sleep", "1000"], "stop_timeout": 0}
    world.create("app", body | {"name": "web", "replicas": 2})
    world.settled("app", "web", "Running")
    hosts["b"].away = True
    world.until(lambda: not reachable(world)["b"], "it is shown to be away")
    hosts["b"].identity = "another"
    hosts["b"].containers.clear()
    hosts["b"].away = False
    world.until(lambda: node(world, "b").get("reason") == "BackendChanged", "it is another one")
    assert "another" in node(world, "b")["message"]
    assert not node(world, "b")["reachable"]
    status = world.cluster()["status"]
    assert (status["phase"], status.get("reason")) == ("Ready", None)
    world.create("app", body | {"name": "later", "replicas": 2})
    world.settled("app", "later", "Running")
    assert not hosts["b"].containers
    phases = sorted((r["host"], r["status"]["phase"]) for r in world.replicas("web"))
    assert phases == [("a", "Running"), ("b", "Unknown")]
    assert [e["subject_name"] for e in world.events("BackendChanged")] == [CLUSTER]

    clusters, generation = world.process.gateway.clusters, world.cluster()["generation"]
    with pytest.raises(PreconditionFailed):
        clusters.accept_identity(call(if_match=f'"{generation + 1}"'), CLUSTER)
    with pytest.raises(Conflict, match="nothing to accept"):
        clusters.accept_identity(call(), CLUSTER, "a")
    assert shown(clusters.accept_identity(call(), CLUSTER, "b"))["generation"] == generation + 1
    world.until(lambda: reachable(world) == {"a": True, "b": True}, "it is not accepted")
    world.settled("app", "web", "Running")
    assert hosts["b"].containers
    assert len(world.events("IdentityAccepted")) == 1
    with pytest.raises(Conflict, match="nothing to accept"):
        clusters.accept_identity(call(), CLUSTER)
    world.restart()
    world.settled("app", "web", "Running")
    assert reachable(world) == {"a": True, "b": True}


def test_a_cluster_that_is_another_one_as_a_whole_is_accepted_as_a_whole(
    tmp_path: Path, hosts: dict[str, FakeHost]
) -> None:
    listed = [{"name": "a", "runtime": "fake", "endpoint": "unix:///a"}]
    world = World(tmp_path, {"kind": "native", "hosts": listed}, describe=0.2)
    try:
        world.register()
        hosts["a"].identity = "another"
        world.until(lambda: world.cluster()["status"].get("reason") == "BackendChanged", "it is another one")
        assert world.cluster()["status"]["phase"] == "Failed"
        world.process.gateway.clusters.accept_identity(call(), CLUSTER)
        world.until(lambda: world.cluster()["status"]["phase"] == "Ready", "it is not accepted")
        assert len(world.events("BackendChanged")) == 1
    finally:
        world.close()


def node(world: World, name: str) -> Any:
    (found,) = [n for n in world.cluster()["status"]["nodes"] if n["name"] == name]
    return found


def test_of_two_clusters_that_find_the_same_engine_at_once_the_older_keeps_it(
    tmp_path: Path, hosts: dict[str, FakeHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, {"kind": "native", "hosts": []}, describe=0.2)
    both, keepers = threading.Barrier(2), set[int]()
    HOSTS.update(older=hosts["a"], younger=hosts["a"])
    find = ClusterKeeper._imposter

    def together(keeper: ClusterKeeper, *given: Any) -> tuple[str, str] | None:
        wrong = find(keeper, *given)
        if id(keeper) not in keepers:  # each has looked for the other before either has written
            keepers.add(id(keeper))
            both.wait(20)
        return wrong

    monkeypatch.setattr(ClusterKeeper, "_imposter", together)
    clusters = world.process.gateway.clusters
    for name in ("older", "younger"):
        body = {"name": name, "kind": "native"}
        clusters.create(call(), body | {"hosts": [{"name": "a", "runtime": "fake", "endpoint": f"unix:///{name}"}]})

    def phases() -> list[str]:
        return [shown(clusters.show(call(), name))["status"]["phase"] for name in ("older", "younger")]

    try:
        world.until(lambda: len(keepers) == 2 and phases() == ["Ready", "Failed"], "one of them has it")
        reasons = [e for e in world.events("BackendChanged") if e["subject_name"] == "older"]
        assert not reasons
    finally:
        world.process.stop()
