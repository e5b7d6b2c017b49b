"""Our terms to the Docker Engine's and back. Pure.

Whatever an engine would fill in by itself, from its configuration, from its version or from the image,
is written out, so that the same specification gives the same container on every engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from docker.utils import version_gte

from zun_coe.adapters import OPERATIONS
from zun_coe.errors import Invalid
from zun_coe.model import Health, OperationSupport, Support
from zun_coe.native.runtime import ContainerSpec, Found, PortBinding, RuntimeInfo, RuntimeMount, State

# Networks that a container is still to join before its first start, as JSON: {name: [alias, …]}.
ATTACH = "zun.attach"

LOG_FILES = {"max-size": "10m", "max-file": "3"}
_RESTART = {"always": "unless-stopped", "on_failure": "on-failure", "never": "no"}
_SHM = 64 << 20
# The least that the engine takes; 0 would mean the image's own.
_LEAST_DURATION = 1_000_000
# An engine can change a limit but not take it away. Limits of no effect, which nobody asks for, stand for none.
_LIFTED_MEMORY = (1 << 63) - 4096
_LIFTED_NANO = 999_999
_PERIOD = 100_000
_NEVER = datetime(2, 1, 1, tzinfo=UTC)
_STATES: Mapping[str, State] = {
    "created": "created",
    "configured": "created",
    "initialized": "created",
    "running": "running",
    "stopping": "running",
    "paused": "paused",
    "restarting": "restarting",
    "exited": "exited",
    "stopped": "exited",
    "removing": "removing",
    "dead": "dead",
}
_NOT_OFFERED = frozenset({"exec", "attach", "stats", "top", "files"})


def container_body(spec: ContainerSpec, api: str) -> dict[str, Any]:
    """The request that creates this container with this version of the API. Raises `Invalid` for what
    the version can't carry. `entrypoint` and `args` are the engine's Entrypoint and Cmd as they are."""
    host = _host_config(spec, api)
    body: dict[str, Any] = {
        "Image": spec.image,
        "Labels": dict(spec.labels) | _still_to_join(spec),
        "Entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "Cmd": _command(spec),
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "WorkingDir": spec.workdir,
        "User": spec.user,
        "Hostname": spec.hostname,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "ExposedPorts": {_port_key(p): {} for p in spec.ports},
        "StopSignal": spec.stop_signal,
        "StopTimeout": spec.stop_timeout if version_gte(api, "1.25") else None,
        "Healthcheck": _healthcheck(spec.health, api),
        "NetworkDisabled": False,
        "HostConfig": host,
        "NetworkingConfig": _networking(spec),
    }
    return {name: value for name, value in body.items() if value is not None}


def wants_no_arguments(spec: ContainerSpec) -> bool:
    """Whether the image's own arguments are to go and its entrypoint is to stay. The engine takes an
    empty list for "the image's own", unless the entrypoint is given."""
    return spec.entrypoint is None and spec.args is not None and not spec.args


def joins_later(spec: ContainerSpec) -> dict[str, list[str]]:
    """The networks besides the main one, with the aliases on them."""
    return {name: list(spec.aliases) for name in spec.networks[1:]}


def still_to_join(inspected: Mapping[str, Any]) -> dict[str, list[str]]:
    """The networks that a container was meant to join and hasn't joined. Empty for one that ran already:
    what was changed since then was changed on purpose."""
    if not _is_new(inspected):
        return {}
    wanted: dict[str, list[str]] = json.loads(_labels(inspected).get(ATTACH) or "{}")
    joined = inspected["NetworkSettings"].get("Networks") or {}
    return {name: aliases for name, aliases in wanted.items() if name not in joined}


def is_ours(inspected: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a container has all of these labels."""
    return labels.items() <= _labels(inspected).items()


def is_leaving(inspected: Mapping[str, Any]) -> bool:
    """Whether it is on its way out, so that its name will be free."""
    return _state(inspected) in ("removing", "dead")


def limits_body(cpu: float | None, memory: int | None, host_cpus: int, api: str) -> dict[str, Any]:
    """The request that changes limits; `host_cpus` is how many the host has."""
    body: dict[str, Any] = {"Memory": memory or _LIFTED_MEMORY, "MemorySwap": memory or _LIFTED_MEMORY}
    if not version_gte(api, "1.25"):
        return body | {"CpuPeriod": _PERIOD, "CpuQuota": round(cpu * _PERIOD) if cpu else -1}
    # One nanosecond less than everything: has no effect, and is told from a limit of everything.
    return body | {"NanoCpus": round(cpu * 10**9) if cpu else host_cpus * 10**9 - 1}


