"""Hosts that go away, come back and are drained, with the whole gateway over two real engines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.contract.world import CLUSTER, World, call, shown
from tests.real.components import Engine

N = 4
# It serves as soon as it runs, and ends at once.
PLAIN = {"command": ["sleep", "1000"], "stop_signal": "SIGKILL", "stop_timeout": 1}
CHECKED = PLAIN | {"health": {"exec": {"command": ["true"]}, "interval": 1, "timeout": 5}}
DATA = {"mounts": [{"path": "/data", "volume": {"name": "data"}}]}


class Pair:
    """A gateway with one cluster of two hosts: b, and a, which is the first to be given anything."""

    def __init__(self, folder: Path, first: Engine, second: Engine) -> None:
        self.engines = {"a": first, "b": second}
        hosts = [
            {"name": name, "runtime": "docker", "endpoint": engine.endpoint, "address": "127.0.0.1"}
            for name, engine in self.engines.items()
        ]
        quick = {"host_grace": 5.0, "describe": 0.5, "resync": 0.5, "backend_timeout": 2.0}
        self.hosts = hosts
        self.world = World(folder, {"kind": "native", "hosts": hosts}, 60.0, **quick)
        self.world.register()
        self.world.until(lambda: all(n["reachable"] for n in self.nodes.values()), "a host does not answer")

    @property
    def nodes(self) -> dict[str, Any]:
        """The hosts by name, as the cluster's record shows them."""
        return {node["name"]: node for node in self.world.cluster()["status"]["nodes"]}

    def create(self, name: str = "web", noun: Any = "app", **fields: Any) -> None:
        """Create an app or a container and wait until it runs."""
        self.world.create(noun, {"name": name, "cluster": CLUSTER, "image": Engine.image} | PLAIN | fields)
        self.world.settled(noun, name, "Running")

    def phases(self, name: str = "web") -> list[tuple[str, str]]:
        """The host and the phase of each replica, as users see them."""
        return sorted((r["host"], r["status"]["phase"]) for r in self.world.replicas(name))

    def status(self, name: str = "web", noun: Any = "app") -> Any:
        """How it is now."""
        return self.world.show(noun, name)["status"]

    def there(self, name: str = "web", *hosts: str) -> list[tuple[str, str]]:
        """The slot and the host of each container that an app really has, running or not."""
        found = [(f["Labels"]["zun.slot"], host) for host in hosts or "ab" for f in of(self.engines[host], name)]
        return sorted(found)

    def complete(self, name: str = "web", count: int = N) -> bool:
        """Whether each slot has one container, and no slot two."""
        return [slot for slot, _ in self.there(name)] == [str(n) for n in range(1, count + 1)]

    def schedule(self, **changes: bool) -> None:
        """Drain hosts, or undrain them."""
        self.hosts = [host | {"schedulable": changes.get(host["name"], True)} for host in self.hosts]
        self.world.process.gateway.clusters.patch(call(), CLUSTER, {"hosts": self.hosts})
        wanted = {host["name"]: host["schedulable"] for host in self.hosts}
        self.world.until(
            lambda: {name: node["schedulable"] for name, node in self.nodes.items()} == wanted, "no host is drained"
        )

    def moved(self, name: str, host: str) -> bool:
        """Whether all of an app is on one host, once each."""
        return self.complete(name) and {where for _, where in self.there(name)} == {host}


def of(engine: Engine, name: str) -> list[Any]:
    """The containers that an engine has of an app."""
    return list(engine.client().api.containers(all=True, filters={"label": f"zun.name={name}"}))


class Sampler:
    """Counts, with an eye of its own, the replicas at each moment while one host is emptied into another.

    What moves meanwhile is never overlooked among the healthy, and never counted twice among all."""

    def __init__(self, emptied: Engine, filled: Engine) -> None:
        self._emptied, self._filled = (docker.DockerClient(base_url=e.endpoint) for e in (emptied, filled))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self.fewest, self.most = 1000, 0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client in (self._emptied, self._filled):
            client.close()

    def _count(self) -> None:
        for client in (self._emptied, self._filled):
            client.api.trust_env = False
        while not self._stop.wait(0.02):
            before, new, after = (_running(client) for client in (self._emptied, self._filled, self._emptied))
            self.fewest = min(self.fewest, sum("(healthy)" in c["Status"] for c in before + new))
            self.most = max(self.most, len(new + after))


def _running(client: Any) -> list[Any]:
    return list(client.api.containers(filters={"label": "zun.name=web"}))


