"""The adapter of simulated clusters: an orchestrator's adapter without the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from threading import Event as StopEvent
from typing import Any, ClassVar

from tests.simulated.cluster import SimulatedCluster
from zun_coe.adapters import (
    NOTHING_ALLOWED,
    OPERATIONS,
    Adapter,
    Connection,
    Done,
    LogLine,
    LogOptions,
    LogStream,
    Outcome,
    Policy,
    Wait,
)
from zun_coe.adapters.fields import Accounting, Carried, absent, emulated, native
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import Absent, FieldProblem, Invalid
from zun_coe.model import ClusterInfo, Observation, OperationSupport, Support, Workload, WorkloadRef, plain
from zun_coe.model.workload import spec_of

SCHEME = "simulated://"
KIND = "simulated"

# The clusters that endpoints name. Tests put theirs here (see `tests.simulated.fixtures`).
CLUSTERS: dict[str, SimulatedCluster] = {}

_OFFERED = {"stop", "start", "restart", "pause", "unpause", "kill", "resize", "logs", "logs_follow"}


def _only_always(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if workload.standalone or value == "always" else "Replicas are always restarted here."


def _never_paused(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return "Replicas cannot be paused here." if value == "paused" and not workload.standalone else None


_MOUNT = ("path", "read_only", "volume/name", "volume/size", "volume/class", "bind", "tmpfs", "tmpfs/size")
_HEALTH = ("http/port", "http/path", "tcp/port", "exec/command", "interval", "timeout", "retries", "start_period")
_CONTAINER = ("image", "pull", "command", "args", "env", "workdir", "user", "cpu", "memory")
_TEMPLATE = ("image_auth", "env_secrets", "hostname", "networks", "stop_signal", "stop_timeout")
_UPDATE = ("strategy", "max_surge", "max_unavailable", "min_ready", "deadline", "paused", "on_failure")


def _accounting() -> dict[str, Carried]:
    names = [*_CONTAINER, *_TEMPLATE, "labels", "replicas", "placement/constraints", "placement/spread"]
    names += [f"ports/*/{n}" for n in ("port", "protocol", "name", "publish")]
    names += [f"mounts/*/{n}" for n in _MOUNT] + [f"health/{n}" for n in _HEALTH] + [f"update/{n}" for n in _UPDATE]
    names += [f"sidecars/*/{n}" for n in ("name", *_CONTAINER)]
    names += [f"sidecars/*/mounts/*/{n}" for n in _MOUNT] + [f"sidecars/*/health/{n}" for n in _HEALTH]
    return {
        **{f"/{name}": native() for name in names},
        "/gpu": absent("Simulated nodes have no GPUs."),
        "/tty": emulated("It is noted and has no effect."),
        "/stdin": emulated("It is noted and has no effect."),
        "/restart": native(accepts=_only_always),
        "/desired_state": native(accepts=_never_paused),
    }


class SimulatedAdapter(Adapter):
    """Thread-safe. The endpoint `simulated://NAME` is the cluster of that name in `CLUSTERS`."""

    fields: ClassVar[Accounting] = _accounting()

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._cluster = CLUSTERS[(connection.endpoint or "").removeprefix(SCHEME)]
        self._scope = (connection.installation, connection.cluster)

    @classmethod
    def check_registration(
        cls,
        cluster: Mapping[str, Any],
        *,
        admin: bool,
        reach: Reach = ELSEWHERE,
        policy: Policy = NOTHING_ALLOWED,
    ) -> Sequence[FieldProblem]:
        """See `Adapter`."""
        endpoint = str(cluster.get("endpoint") or "")
        if endpoint.startswith(SCHEME) and endpoint.removeprefix(SCHEME) in CLUSTERS:
            return []
        return [FieldProblem("/endpoint", f"A simulated cluster has an endpoint {SCHEME}NAME, and NAME must exist.")]

    def describe(self) -> ClusterInfo:
        """See `Adapter`."""
        with self._call("describe"):
            return ClusterInfo(
                identity=self._cluster.identity,
                versions={"simulated": {"negotiated": "1", "supported": "1"}},
                nodes=self._cluster.nodes.nodes,
                operations={name: _support(name) for name in OPERATIONS},
                overrides=self._cluster.overrides,
            )

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        """See `Adapter`."""
        with self._call("observe"):
            return self._cluster.read_all(*self._scope) if ref is None else [self._cluster.read(ref)]

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        """See `Adapter`."""
        with self._call("apply"):
            missing = set(workload.template.env_secrets.values()) - workload.secrets.keys()
            if missing:
                raise Invalid(f"without the secrets {', '.join(sorted(missing))} it cannot run")
            if workload.template.image in self._cluster.refused:
                raise Invalid(f"the image {workload.template.image} is denied by the policy")
            taken = self._cluster.declare(workload)
            if taken is not None:
                return Wait(0.2, "PortConflict", f"Another workload publishes the port {taken}.", {"port": taken})
            return Done()

    def remove(self, ref: WorkloadRef, seen: Observation | None) -> Outcome:
        """See `Adapter`."""
        with self._call("remove"):
            seconds = self._cluster.erase(ref)
            return Done() if seconds is None else Wait(seconds)

    def remove_volume(self, name: str, id: str, project: str) -> None:
        """See `Adapter`."""
        with self._call("remove_volume"):
            self._cluster.erase_volume(*self._scope, id)

    def watch(self, stop: StopEvent) -> Iterator[WorkloadRef | None]:
        """See `Adapter`."""
        return self._cluster.hints(*self._scope, stop)

    def render(self, workload: Workload) -> list[dict[str, Any]]:
        """See `Adapter`."""
        return [{"kind": "Group", "ref": plain(workload.ref), "hash": workload.hash, "spec": dict(spec_of(workload))}]

    def close(self) -> None:
        """See `Adapter`."""

    def kill(self, ref: WorkloadRef, native_id: str, signal: str) -> None:
        """See `Kill`: KILL, TERM and INT end the process, others are received and change nothing."""
        codes = {"KILL": 137, "TERM": 143, "INT": 130}
        with self._call("kill"), self._cluster.holding(native_id) as (container, now):
            if container.state not in ("running", "paused"):
                raise Absent(f"the container {native_id} does not run")
            code = codes.get(signal.removeprefix("SIG"))
            if code is None:
                container.log(now, f"received {signal}")
            else:
                container.end(code, now)

    def delete_instance(self, ref: WorkloadRef, native_id: str) -> None:
        """See `DeleteInstance`."""
        with self._call("delete_instance"):
            try:
                with self._cluster.holding(native_id) as (container, now):
                    container.stop(now, remove=True)
            except Absent:
                return

    def logs(self, ref: WorkloadRef, native_id: str, options: LogOptions) -> LogStream:
        """See `Logs`."""
        with self._call("logs"), self._cluster.holding(native_id) as (container, _):
            tail = len(container.lines) if options.tail is None else options.tail
            return SimulatedLog(self._cluster, native_id, options, max(len(container.lines) - tail, 0))

    def _call(self, name: str) -> Any:
        return self._cluster.faults.around(name, self.connection.timeout)


class SimulatedLog:
    """See `LogStream`. `position`: the number of the first line."""

    def __init__(self, cluster: SimulatedCluster, native_id: str, options: LogOptions, position: int) -> None:
        self._cluster, self._native_id, self._options, self._position = cluster, native_id, options, position
        self._closed = False

    def __iter__(self) -> Iterator[LogLine]:
        more = True
        while more and not self._closed:
            lines, more = self._next()
            self._position += len(lines)
            yield from (line for line in lines if self._wanted(line))

    def close(self) -> None:
        """See `LogStream`."""
        with self._cluster.changed:
            self._closed = True
            self._cluster.changed.notify_all()

    def _next(self) -> tuple[list[LogLine], bool]:
        """Lines that were not seen yet, waiting for some where that is asked for; whether more may come."""
        try:
            with self._cluster.holding(self._native_id) as (container, now):
                lines = container.lines[self._position :]
                ended = container.state == "exited"
                if not lines and self._options.follow and not ended and not self._closed:
                    self._cluster.changed.wait(max(min(container.next_at - now, 0.1), 0.0))
                return lines, self._options.follow and (bool(lines) or not ended)
        except Absent:
            return [], False

    def _wanted(self, line: LogLine) -> bool:
        options = self._options
        late_enough = options.since is None or line.at is None or line.at >= options.since
        return late_enough and options.stream in (None, line.stream)


def _support(operation: str) -> OperationSupport:
    if operation in _OFFERED:
        return OperationSupport(support=Support.NATIVE)
    return OperationSupport(support=Support.NONE, note="the simulated cluster does not do it")
