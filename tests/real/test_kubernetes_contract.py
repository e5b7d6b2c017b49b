"""A real Kubernetes, as every cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.adapter import AdapterContract
from tests.contract.effects import InsideEffects
from tests.contract.world import World
from tests.real.engine import Engine
from zun_coe.adapters import LogOptions
from zun_coe.adapters.kubernetes import naming
from zun_coe.errors import Absent

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node


class TestKubernetes(AdapterContract, InsideEffects):
    patience = 90.0
    glance = 0.1

    @pytest.fixture
    def cluster_body(self, kubernetes: ControlPlane, kubernetes_node: Node) -> Mapping[str, Any]:
        self.plane = kubernetes
        return kubernetes.body()

    @pytest.fixture
    def engine(self, kubernetes_node: Node) -> Engine:
        return kubernetes_node.engine

    def test_container_that_was_started_again_is_another_one(self, world: World, body: Any) -> None:
        """Its pod has the name of the one before, and is not taken for it."""
        world.create("container", body())
        world.settled("container", "web", "Running")
        ref = world.workload("container", "web").ref
        (before,) = world.instances(ref)
        world.act("web", "stop")
        world.settled("container", "web", "Stopped")
        world.act("web", "start")
        world.settled("container", "web", "Running")
        (after,) = world.instances(ref)
        assert after.name == before.name
        told = [e["data"]["native_id"] for type in ("Created", "Removed") for e in world.events(f"Instance{type}")]
        assert told == [before.native_id, after.native_id, before.native_id]
        with world.adapter() as adapter:
            adapter.delete_instance(ref, before.native_id)
            with pytest.raises(Absent):
                adapter.logs(ref, before.native_id, LogOptions())
            assert [line.text for line in adapter.logs(ref, after.native_id, LogOptions())] == [b"started"]
        assert [i.native_id for i in world.instances(ref)] == [after.native_id]

    def leave(self, world: World) -> None:
        """Its namespaces go; nobody waits for that, since nothing in them is seen by another gateway."""
        world.process.stop()
        core, labels = client_of(self.plane), f"{naming.INSTALLATION}={world.installation}"
        for namespace in core.list_namespace(label_selector=labels).items:
            self.plane.drop_namespace(namespace.metadata.name)

    def delete_outside(self, native_id: str) -> None:
        core, (name, uid) = client_of(self.plane), naming.pod_of(native_id)
        (pod,) = core.list_pod_for_all_namespaces(field_selector=f"metadata.name={name}").items
        this_one = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        core.delete_namespaced_pod(name, pod.metadata.namespace, body=this_one)


def client_of(plane: ControlPlane) -> CoreV1Api:
    """The administrator's. Its package takes a good part of a second to import."""
    from kubernetes.client import CoreV1Api

    return CoreV1Api(plane.client())
