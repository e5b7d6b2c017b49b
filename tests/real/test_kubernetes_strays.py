"""What others take out of the gateway's hands on a real Kubernetes goes with its app all the same; what does not go is
told of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.world import World
from zun_coe.adapters.kubernetes import naming

if TYPE_CHECKING:
    from tests.faults.api_proxy import ApiProxy
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node
    from tests.real.kubernetes_outside import Outside

PATIENCE = 90.0
FINALIZER = "example.com/theirs"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, api_proxy: ApiProxy, kubernetes_node: Node) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("strays"), api_proxy.body(), PATIENCE)
    world.register()
    yield world
    world.close()


@pytest.fixture
def outside(kubernetes: ControlPlane, world: World) -> Outside:
    from tests.real.kubernetes_outside import Outside

    return Outside(kubernetes, world)


def run(world: World, node: Node, name: str) -> None:
    how = {"command": ["sleep", "3600"], "pull": "never", "stop_timeout": 1, "replicas": 2}
    world.create("app", {"name": name, "cluster": "here", "image": node.image} | how)
    world.settled("app", name, "Running")


def test_a_pod_that_is_let_go_is_no_replica_and_goes_with_the_app(
    world: World, outside: Outside, kubernetes_node: Node
) -> None:
    run(world, kubernetes_node, "loose")
    pod = outside.pods("loose")[0]["metadata"]["name"]
    outside.core.patch_namespaced_pod(pod, outside.namespace, {"metadata": {"labels": {"pod-template-hash": None}}})

    def replaced() -> bool:
        names = {replica["name"] for replica in world.replicas("loose")}
        return len(names) == 2 and pod not in names

    world.until(replaced, "it is counted still, or nothing took its place")
    world.patch("app", "loose", {"env": {"A": "2"}})  # a rollout does not wait for it
    world.until(lambda: world.show("app", "loose")["status"]["revision"] == 2, "the rollout does not end")
    assert pod in outside.names("pods")
    going = outside.pods("loose")
    world.deleted("app", "loose")
    assert not {one["metadata"]["name"] for one in going} & outside.names("pods")


def test_what_a_deployment_left_behind_goes_with_the_app(world: World, outside: Outside, kubernetes_node: Node) -> None:
    run(world, kubernetes_node, "orphaned")
    name, ours = outside.named("orphaned"), outside.app("orphaned").id
    world.restart("api")
    outside.apps.delete_namespaced_deployment(name, outside.namespace, propagation_policy="Orphan")
    world.until(lambda: name not in {d["metadata"]["name"] for d in outside.deployments()}, "the Deployment stays")
    assert outside.replica_sets("orphaned")
    world.delete("app", "orphaned")
    world.restart()
    world.deleted("app", "orphaned")
    selector = f"{naming.ID}={ours}"
    assert outside.apps.list_namespaced_replica_set(outside.namespace, label_selector=selector).items == []


def test_who_keeps_what_was_deleted_is_told(world: World, outside: Outside, kubernetes_node: Node) -> None:
    run(world, kubernetes_node, "kept")
    name = outside.named("kept")
    outside.change("kept", {"metadata": {"finalizers": [FINALIZER]}})
    world.delete("app", "kept")

    def told() -> dict[str, Any] | None:
        status: dict[str, Any] = world.show("app", "kept")["status"]
        return status if status.get("reason") else None

    status = world.until(told, "nothing is told")
    assert (status["phase"], status["reason"]) == ("Deleting", "Error")
    assert FINALIZER in status["message"]
    assert status["evidence"] == {"kind": "Deployment", "name": name, "finalizers": [FINALIZER]}
    outside.apps.patch_namespaced_deployment(name, outside.namespace, {"metadata": {"finalizers": None}})
    world.deleted("app", "kept")
