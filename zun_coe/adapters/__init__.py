"""Seam 1: what a COE must do to be run by the gateway, and where its package is found.

A new COE is one package with a subclass of `Adapter`, one line in setup.cfg (`zun_coe.adapters`), and
one class of five lines that inherits `tests/contract/adapter.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import entry_points
from threading import Event as StopEvent
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import structlog

from zun_coe.adapters.fields import Accounting
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.config import Settings
from zun_coe.errors import FieldProblem, Unavailable
from zun_coe.model import (
    Cluster,
    ClusterInfo,
    ClusterStatus,
    Host,
    Instance,
    Observation,
    Placement,
    Template,
    Update,
    Workload,
    WorkloadRef,
)

log = structlog.get_logger()

# Every operation that a cluster may or may not be able to do; `describe` accounts for each of them.
OPERATIONS = (
    "stop",
    "start",
    "restart",
    "pause",
    "unpause",
    "kill",
    "resize",
    "logs",
    "logs_follow",
    "exec",
    "attach",
    "stats",
    "top",
    "files",
    "workloads",
    "adopt",
)


@dataclass(frozen=True)
class Done:
    """Nothing is left to do: what is wanted is asked for in full (it need not be ready yet)."""


@dataclass(frozen=True)
class Again:
    """One step was taken and another can follow at once, after a new observation."""


@dataclass(frozen=True)
class Wait:
    """Nothing can be done now. Try again in `seconds`, or when `watch` hints, whichever is first.
    `reason` (of `model.Reason`), `message` and `evidence` are shown meanwhile. `refused`: some of what the step
    asked for the backend refuses for good, as `Invalid` says it of a whole step. `failed`: something was tried
    in vain, so that the next attempt is made after the delay of a failure, whatever `watch` hints."""

    seconds: float
    reason: str | None = None
    message: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    refused: bool = False
    failed: bool = False


Outcome = Done | Again | Wait


@dataclass(frozen=True)
class Hardening:
    """What the operator decides for every container on a host with a bare runtime: the most processes and threads
    in it (0: no limit), whether a process can gain privileges that its parent has not, and the capabilities that
    it does not get (as Linux names them, without CAP_; ALL for all)."""

    pids: int = 0
    no_new_privileges: bool = False
    drop_capabilities: tuple[str, ...] = ()


NO_HARDENING = Hardening()


@dataclass(frozen=True)
class Policy:
    """What the operator lets clusters be registered with. `in_cluster`: the service account of the gateway's own pod;
    `exec_plugins`: the commands that may be run to get credentials."""

    in_cluster: bool = False
    exec_plugins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """That of some settings."""
        return cls(settings.allow_in_cluster, settings.exec_commands)


NOTHING_ALLOWED = Policy()


@dataclass(frozen=True)
class Connection:
    """All that an adapter needs to reach its cluster. `credentials` is plain text here and nowhere else:
    never logged. `timeout`: seconds for one backend call; `pull_timeout` for an image. `check`: to be called
    before each call that changes the backend, where one step makes several; it raises what ends the step.
    `label_key`: signs labels, where something else than the gateway could write them too. `owned` False: it is for
    logs and operations alone, in a process that does not have the cluster and never calls `apply` or `watch`.
    `reach`: where it may connect to. `elsewhere`: the machine whose sockets lead to it, where that is not this one."""

    installation: str
    cluster: str
    kind: str
    hosts: tuple[Host, ...] = ()
    endpoint: str | None = None
    node_endpoint: str | None = None
    namespace: str | None = None
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float = 15.0
    pull_timeout: float = 900.0
    parallelism: int = 8
    host_grace: float = 60.0
    check: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    label_key: bytes = field(default=b"", repr=False)
    hardening: Hardening = NO_HARDENING
    always_pull_images: bool = False
    pod_security: str = ""
    reach: Reach = ELSEWHERE
    network_pool: str = ""
    network_prefix: int = 24
    policy: Policy = NOTHING_ALLOWED
    owned: bool = True
    elsewhere: str | None = None

    @classmethod
    def to(
        cls,
        cluster: Cluster,
        installation: str,
        credentials: Mapping[str, Any],
        settings: Settings,
        check: Callable[[], None] | None = None,
        *,
        label_key: bytes,
        owned: bool = True,
    ) -> Connection:
        """What is needed to reach a registered cluster; `credentials` are its own, in plain text."""
        return cls(
            installation=installation,
            cluster=cluster.id,
            kind=cluster.kind,
            hosts=cluster.hosts,
            endpoint=cluster.endpoint,
            node_endpoint=cluster.node_endpoint,
            namespace=cluster.namespace,
            credentials=credentials,
            timeout=settings.backend_timeout,
            pull_timeout=settings.pull_timeout,
            parallelism=settings.parallelism,
            host_grace=settings.host_grace,
            check=check,
            label_key=label_key,
            hardening=Hardening(settings.pids_limit, settings.no_new_privileges, settings.capabilities_to_drop),
            always_pull_images=settings.always_pull_images,
            pod_security=settings.pod_security,
            reach=Reach.of(settings.allowed_networks),
            network_pool=settings.network_pool,
            network_prefix=settings.network_prefix,
            policy=Policy.of(settings),
            owned=owned,
            elsewhere=cluster.machine if cluster.local and settings.here not in (None, cluster.machine) else None,
        )


@dataclass(frozen=True)
class Known:
    """What the stored statuses say of a cluster: of itself, and the instances of each of its workloads."""

    cluster: ClusterStatus
    instances: Mapping[WorkloadRef, Sequence[Instance]]


class Adapter(ABC):
    """One connection to one cluster. Synchronous, thread-safe; every call has a deadline.

    Vendor errors never leave it: they become `Unavailable` (try again), `Invalid` (give up until the
    intent changes), `Denied` or `Absent`, in one context manager of each package."""

    fields: ClassVar[Accounting]
    """How each leaf of the specification is carried by this kind."""
    reasons: ClassVar[Mapping[str, str]] = {}
    """Where each reason of `model.Reason` comes from on this kind, for people."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    @abstractmethod
    def check_registration(
        cls,
        cluster: Mapping[str, Any],
        *,
        admin: bool,
        reach: Reach = ELSEWHERE,
        policy: Policy = NOTHING_ALLOWED,
    ) -> Sequence[FieldProblem]:
        """What is wrong with a request to register such a cluster: fields that this kind needs or
        forbids, addresses that only admins may name, credentials whose end has passed. Calls no backend."""

    def recall(self, known: Known) -> None:  # noqa: B027  # most kinds keep nothing of their own
        """Take up what was known of the cluster before this adapter was opened, by another process or with another
        connection: where the backend does not keep something, what was told of it last stands until it is known
        anew. Called once, before all other calls, where `connection.owned`. This default needs nothing."""

    def renew(self, credentials: Mapping[str, Any]) -> bool:
        """Use other credentials from the next call on, and keep all that is known of the cluster and all that is
        open. False where that takes an adapter that is opened anew, as this default says. Calls no backend."""
        return False

    def expires_at(self) -> datetime | None:
        """When the credentials expire; None where they do not, or nobody can tell. Calls no backend."""
        return None

    @abstractmethod
    def describe(self) -> ClusterInfo:
        """The backend's own identity, versions, nodes and operations. Calls the backend."""

    def distrust(self, hosts: Mapping[str, str]) -> None:  # noqa: B027  # most kinds are one engine
        """Treat these hosts as unreachable, for the reason that is given for each, and all others as usual: other
        engines answer there than those that were pinned. `describe` asks them all the same. This default is for
        kinds whose cluster is blocked as a whole."""

    @abstractmethod
    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        """What there is of one workload (one observation, without instances where there is nothing), or
        everything of our installation in this cluster, in few calls. Never changes anything."""

    @abstractmethod
    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        """One step towards what is wanted. Idempotent: a step that was taken and not heard of is found
        by the next observation. Never waits for readiness, an image, or a process that stops.

        Raises `Invalid`, or answers `Wait` with `refused`, where the backend refuses the workload's template (the
        one with `workload.hash`, never the previous one) for good. The engine remembers that, and no adapter does:
        whatever is asked for is tried."""

    @abstractmethod
    def remove(self, ref: WorkloadRef, seen: Observation | None) -> Outcome:
        """One step towards nothing left of it (volumes stay). Done where nothing is there."""

    @abstractmethod
    def remove_volume(self, name: str, id: str, project: str) -> None:
        """Delete a volume with its content. No-op where absent; `Unavailable` while something uses it."""

    def tidy(self) -> None:  # noqa: B027  # most kinds leave nothing behind
        """Remove what was made for workloads together and nothing uses any more, such as networks. Called after
        each look at everything; in few calls, and in none where nothing changed. This default does nothing."""

    def watch(self, stop: StopEvent) -> Iterator[WorkloadRef | None]:
        """Hints that something of ours may have changed (None: anything), until `stop` is set. Never the
        truth: a hint that is lost costs a delay. An iterator that ends is asked for anew. This default
        yields nothing, and polling alone stays correct."""
        stop.wait()
        return iter(())

    @abstractmethod
    def render(self, workload: Workload) -> list[dict[str, Any]]:
        """The native objects that would be asked for. Pure."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and threads. Idempotent."""


