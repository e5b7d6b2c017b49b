"""A Kubernetes as it describes itself: who it is, its nodes, and what the gateway may and can do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zun_coe.adapters import OPERATIONS
from zun_coe.adapters.kubernetes import paths, wire
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.discovery import Apis, discover
from zun_coe.adapters.kubernetes.hardening import Level
from zun_coe.adapters.kubernetes.permissions import Permissions, Right
from zun_coe.adapters.kubernetes.podspec import GPU
from zun_coe.adapters.kubernetes.quantities import number_of
from zun_coe.errors import Absent, Denied, Invalid
from zun_coe.model import ClusterInfo, Node, OperationSupport, Support

_NOT_YET = OperationSupport(support=Support.NONE, note="The gateway does not offer this on Kubernetes yet.")
_LOST = "The pod goes, and with it what it wrote outside of volumes and what it printed."
_OPERATIONS: Mapping[str, OperationSupport] = {
    "stop": OperationSupport(support=Support.EMULATED, note=_LOST),
    "start": OperationSupport(support=Support.EMULATED, note="A new pod is made."),
    "restart": OperationSupport(support=Support.EMULATED, note=f"{_LOST} A new one is made."),
    "pause": OperationSupport(support=Support.NONE, note="Kubernetes does not suspend processes."),
    "unpause": OperationSupport(support=Support.NONE, note="Kubernetes does not suspend processes."),
    "kill": OperationSupport(support=Support.NONE, note="Kubernetes sends no signals; stop or restart it."),
    "resize": _NOT_YET,
    "logs": OperationSupport(support=Support.NATIVE),
    "logs_follow": OperationSupport(support=Support.NATIVE),
    "workloads": OperationSupport(support=Support.NATIVE),
    "adopt": OperationSupport(support=Support.NATIVE, note="Deployments, where an app can say all that they are."),
}
_NO_LOGS = OperationSupport(support=Support.NONE, note="The cluster's credentials lack the right to get pods/log.")


class _Namespace(wire.Wire, frozen=True, kw_only=True):
    metadata: wire.Metadata


class _Taint(wire.Wire, frozen=True, kw_only=True):
    key: str
    effect: str = ""


class _Spec(wire.NodeSpec, frozen=True, kw_only=True):
    taints: tuple[_Taint, ...] = ()


class _System(wire.System, frozen=True, kw_only=True):
    container_runtime_version: str = ""
    os_image: str = ""
    architecture: str = ""


class _Status(wire.NodeStatus, frozen=True, kw_only=True):
    capacity: dict[str, str] = msgspec.field(default_factory=dict)
    allocatable: dict[str, str] = msgspec.field(default_factory=dict)
    node_info: _System = _System()


class Machine(wire.Node, frozen=True, kw_only=True):
    """A node with what it has to offer."""

    spec: _Spec = _Spec()
    status: _Status = _Status()


def describe(client: Client, permissions: Permissions) -> ClusterInfo:
    """Ask the cluster; about six calls. Raises `Denied` where a right is missing without which nothing can be run,
    with the first of them as evidence, and `Invalid` where there is no such namespace."""
    apis, namespace = discover(client), permissions.namespace
    lacking = permissions.missing()
    _require([right for right in lacking if right.without is None], namespace)
    return ClusterInfo(
        identity=identity(client, namespace),
        versions=versions(apis, lacking),
        nodes=tuple(node(found) for found in _nodes(client)),
        operations=operations(lacking),
    )


def enforcing(info: ClusterInfo, level: Level) -> ClusterInfo:
    """The same with the Pod Security Standard that the namespaces enforce which are the gateway's. Pure."""
    if not level:
        return info
    known = {"kubernetes": info.versions["kubernetes"] | {"pod_security": level}}
    return msgspec.structs.replace(info, versions=info.versions | known)


def identity(client: Client, namespace: str | None) -> str:
    """The uid of kube-system, which lives as long as the cluster. Where that may not be seen, that of the namespace
    which the cluster was registered with, under a name of its own: that the credentials may see less or more one
    day makes it no other cluster. Raises `Denied`, and `Invalid` where there is no such namespace."""
    own = None if namespace is None else _uid(client, namespace)
    try:
        return _uid(client, "kube-system")
    except Denied:
        if own is None:
            raise
    return f"namespace/{namespace}={own}"


def versions(apis: Apis, lacking: Sequence[Right]) -> dict[str, dict[str, str]]:
    """The APIs, and with them what the credentials lack. Pure."""
    told = apis.told()
    if lacking:
        told["kubernetes"]["missing_rights"] = ", ".join(f"{right} (no {right.without})" for right in lacking)
    return told


def operations(lacking: Sequence[Right]) -> dict[str, OperationSupport]:
    """How each operation is carried. Pure."""
    told = {name: _OPERATIONS.get(name, _NOT_YET) for name in OPERATIONS}
    if any(right.resource == "pods/log" for right in lacking):
        told |= {"logs": _NO_LOGS, "logs_follow": _NO_LOGS}
    if needed := [str(right) for right in lacking if right.without == "adoption"]:
        note = f"The cluster's credentials lack the right to {needed[0]}."
        told["adopt"] = OperationSupport(support=Support.NONE, note=note)
    return told


def node(found: Machine) -> Node:
    """A node in our terms. What it offers is what pods may use. Pure."""
    status, ready = found.status, found.readiness
    offered = status.capacity | status.allocatable
    cpus, memory, gpus = (number_of(offered.get(name, "")) for name in ("cpu", "memory", GPU))
    up = ready is not None and ready.status == "True"
    return Node(
        name=found.metadata.name,
        address=found.address,
        labels=found.metadata.labels,
        schedulable=not found.spec.unschedulable and not _repelling(found),
        reachable=up,
        cpus=None if cpus is None else float(cpus),
        memory=None if memory is None else int(memory),
        gpus=int(gpus or 0),
        version=status.node_info.kubelet_version or None,
        message=None if up else (ready.message if ready else "Its kubelet has not told of itself yet."),
        facts=_facts(found),
    )


def _nodes(client: Client) -> Sequence[Machine]:
    try:
        return client.list(paths.collection("Node"), Machine).items
    except Denied:
        return ()


def _uid(client: Client, namespace: str) -> str:
    try:
        return client.read(paths.path("Namespace", namespace), _Namespace).metadata.uid
    except Absent as error:
        told = f"There is no namespace {namespace}; it has to be made before."
        raise Invalid(told, evidence=error.evidence) from error


def _repelling(found: Machine) -> list[str]:
    """The taints that keep pods away, which have no tolerations. Those that Kubernetes sets on nodes that are not
    ready go by themselves."""
    taints = [t for t in found.spec.taints if t.effect in ("NoSchedule", "NoExecute")]
    return [t.key for t in taints if not t.key.startswith("node.kubernetes.io/")]


def _facts(found: Machine) -> dict[str, Any]:
    system = found.status.node_info
    told: dict[str, Any] = {
        "runtime": system.container_runtime_version,
        "os": system.os_image,
        "architecture": system.architecture,
        "taints": _repelling(found),
    }
    return {name: value for name, value in told.items() if value}


def _require(lacking: Sequence[Right], namespace: str | None) -> None:
    if not lacking:
        return
    where = f" in the namespace {namespace}" if namespace else ""
    listed = ", ".join(map(str, lacking))
    first = {"verb": lacking[0].verb, "resource": lacking[0].resource, "group": lacking[0].group}
    message = f"The cluster's credentials lack rights{where}: {listed}."
    raise Denied(message, evidence=first | {"missing": [str(right) for right in lacking]})
