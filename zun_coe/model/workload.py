"""What an adapter is asked to run, and what it says of its cluster."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from zun_coe.model.spec import DesiredState, Placement, Template, Update, VolumeSource
from zun_coe.model.value import Value, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

Noun = Literal["app", "container"]


class WorkloadRef(Value, frozen=True, kw_only=True):
    """Whose a native object is: the gateway's installation, the cluster's id, the project, and the
    resource's own noun, id and name. Native names and labels follow from it. Usable as a key.
    `place`: what it was taken over from, in words of its adapter's own; None: the gateway made it."""

    installation: str
    cluster: str
    project: str
    noun: Noun
    id: str
    name: str
    place: str | None = None


class Adopted(Value, frozen=True, kw_only=True):
    """What an app was taken over from, instead of being made: `name` in `namespace` of its cluster. `place` is
    that of its `WorkloadRef`. `hash`: the template as it was understood, which native objects that are as they
    were stand for. `native`: what the adapter has to keep of them; nobody else looks into it."""

    namespace: str
    name: str
    place: str
    hash: str
    native: dict[str, Any] = msgspec.field(default_factory=dict)


class Workload(Value, frozen=True, kw_only=True):
    """An app or a container as an adapter sees it.

    `template` is the effective one (after a rollback by `on_failure` not that of the intent) and `hash`
    its name; `previous` and `previous_hash` are what is being replaced, None when nothing is; `proven`: that one ran
    in full, and may stand in for the effective one until that can run.
    `desired_state` of an app is running or stopped (stopped: no instances); a standalone container is
    stopped and paused in place. `restarts` is how often a restart was asked for and `restarted` the
    last that was carried out: a standalone container is restarted in place while they differ (an
    app's restarts are in its hash). `halted`: a rollout is paused or failed, so do not go on replacing.
    `secrets` maps each "secret/key" that the template names, and `image_auth` the registry's login;
    neither is ever printed. `volumes` maps the name of each volume of the template to its id, and `storage` to the
    size and the class that the volume's own record has: several workloads may mount it, of which one names them.
    `digests` and `previous_digests`: what the images of the two templates were resolved to when the first replica
    was made, by the container's name (see `Instance.digests`); what is pulled always is made from just that in
    further replicas, where an adapter can. `adopted`: what it was taken over from, where the gateway did not make
    it."""

    ref: WorkloadRef
    template: Template
    hash: str
    previous: Template | None = None
    previous_hash: str | None = None
    proven: bool = False
    replicas: int = 1
    desired_state: DesiredState = "running"
    restarts: int = 0
    restarted: int = 0
    halted: bool = False
    update: Update = Update()
    placement: Placement = Placement()
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    volumes: dict[str, str] = msgspec.field(default_factory=dict)
    storage: dict[str, VolumeSource] = msgspec.field(default_factory=dict)
    secrets: dict[str, str] = msgspec.field(default_factory=dict)
    image_auth: dict[str, str] | None = None
    digests: dict[str, str] = msgspec.field(default_factory=dict)
    previous_digests: dict[str, str] = msgspec.field(default_factory=dict)
    adopted: Adopted | None = None

    @property
    def standalone(self) -> bool:
        """True for a container of its own, False for an app."""
        return self.ref.noun == "container"

    @property
    def wanted(self) -> int:
        """How many instances there should be: none of an app that is stopped."""
        if self.standalone:
            return 1
        return self.replicas if self.desired_state == "running" else 0

    def __repr__(self) -> str:
        return f"Workload({self.ref.noun} {self.ref.name} {self.ref.id} x{self.replicas} {self.hash})"


class Support(StrEnum):
    """How a field or an operation is carried: by the backend, by the gateway (a note says how it differs), or not."""

    NATIVE = "native"
    EMULATED = "emulated"
    NONE = "none"


class OperationSupport(Value, frozen=True, kw_only=True):
    """How an operation (logs, exec, pause, …) is carried by one very cluster."""

    support: Support
    note: str = ""


class Node(Value, frozen=True, kw_only=True):
    """A machine of a cluster. `memory` in bytes; `reachable` False: it does not answer since `unreachable_since`.
    `reason` (of `model.Reason`) and `message` say what is wrong with it."""

    name: str
    address: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    schedulable: bool = True
    reachable: bool = True
    local: bool = False
    cpus: float | None = None
    memory: int | None = None
    gpus: int = 0
    version: str | None = None
    reason: str | None = None
    message: str | None = None
    unreachable_since: datetime | None = None
    facts: dict[str, Any] = msgspec.field(default_factory=dict)


class ClusterInfo(Value, frozen=True, kw_only=True):
    """A cluster as it describes itself. `identity` is the backend's own and is pinned when first seen.

    `versions` names the remote APIs: {"docker": {"negotiated": "1.41", "supported": "1.24 and later"}}.
    `operations` is how each operation of `adapters.OPERATIONS` is carried here. `overrides`: leaves of
    the specification that this cluster carries otherwise than its kind does in general."""

    identity: str
    versions: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    operations: dict[str, OperationSupport] = msgspec.field(default_factory=dict)
    overrides: dict[str, OperationSupport] = msgspec.field(default_factory=dict)


def spec_of(workload: Workload) -> Mapping[str, Any]:
    """Everything that was asked for, as the JSON that the accounting of fields walks."""
    spec: dict[str, Any] = plain(workload.template)
    spec |= {"labels": workload.labels, "desired_state": workload.desired_state}
    if not workload.standalone:
        spec |= {"replicas": workload.replicas, "update": plain(workload.update)}
        spec |= {"placement": plain(workload.placement)}
    return spec