@pytest.fixture
def pair(tmp_path: Path, docker_engine: Engine, second_engine: Engine) -> Iterator[Pair]:
    """Both hosts last longer than the test."""
    made = Pair(tmp_path, second_engine, docker_engine)
    yield made
    made.world.close()


def test_replicas_of_a_host_that_hangs_are_placed_elsewhere_and_nothing_is_doubled_when_it_returns(
    pair: Pair, second_engine: Engine
) -> None:
    pair.create(replicas=N)
    assert [host for host, _ in pair.phases()] == ["a", "a", "b", "b"]
    second_engine.freeze()
    try:
        world = pair.world
        world.until(lambda: pair.status()["phase"] == "Degraded", "nobody noticed")
        assert pair.phases() == [("a", "Unknown")] * 2 + [("b", "Running")] * 2
        assert pair.status()["replicas"] == {"desired": N, "current": N, "updated": N, "ready": 2}
        world.until(lambda: not pair.nodes["a"]["reachable"], "the host is not shown as away")
        assert pair.nodes["a"]["message"]
        assert pair.nodes["b"]["reachable"]
        assert pair.world.cluster()["status"]["phase"] == "Ready"
        world.until(lambda: pair.status()["phase"] == "Running", "they were not placed elsewhere")
        assert pair.phases() == [("b", "Running")] * N
    finally:
        second_engine.thaw()
    world.until(lambda: pair.nodes["a"]["reachable"], "the host is not back")
    world.until(pair.complete, "some are doubled, or missing")
    world.settled("app", "web", "Running")
    shown = [(host, "Running") for host in sorted(host for _, host in pair.there())]
    world.until(lambda: pair.phases() == shown, "what is shown is not what is there")


def test_what_an_engine_had_when_it_died_is_neither_lost_nor_doubled(
    tmp_path: Path, docker_engine: Engine, own_engine: Engine
) -> None:
    pair = Pair(tmp_path, own_engine, docker_engine)
    world = pair.world
    try:
        pair.create("data", **DATA)
        pair.create("alone", "container", restart="always")
        assert pair.there("data") == [("1", "a")]
        pair.create(replicas=N)
        mine = [host for host, _ in pair.phases()].count("a")
        assert 0 < mine < N
        own_engine.kill()
        world.until(lambda: pair.phases().count(("a", "Unknown")) == mine, "nobody noticed")
        world.until(lambda: pair.status()["phase"] == "Running", "they were not placed elsewhere")
        assert pair.there("web", "b") == [(str(n), "b") for n in range(1, N + 1)]

        world.until(lambda: pair.status("data").get("reason") == "VolumeUnavailable", "nobody says where the volume is")
        assert pair.status("data")["phase"] in ("Degraded", "Failed")
        assert "a" in pair.status("data")["message"]
        assert not pair.there("data", "b")
        own_engine.start()
        world.settled("app", "data", "Running")
        assert pair.there("data") == [("1", "a")]
        world.until(pair.complete, "some are doubled, or missing")
        world.settled("app", "web", "Running")
    finally:
        if not own_engine.listening:
            own_engine.start()
        world.close()


def test_a_deletion_that_waits_for_a_host_says_so_and_once(pair: Pair, second_engine: Engine) -> None:
    world = pair.world
    pair.schedule(b=False)
    pair.create("data", **DATA)
    pair.create("gone", **{"mounts": [{"path": "/data", "volume": {"name": "kept"}}]})
    pair.create("one", "container")
    assert [pair.there(name) for name in ("data", "gone", "one")] == [[("1", "a")]] * 3
    world.deleted("app", "gone")
    second_engine.freeze()
    try:
        world.until(lambda: not pair.nodes["a"]["reachable"], "nobody noticed")
        world.delete("app", "data")
        world.delete("container", "one")
        world.process.gateway.volumes.delete(call(), "kept")
        for name, noun in (("data", "app"), ("one", "container")):
            world.until(lambda n=name, o=noun: pair.status(n, o).get("reason") == "BackendUnreachable", "no word of it")
            assert pair.status(name, noun)["phase"] == "Deleting"
            assert "host a" in pair.status(name, noun)["message"]
        world.until(lambda: kept(world).get("reason") == "VolumeUnavailable", "no word of the volume")
        assert "host a" in kept(world)["message"]
        told = [event["type"] for event in world.events() if event["type"].endswith("DeletionBlocked")]
        assert sorted(told) == ["AppDeletionBlocked", "ContainerDeletionBlocked", "VolumeDeletionBlocked"]
    finally:
        second_engine.thaw()
    gone = {("AppDeleted", "data"), ("ContainerDeleted", "one"), ("VolumeDeleted", "kept")}
    world.until(lambda: gone <= {(e["type"], e["subject_name"]) for e in world.events()}, "something is left")


