"""A cluster shows which of its hosts answer as soon as that is known, not when it is described next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.world import World
from tests.native.fake import HOSTS, FakeHost, FakeRuntime
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
