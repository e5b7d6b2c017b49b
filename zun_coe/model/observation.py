"""What an adapter saw in a cluster."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from zun_coe.model.value import Value
from zun_coe.model.workload import WorkloadRef

InstanceState = Literal[
    "pending", "creating", "running", "paused", "restarting", "exited", "failed", "removing", "unknown"
]


class Endpoint(Value, frozen=True, kw_only=True):
    """Where a published port is reached: `address`:`port` leads to `target` in the container."""

    address: str
    port: int
    target: int
    protocol: str = "tcp"


class Drift(Value, frozen=True, kw_only=True):
    """A field that somebody changed behind the gateway's back. `manager`: who set it, as far as the backend records
    that (None: it does not)."""

    pointer: str
    wanted: Any = None
    found: Any = None
    manager: str | None = None


class Instance(Value, frozen=True, kw_only=True):
    """One replica as the backend has it. `unknown`: its host is away and this is the last that was seen.

    `native_id` is the backend's own id, `name` its name for people; `restarts` counts what the backend
    restarted by itself; `reason` is of `model.Reason`; `cpu` and `memory` (bytes) are the limits in force.
    `digests`: the image of each of its containers by name (`main`, and those of sidecars), as `repository@digest`, or
    as the engine's own id of an image that came from no registry. `health`: None when nothing is checked.
    `ready_since`: since when it has been ready without a break."""

    native_id: str
    name: str = ""
    slot: int = 1
    hash: str = ""
    state: InstanceState = "pending"
    ready: bool = False
    health: Literal["starting", "healthy", "unhealthy"] | None = None
    exit_code: int | None = None
    restarts: int = 0
    host: str | None = None
    address: str | None = None
    reason: str | None = None
    message: str | None = None
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
    cpu: float | None = None
    memory: int | None = None
    digests: dict[str, str] = msgspec.field(default_factory=dict)
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ready_since: datetime | None = None


class Observation(Value, frozen=True, kw_only=True):
    """Everything of one workload in a cluster. `native`: references to the native objects, for people.

    `hash`: the template found, where the backend has one object for all replicas, else that of most of
    its instances. `desired`: the number of replicas found asked for, where the backend knows one.
    `leftovers`: native objects besides instances (networks, services) that a removal still has to take.
    `reason`, `message`, `evidence`: what the backend says is in the way. `warnings`: what it took all the same, and
    had something to say about.
    `scaled_by`: what of the backend decides about the number of replicas instead of the gateway, for people."""

    ref: WorkloadRef
    native: tuple[str, ...] = ()
    hash: str = ""
    desired: int | None = None
    instances: tuple[Instance, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    reason: str | None = None
    message: str | None = None
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    leftovers: tuple[str, ...] = ()
    scaled_by: str | None = None
    warnings: tuple[str, ...] = ()
