"""A Kubernetes whose control plane is killed in the middle of a rollout, with the gateway and without."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.world import CLUSTER, World

if TYPE_CHECKING:
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node
    from tests.real.process import Process

PATIENCE = 110.0
REPLICAS = 3


@pytest.fixture
def world(tmp_path: Path, kubernetes: ControlPlane, kubernetes_node: Node) -> Iterator[World]:
    """A gateway in the middle of a rollout, which takes its time."""
    world = World(tmp_path / "first", kubernetes.body(), PATIENCE, backend_timeout=5.0)
    world.register()
    how = {"command": ["sleep", "3600"], "pull": "never", "stop_timeout": 1, "env": {"A": "1"}}
    update = {"max_surge": 1, "max_unavailable": 0, "min_ready": 2}
    app = {"name": "web", "cluster": CLUSTER, "image": kubernetes_node.image, "replicas": REPLICAS, "update": update}
    world.create("app", app | how)
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"env": {"A": "2"}})
    world.until(lambda: 0 < status(world)["replicas"]["updated"] < REPLICAS, "nothing is rolled out")
    yield world
    revive(kubernetes)
    world.close()


def status(world: World) -> Any:
    return world.show("app", "web")["status"]


def revive(plane: ControlPlane) -> None:
    """Start what does not run, each after what it needs, and wait until all serves. No-op where all runs."""
    _start(plane.etcd.members)
    plane.etcd.ready()
    _start([plane.api])
    plane.ready()
    _start([plane.controllers, plane.scheduler])


def _start(processes: Sequence[Process]) -> None:
    for process in processes:
        if not process.running:
            process.start()


def assert_held(world: World) -> None:
    """The last state stays, and says that it is no longer fresh."""
    cluster = world.away()
    shown = status(world)
    assert shown["reachable"] is False
    assert shown["as_of"] == cluster["as_of"]
    assert shown["phase"] == "Progressing"
    assert shown["rollout"]["state"] == "progressing"
    assert shown["replicas"]["current"] >= REPLICAS


def assert_whole(world: World, plane: ControlPlane) -> None:
    """The rollout is complete, nothing is doubled, and nothing was told twice."""
    from tests.real.kubernetes_outside import Outside

    found = world.settled("app", "web", "Running")
    assert found["status"]["replicas"] == {"desired": 3, "current": 3, "updated": 3, "ready": 3}
    assert found["status"]["reachable"] is True
    there = Outside(plane, world)
    assert len(there.deployments()) == 1
    assert len(there.replica_sets("web")) == 2
    assert len(there.pods("web")) == REPLICAS
    assert there.names("services") == {"web"}
    told = world.events()
    once = [e["type"] for e in told if e["type"] in ("RolloutProgressing", "RolloutComplete", "ClusterUnreachable")]
    assert sorted(once) == ["ClusterUnreachable", "RolloutComplete", "RolloutProgressing"]
    ends = ("InstanceCreated", "InstanceRemoved")
    pods = Counter((e["type"], e["data"]["native_id"]) for e in told if e["type"] in ends)
    assert [pod for pod, times in pods.items() if times > 1] == []
    assert [e for e in told if e["type"] in ("DriftCorrected", "OrphanFound", "BackendChanged")] == []


def test_the_api_is_killed(world: World, kubernetes: ControlPlane) -> None:
    kubernetes.api.kill()
    assert_held(world)
    revive(kubernetes)
    assert_whole(world, kubernetes)


def test_everything_is_killed_with_the_gateway(world: World, kubernetes: ControlPlane, tmp_path: Path) -> None:
    for process in (kubernetes.api, *kubernetes.etcd.members, kubernetes.controllers, kubernetes.scheduler):
        process.kill()
    assert_held(world)
    leave_behind(tmp_path / "first", tmp_path / "second")
    world.process.stop()
    after = World(tmp_path / "second", {}, PATIENCE, backend_timeout=5.0)
    world.process = after.process  # what is closed in the end
    assert_held(world)
    revive(kubernetes)
    assert_whole(world, kubernetes)


def leave_behind(folder: Path, copy: Path) -> None:
    """What is left of a gateway that is killed just now: its state with all its leases."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("state.db", "state.db-*"))
    with closing(sqlite3.connect(folder / "state.db")) as source, closing(sqlite3.connect(copy / "state.db")) as target:
        source.backup(target)
