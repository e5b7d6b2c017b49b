"""How the native COE carries each leaf of the specification, and which values it refuses. Pure."""

from __future__ import annotations

import math
import signal
from typing import Any

from zun_coe.adapters.fields import Accepts, Accounting, Carried, absent, emulated, native, within_deadline
from zun_coe.model import ClusterInfo, Node, Workload, bytes_of, share_of
from zun_coe.model.signals import is_signal
from zun_coe.native.containers import HOST_NETWORK

# The least that Docker takes; with less a container could not even be started.
LEAST_MEMORY = "6Mi"
LEAST_CPU = 0.01

_RUN_BY_GATEWAY = "The gateway probes it from its own machine; while the gateway is down nothing is probed."
_ROOM = (
    "Kept by the gateway. Where a fixed port, the memory, or a volume leaves no host for a new replica beside "
    "the old one, the old one of that slot is removed first, one at a time."
)


def _memory(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if bytes_of(value) < bytes_of(LEAST_MEMORY):
        return f"Docker gives a container at least {LEAST_MEMORY} of memory."
    largest = max((node.memory for node in info.nodes if node.memory), default=None)
    if largest is not None and bytes_of(value) > largest:
        return f"No host has that much memory; the largest has {largest >> 20}Mi."
    return None


def _cpu(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if value < LEAST_CPU:
        return f"Docker gives a container at least {LEAST_CPU} CPUs."
    largest = max((node.cpus for node in info.nodes if node.cpus), default=None)
    if largest is not None and value > largest:
        return f"No host has that many CPUs; the largest has {largest:g}."
    return None


def _gpu(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    most = max((node.gpus for node in info.nodes), default=0)
    return f"No host has {value} GPUs; the most that one has is {most}." if value > most else None


def _publish(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if workload.template.networks == HOST_NETWORK:
        return "With the host's own network every port is reached as it is; leave publish out."
    if not isinstance(value, int):
        return None
    protocols = [port.protocol for port in workload.template.ports if port.publish == value]
    if len(protocols) > len(set(protocols)):
        return f"Port {value} of the host can be published once for each protocol."
    hosts = sum(node.schedulable for node in info.nodes)
    if not workload.standalone and workload.replicas > hosts:
        return (
            f"Each host has one port {value}, so {workload.replicas} replicas need as many hosts; "
            f'{hosts} can take one. Use "auto".'
        )
    return None


def _name(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    same = sum(port.name == value for port in workload.template.ports)
    return f"More than one port is named {value}." if same > 1 else None


def _networks(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if "host" in value and tuple(value) != HOST_NETWORK:
        return "The host's own network goes with no other."
    return None


def _hostname(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return "With the host's own network it has the host's name." if workload.template.networks == HOST_NETWORK else None


def _stop_signal(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    numbers = {s.value for s in signal.Signals}
    if is_signal(str(value)) or (str(value).isdigit() and int(value) in numbers):
        return None
    return f"{value} is no signal; use a name such as SIGTERM, SIGINT or SIGRTMIN+3."


def _desired_state(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if value == "paused" and not workload.standalone:
        return "An app is running or stopped; only a container of its own can be paused."
    return None


def _restart(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if value != "always" and not workload.standalone:
        return "The replicas of an app are always started again; use a container for what ends."
    return None


def _constraints(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if any(_meets(node, value) for node in info.nodes):
        return None
    wanted = ", ".join(f"{name}={label}" for name, label in sorted(value.items()))
    return f"No host has the labels {wanted}."


def _meets(node: Node, constraints: dict[str, str]) -> bool:
    return all(node.labels.get(name) == label for name, label in constraints.items())


def _spread(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if any(value in node.labels for node in info.nodes) else f"No host has the label {value}."


def _replicas(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if value <= 1000 else "At most 1000 replicas."


def _share(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if isinstance(value, str) and share_of(value, 100, up=True) > 100:
        return "A share is at most 100%."
    return None


def _probed_port(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    """The gateway must reach the port that it is to probe."""
    remote = [node.name for node in info.nodes if not node.local]
    if not remote or workload.template.networks == HOST_NETWORK:
        return None
    open_to = {p.port for p in workload.template.ports if p.publish is not None and p.protocol == "tcp"}
    if value in open_to:
        return None
    return (
        f"The gateway probes port {value} from outside of {remote[0]}, so it has to be published there "
        '(publish: "auto"), or use exec.'
    )


def _interval(name: str) -> Accepts:
    """Docker counts in nanoseconds from a millisecond on, and takes 0 for its own default."""

    def accepts(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
        if not math.isfinite(value) or value < 0.001:
            return f"The {name} is at least 0.001 seconds."
        return None

    return accepts


def _retries(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if value >= 1 else "At least one failure makes it unhealthy."


def _tmpfs_size(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if bytes_of(value) > 0 else "The size is more than 0."


def _health(prefix: str) -> dict[str, Carried]:
    timing = "For http and tcp the gateway keeps the time; Docker does for exec."
    return {
        f"{prefix}/health/http/path": emulated(f"{_RUN_BY_GATEWAY} Redirects are not followed; 200 to 399 is healthy."),
        f"{prefix}/health/http/port": emulated(_RUN_BY_GATEWAY, _probed_port),
        f"{prefix}/health/tcp/port": emulated(_RUN_BY_GATEWAY, _probed_port),
        f"{prefix}/health/exec/command": native(),
        f"{prefix}/health/interval": native(timing, _interval("interval")),
        f"{prefix}/health/timeout": native(timing, _interval("timeout")),
        f"{prefix}/health/retries": native(timing, _retries),
        f"{prefix}/health/start_period": native(timing),
    }


def _mounts(prefix: str) -> dict[str, Carried]:
    pins = "A volume is on one host; every replica that mounts it runs there."
    return {
        f"{prefix}/mounts/*/path": native(),
        f"{prefix}/mounts/*/read_only": native(),
        f"{prefix}/mounts/*/volume/name": native(pins),
        f"{prefix}/mounts/*/volume/size": absent("Docker's local volumes have no size; leave it out."),
        f"{prefix}/mounts/*/volume/class": absent("Hosts have one kind of volume, Docker's local one; leave it out."),
        f"{prefix}/mounts/*/bind": native("The path is one of the host that the replica is placed on."),
        f"{prefix}/mounts/*/tmpfs": native(),
        f"{prefix}/mounts/*/tmpfs/size": native(accepts=_tmpfs_size),
    }


def _process(prefix: str) -> dict[str, Carried]:
    return {
        f"{prefix}/image": native(),
        f"{prefix}/pull": emulated(
            "The gateway pulls. With always, a tag is resolved once for every revision and every restart of an app: "
            "further replicas get the image that the first one got, by its digest."
        ),
        f"{prefix}/command": native(),
        f"{prefix}/args": native(),
        f"{prefix}/env": native(),
        f"{prefix}/workdir": native(),
        f"{prefix}/user": native("A name is looked up in the image."),
        f"{prefix}/cpu": native("A cap; it is not reserved.", _cpu),
        f"{prefix}/memory": native("A cap; the gateway does not promise more than a host has.", _memory),
    }


_CONTAINER: dict[str, Carried] = {
    **_process(""),
    **_health(""),
    **_mounts(""),
    "/image_auth": native("Used for pulling. An image that is on the host already is used without it."),
    "/env_secrets": native("Whoever may inspect containers on the host can read them."),
    "/hostname": native(accepts=_hostname),
    "/tty": native(),
    "/stdin": native(),
    "/ports/*/port": native(),
    "/ports/*/protocol": native(),
    "/ports/*/name": emulated("Kept by the gateway; hosts know numbers only.", _name),
    "/ports/*/publish": native(
        "Reached at the host that the replica runs on; with a loopback address from that host alone.", _publish
    ),
    "/gpu": native(accepts=_gpu),
    "/networks": native("Each host has its own; replicas on different hosts do not share one.", _networks),
    "/restart": native(accepts=_restart),
    "/stop_signal": native(accepts=_stop_signal),
    "/stop_timeout": native(),
    "/labels": emulated("Kept by the gateway: labels of containers could not be changed."),
    "/desired_state": native("An app that is stopped has no replicas.", _desired_state),
}

_APP: dict[str, Carried] = {
    "/replicas": emulated("The gateway keeps the number; while it is down, only Docker starts what ends.", _replicas),
    "/sidecars/*/name": native(),
    **_process("/sidecars/*"),
    **_health("/sidecars/*"),
    **_mounts("/sidecars/*"),
    "/update/strategy": emulated("The gateway replaces replicas."),
    "/update/max_surge": emulated(_ROOM, _share),
    "/update/max_unavailable": emulated(_ROOM, _share),
    "/update/min_ready": emulated("Kept by the gateway; at least 1 second where nothing is checked."),
    "/update/deadline": emulated("Judged by the gateway.", within_deadline),
    "/update/paused": emulated("Kept by the gateway."),
    "/update/on_failure": emulated("Judged by the gateway."),
    "/placement/constraints": emulated("By the labels that hosts are registered with.", _constraints),
    "/placement/spread": emulated("Kept when replicas are placed; they are not moved later.", _spread),
}

FIELDS: Accounting = {**_CONTAINER, **_APP}
