"""Resources as users see them: JSON, made once for each change and kept. Pure.

`as_of` and `reachable` belong to the cluster and are put in when a resource is read, so that the
passing of time changes nothing that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid5

import msgspec

from zun_coe.model import (
    Cluster,
    ClusterStatus,
    Event,
    Instance,
    Intent,
    Phase,
    Revision,
    Secret,
    Service,
    Status,
    Template,
    Volume,
    VolumeStatus,
    plain,
)
from zun_coe.model.value import timestamp

# The engine's memory inside a status: kept, and nobody's business.
_HIDDEN = {"settled", "goal", "best", "progressed_at", "restarted", "restarting", "hash", "instances", "write_id"}
_HIDDEN |= {"reason_since", "troubled", "parts"}
# What other projects see of a public cluster, of its status and of its nodes. The labels are what they place by.
_PUBLIC = {"id", "project", "name", "kind", "source", "public", "labels", "generation", "created_at", "updated_at"}
_PUBLIC_STATUS = {"phase", "observed_generation", "reachable", "as_of", "reason", "versions", "nodes"}
_PUBLIC_NODE = {"name", "labels", "schedulable", "reachable"}
_OF_REVISIONS = {"app", "number", "hash", "volumes", "accept_loss", "lost", "restarts", "digests"}
_OF_EVENTS = tuple(name for name in Event.__struct_fields__ if name not in ("n", "data", "first_at"))
_all_of = attrgetter(*_OF_EVENTS)
_PHASES: dict[str, Phase] = {
    "pending": "Pending",
    "creating": "Creating",
    "running": "Running",
    "paused": "Paused",
    "restarting": "Restarting",
    "exited": "Restarting",
    "failed": "Failed",
    "removing": "Deleting",
    "unknown": "Unknown",
}


def replica_id(app: str, instance: Instance) -> str:
    """The id of a replica as a container: the same for as long as the native instance lives."""
    return _replica_id(app, instance.native_id)


@lru_cache(maxsize=4096)  # asked for again with every change of its app
def _replica_id(app: str, native_id: str) -> str:
    return str(uuid5(UUID(app), native_id))


def workload(intent: Intent, status: Status, cluster: str, running: Revision | None = None) -> dict[str, Any]:
    """An app or a container, its status last and without what belongs to its cluster. `cluster`: its name;
    `running`: what most of an app's replicas run, where that is known."""
    shown = status_of(status)
    if running is not None:
        shown["image"] = running.template.image
    if digest := next((d for i in status.instances if (d := image_digest(i.digests)) and _runs(i, running)), None):
        shown["image_digest"] = digest
    if intent.deletion:
        shown["phase"] = "Deleting"
    return (
        _common(intent, cluster, intent.template)
        | _app_fields(intent)
        | _server_set(intent, status)
        | {"status": shown}
    )


def image_digest(digests: Mapping[str, str]) -> str | None:
    """What the image of the main container was resolved to, as a digest alone."""
    return digests.get("main", "").rpartition("@")[2] or None


def _runs(instance: Instance, running: Revision | None) -> bool:
    """Whether an instance is one of those that a resource is known by: of an app, of those that most are."""
    return running is None or instance.hash in (running.hash, *running.restarts)


def status_of(status: Status) -> dict[str, Any]:
    """The part of a status that is shown."""
    visible = {k: getattr(status, k) for k in status.__struct_fields__ if k not in _HIDDEN}
    shown: dict[str, Any] = {k: plain(v) for k, v in visible.items() if v is not None}
    if status.rollout:
        shown["rollout"] = {k: v for k, v in shown["rollout"].items() if k not in ("hash", "cause")}
    if not status.evidence:
        shown.pop("evidence", None)
    if not status.revision:
        shown.pop("revision", None)
    return shown


def replica_phase(intent: Intent, instance: Instance) -> Phase:
    """The phase of a replica as a container."""
    return "Deleting" if intent.deletion else _PHASES[instance.state]


def replica(
    intent: Intent, status: Status, instance: Instance, cluster: str, made_from: Revision | None = None
) -> dict[str, Any]:
    """One replica of an app, as a container. `made_from`: its own revision; None where no record tells, so that
    only what is wanted can be shown."""
    created = instance.created_at or intent.created_at
    shown = {
        "phase": replica_phase(intent, instance),
        "observed_generation": status.observed_generation,
        "ready": instance.ready,
        "updated": instance.hash == (status.rollout.hash if status.rollout else status.hash),
        "health": instance.health,
        "restarts": instance.restarts,
        "started_at": instance.started_at,
        "reason": instance.reason,
        "message": instance.message,
        "evidence": instance.evidence or None,
        "exit_code": instance.exit_code if instance.state != "running" else None,
        "endpoints": instance.endpoints,
        "native_id": instance.native_id,
        "image_digest": image_digest(instance.digests),
    }
    body = _common(intent, cluster, made_from.template if made_from else intent.template) | {
        "id": replica_id(intent.id, instance),
        "name": f"{intent.name}-{instance.slot}",
        "app": intent.name,
        "generation": intent.generation,
        "created_at": timestamp(created),
        "updated_at": timestamp(instance.started_at or created),
    }
    body |= {"host": instance.host} if instance.host else {}
    body |= {"revision": made_from.number} if made_from else {}
    body.pop("sidecars", None)
    return body | {"status": {k: plain(v) for k, v in shown.items() if v is not None}}


