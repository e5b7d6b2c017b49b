"""What is read of pods, events and nodes: of their many fields just those that say how a workload is doing.

They come by the thousand, so that they are decoded into these values straight from the server's JSON; what is
not named here is skipped. Times are in UTC; None where the server has none."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from zun_coe.model import prepare
from zun_coe.model.status import killed_for_memory

T = TypeVar("T")

# What runtimes write where they mean that something has not happened.
_NEVER = datetime(1971, 1, 1, tzinfo=UTC)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


class Wire(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """The base of what is decoded. The garbage collector leaves it out, as it does `model.Value`."""


class Owner(Wire, frozen=True, kw_only=True):
    """What an object belongs to."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Metadata(Wire, frozen=True, kw_only=True):
    """Whose an object is, since when, and what has to let it go before it is gone."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: tuple[Owner, ...] = ()
    finalizers: tuple[str, ...] = ()


class Condition(Wire, frozen=True, kw_only=True):
    """A condition of a pod or a node. `status`: True, False or Unknown."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class Probe(Wire, frozen=True, kw_only=True):
    """How often a container is probed, in seconds, and how many failures in a row count."""

    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    failure_threshold: int = 3


class Resources(Wire, frozen=True, kw_only=True):
    """Quantities by the resource's name."""

    limits: dict[str, str] = {}


class Container(Wire, frozen=True, kw_only=True):
    """A container as it was asked for. `restart_policy`: "Always" makes an init container a sidecar."""

    name: str
    image: str = ""
    restart_policy: str = ""
    resources: Resources = Resources()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None


class Claimed(Wire, frozen=True, kw_only=True):
    """The claim that a volume of a pod is."""

    claim_name: str


class Volume(Wire, frozen=True, kw_only=True):
    """A volume of a pod."""

    name: str
    persistent_volume_claim: Claimed | None = None


class PullSecret(Wire, frozen=True, kw_only=True):
    """A registry's login, by the name of its Secret."""

    name: str = ""


class PodSpec(Wire, frozen=True, kw_only=True):
    """What a pod should be, and where it was placed. `node_name` is empty until then."""

    node_name: str = ""
    restart_policy: str = "Always"
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    image_pull_secrets: tuple[PullSecret, ...] = ()
    volumes: tuple[Volume, ...] = ()


class Waiting(Wire, frozen=True, kw_only=True):
    """Why a container does not run yet, or does not run again yet."""

    reason: str = ""
    message: str = ""


class Running(Wire, frozen=True, kw_only=True):
    """Since when a container runs."""

    started_at: datetime | None = None


class Terminated(Wire, frozen=True, kw_only=True):
    """How a run of a container ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether memory ran out in it, whichever of its processes was killed for that."""
        return self.reason == "OOMKilled"

    @property
    def killed_for_memory(self) -> bool:
        """Whether that is what ended it."""
        return killed_for_memory(ran_out=self.ran_out_of_memory, exit_code=self.exit_code)


class State(Wire, frozen=True, kw_only=True):
    """One of the three; none of them before a kubelet has told."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Wire, frozen=True, kw_only=True):
    """A container as its kubelet last told. `last_state`: how the run before ended. `started`: whether its startup
    probe has succeeded, None where it never ran. `image_id`: its image as the node's runtime names it, empty until
    that is there."""

    name: str
    state: State = State()
    last_state: State = State()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image_id: str = msgspec.field(default="", name="imageID")


class PodStatus(Wire, frozen=True, kw_only=True):
    """A pod as its kubelet and the controllers last told."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    pod_ip: str = msgspec.field(default="", name="podIP")
    host_ip: str = msgspec.field(default="", name="hostIP")
    start_time: datetime | None = None


class Pod(Wire, frozen=True, kw_only=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, type: str) -> Condition | None:
        """Its condition of that type."""
        return next((c for c in self.status.conditions if c.type == type), None)


