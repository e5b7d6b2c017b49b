"""A workload as native objects, plain JSON. Pure, and deterministic: the same workload gives the same bytes.

An app is a Deployment and a container a Pod. What its variables need comes in a Secret, its login at a registry in
another, each volume in a claim. It is found by its name through a Service, and from outside through another one."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from zun_coe.adapters import images
from zun_coe.adapters.kubernetes import hardening, naming, podspec, quantities
from zun_coe.adapters.kubernetes.adoption import fitted
from zun_coe.adapters.kubernetes.hardening import Security
from zun_coe.adapters.kubernetes.syntax import is_free_label
from zun_coe.errors import Invalid
from zun_coe.model import Port, Template, Update, Workload, WorkloadRef
from zun_coe.model.spec import storage_of

MASK = "***"
DOCKER_HUB = "https://index.docker.io/v1/"
MANAGED_BY = "zun-coe"


@dataclass(frozen=True)
class Target:
    """Where a project's objects go. `shared`: the namespace is one for all projects. `volume_size`: what a volume
    is given that names no size, since a claim has to ask for one. `security`: what pods are rendered with."""

    namespace: str
    shared: bool = False
    volume_size: str = "1Gi"
    security: Security = ""


def render(workload: Workload, target: Target) -> list[dict[str, Any]]:
    """The objects in the order of their creation: Secrets, claims, Deployment or Pod, Services. A stopped container
    has only its claims. Raises `Invalid` for a secret or a volume that is not there."""
    claims = [_claim(workload, target, name) for name in podspec.volumes_of(workload.template)]
    if workload.standalone and workload.desired_state != "running":
        return claims
    body = _pod(workload, target) if workload.standalone else _deployment(workload, target)
    return [*_secrets(workload, target), *claims, body, *_services(workload, target)]


def plan(workload: Workload, target: Target) -> list[dict[str, Any]]:
    """The same for people: the values of secrets are not needed, and are not shown."""
    named = dict.fromkeys(workload.template.env_secrets.values(), MASK)
    login = {"username": MASK, "password": MASK} if workload.template.image_auth else None
    return masked(render(msgspec.structs.replace(workload, secrets=named, image_auth=login), target))


def masked(objects: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The objects without what their Secrets hold."""
    return [dict(o) | ({"data": dict.fromkeys(o["data"], MASK)} if o["kind"] == "Secret" else {}) for o in objects]


def selected(ref: WorkloadRef) -> dict[str, str]:
    """The labels by which a Deployment and Services find their pods; they can never change."""
    return {naming.INSTALLATION: ref.installation, naming.ID: ref.id}


def published_name(ref: WorkloadRef) -> str:
    """The name of the Service that is reached from outside."""
    return f"{ref.name[:43].rstrip('-')}-{ref.id[:8]}-published"


def recommended(ref: WorkloadRef) -> dict[str, str]:
    """The labels that tools besides the gateway know."""
    return {
        "app.kubernetes.io/name": ref.name,
        "app.kubernetes.io/instance": naming.object_name(ref),
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }


def _object(api: str, kind: str, name: str, workload: Workload, target: Target, **body: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": target.namespace,
        "labels": _labels(workload.ref),
        "annotations": _annotations(workload.ref),
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata} | body


def _annotations(ref: WorkloadRef) -> dict[str, str]:
    return {naming.PROJECT_NAME: ref.project} | ({naming.PLACE: ref.place} if ref.place else {})


def _labels(ref: WorkloadRef) -> dict[str, str]:
    return naming.of_workload(ref) | recommended(ref)


def _free_labels(workload: Workload) -> dict[str, str]:
    """The user's own; without those that cannot be had, whose loss was accepted."""
    return {key: value for key, value in sorted(workload.labels.items()) if is_free_label(key, value)}


def _pod_labels(workload: Workload) -> dict[str, str]:
    volumes = {podspec.volume_label(workload.volumes[v]): v for v in podspec.volumes_of(workload.template)}
    return _labels(workload.ref) | {naming.HASH: workload.hash} | volumes


def _deployment(workload: Workload, target: Target) -> dict[str, Any]:
    update = workload.update
    annotations = _annotations(workload.ref) | hardening.marks(target.security)
    metadata = {"labels": _pod_labels(workload), "annotations": annotations}
    spec = {
        "replicas": workload.wanted,
        "selector": {"matchLabels": selected(workload.ref)},
        "strategy": _strategy(update),
        "minReadySeconds": update.min_ready,
        "progressDeadlineSeconds": update.deadline,
        "revisionHistoryLimit": 10,
        "paused": _paused(workload),
        "template": {"metadata": metadata, "spec": hardening.hardened(podspec.pod_spec(workload), target.security)},
    }
    found = _object("apps/v1", "Deployment", naming.object_name(workload.ref), workload, target, spec=spec)
    found["metadata"]["labels"] |= _free_labels(workload)
    return fitted(found, workload.adopted, workload.hash) if workload.adopted else found


def _paused(workload: Workload) -> bool:
    """A paused Deployment does not even make its first pods, so only a change of the template is held."""
    return workload.halted or (workload.update.paused and workload.previous is not None)