@dataclass(frozen=True)
class LogOptions:
    """Which lines: the last `tail` of each instance (None: all), those at or after `since`, of one
    `stream` or both; of the sidecar `container`. `follow`: go on until closed."""

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    stream: Literal["stdout", "stderr"] | None = None
    container: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line without its end. `partial`: the line was cut at the size limit and goes on."""

    instance: str
    stream: Literal["stdout", "stderr"]
    at: datetime | None
    text: bytes
    partial: bool = False


class LogStream(Protocol):
    """Log lines of one instance, in order. Iterating blocks; `close` from another thread ends it."""

    def __iter__(self) -> Iterator[LogLine]: ...

    def close(self) -> None:
        """End the iteration and the connection. Idempotent; from any thread."""


@runtime_checkable
class Logs(Protocol):
    """A cluster whose containers' output can be read."""

    def logs(self, ref: WorkloadRef, native_id: str, options: LogOptions) -> LogStream:
        """The output of one instance. Raises `Absent` when the instance is gone."""


@runtime_checkable
class Kill(Protocol):
    """A cluster whose processes can be signalled."""

    def kill(self, ref: WorkloadRef, native_id: str, signal: str) -> None:
        """Send the signal once, now. Raises `Absent` when the instance is gone or not running."""


@runtime_checkable
class DeleteInstance(Protocol):
    """A cluster where one replica can be deleted; its app replaces it."""

    def delete_instance(self, ref: WorkloadRef, native_id: str) -> None:
        """Remove one instance now. No-op where absent."""


