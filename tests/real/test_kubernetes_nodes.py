"""A Kubernetes that loses a node on which the gateway runs something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.adapter import status_with
from tests.contract.world import CLUSTER, World
from zun_coe.adapters.kubernetes import naming

if TYPE_CHECKING:
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node

PATIENCE = 120.0


@pytest.fixture
def world(tmp_path: Path, kubernetes: ControlPlane) -> Iterator[World]:
    world = World(tmp_path / "nodes", kubernetes.body(), PATIENCE)
    world.register()
    yield world
    world.process.stop()
    kubernetes.drop_namespace(naming.namespace(world.installation, "default"))


def test_what_ran_there_is_not_known_and_can_be_forgotten(world: World, own_kubernetes_node: Node) -> None:
    name = own_kubernetes_node.name
    how = {"command": ["sleep", "3600"], "pull": "never", "stop_timeout": 1}
    there = {"placement": {"constraints": {"kubernetes.io/hostname": name}}}
    world.create("app", {"name": "web", "cluster": CLUSTER, "image": own_kubernetes_node.image} | how | there)
    world.settled("app", "web", "Running")
    own_kubernetes_node.kill_kubelet()
    status = world.until(lambda: status_with(world, "app", "BackendUnreachable"), "nobody notices that it is lost")
    assert status["replicas"]["ready"] == 0
    assert status["reachable"], "the cluster answers"
    (replica,) = world.replicas("web")
    assert (replica["status"]["phase"], replica["host"]) == ("Unknown", name)
    # Nobody can tell that it has ended there.
    world.deleted("app", "web", force=True)
