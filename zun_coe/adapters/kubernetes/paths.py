"""Where in the API an object is: by its kind, its namespace and its name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COLLECTIONS = {
    "DaemonSet": "/apis/apps/v1/{}daemonsets",
    "Deployment": "/apis/apps/v1/{}deployments",
    "Event": "/api/v1/{}events",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v1/{}horizontalpodautoscalers",
    "Namespace": "/api/v1/namespaces",
    "Node": "/api/v1/nodes",
    "PersistentVolumeClaim": "/api/v1/{}persistentvolumeclaims",
    "Pod": "/api/v1/{}pods",
    "ReplicaSet": "/apis/apps/v1/{}replicasets",
    "Secret": "/api/v1/{}secrets",
    "Service": "/api/v1/{}services",
    "StatefulSet": "/apis/apps/v1/{}statefulsets",
}


def collection(kind: str, namespace: str | None = None) -> str:
    """All objects of a kind: in a namespace, or everywhere."""
    return _COLLECTIONS[kind].format(f"namespaces/{namespace}/" if namespace else "")


def version(kind: str) -> str:
    """The group and version of a kind, as `apps/v1`."""
    _, root, *parts = _COLLECTIONS[kind].split("/")
    return "/".join(parts[: 2 if root == "apis" else 1])


def groups() -> dict[str, str]:
    """The version of each named group that is called: `apps` and `v1`."""
    called = (version(kind).partition("/") for kind in sorted(_COLLECTIONS))
    return {group: number for group, _, number in called if number}


def path(kind: str, name: str, namespace: str | None = None) -> str:
    """One object."""
    return f"{collection(kind, namespace)}/{name}"


def path_of(object: Mapping[str, Any]) -> str:
    """An object that says of what kind it is and where."""
    metadata = object["metadata"]
    return path(object["kind"], metadata["name"], metadata.get("namespace"))
