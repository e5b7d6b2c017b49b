"""A cluster shows which of its hosts answer as soon as that is known, not when it is described next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.world import World, call, shown
from tests.native.fake import HOSTS, FakeHost, FakeRuntime
from zun_coe.engine.cluster import ClusterKeeper
from zun_coe.model import ClusterInfo, ClusterStatus
from zun_coe.native import runtimes

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


def test_another_engine_behind_an_address_is_noticed_when_the_connection_is_lost(
    world: World, hosts: dict[str, FakeHost]
) -> None:
    hosts["b"].away = True
    world.until(lambda: not reachable(world)["b"], "it is shown to be away")
    hosts["b"].identity = "another"
    hosts["b"].away = False
    world.until(lambda: world.cluster()["status"].get("reason") == "BackendChanged", "it is another one")
    assert world.cluster()["status"]["phase"] == "Failed"


def test_of_two_clusters_that_find_the_same_engine_at_once_the_older_keeps_it(
    tmp_path: Path, hosts: dict[str, FakeHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, {"kind": "native", "hosts": []}, describe=0.2)
    both, keepers = threading.Barrier(2), set[int]()
    HOSTS.update(older=hosts["a"], younger=hosts["a"])
    find = ClusterKeeper._imposter

    def together(keeper: ClusterKeeper, before: ClusterStatus, info: ClusterInfo) -> tuple[str, str] | None:
        wrong = find(keeper, before, info)
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