class ObjectReference(Wire, frozen=True, kw_only=True):
    """What an event is about. `field_path` names a container as `spec.containers{main}`."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""


class Series(Wire, frozen=True, kw_only=True):
    """How often something happened, in events of the newer kind."""

    count: int = 1
    last_observed_time: datetime | None = None


class Event(Wire, frozen=True, kw_only=True):
    """Something that happened to an object, once or several times."""

    involved_object: ObjectReference
    metadata: Metadata = Metadata()
    type: str = "Normal"
    reason: str = ""
    message: str | None = ""
    count: int | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: Series | None = None

    @property
    def at(self) -> datetime:
        """When it happened last."""
        told = (self.series and self.series.last_observed_time, self.last_timestamp, self.event_time)
        return next((t for t in told if t), self.metadata.creation_timestamp or _NEVER)

    @property
    def times(self) -> int:
        """How often it happened."""
        return max(self.count or 1, self.series.count if self.series else 1)

    @property
    def text(self) -> str:
        """What it says."""
        return self.message or ""

    @property
    def container(self) -> str:
        """The container that it is about; empty where it is about all of a pod."""
        return self.involved_object.field_path.partition("{")[2].rstrip("}")


class Address(Wire, frozen=True, kw_only=True):
    """An address of a node. `type`: InternalIP, ExternalIP, Hostname, …"""

    type: str
    address: str


class NodeSpec(Wire, frozen=True, kw_only=True):
    """Whether new pods may be placed on a node."""

    unschedulable: bool = False


class System(Wire, frozen=True, kw_only=True):
    """What runs on a node. `kubelet_version` as `v1.20.2`."""

    kubelet_version: str = ""


class NodeStatus(Wire, frozen=True, kw_only=True):
    """A node as its kubelet and the controllers last told."""

    addresses: tuple[Address, ...] = ()
    conditions: tuple[Condition, ...] = ()
    node_info: System = System()


class Node(Wire, frozen=True, kw_only=True):
    """A node."""

    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def address(self) -> str | None:
        """Where it is reached: from outside, where it has such an address."""
        known = {a.type: a.address for a in reversed(self.status.addresses)}
        return known.get("ExternalIP") or known.get("InternalIP")

    @property
    def readiness(self) -> Condition | None:
        """Its condition Ready. Its status is Unknown while its kubelet is silent."""
        return next((c for c in self.status.conditions if c.type == "Ready"), None)

    @property
    def lost(self) -> bool:
        """Whether its kubelet is silent, so that nobody knows what goes on there."""
        return self.readiness is not None and self.readiness.status == "Unknown"

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version of its kubelet; (0, 0) where it is not known."""
        return release(self.status.node_info.kubelet_version)


class ScaleTarget(Wire, frozen=True, kw_only=True):
    """What an autoscaler scales, in its own namespace."""

    kind: str = ""
    name: str = ""


class ScalerSpec(Wire, frozen=True, kw_only=True):
    """What an autoscaler is to do."""

    scale_target_ref: ScaleTarget = ScaleTarget()


class Scaler(Wire, frozen=True, kw_only=True):
    """A HorizontalPodAutoscaler."""

    metadata: Metadata
    spec: ScalerSpec = ScalerSpec()

    @property
    def target(self) -> ScaleTarget:
        """What it scales."""
        return self.spec.scale_target_ref


class ListMetadata(Wire, frozen=True, kw_only=True):
    """Where a list stands. `continued`: what asks for its next page, empty on the last."""

    resource_version: str = ""
    continued: str = msgspec.field(default="", name="continue")


class Page(Wire, Generic[T], frozen=True, kw_only=True):
    """One page of a list: `Page[Pod]`; `Page[dict]` for what is wanted whole."""

    metadata: ListMetadata = ListMetadata()
    items: tuple[T, ...] | None = ()

    @property
    def found(self) -> tuple[T, ...]:
        """What is on it: old servers write nothing as null."""
        return self.items or ()


def release(version: str) -> tuple[int, int]:
    """Major and minor version of `v1.20.2`; (0, 0) for what is no version."""
    told = _VERSION.match(version)
    return (int(told[1]), int(told[2])) if told else (0, 0)


def moment(told: datetime | None) -> datetime | None:
    """A time, None for the years that stand for never."""
    return None if told is None or told < _NEVER else told


prepare(Wire)
