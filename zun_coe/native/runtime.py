"""What the native COE asks of a container runtime on one host. Small on purpose: slots, placement,
rollouts and probes are the adapter's; a runtime creates, starts, stops and tells what there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event as StopEvent
from typing import Any, Literal, Protocol

from zun_coe.adapters import LogOptions, LogStream
from zun_coe.model import Health, OperationSupport

Restart = Literal["always", "on_failure", "never"]
State = Literal["created", "running", "paused", "restarting", "exited", "removing", "dead"]


@dataclass(frozen=True)
class PortBinding:
    """A port of the container; `host_port` None: not published, 0: any free port of the host."""

    port: int
    protocol: str = "tcp"
    host_port: int | None = None


@dataclass(frozen=True)
class RuntimeMount:
    """One of: a volume by its native name, a path of the host, or memory (`tmpfs`; `size` in bytes or None)."""

    path: str
    read_only: bool = False
    volume: str | None = None
    bind: str | None = None
    tmpfs: bool = False
    size: int | None = None


@dataclass(frozen=True)
class ContainerSpec:
    """One container to create, in a runtime's terms. Everything is said explicitly: nothing rests on a
    default of the runtime.

    `entrypoint` None: the image's own; `args` None: the image's own (with an `entrypoint`: none).
    `networks`: native names, the first is the main one; empty and `join` None: no network of our own
    (see `host_network`); `join`: share the network of the container with this id. `aliases`: names
    under which others on the networks find it. `publish_on`: the host's address at which published ports
    listen, 0.0.0.0 for all. `cpu` in CPUs, `memory` in bytes. `health`: only `exec`
    is given to a runtime. `pids`: the most processes and threads, 0 for no limit. `cap_drop`: capabilities as
    Linux names them without CAP_, or ALL. `restart`: always | on_failure | never (`always` must survive the gateway
    being down and must not start again what was stopped on purpose)."""

    name: str
    image: str
    labels: Mapping[str, str]
    entrypoint: Sequence[str] | None = None
    args: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    workdir: str | None = None
    user: str | None = None
    hostname: str | None = None
    tty: bool = False
    stdin: bool = False
    ports: Sequence[PortBinding] = ()
    publish_on: str = "0.0.0.0"  # noqa: S104  # what is published is to be reached
    cpu: float | None = None
    memory: int | None = None
    gpu: int = 0
    health: Health | None = None
    mounts: Sequence[RuntimeMount] = ()
    networks: Sequence[str] = ()
    aliases: Sequence[str] = ()
    join: str | None = None
    host_network: bool = False
    restart: Restart = "always"
    stop_signal: str | None = None
    stop_timeout: int = 10
    pids: int = 0
    no_new_privileges: bool = False
    cap_drop: Sequence[str] = ()


@dataclass(frozen=True)
class Found:
    """A container as the runtime has it.

    `bindings` are the ports published now (`host_port` the real number). `address` is its own on its
    first network; `networks` are the names of those that it is on or is to join, and `detached` of those that it was
    made for and is not on although it runs; `unpublished` are ports that it was to publish and does not, likewise.
    `exit_code` is of the last run; `error` what the runtime said when it could not start it. `health`: None when the
    runtime checks nothing; `health_log`: the last outputs of its check. `cpu` in CPUs and `memory` in bytes: limits
    in force, None for none. `held`: the runtime is busy with it and lets nobody look closer, so that the rest is of
    before; another look will tell more soon. `digest`: its image as `repository@digest`, or the runtime's own id
    of one that came from no registry."""

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    state: State
    exit_code: int | None = None
    oom_killed: bool = False
    error: str | None = None
    health: Literal["starting", "healthy", "unhealthy"] | None = None
    health_log: Sequence[str] = ()
    restarts: int = 0
    bindings: Sequence[PortBinding] = ()
    address: str | None = None
    networks: Sequence[str] = ()
    detached: Sequence[str] = ()
    unpublished: Sequence[int] = ()
    cpu: float | None = None
    memory: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    healthy_since: datetime | None = None
    restart: Restart = "always"
    digest: str | None = None
    held: bool = False


@dataclass(frozen=True)
class RuntimeInfo:
    """The runtime and its host. `identity` is the runtime's own and stays over restarts; `memory` in bytes;
    `versions` as in `ClusterInfo.versions`; `operations` as in `adapters.OPERATIONS`; `ahead`: by how much its
    clock is ahead of the gateway's (negative: behind), as far as that could be measured; `unlimited`: of cpu, memory,
    pids and swap what its kernel, or an engine without privileges, cannot limit."""

    identity: str
    versions: Mapping[str, Mapping[str, str]]
    cpus: float | None
    memory: int | None
    gpus: int
    operations: Mapping[str, OperationSupport]
    facts: Mapping[str, Any] = field(default_factory=dict)
    ahead: timedelta = timedelta()
    unlimited: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FoundVolume:
    """A volume as the runtime has it."""

    name: str
    labels: Mapping[str, str]


class Runtime(Protocol):
    """A container runtime on one host. Thread-safe; every call has a deadline and raises only
    `Unavailable`, `TimedOut`, `Invalid`, `Denied` or `Absent`, with the reason and the evidence.

    Idempotent in the sense that each call names what it acts on, and finds it as it should be or
    changes it; `create` with a name that is taken returns the id of the one that has it if all its
    labels are the ones asked for, and raises `Invalid` otherwise."""

    def renew(self, credentials: Mapping[str, Any]) -> bool:
        """Use other credentials from the next call on; what is under way goes on. False where the runtime has to be
        opened anew for that. Calls nobody. Raises `Denied` for what cannot be used."""

    def info(self) -> RuntimeInfo:
        """What is there. Also what tells that the host is reachable."""

    def find(self, labels: Mapping[str, str], *, exact: bool = True) -> list[Found]:
        """Every container, running or not, that has all these labels. `exact` False may answer with
        details (exit code, limits, restarts) as old as the container's last change of state."""

    def create(self, spec: ContainerSpec) -> str:
        """Create without starting; the id. Raises `Absent` with reason ImageNotFound when the image is
        not on the host, and when a network is not there; `Invalid` for a name that is taken, and where the runtime
        would leave out a limit of CPU or memory: nothing is there then."""

    def start(self, id: str) -> None:
        """Start; no-op when it runs. Raises `Unavailable` with reason PortConflict when a port is taken,
        `Invalid` (evidence: what the runtime said) for a command that isn't there, `Absent` also when a network
        of its own is gone."""

    def rejoin(self, id: str) -> None:
        """Put a container that does not run on the networks that have the names of its own now: others than before
        where they were removed and created again. Keeps its aliases. Idempotent. Raises `Absent`."""

    def reconnect(self, id: str, aliases: Sequence[str]) -> None:
        """Put a container that runs back on the networks that it is `detached` from, under these names, and have it
        publish what is `unpublished`. Idempotent. Raises `Absent`, also where such a network is gone, and
        `Unavailable` with reason PortConflict."""

    def stop(self, id: str, timeout: int) -> None:
        """Ask it to stop, kill it after `timeout` seconds; blocks until it has. No-op when stopped or gone."""

    def restart(self, id: str, timeout: int) -> None:
        """Stop as `stop` does, then start; blocks."""

    def pause(self, id: str) -> None:
        """Freeze its processes. No-op when paused."""

    def unpause(self, id: str) -> None:
        """Let them go on. No-op when running."""

    def kill(self, id: str, signal: str) -> None:
        """Send a signal. Raises `Absent` when it isn't there or isn't running."""

    def remove(self, id: str) -> None:
        """Kill it where it runs and remove it with its anonymous volumes. No-op when gone."""

    def resize(self, id: str, cpu: float | None, memory: int | None) -> None:
        """Set the limits of a container where it is, running or not; None lifts a limit. Raises `Invalid` where the
        runtime leaves one out."""

    def set_restart(self, id: str, restart: Restart) -> None:
        """Set the restart policy of a container where it is, running or not."""

    def has_image(self, image: str) -> bool:
        """Whether the image is on the host."""

    def pull(self, image: str, auth: Mapping[str, str] | None) -> None:
        """Fetch the image; blocks until done or until the pull deadline. `auth` has username, password
        and maybe server. Raises `Invalid` with ImageNotFound, `Denied` with ImagePullFailed where the
        login is wrong, `Unavailable` with ImagePullFailed for the rest."""

    def import_image(self, image: str, archive: bytes) -> None:
        """Make an image of a root file system (a tar), without a command of its own. Idempotent."""

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """A bridge network of that name. Idempotent, also when called twice at once."""

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        """The names of networks that have these labels."""

    def remove_network(self, name: str) -> bool:
        """Whether it is gone: a network that something uses stays."""

    def ensure_volume(self, name: str, labels: Mapping[str, str], size: str | None, driver: str | None) -> None:
        """A volume of that name. Idempotent."""

    def volumes(self, labels: Mapping[str, str]) -> list[FoundVolume]:
        """Volumes that have these labels."""

    def remove_volume(self, name: str) -> None:
        """Delete the volume. No-op when gone; `Unavailable` while a container uses it."""

    def logs(self, id: str, instance: str, options: LogOptions) -> LogStream:
        """The container's output; lines say they are of `instance`. Raises `Absent` when it is gone."""

    def events(self, labels: Mapping[str, str], stop: StopEvent) -> Iterator[Mapping[str, str]]:
        """The labels of each container that changes state (starts, dies, health, …), until `stop` is set
        (noticed within a second). Ends or raises when the connection does."""

    def close(self) -> None:
        """Let go of connections. Idempotent."""
