"""What we want, in the Docker Engine's terms. Pure.

Whatever an engine would fill in by itself, from its configuration, from its version or from the image,
is written out, so that the same specification gives the same container on every engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from docker.utils import version_gte

from zun_coe.errors import Invalid
from zun_coe.model import Health
from zun_coe.native.runtime import ContainerSpec, PortBinding, Restart, RuntimeMount

# Networks that a container is still to join before its first start, as JSON: {name: [alias, …]}. Written on every
# container, since one of its image would count otherwise.
ATTACH = "zun.attach"

LOG_FILES = {"max-size": "10m", "max-file": "3"}
_RESTART = {"always": "unless-stopped", "on_failure": "on-failure", "never": "no"}
_SHM = 64 << 20
# The least that the engine takes; 0 would mean the image's own.
_LEAST_DURATION = 1_000_000
# An engine can change a limit but not take it away. Limits of no effect, which nobody asks for, stand for none.
LIFTED_MEMORY = (1 << 63) - 4096
LIFTED_NANO = 999_999_999
PERIOD = 100_000


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


def labelled(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """The filter for whatever has all of these labels."""
    return {"label": [f"{name}={value}" for name, value in labels.items()]}


def limits_body(cpu: float | None, memory: int | None, host_cpus: int, api: str) -> dict[str, Any]:
    """The request that changes limits; `host_cpus` is how many the host has."""
    body: dict[str, Any] = {"Memory": memory or LIFTED_MEMORY, "MemorySwap": memory or LIFTED_MEMORY}
    if not version_gte(api, "1.25"):
        return body | {"CpuPeriod": PERIOD, "CpuQuota": round(cpu * PERIOD) if cpu else -1}
    # One nanosecond less than everything: has no effect, and is told from a limit of everything.
    return body | {"NanoCpus": round(cpu * 10**9) if cpu else (host_cpus - 1) * 10**9 + LIFTED_NANO}


def restart_policy(restart: Restart) -> dict[str, Any]:
    """A restart policy as the engine has it."""
    return {"Name": _RESTART[restart], "MaximumRetryCount": 0}


def _host_config(spec: ContainerSpec, api: str) -> dict[str, Any]:
    return {
        "RestartPolicy": restart_policy(spec.restart),
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
        "CapDrop": list(spec.cap_drop),
        "PidsLimit": spec.pids,
        "SecurityOpt": ["no-new-privileges"] if spec.no_new_privileges else [],
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
    return {"CpuPeriod": PERIOD, "CpuQuota": round(cpu * PERIOD)} if cpu else {}


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
    return {ATTACH: json.dumps(joins_later(spec), separators=(",", ":"))}


def _port_bindings(spec: ContainerSpec) -> dict[str, list[dict[str, str]]]:
    if spec.host_network:
        moved = [p for p in spec.ports if p.host_port not in (None, p.port)]
        if moved:
            raise Invalid(f"port {moved[0].port} cannot be published as another one on the host's own network")
        return {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        if port.host_port is not None:
            binding = {"HostIp": spec.publish_on, "HostPort": str(port.host_port or "")}
            bindings.setdefault(_port_key(port), []).append(binding)
    return bindings


def _port_key(port: PortBinding) -> str:
    return f"{port.port}/{port.protocol}"