def found(inspected: Mapping[str, Any]) -> Found:
    """A container as `GET /containers/{id}/json` tells of it."""
    state, config, host = inspected["State"], inspected["Config"], inspected["HostConfig"]
    status, health = _state(inspected), _health(inspected)
    started = moment(state.get("StartedAt"))
    return Found(
        id=inspected["Id"],
        name=inspected["Name"].removeprefix("/"),
        image=config["Image"],
        labels=_labels(inspected),
        state=status,
        exit_code=_exit_code(status, state),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or None,
        health=health,
        health_log=tuple(str(r.get("Output") or "") for r in _results(inspected)),
        restarts=int(inspected.get("RestartCount") or 0),
        bindings=tuple(_bindings(inspected)),
        address=_address(inspected),
        cpu=_cpu(host),
        memory=_memory(host),
        created_at=moment(inspected.get("Created")),
        started_at=started,
        finished_at=moment(state.get("FinishedAt")),
        healthy_since=_healthy_since(inspected, status, health, started),
    )


def moment(text: str | None) -> datetime | None:
    """A time as engines write it (RFC 3339 with nanoseconds, of which microseconds are kept); the year 1 is never."""
    if not text:
        return None
    told = datetime.fromisoformat(text).astimezone(UTC)
    return None if told < _NEVER else told


def runtime_info(info: Mapping[str, Any], version: Mapping[str, Any], negotiated: str, oldest: str) -> RuntimeInfo:
    """The engine and its host, from `GET /info` and `GET /version`."""
    told = {"negotiated": negotiated, "supported": f"{oldest} and later", "engine": str(version.get("Version", ""))}
    return RuntimeInfo(
        identity=str(info["ID"]),
        versions={"docker": told},
        cpus=float(info["NCPU"]) if info.get("NCPU") else None,
        memory=int(info["MemTotal"]) if info.get("MemTotal") else None,
        gpus=_gpus(info),
        operations={name: _operation(name) for name in OPERATIONS},
        facts=_facts(info),
    )


def labels_of_event(event: Mapping[str, Any]) -> dict[str, str]:
    """The labels of the container that an event is about: its attributes without the engine's own."""
    own = {"image", "name", "exitCode", "signal", "execID", "execDuration", "oldName"}
    attributes = (event.get("Actor") or {}).get("Attributes") or {}
    return {str(name): str(value) for name, value in attributes.items() if name not in own}


def _host_config(spec: ContainerSpec, api: str) -> dict[str, Any]:
    return {
        "RestartPolicy": {"Name": _RESTART[spec.restart], "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": dict(LOG_FILES)},
        "NetworkMode": _network_mode(spec),
        "PortBindings": _port_bindings(spec),
        "PublishAllPorts": False,
        "Memory": spec.memory or 0,
        "MemorySwap": spec.memory or 0,
        "OomKillDisable": False,
        "Privileged": False,
        "ReadonlyRootfs": False,
        "AutoRemove": False,
        "CapAdd": [],
        "CapDrop": [],
        "ShmSize": _SHM,
        **_cpu_limit(spec.cpu, api),
        **_mounts(spec.mounts, api),
        **_devices(spec.gpu, api),
        **({"Init": False} if version_gte(api, "1.25") else {}),
        **({"IpcMode": "private"} if version_gte(api, "1.35") else {}),
    }


def _command(spec: ContainerSpec) -> list[str] | None:
    if spec.args is not None:
        return list(spec.args)
    return None if spec.entrypoint is None else []


def _cpu_limit(cpu: float | None, api: str) -> dict[str, Any]:
    if version_gte(api, "1.25"):
        return {"NanoCpus": round((cpu or 0) * 10**9)}
    return {"CpuPeriod": _PERIOD, "CpuQuota": round(cpu * _PERIOD)} if cpu else {}


