"""Everything that can go wrong on a Kubernetes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.contract.faults import Ways
from tests.contract.troubles import AppTroubles, ClusterTroubles
from tests.contract.world import Body, World
from tests.real.components import Registry, short_folder, wait_until
from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.permissions import EVERYWHERE, OWN, WITH_NAMESPACE, Right, rules_for

if TYPE_CHECKING:
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node

CLASS = "nowhere"
LABEL = "disk"


class KubernetesWays(Ways):
    """A cluster of one node: others that are there get nothing meanwhile."""

    words: ClassVar = {
        "no-room-cpu": "^0/[0-9]+ nodes are available: .*Insufficient cpu",
        "no-room-memory": "^0/[0-9]+ nodes are available: .*Insufficient memory",
        "no-such-node": "^0/[0-9]+ nodes are available: .*didn't match",
        "port-taken": "provided port is already allocated",
        "no-volume": f'storageclass.storage.k8s.io "{CLASS}" not found',
        "stuck": "has timed out progressing",
    }
    patience = 240.0

    def __init__(self, plane: ControlPlane, node: Node, *rest: Any) -> None:
        from kubernetes import client

        super().__init__(node.engine, *rest)
        self._plane, self._node = plane, node
        self._core, self._storage = client.CoreV1Api(plane.client()), client.StorageV1Api(plane.client())
        self._apps = client.AppsV1Api(plane.client())
        self._rights = client.RbacAuthorizationV1Api(plane.client())
        self.body = self.fragile_body = plane.body()
        self._namespace = plane.namespace()
        self.changing_body = plane.body(self._token_for_namespace(), namespace=self._namespace)
        self._role = f"limited-{self._namespace}"
        self._others = [
            found.metadata.name for found in self._core.list_node().items if found.metadata.name != node.name
        ]
        self._cordon(True)
        self.limited_body = plane.body(plane.token_for(self._role, rules_for((*OWN, *EVERYWHERE))))

    def close(self) -> None:
        """Leave the cluster as it was."""
        self._cordon(False)
        self._plane.drop_namespace(self._namespace)
        self._core.patch_node(self._node.name, {"metadata": {"labels": {LABEL: None}}})
        if CLASS in [found.metadata.name for found in self._storage.list_storage_class().items]:
            self._storage.delete_storage_class(CLASS)

    def unplaceable(self) -> Body:
        return {"placement": {"constraints": {LABEL: "ssd"}}}

    def make_room(self, world: World) -> None:
        self._core.patch_node(self._node.name, {"metadata": {"labels": {LABEL: "ssd"}}})

    def take_port(self) -> int:
        spec = {"type": "NodePort", "ports": [{"port": 80}]}
        service = self._core.create_namespaced_service("default", {"metadata": {"name": "taking"}, "spec": spec})
        return int(service.spec.ports[0].node_port)

    def free_port(self) -> None:
        # It does not know what servers of that age answer to this.
        self._core.delete_namespaced_service("taking", "default", _preload_content=False).read()

    def lack_volume(self) -> Body:
        volume = {"name": "data", "size": "1Mi", "class": CLASS}
        return {"mounts": [{"path": "/data", "volume": volume}]}

    def provide_volume(self) -> None:
        like = {"provisioner": "kubernetes.io/host-path", "reclaimPolicy": "Delete"}
        self._storage.create_storage_class({"metadata": {"name": CLASS}, **like})

    def restrict(self, world: World, project: str) -> None:
        quota = {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
        self._core.create_namespaced_resource_quota(naming.namespace(world.installation, project), quota)

        def counted() -> bool:
            status = self._core.read_namespaced_resource_quota("one", naming.namespace(world.installation, project))
            return (status.status.used or {}).get("pods") == "1"

        world.until(counted, "the quota does not count")

    def lift(self, world: World, project: str) -> None:
        namespace = naming.namespace(world.installation, project)
        self._core.patch_namespaced_resource_quota("one", namespace, {"spec": {"hard": {"pods": "9"}}})
        # Kubernetes tries again after as long as it was refused, or when anything happens to what asks for the pods.
        for owner in self._apps.list_namespaced_replica_set(namespace).items:
            touched = {"metadata": {"annotations": {"touched": "yes"}}}
            self._apps.patch_namespaced_replica_set(owner.metadata.name, namespace, touched)

    def cut(self) -> None:
        self._plane.api.kill()

    def mend(self) -> None:
        self._plane.api.start()
        self._plane.ready()

    def exchange(self) -> None:
        self._plane.drop_namespace(self._namespace)
        names = f"metadata.name={self._namespace}"
        wait_until(lambda: not self._core.list_namespace(field_selector=names).items, 240, "the namespace stays")
        self._plane.namespace(self._namespace)

    def change_back(self) -> bool:
        return False

    def forbid(self) -> Mapping[str, str]:
        right = {"verb": "patch", "resource": "deployments"}
        self._grant(right for right in (*OWN, *EVERYWHERE) if (right.verb, right.resource) != ("patch", "deployments"))
        return right

    def allow(self) -> None:
        self._grant((*OWN, *EVERYWHERE))

    def _cordon(self, closed: bool) -> None:
        for name in self._others:
            self._core.patch_node(name, {"spec": {"unschedulable": closed}})

    def _grant(self, rights: Iterable[Right]) -> None:
        self._rights.patch_cluster_role(self._role, {"rules": list(rules_for(tuple(rights)))})

    def _token_for_namespace(self) -> str:
        """Of an account that outlives the namespace, and sees no other."""
        rules = rules_for([right for right in (*OWN, *WITH_NAMESPACE) if right.resource != "namespaces"])
        name = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"], "resourceNames": [self._namespace]}
        return self._plane.token_for(f"only-{self._namespace}", [*rules, name])


@pytest.fixture(scope="module")
def ways(kubernetes: ControlPlane, kubernetes_node: Node, registry: Registry) -> Iterator[Ways]:
    """Into trouble, and out of it."""
    folder = short_folder()
    ways = KubernetesWays(kubernetes, kubernetes_node, registry, folder)
    yield ways
    ways.close()
    shutil.rmtree(folder)


class TestApps(AppTroubles):
    """With one app each."""


class TestClusters(ClusterTroubles):
    """With one gateway each."""
