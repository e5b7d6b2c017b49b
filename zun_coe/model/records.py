"""What the store holds, one type for each family of keys (`store/records.py` names the keys)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from zun_coe.model.spec import DesiredState, Placement, Template, Update
from zun_coe.model.value import Value
from zun_coe.model.workload import Adopted, ClusterInfo, Noun


class Deletion(Value, frozen=True, kw_only=True):
    """The mark that something is to go. `keep`: let go of the native objects; `volumes`: take the
    volumes too; `force`: finalise without the backend."""

    at: datetime
    request_id: str = ""
    keep: bool = False
    volumes: bool = False
    force: bool = False


class Loss(Value, frozen=True, kw_only=True):
    """A field that the cluster can't carry and whose loss the user accepted."""

    pointer: str
    detail: str


class Intent(Value, frozen=True, kw_only=True):
    """What a user wants of an app or a container. Written by the API alone; the engine only removes it.

    `cluster` is the cluster's id. `revision` is the number of the template. `write_id` is new with
    every write, so that after an answer was lost a re-read tells whether the write happened. `adopted`: what
    it was taken over from."""

    noun: Noun
    id: str
    project: str
    name: str
    cluster: str
    template: Template
    created_at: datetime
    updated_at: datetime
    generation: int = 1
    revision: int = 1
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    desired_state: DesiredState = "running"
    restarts: int = 0
    replicas: int = 1
    update: Update = Update()
    placement: Placement = Placement()
    accept_loss: tuple[str, ...] = ()
    lost: tuple[Loss, ...] = ()
    volumes: dict[str, str] = msgspec.field(default_factory=dict)
    adopted: Adopted | None = None
    deletion: Deletion | None = None
    request_id: str = ""
    write_id: str = ""


class Revision(Value, frozen=True, kw_only=True):
    """A template that an app has or had, with all that belongs to it. `restored`: the revision that a rollback
    took it from.

    `volumes`: the id of each volume that the template names; `accept_loss`, `lost`: as in `Intent`. They are None
    in records of former versions, and then those of the intent stand for them (`model.whole`). `restarts`: the
    further hashes under which a restart made replicas from it, the newest last. `digests`: for each of its hashes,
    what the images of its first replica were resolved to (see `Instance.digests`)."""

    app: str
    number: int
    template: Template
    hash: str
    created_at: datetime
    request_id: str = ""
    restored: int | None = None
    volumes: dict[str, str] | None = None
    accept_loss: tuple[str, ...] | None = None
    lost: tuple[Loss, ...] | None = None
    restarts: tuple[str, ...] = ()
    digests: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)


class Host(Value, frozen=True, kw_only=True):
    """A host of a native cluster. `endpoint`: unix:///path or tcp://address:port; `address`: where its
    published ports are reached; `schedulable` False drains it."""

    name: str
    runtime: str = "docker"
    endpoint: str = "unix:///var/run/docker.sock"
    address: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    schedulable: bool = True


class Cluster(Value, frozen=True, kw_only=True):
    """A place to run things. `credentials` is encrypted (`vault`) and never shown; `machine`: where its local
    sockets are, which is the host name of a machine of the gateway. `accepted`: engines that may be others than they
    were, by the name of the host (or `cluster`) with the new id."""

    id: str
    project: str
    name: str
    kind: str
    created_at: datetime
    updated_at: datetime
    source: Literal["registered", "magnum"] = "registered"
    public: bool = False
    generation: int = 1
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    hosts: tuple[Host, ...] = ()
    endpoint: str | None = None
    node_endpoint: str | None = None
    namespace: str | None = None
    credentials: str | None = None
    machine: str | None = None
    accepted: dict[str, str] = msgspec.field(default_factory=dict)
    deletion: Deletion | None = None
    request_id: str = ""
    write_id: str = ""

    @property
    def local(self) -> bool:
        """Whether it is reached over a socket of one machine, by the processes there alone."""
        endpoints = (self.endpoint, self.node_endpoint, *(host.endpoint for host in self.hosts))
        return any(endpoint.startswith("unix://") for endpoint in endpoints if endpoint)