def _healthcheck(health: Health | None, api: str) -> dict[str, Any]:
    if health is None or health.exec is None:
        return {"Test": ["NONE"]}
    check = {
        "Test": ["CMD", *health.exec.command],
        "Interval": _nanoseconds(health.interval),
        "Timeout": _nanoseconds(health.timeout),
        "Retries": max(1, health.retries),
    }
    if version_gte(api, "1.29"):
        check["StartPeriod"] = _nanoseconds(health.start_period)
    elif health.start_period:
        raise Invalid("a start period of a health check needs a Docker Engine of API 1.29 or later")
    return check | ({"StartInterval": check["Interval"]} if version_gte(api, "1.44") else {})


def _nanoseconds(seconds: float) -> int:
    return max(_LEAST_DURATION, round(seconds * 10**9))


def _mounts(mounts: Sequence[RuntimeMount], api: str) -> dict[str, Any]:
    if version_gte(api, "1.30"):
        return {"Mounts": [_mount(m) for m in mounts], "Binds": [], "Tmpfs": {}}
    # Such an engine ignores `Mounts` without a word.
    return {"Binds": [_bind(m) for m in mounts if not m.tmpfs], "Tmpfs": {m.path: _tmpfs(m) for m in mounts if m.tmpfs}}


def _mount(mount: RuntimeMount) -> dict[str, Any]:
    told: dict[str, Any] = {"Target": mount.path, "ReadOnly": mount.read_only}
    if mount.volume is not None:
        return told | {"Type": "volume", "Source": mount.volume, "VolumeOptions": {"NoCopy": False}}
    if mount.bind is not None:
        return told | {"Type": "bind", "Source": mount.bind, "BindOptions": {"Propagation": "rprivate"}}
    return told | {"Type": "tmpfs", "TmpfsOptions": {"SizeBytes": mount.size or 0, "Mode": 0o1777}}


def _bind(mount: RuntimeMount) -> str:
    source = mount.volume or mount.bind or ""
    if ":" in source + mount.path:
        raise Invalid("a path with a colon needs a Docker Engine of API 1.30 or later")
    return f"{source}:{mount.path}:{'ro' if mount.read_only else 'rw'}"


def _tmpfs(mount: RuntimeMount) -> str:
    options = ["mode=1777", *([f"size={mount.size}"] if mount.size else []), *(["ro"] if mount.read_only else [])]
    return ",".join(options)


def _devices(gpu: int, api: str) -> dict[str, Any]:
    if gpu and not version_gte(api, "1.40"):
        raise Invalid("GPUs need a Docker Engine of API 1.40 or later")
    return {"DeviceRequests": [{"Driver": "", "Count": gpu, "Capabilities": [["gpu"]]}]} if gpu else {}


def _network_mode(spec: ContainerSpec) -> str:
    if spec.join:
        return f"container:{spec.join}"
    if spec.host_network:
        return "host"
    return spec.networks[0] if spec.networks else "bridge"


def _networking(spec: ContainerSpec) -> dict[str, Any] | None:
    if spec.join or spec.host_network or not spec.networks:
        return None
    return {"EndpointsConfig": {spec.networks[0]: {"Aliases": list(spec.aliases)}}}


def _still_to_join(spec: ContainerSpec) -> dict[str, str]:
    later = joins_later(spec)
    return {ATTACH: json.dumps(later, separators=(",", ":"))} if later else {}