def kept(world: World) -> Any:
    return shown(world.process.gateway.volumes.show(call(), "kept"))["status"]


def test_a_restart_of_every_replica_that_nobody_saw_is_told(pair: Pair) -> None:
    """As an engine does when it is restarted itself."""
    world = pair.world
    pair.create(replicas=N)
    world.process.stop()
    engine = pair.engines["a"]
    mine = of(engine, "web")
    assert 0 < len(mine) < N
    for found in mine:
        engine.client().api.restart(found["Id"], timeout=0)
    world.restart()
    world.until(lambda: len(world.events("InstanceRestarted")) >= len(mine), "nothing is told")
    told = world.events("InstanceRestarted")
    assert {e["data"]["host"] for e in told} == {"a"}
    assert {e["data"]["native_id"] for e in told} == {found["Id"] for found in mine}
    world.settled("app", "web", "Running")


def test_a_restart_of_an_engine_that_restarts_its_containers_is_told(own_engine: Engine, tmp_path: Path) -> None:
    host = {"name": "a", "runtime": "docker", "endpoint": own_engine.endpoint, "address": "127.0.0.1"}
    world = World(tmp_path, {"kind": "native", "hosts": [host]}, 60.0, describe=0.5, resync=0.5, backend_timeout=2.0)
    world.register()
    try:
        world.create("app", {"name": "web", "cluster": CLUSTER, "image": Engine.image, "replicas": 2} | PLAIN)
        world.settled("app", "web", "Running")
        mine = {found["Id"] for found in of(own_engine, "web")}
        own_engine.kill()
        own_engine.start()

        def again() -> set[str]:
            """Those of which it is told that they ended and run again, or that they were restarted."""
            types: dict[str, set[str]] = {id: set() for id in mine}
            for event in world.events():
                if event.get("data", {}).get("native_id") in mine:
                    types[event["data"]["native_id"]].add(event["type"])
            return {id for id, own in types.items() if own & {"InstanceRestarted", "InstanceExited"}}

        world.until(lambda: again() == mine, "a restart is not told")
        world.settled("app", "web", "Running")
        assert {found["Id"] for found in of(own_engine, "web")} == mine
    finally:
        world.close()


def test_a_host_that_is_drained_is_emptied_with_no_moment_below_the_promise(
    pair: Pair, docker_engine: Engine, second_engine: Engine
) -> None:
    world = pair.world
    pair.create("data", **DATA)
    pair.create("alone", "container")
    pair.create(replicas=N, **CHECKED)
    assert {host for host, _ in pair.phases()} == {"a", "b"}
    fixed = {name: pair.there(name) for name in ("data", "alone")}
    (host,) = {where for _, where in fixed["data"]}
    other = "b" if host == "a" else "a"
    generation = world.show("app", "web")["generation"]
    with Sampler(pair.engines[host], pair.engines[other]) as sampler:
        pair.schedule(**{host: False})
        seen = set()
        world.until(lambda: seen.add(pair.status()["phase"]) or pair.moved("web", other), "it was not emptied")
        world.settled("app", "web", "Running")
    assert sampler.fewest == N
    assert sampler.most == N + 1
    assert seen == {"Running"}
    assert "rollout" not in pair.status()
    assert world.show("app", "web")["generation"] == generation
    told = world.until(lambda: pair.status("data").get("reason") and pair.status("data"), "nobody says what stays")
    assert (told["phase"], told["reason"]) == ("Running", "Unschedulable")
    assert f"The host {host} is being drained" in told["message"]
    assert f"the volumes are on {host}" in told["message"]
    assert fixed == {name: pair.there(name) for name in fixed}
    assert pair.status("alone", "container")["phase"] == "Running"
    world.settled("app", "data", "Running")

    pair.schedule()
    world.until(lambda: "reason" not in pair.status("data"), "it is told still")
    assert pair.moved("web", other), "nothing comes back by itself"


def test_draining_that_is_called_off_in_the_middle_leaves_each_replica_once(pair: Pair) -> None:
    pair.create(replicas=N, update={"min_ready": 2})
    pair.schedule(a=False)
    pair.world.until(lambda: len(pair.there()) > N, "nothing moves")
    pair.schedule(a=True)
    pair.world.until(pair.complete, "some are doubled, or missing")
    pair.world.settled("app", "web", "Running")
    assert pair.complete()