class CredentialsStatus(Value, frozen=True, kw_only=True):
    """When a cluster's credentials expire, and whether somebody was warned of it."""

    expires_at: datetime
    warned: bool = False


class ClusterStatus(Value, frozen=True, kw_only=True):
    """A cluster as it was last described. `identity` is what was pinned when it was first seen, `others` the ids of
    engines that answer instead of pinned ones, by host (or `cluster`); `as_of`
    is when it last answered; `credentials` None: they do not expire, or nobody can tell;
    `info` None: never described; `parts`: what many nodes are kept in (`model.parts`)."""

    phase: Literal["Pending", "Ready", "Unreachable", "Failed", "Deleting"] = "Pending"
    observed_generation: int = 0
    reachable: bool = False
    as_of: datetime | None = None
    reason: str | None = None
    message: str | None = None
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)
    identity: str | None = None
    others: dict[str, str] = msgspec.field(default_factory=dict)
    info: ClusterInfo | None = None
    credentials: CredentialsStatus | None = None
    parts: tuple[str, ...] = ()
    write_id: str = ""


class Volume(Value, frozen=True, kw_only=True):
    """Named storage of a project on one cluster, made by the first mount that names it."""

    id: str
    project: str
    name: str
    cluster: str
    created_at: datetime
    updated_at: datetime
    size: str | None = None
    class_: str | None = msgspec.field(default=None, name="class")
    generation: int = 1
    deletion: Deletion | None = None
    request_id: str = ""
    write_id: str = ""


class VolumeStatus(Value, frozen=True, kw_only=True):
    """Where a volume is. `host`: the node that has it, where it is on one."""

    phase: Literal["Pending", "Ready", "Deleting"] = "Pending"
    host: str | None = None
    reason: str | None = None
    message: str | None = None
    write_id: str = ""


class Secret(Value, frozen=True, kw_only=True):
    """Confidential values by key. `data` is encrypted (`vault`) as one; `keys` are its names."""

    id: str
    project: str
    name: str
    keys: tuple[str, ...]
    data: str
    created_at: datetime
    generation: int = 1
    request_id: str = ""
    write_id: str = ""


class Event(Value, frozen=True, kw_only=True):
    """Something that happened to something. Its id is `<store revision>-<n>` and is known once stored.

    `subject` is the noun (app, container, cluster, volume, secret); `data` is of plain JSON. `count`: how often it
    happened, at `at` for the last time and at `first_at` for the first (None: it happened once)."""

    project: str
    type: str
    subject: str
    subject_id: str
    subject_name: str
    at: datetime
    count: int = 1
    first_at: datetime | None = None
    n: int = 0
    level: Literal["info", "warning"] = "info"
    reason: str | None = None
    message: str = ""
    cluster: str | None = None
    generation: int | None = None
    request_id: str | None = None
    data: dict[str, Any] = msgspec.field(default_factory=dict)


class Tombstone(Value, frozen=True, kw_only=True):
    """What was here and is gone: anything of it that turns up later is removed, or with `keep` left alone."""

    noun: str
    id: str
    project: str
    name: str
    cluster: str
    at: datetime
    keep: bool = False


class IdempotentAnswer(Value, frozen=True, kw_only=True):
    """The answer that a POST with an Idempotency-Key got, for the next one with the same key."""

    digest: str
    status: int
    body: str
    headers: dict[str, str]
    at: datetime


class Service(Value, frozen=True, kw_only=True):
    """A running process of the gateway. `role`: serve, api or engine; `clusters`: ids it owns; `kinds`: those of
    clusters that it knows (empty: it is too old to tell)."""

    id: str
    role: str
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    clusters: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