def _strategy(update: Update) -> dict[str, Any]:
    if update.strategy == "recreate":
        return {"type": "Recreate"}
    limits = {"maxSurge": update.max_surge, "maxUnavailable": update.max_unavailable}
    return {"type": "RollingUpdate", "rollingUpdate": limits}


def _pod(workload: Workload, target: Target) -> dict[str, Any]:
    name = naming.object_name(workload.ref)
    spec = hardening.hardened(podspec.pod_spec(workload), target.security)
    found = _object("v1", "Pod", name, workload, target, spec=spec)
    found["metadata"]["annotations"] |= hardening.marks(target.security)
    found["metadata"]["labels"] |= _pod_labels(workload) | _free_labels(workload)
    found["metadata"]["annotations"][naming.RESTARTED] = str(workload.restarts)
    health = workload.template.health
    if health is not None and health.start_period:
        found["metadata"]["annotations"][podspec.START_PERIOD] = f"{health.start_period:g}"
    return found


def _secrets(workload: Workload, target: Target) -> Iterable[dict[str, Any]]:
    values = _values(workload)
    if values:
        data = {podspec.secret_key(source): _base64(value) for source, value in sorted(values.items())}
        name = podspec.secret_name(workload)
        yield _object("v1", "Secret", name, workload, target, type="Opaque", data=data)
    if workload.template.image_auth and workload.image_auth:
        config = _base64(_docker_config(workload.template, workload.image_auth))
        kind, data = "kubernetes.io/dockerconfigjson", {".dockerconfigjson": config}
        yield _object("v1", "Secret", podspec.login_name(workload), workload, target, type=kind, data=data)


def _values(workload: Workload) -> dict[str, str]:
    """What the wanted template needs, and what the one before does: its pods may start again meanwhile."""
    wanted = set(workload.template.env_secrets.values())
    if missing := sorted(wanted - workload.secrets.keys()):
        raise Invalid(f"The secret {missing[0]} is not there.", evidence={"secrets": missing})
    before = set(workload.previous.env_secrets.values()) if workload.previous else set()
    return {source: workload.secrets[source] for source in (wanted | before) & workload.secrets.keys()}


def _docker_config(template: Template, login: Mapping[str, str]) -> str:
    user, password = login.get("username", ""), login.get("password", "")
    entry = {"username": user, "password": password, "auth": _base64(f"{user}:{password}")}
    return msgspec.json.encode({"auths": {_place(template.image, login.get("server")): entry}}).decode()


def _place(image: str, server: str | None) -> str:
    """Where kubelets look a login up: the server that it names, else the registry of an image. Of the names that Docker
    Hub has they know some only."""
    try:
        registry = images.registry_of(server) if server else images.parse(image).registry
    except ValueError as error:
        raise Invalid(str(error), evidence={"image": image}) from error
    return DOCKER_HUB if registry == images.DOCKER_HUB else server or registry


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _claim(workload: Workload, target: Target, volume: str) -> dict[str, Any]:
    """It belongs to the project and not to the workload, and is the same whoever names it first."""
    ref = workload.ref
    id = workload.volumes.get(volume, "")
    source = workload.storage.get(volume) or storage_of(workload.template)[volume]
    name = podspec.claim_name(workload, volume)
    labels = naming.of_project(ref.installation, ref.cluster, ref.project)
    labels |= {naming.VOLUME: id, naming.NAME: volume, "app.kubernetes.io/managed-by": MANAGED_BY}
    size = quantities.of_size(source.size or target.volume_size)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    found = _object("v1", "PersistentVolumeClaim", name, workload, target, spec=spec)
    found["metadata"]["labels"] = labels
    if source.class_:
        found["spec"]["storageClassName"] = source.class_
    return found


def _services(workload: Workload, target: Target) -> Iterable[dict[str, Any]]:
    """One by whose name its project reaches all ports, and one for what is published at the nodes. Without ports an
    app still has its name: then it leads to the pods themselves. What was taken over has a name already."""
    ports = workload.template.ports
    if (ports or not workload.standalone) and workload.adopted is None:
        name = naming.service_name(workload.ref, shared=target.shared)
        yield _service(workload, target, name, ports, "ClusterIP")
    if published := [p for p in ports if p.publish is not None]:
        yield _service(workload, target, published_name(workload.ref), published, "NodePort")


def _service(workload: Workload, target: Target, name: str, ports: Iterable[Port], type_: str) -> dict[str, Any]:
    listed = [_service_port(port, at_nodes=type_ == "NodePort") for port in ports]
    spec: dict[str, Any] = {"type": type_, "selector": _of_pods(workload)}
    spec |= {"ports": listed} if listed else {"clusterIP": "None"}
    return _object("v1", "Service", name, workload, target, spec=spec)


def _of_pods(workload: Workload) -> dict[str, str]:
    """Labels that all of its pods have, and those of nothing else."""
    if workload.adopted is None:
        return selected(workload.ref)
    return dict(workload.adopted.native["template"]["metadata"]["labels"])


def _service_port(port: Port, *, at_nodes: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": port.name or podspec.default_port_name(port),
        "protocol": port.protocol.upper(),
        "port": port.port,
        "targetPort": port.port,
    }
    return found | ({"nodePort": port.publish} if at_nodes and isinstance(port.publish, int) else {})