def _port_bindings(spec: ContainerSpec) -> dict[str, list[dict[str, str]]]:
    if spec.host_network:
        moved = [p for p in spec.ports if p.host_port not in (None, p.port)]
        if moved:
            raise Invalid(f"port {moved[0].port} cannot be published as another one on the host's own network")
        return {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        if port.host_port is not None:
            binding = {"HostIp": "0.0.0.0", "HostPort": str(port.host_port or "")}  # noqa: S104  # published means reachable
            bindings.setdefault(_port_key(port), []).append(binding)
    return bindings


def _port_key(port: PortBinding) -> str:
    return f"{port.port}/{port.protocol}"


def _labels(inspected: Mapping[str, Any]) -> dict[str, str]:
    return dict(inspected["Config"].get("Labels") or {})


def _state(inspected: Mapping[str, Any]) -> State:
    return _STATES.get(str(inspected["State"].get("Status")).lower(), "dead")


def _is_new(inspected: Mapping[str, Any]) -> bool:
    return _state(inspected) == "created" and moment(inspected["State"].get("StartedAt")) is None


def _exit_code(status: State, state: Mapping[str, Any]) -> int | None:
    code = int(state.get("ExitCode") or 0)
    if status in ("exited", "restarting", "dead"):
        return code
    return code or None if status == "created" else None


def _health(inspected: Mapping[str, Any]) -> Any:
    status = (_health_of(inspected).get("Status") or "").lower()
    return status if status in ("starting", "healthy", "unhealthy") else None


def _health_of(inspected: Mapping[str, Any]) -> Mapping[str, Any]:
    state = inspected["State"]
    return cast("Mapping[str, Any]", state.get("Health") or state.get("Healthcheck") or {})


def _results(inspected: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return _health_of(inspected).get("Log") or ()


def _healthy_since(inspected: Mapping[str, Any], status: State, health: str | None, started: Any) -> datetime | None:
    if status not in ("running", "paused"):
        return None
    if health is None:
        return cast("datetime | None", started)
    if health != "healthy":
        return None
    retries = (inspected["Config"].get("Healthcheck") or {}).get("Retries") or 3
    return _recovered(_results(inspected), int(retries)) or cast("datetime | None", started)


def _recovered(results: Sequence[Mapping[str, Any]], retries: int) -> datetime | None:
    """When the first success ended since the last run of failures that was long enough to be unhealthy."""
    since, failures = None, 0
    for result in results:
        if result.get("ExitCode") == 0:
            since, failures = since or moment(result.get("End")), 0
        else:
            failures += 1
            since = None if failures >= retries else since
    return since


def _bindings(inspected: Mapping[str, Any]) -> Iterable[PortBinding]:
    """Published ports, each once: engines list the same one for IPv4 and for IPv6, IPv4 first."""
    for key, bindings in sorted((inspected["NetworkSettings"].get("Ports") or {}).items()):
        port, _, protocol = key.partition("/")
        told = sorted(bindings or (), key=lambda b: ":" in (b.get("HostIp") or ""))
        family = [b for b in told if (":" in (b.get("HostIp") or "")) == (":" in (told[0].get("HostIp") or ""))]
        for number in dict.fromkeys(int(b["HostPort"]) for b in family if b.get("HostPort")):
            yield PortBinding(int(port), protocol or "tcp", number)


def _address(inspected: Mapping[str, Any]) -> str | None:
    networks = inspected["NetworkSettings"].get("Networks") or {}
    main = inspected["HostConfig"].get("NetworkMode")
    ordered = [networks[main]] if main in networks else []
    addresses = [(n or {}).get("IPAddress") for n in [*ordered, *networks.values()]]
    return next((a for a in addresses if a), None)


def _cpu(host: Mapping[str, Any]) -> float | None:
    if nano := int(host.get("NanoCpus") or 0):
        return None if nano % 10**6 == _LIFTED_NANO else nano / 10**9
    quota, period = int(host.get("CpuQuota") or 0), int(host.get("CpuPeriod") or 0) or _PERIOD
    return quota / period if quota > 0 else None


def _memory(host: Mapping[str, Any]) -> int | None:
    limit = int(host.get("Memory") or 0)
    return limit if 0 < limit < _LIFTED_MEMORY else None


def _gpus(info: Mapping[str, Any]) -> int:
    """As far as the engine tells: devices found by CDI, else generic resources that an operator declared."""
    devices = [str(d.get("ID")) for d in info.get("DiscoveredDevices") or ()]
    numbered = [d for d in devices if d.startswith("nvidia.com/gpu=") and d.rpartition("=")[2].isdigit()]
    if numbered:
        return len(numbered)
    return sum(_declared(resource) for resource in info.get("GenericResources") or ())


def _declared(resource: Mapping[str, Any]) -> int:
    named, counted = resource.get("NamedResourceSpec") or {}, resource.get("DiscreteResourceSpec") or {}
    if "gpu" in str(named.get("Kind", "")).lower():
        return 1
    return int(counted.get("Value") or 0) if "gpu" in str(counted.get("Kind", "")).lower() else 0


def _operation(name: str) -> OperationSupport:
    if name in _NOT_OFFERED:
        return OperationSupport(support=Support.NONE, note="The gateway does not offer this on Docker yet.")
    return OperationSupport(support=Support.NATIVE)


def _facts(info: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "name": "Name",
        "os": "OperatingSystem",
        "kernel": "KernelVersion",
        "architecture": "Architecture",
        "storage_driver": "Driver",
        "cgroup_driver": "CgroupDriver",
        "cgroup_version": "CgroupVersion",
    }
    return {ours: info[theirs] for ours, theirs in names.items() if info.get(theirs)}
