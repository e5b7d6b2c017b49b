"""Other people in the namespace of a project: what is there, as the server stores it, and what they do to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubernetes import client

from tests.contract.world import World
from tests.real.kubernetes import ControlPlane
from zun_coe.adapters.kubernetes import naming
from zun_coe.model import WorkloadRef

Json = dict[str, Any]


class Outside:
    """The namespace of a project of a gateway, for an administrator of the cluster. Objects are plain JSON, and
    changed as kubectl does: by a strategic merge (a mapping) or by a JSON patch (a list)."""

    def __init__(self, plane: ControlPlane, world: World, project: str = "default", namespace: str = "") -> None:
        self.namespace = namespace or naming.namespace(world.installation, project)
        self.apps, self.core = client.AppsV1Api(plane.client()), client.CoreV1Api(plane.client())
        self._world, self._project = world, project

    def app(self, name: str) -> WorkloadRef:
        """An app, as adapters name it."""
        return self._world.workload("app", name, self._project).ref

    def deployment(self, app: str) -> Json:
        """The Deployment of an app."""
        return self._json(self.apps.read_namespaced_deployment(self.named(app), self.namespace))

    def service(self, name: str) -> Json:
        """A Service by its own name."""
        return self._json(self.core.read_namespaced_service(name, self.namespace))

    def secret(self, name: str) -> Json:
        """A Secret by its own name."""
        return self._json(self.core.read_namespaced_secret(name, self.namespace))

    def change(self, app: str, body: Mapping[str, Any] | Sequence[Any]) -> Json:
        """Change the Deployment of an app; it then."""
        return self._json(self.apps.patch_namespaced_deployment(self.named(app), self.namespace, body))

    def change_service(self, name: str, body: Mapping[str, Any] | Sequence[Any]) -> Json:
        """Change a Service; it then."""
        return self._json(self.core.patch_namespaced_service(name, self.namespace, body))

    def change_secret(self, name: str, body: Mapping[str, Any]) -> Json:
        """Change a Secret; it then."""
        return self._json(self.core.patch_namespaced_secret(name, self.namespace, body))

    def drop(self, kind: str, name: str) -> None:
        """Delete a `deployment`, `service`, `secret` … by its own name."""
        api = self.apps if kind == "deployment" else self.core
        getattr(api, f"delete_namespaced_{kind}")(name, self.namespace, _preload_content=False).read()

    def named(self, app: str) -> str:
        """The name of an app's Deployment."""
        return naming.object_name(self.app(app))

    def deployments(self) -> list[Json]:
        """All of the namespace."""
        return self._all(self.apps.list_namespaced_deployment)

    def replica_sets(self, app: str) -> list[Json]:
        """Those of an app."""
        return self._all(self.apps.list_namespaced_replica_set, f"{naming.ID}={self.app(app).id}")

    def pods(self, app: str) -> list[Json]:
        """Those of an app that are not on their way out."""
        found = self._all(self.core.list_namespaced_pod, f"{naming.ID}={self.app(app).id}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def names(self, kind: str) -> set[str]:
        """The names of all `services`, `secrets`, `pods` … of the namespace."""
        plural = {"services": "service", "secrets": "secret", "pods": "pod", "claims": "persistent_volume_claim"}
        listed = getattr(self.core, f"list_namespaced_{plural[kind]}")(self.namespace)
        return {one.metadata.name for one in listed.items}

    def _all(self, lists: Callable[..., Any], selector: str = "") -> list[Json]:
        found = lists(self.namespace, label_selector=selector).items
        return [self._json(one) for one in found]

    def _json(self, found: Any) -> Json:
        plain: Json = self.core.api_client.sanitize_for_serialization(found)
        return plain


def uids(objects: Sequence[Json]) -> set[str]:
    """Which objects these are."""
    return {str(one["metadata"]["uid"]) for one in objects}