def cluster(record: Cluster, status: ClusterStatus) -> dict[str, Any]:
    """A cluster as its own project and operators see it. Of credentials only whether there are any is shown."""
    body: dict[str, Any] = plain(record)
    for hidden in ("credentials", "accepted", "deletion", "request_id", "write_id"):
        body.pop(hidden, None)
    body["has_credentials"] = record.credentials is not None
    info = status.info
    phase = "Deleting" if record.deletion else status.phase
    shown = plain(status) | {"phase": phase}
    for hidden in ("info", "parts", "others", "write_id"):
        shown.pop(hidden, None)
    if not status.evidence:
        shown.pop("evidence", None)
    if status.credentials:
        shown["credentials"] = {"expires_at": shown["credentials"]["expires_at"]}
    if info:
        shown |= {"versions": info.versions, "nodes": plain(info.nodes)}
    return body | {"status": shown}


def public_cluster(record: Cluster, status: ClusterStatus) -> dict[str, Any]:
    """A public cluster as other projects see it: what they need to use it, and nothing of how it is reached, what
    its machines are, or who they belong to."""
    whole = cluster(record, status)
    body = {k: v for k, v in whole.items() if k in _PUBLIC}
    shown = {k: v for k, v in whole["status"].items() if k in _PUBLIC_STATUS}
    if "nodes" in shown:
        shown["nodes"] = [{k: v for k, v in node.items() if k in _PUBLIC_NODE} for node in shown["nodes"]]
    return body | {"status": shown}


def volume(record: Volume, status: VolumeStatus, cluster: str, users: list[str]) -> dict[str, Any]:
    """A volume and the names of what uses it."""
    body = {k: v for k, v in plain(record).items() if k not in ("deletion", "request_id", "write_id")}
    phase = "Deleting" if record.deletion else status.phase
    shown = {k: v for k, v in plain(status).items() if k != "write_id"} | {"phase": phase}
    return body | {"cluster": cluster, "used_by": users, "status": shown}


def secret(record: Secret) -> dict[str, Any]:
    """A secret: the names of its keys, never a value."""
    hidden = ("data", "request_id", "write_id")
    return {k: v for k, v in plain(record).items() if k not in hidden}


def revision(record: Revision, current: int, effective: int) -> dict[str, Any]:
    """A revision of an app. `current`: what was asked for last; `effective`: what runs."""
    body = {k: v for k, v in plain(record).items() if k not in _OF_REVISIONS}
    flags = {"current": record.number == current, "effective": record.number == effective}
    last = record.digests.get((record.hash, *record.restarts)[-1], {})
    digests = {name: digest.rpartition("@")[2] for name, digest in last.items()}
    return {"revision": record.number} | flags | ({"image_digests": digests} if digests else {}) | body


def event(record: Event, id: str) -> dict[str, Any]:
    """An event under its id."""
    # one by one, since pages have hundreds of them
    body = {name: value for name, value in zip(_OF_EVENTS, _all_of(record), strict=True) if value is not None}
    at = timestamp(record.at)
    body |= {"at": at, "first_at": timestamp(record.first_at) if record.first_at else at, "last_at": at}
    if record.data:
        body["data"] = record.data  # of plain JSON, as it was stored
    return {"id": id} | body


def service(record: Service) -> dict[str, Any]:
    """A process of the gateway."""
    shown: dict[str, Any] = plain(record)
    return shown


def encode(body: Mapping[str, Any]) -> bytes:
    """JSON as it goes out."""
    return msgspec.json.encode(body)


def as_bytes(body: Mapping[str, Any]) -> bytes:
    """JSON without its two closing braces, so that `finish` can add to the status, which is last."""
    return msgspec.json.encode(body)[:-2]


def finish(prefix: bytes, suffix: bytes) -> bytes:
    """The whole JSON: what is kept, and what the cluster adds to every status."""
    return prefix + suffix


def suffix_of(status: ClusterStatus) -> bytes:
    """What a cluster adds to the status of everything on it."""
    seen = {"reachable": status.reachable} | ({"as_of": timestamp(status.as_of)} if status.as_of else {})
    return b"," + msgspec.json.encode(seen)[1:] + b"}"


def _common(intent: Intent, cluster: str, template: Template) -> dict[str, Any]:
    head = {"id": intent.id, "name": intent.name, "project": intent.project, "cluster": cluster}
    body = head | {"cluster_id": intent.cluster, "labels": intent.labels, "desired_state": intent.desired_state}
    body |= plain(template)
    if intent.noun == "container":  # only an app has sidecars
        body.pop("sidecars", None)
    return body


def _app_fields(intent: Intent) -> dict[str, Any]:
    if intent.noun == "container":
        return {}
    return {"replicas": intent.replicas, "update": plain(intent.update), "placement": plain(intent.placement)}


def _server_set(intent: Intent, status: Status) -> dict[str, Any]:
    body: dict[str, Any] = {
        "generation": intent.generation,
        "created_at": timestamp(intent.created_at),
        "updated_at": timestamp(intent.updated_at),
    }
    if intent.noun == "app":
        body["revision"] = intent.revision
    elif status.instances and status.instances[0].host:
        body["host"] = status.instances[0].host
    if intent.adopted:
        body["adopted"] = {"namespace": intent.adopted.namespace, "name": intent.adopted.name}
    if intent.accept_loss:
        body["accept_loss"] = list(intent.accept_loss)
    if intent.lost:
        body["lost"] = plain(intent.lost)
    return body