@dataclass(frozen=True)
class Foreign:
    """Something that runs in a cluster and is not this gateway's. `kind` and `namespace` in the cluster's words;
    `images`: of its containers, in their order; `replicas`: asked for, and `ready` of them. `refused`: all reasons
    why no app can take it over, in sentences; `offer`: what it would be where there are none, without `native`.
    `left`: what it was of this gateway, before it was let go."""

    kind: str
    namespace: str
    name: str
    images: tuple[str, ...]
    replicas: int
    ready: int
    created_at: datetime | None = None
    refused: tuple[str, ...] = ()
    offer: Offer | None = None
    warnings: tuple[str, ...] = ()
    left: WorkloadRef | None = None


@dataclass(frozen=True)
class Offer:
    """What runs in a cluster, as the app that it could be. `place` and `native`: see `model.Adopted`. `warnings`: who
    else manages it and would change it again, in sentences. `left`: the app of this gateway that it was until it was
    let go, and will be again with the same id, after so many `restarts`."""

    template: Template
    replicas: int
    update: Update
    placement: Placement
    labels: Mapping[str, str]
    place: str
    native: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    left: WorkloadRef | None = None
    restarts: int = 0


@runtime_checkable
class Adopts(Protocol):
    """A cluster of which it can be told what else runs there, and where apps can take such things over. An app
    that did is applied, observed and removed as any other; the first `apply` makes it ours and restarts nothing."""

    def foreign(self, known: Collection[str] = ()) -> Sequence[Foreign]:
        """What runs there and is not ours, or is of none of the ids that are `known`. Calls the backend; changes
        nothing."""

    def offer(self, namespace: str, name: str) -> Offer:
        """What this would be as an app. Calls the backend; changes nothing. Raises `Absent` where it is not
        there, `Denied` where it may not be seen, and `Invalid` where no app can take it over: `refused` of the evidence
        has all the reasons, in sentences, and `differences` where an app would be otherwise (of `model.Drift`, wanted
        by the app, with the `field` in the backend's own notation)."""


@cache
def kinds() -> Mapping[str, type[Adapter]]:
    """Every kind of cluster there is, by name: the entry points of the group `zun_coe.adapters`. One that can't be
    loaded is logged and is unknown here."""
    found: dict[str, type[Adapter]] = {}
    for point in entry_points(group="zun_coe.adapters"):
        try:
            found[point.name] = point.load()
        except Exception:  # it keeps nobody from clusters of other kinds
            log.exception("adapter not loaded", kind=point.name)
    return found


def open_adapter(connection: Connection) -> Adapter:
    """A connection to a cluster. Opening calls no backend. `Unopened` where this process can't reach the cluster,
    or does not know its kind. Raises whatever an adapter raises that can't work with what it is given."""
    from zun_coe.adapters.unopened import Unopened  # it is an adapter, so it comes after this module

    if connection.elsewhere is not None:
        return Unopened(connection, lambda: _elsewhere(connection.elsewhere))
    kind = kinds().get(connection.kind)
    if kind is None:
        return Unopened(connection, lambda: _unknown(connection.kind))
    return kind(connection)


def _elsewhere(machine: str | None) -> Unavailable:
    """The same path on this machine may lead to another cluster."""
    message = (
        f"Only processes of the gateway on the machine {machine} can reach it, over a socket there,"
        " and this is none of them."
    )
    return Unavailable(message, evidence={"machine": machine})


def _unknown(kind: str) -> Unavailable:
    message = f"This process of the gateway knows no kind {kind}; upgrade it to the version that does."
    return Unavailable(message, "Error", {"kind": kind, "known": sorted(kinds())})
