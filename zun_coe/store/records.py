"""Where each record is kept, and how it is written: keys and codecs, nothing else.

meta/installation, meta/schema, meta/restoring
meta/floor/<project>             the last event that is no longer kept
intent/<noun>/<project>/<id>     status/<noun>/<project>/<id>     noun: app container cluster volume
part/<noun>/<project>/<id>/<name>   instances or nodes of a status with many of them (`model/parts.py`)
secret/<project>/<id>
name/<noun>/<project>/<name>     the id
revision/<project>/<app>/<number, 8 digits>
event/<project>/<write>/<n>      the event's id is <revision of the store>-<n>
idem/<project>/<digest of user, operation and key>
tombstone/<cluster>/<noun>/<id>
use/<noun>/<id>                  put anew with each reference to it (`store/references.py`)
adopted/<cluster>/<namespace>/<name>   the id of the app that took it over
owner/<cluster>                  leased; which engine has the cluster
service/<id>                     leased"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

import msgspec

from zun_coe.model import (
    Cluster,
    ClusterStatus,
    Event,
    IdempotentAnswer,
    InstancePart,
    Intent,
    NodePart,
    Revision,
    Secret,
    Service,
    Status,
    Tombstone,
    Value,
    Volume,
    VolumeStatus,
)

T = TypeVar("T", bound=Value)
RESTORING = "meta/restoring"
"""There while a backup is being restored: what that leaves behind when it is cut off is no store."""

# What is decoded from each family of keys, by its first two parts, or its first.
TYPES: dict[str, type[Value]] = {
    "intent/app": Intent,
    "intent/container": Intent,
    "intent/cluster": Cluster,
    "intent/volume": Volume,
    "status/app": Status,
    "status/container": Status,
    "status/cluster": ClusterStatus,
    "status/volume": VolumeStatus,
    "part/app": InstancePart,
    "part/cluster": NodePart,
    "secret": Secret,
    "revision": Revision,
    "event": Event,
    "idem": IdempotentAnswer,
    "tombstone": Tombstone,
    "service": Service,
}


def intent_key(noun: str, project: str, id: str) -> str:
    """Where the intent of a resource is (`secret` has a family of its own, since it has no status)."""
    return f"secret/{project}/{id}" if noun == "secret" else f"intent/{noun}/{project}/{id}"


def status_key(noun: str, project: str, id: str) -> str:
    """Where the status of a resource is."""
    return f"status/{noun}/{project}/{id}"


def part_key(noun: str, project: str, id: str, name: str) -> str:
    """Where a part of a status is; with an empty name, what all of them are below."""
    return f"part/{noun}/{project}/{id}/{name}"


def name_key(noun: str, project: str, name: str) -> str:
    """Where the id of the thing with this name is."""
    return f"name/{noun}/{project}/{name}"


def revision_key(project: str, app: str, number: int) -> str:
    """Where a revision of an app is; they sort by number."""
    return f"revision/{project}/{app}/{number:08d}"


def event_key(project: str, write: str, n: int) -> str:
    """Where the n-th event of a write is."""
    return f"event/{project}/{write}/{n:03d}"


def idem_key(project: str, digest: str) -> str:
    """Where the answer to an Idempotency-Key is."""
    return f"idem/{project}/{digest}"


def tombstone_key(cluster: str, noun: str, id: str) -> str:
    """Where it is told that something of a cluster is gone."""
    return f"tombstone/{cluster}/{noun}/{id}"


def use_key(noun: str, id: str) -> str:
    """What changes whenever something begins to refer to a volume, a secret or a cluster."""
    return f"use/{noun}/{id}"


def adopted_key(cluster: str, namespace: str, name: str) -> str:
    """Where the id of the app is that took something of a cluster over."""
    return f"adopted/{cluster}/{namespace}/{name}"


def owner_key(cluster: str) -> str:
    """Where it is told which engine has a cluster."""
    return f"owner/{cluster}"


def service_key(id: str) -> str:
    """Where a process tells that it is there."""
    return f"service/{id}"


def floor_key(project: str) -> str:
    """Where it is told which events of a project are no longer kept."""
    return f"meta/floor/{project}"


def floor_of(text: str) -> tuple[int, int]:
    """The place in the order of events that is kept as "<revision>-<n>"."""
    revision, _, n = text.partition("-")
    return int(revision), int(n)


def type_of(key: str) -> type[Value] | None:
    """The type of what is kept at a key, None where it is plain text."""
    family, _, rest = key.partition("/")
    return TYPES.get(f"{family}/{rest.partition('/')[0]}") or TYPES.get(family)


def encode(value: Value) -> bytes:
    """A record as it is kept."""
    return msgspec.json.encode(value)


def decode(data: bytes, type_: type[T]) -> T:
    """A record as it was kept. Fields that this version does not know are ignored."""
    return msgspec.json.decode(data, type=type_)


def new_id() -> str:
    """A new identity for anything."""
    return str(uuid4())


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
