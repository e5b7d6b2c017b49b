"""How to run a container: the fields that users write, one type for each object of the contract.

Units: `cpu` is a number of CPUs, `memory` and sizes are text with Ki, Mi or Gi, times are seconds.
Defaults here are those that the gateway writes into a resource when it accepts it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Literal

import msgspec

from zun_coe.model.value import Value, canonical

Protocol = Literal["tcp", "udp"]
DesiredState = Literal["running", "stopped", "paused"]
Pull = Literal["always", "missing", "never"]
Restart = Literal["always", "on_failure", "never"]

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


class Port(Value, frozen=True, kw_only=True):
    """A port the process listens on. `publish`: absent, not outside; "auto", any port of the node; or a number."""

    port: int
    protocol: Protocol = "tcp"
    name: str | None = None
    publish: int | Literal["auto"] | None = None


class HttpGet(Value, frozen=True, kw_only=True):
    """Healthy when GET answers 200-399."""

    port: int
    path: str = "/"


class TcpConnect(Value, frozen=True, kw_only=True):
    """Healthy when a connection is accepted."""

    port: int


class Exec(Value, frozen=True, kw_only=True):
    """Healthy when the command, run inside the container, exits with 0."""

    command: tuple[str, ...]


class Health(Value, frozen=True, kw_only=True):
    """One probe of the three and its timing: `interval`, `timeout`, `start_period` in seconds."""

    http: HttpGet | None = None
    tcp: TcpConnect | None = None
    exec: Exec | None = None
    interval: float = 10
    timeout: float = 5
    retries: int = 3
    start_period: float = 0


class VolumeSource(Value, frozen=True, kw_only=True):
    """A named volume of the project on this cluster, made when it is first used and kept after that."""

    name: str
    size: str | None = None
    # `class` is a keyword of Python, and the field's name in every storage API
    class_: str | None = msgspec.field(default=None, name="class")


class Tmpfs(Value, frozen=True, kw_only=True):
    """Memory as a file system."""

    size: str | None = None


class Mount(Value, frozen=True, kw_only=True):
    """Something at `path`: one of `volume`, `bind` (a path of the host), `tmpfs`."""

    path: str
    read_only: bool = False
    volume: VolumeSource | None = None
    bind: str | None = None
    tmpfs: Tmpfs | None = None


class Sidecar(Value, frozen=True, kw_only=True):
    """A container that shares the network of each replica and lives as long as it."""

    name: str
    image: str
    pull: Pull = "missing"
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    cpu: float | None = None
    memory: str | None = None
    mounts: tuple[Mount, ...] = ()
    health: Health | None = None


class Template(Value, frozen=True, kw_only=True):
    """What every replica is made from. A change of it is a rollout; a change of anything else is not."""

    image: str
    image_auth: str | None = None
    pull: Pull = "missing"
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)
    env_secrets: dict[str, str] = msgspec.field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    hostname: str | None = None
    tty: bool = False
    stdin: bool = False
    ports: tuple[Port, ...] = ()
    cpu: float | None = None
    memory: str | None = None
    gpu: int = 0
    health: Health | None = None
    mounts: tuple[Mount, ...] = ()
    networks: tuple[str, ...] = ()
    restart: Restart = "always"
    stop_signal: str | None = None
    stop_timeout: int = 10
    sidecars: tuple[Sidecar, ...] = ()


class Update(Value, frozen=True, kw_only=True):
    """How a change of the template is carried out. `min_ready`, `deadline` in seconds."""

    strategy: Literal["rolling", "recreate"] = "rolling"
    max_surge: int | str = 1
    max_unavailable: int | str = 0
    min_ready: int = 0
    deadline: int = 600
    paused: bool = False
    on_failure: Literal["pause", "rollback", "continue"] = "pause"


class Placement(Value, frozen=True, kw_only=True):
    """Where replicas may run: `constraints` are label=value pairs that a node must have; `spread` is the
    label over whose values replicas are spread evenly (absent: over the nodes)."""

    constraints: dict[str, str] = msgspec.field(default_factory=dict)
    spread: str | None = None


def template_hash(template: Template, restarts: int = 0) -> str:
    """32 hex digits that name a template. An app's restart counter is part of it, since restarting
    every replica in turn is a rollout of the same template."""
    return _hash_of(_Same(template), restarts)


class _Same:
    """A template as the key of a cache: the same object, since equal ones take as long to compare as to hash."""

    __slots__ = ("template",)

    def __init__(self, template: Template) -> None:
        self.template = template

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.template is other.template

    def __hash__(self) -> int:
        return id(self.template)


@lru_cache(maxsize=128)  # asked for several times in each look at a workload; few, since a template may be large
def _hash_of(same: _Same, restarts: int) -> str:
    template = same.template
    content = canonical(template)
    if restarts:
        content["~restarts"] = restarts
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:32]


def bytes_of(size: str) -> int:
    """ "64Mi" → 67108864. Only Ki, Mi and Gi: a plain m means three different things elsewhere."""
    unit = _UNITS.get(size[-2:])
    if unit is None:
        raise ValueError(f"{size!r} is not a number with Ki, Mi or Gi")
    return int(float(size[:-2]) * unit)


def share_of(value: int | str, total: int, *, up: bool) -> int:
    """3 → 3; "25%" of 10 → 3 rounded up, 2 rounded down (surge rounds up and unavailable down, as in Kubernetes)."""
    if isinstance(value, int):
        return value
    percent = int(value.removesuffix("%"))
    return -(-total * percent // 100) if up else total * percent // 100


def storage_of(template: Template) -> dict[str, VolumeSource]:
    """What a template says of each volume by its name. One that is mounted more than once needs a size and a class
    only once; of several sizes the largest counts."""
    found: dict[str, VolumeSource] = {}
    for mount in (*template.mounts, *(m for s in template.sidecars for m in s.mounts)):
        if (source := mount.volume) is not None:
            known = found.get(source.name, source)
            found[source.name] = VolumeSource(
                name=source.name, size=larger(known.size, source.size), class_=known.class_ or source.class_
            )
    return found


def larger(one: str | None, other: str | None) -> str | None:
    """The larger of two sizes, None where neither is given."""
    return max((size for size in (one, other) if size is not None), key=bytes_of, default=None)
