"""What the Docker Engine tells, in our terms. Pure. Podman's service, which words a few things in its own
way, is understood as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, cast

import msgspec

from zun_coe.adapters import OPERATIONS
from zun_coe.adapters.clocks import ahead
from zun_coe.errors import Invalid
from zun_coe.model import OperationSupport, Support
from zun_coe.model.evidence import cut
from zun_coe.native.docker.translation import ATTACH, LIFTED_MEMORY, LIFTED_NANO, PERIOD
from zun_coe.native.naming import reserved
from zun_coe.native.runtime import Found, PortBinding, Restart, RuntimeInfo, State

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
_RESTARTS: Mapping[str, Restart] = {"no": "never", "on-failure": "on_failure"}
# Modes that are no name of a network.
_NO_NETWORKS = frozenset({"", "default", "none"})
# What the engine tells of limits that it can keep; an engine that is older than such a word keeps them.
_LIMITS = {"memory": "MemoryLimit", "swap": "SwapLimit", "cpu": "CpuCfsQuota", "pids": "PidsLimit"}
# Of what an engine tells of a container so much is kept: it may be anybody's, and tell whatever it likes. Characters of
# labels, of a sentence and of a name, results of checks (engines keep five), labels of the gateway's own, ports and
# networks.
_LABELS, _SENTENCE, _NAME = 32_768, 4096, 1000
_RESULTS, _OWN, _MANY = 10, 50, 1000
_NOT_OFFERED = frozenset({"exec", "attach", "stats", "top", "files", "workloads", "adopt"})


def found(inspected: Mapping[str, Any]) -> Found:
    """A container as `GET /containers/{id}/json` tells of it."""
    state, config, host = inspected["State"], inspected["Config"], inspected["HostConfig"]
    status, health = _state(inspected), _health(inspected)
    started = moment(state.get("StartedAt"))
    return Found(
        id=inspected["Id"],
        name=cut(inspected["Name"].removeprefix("/")),
        image=cut(config["Image"]),
        labels=_labels(inspected),
        state=status,
        exit_code=_exit_code(status, state),
        oom_killed=bool(state.get("OOMKilled")),
        error=cut(str(state["Error"]), _SENTENCE) if state.get("Error") else None,
        health=health,
        health_log=tuple(cut(str(r.get("Output") or ""), _SENTENCE) for r in _results(inspected)[-_RESULTS:]),
        restarts=int(inspected.get("RestartCount") or 0),
        bindings=tuple(islice(_bindings(inspected), _MANY)),
        address=_address(inspected),
        networks=_few(networks_of(inspected)),
        detached=_few(detached_from(inspected)),
        unpublished=unpublished(inspected)[:_MANY],
        cpu=_cpu(host),
        memory=_memory(host),
        created_at=moment(inspected.get("Created")),
        started_at=started,
        finished_at=moment(state.get("FinishedAt")),
        healthy_since=_healthy_since(inspected, status, health, started),
        restart=_RESTARTS.get((host.get("RestartPolicy") or {}).get("Name") or "no", "always"),
    )


def _few(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice((name for name in names if len(name) <= _NAME), _MANY))


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
        identity="".join(str(info["ID"]).split()),  # white space separates the identities of a cluster's engines
        versions={"docker": told},
        cpus=float(info["NCPU"]) if info.get("NCPU") else None,
        memory=int(info["MemTotal"]) if info.get("MemTotal") else None,
        gpus=_gpus(info),
        operations={name: _operation(name) for name in OPERATIONS},
        facts=_facts(info),
        unlimited=frozenset(name for name, told in _LIMITS.items() if info.get(told) is False),
    )


def clock_ahead(info: Mapping[str, Any], asked: datetime, answered: datetime) -> timedelta:
    """By how much the engine's clock is ahead of ours (see `clocks`), from `GET /info` and when that was asked and
    answered."""
    theirs = moment(str(info.get("SystemTime") or ""))
    return timedelta() if theirs is None else ahead(theirs, asked, answered)


def discarded(warnings: Iterable[str] | None) -> str | None:
    """What the engine says of a limit of CPU or memory that it was asked for and has left out. That memory is
    limited without swap is none; the limit of processes is the operator's, and told with the host."""
    return next((w for w in warnings or () if _tells_of_a_limit(w.lower())), None)


def _tells_of_a_limit(warning: str) -> bool:
    end = warning.rfind("discarded")
    return any(0 <= warning.find(limit) < end for limit in ("memory limit", "cpu"))


def labels_of_event(event: Mapping[str, Any]) -> dict[str, str]:
    """The labels of the container that an event is about: its attributes without the engine's own."""
    own = {"image", "name", "exitCode", "signal", "execID", "execDuration", "oldName"}
    attributes = (event.get("Actor") or {}).get("Attributes") or {}
    return {str(name): str(value) for name, value in attributes.items() if name not in own}


def still_to_join(inspected: Mapping[str, Any]) -> dict[str, list[str]]:
    """The networks that a container was meant to join and hasn't joined. Empty for one that ran already:
    what was changed since then was changed on purpose."""
    if not _is_new(inspected):
        return {}
    wanted = _to_attach(inspected)
    joined = inspected["NetworkSettings"].get("Networks") or {}
    return {name: aliases for name, aliases in wanted.items() if name not in joined}


def _to_attach(inspected: Mapping[str, Any]) -> dict[str, list[str]]:
    """The further networks that the gateway has noted, with the aliases there. What makes no sense is not its own: a
    container made before that note was always written may have one from its image, and fails nothing for it."""
    try:
        return msgspec.json.decode(_labels(inspected).get(ATTACH) or "{}", type=dict[str, list[str]])
    except msgspec.MsgspecError:
        return {}


def detached_from(inspected: Mapping[str, Any]) -> tuple[str, ...]:
    """The networks that a container was made for and is not on, although it runs: somebody took it off them."""
    if _state(inspected) not in ("running", "paused"):
        return ()
    wanted = [_main_network(inspected), *_to_attach(inspected)]
    joined = inspected["NetworkSettings"].get("Networks") or {}
    return tuple(name for name in dict.fromkeys(wanted) if name and name not in joined)


def unpublished(inspected: Mapping[str, Any]) -> tuple[int, ...]:
    """The ports that a container was to publish and does not, although it runs."""
    if _state(inspected) not in ("running", "paused"):
        return ()
    wanted = inspected["HostConfig"].get("PortBindings") or {}
    there = inspected["NetworkSettings"].get("Ports") or {}
    return tuple(sorted(int(key.partition("/")[0]) for key, asked in wanted.items() if asked and not there.get(key)))


def networks_of(inspected: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the networks that a container is on or is to join, its main one first."""
    main = _main_network(inspected)
    joined = inspected["NetworkSettings"].get("Networks") or {}
    return tuple(dict.fromkeys([*([main] if main else []), *joined, *still_to_join(inspected)]))


def _main_network(inspected: Mapping[str, Any]) -> str | None:
    """The network that a container is made with; None where it has none of its own, or another one's."""
    main = str(inspected["HostConfig"].get("NetworkMode") or "")
    return None if main in _NO_NETWORKS or main.startswith("container:") else main


def aliases_of(inspected: Mapping[str, Any], network: str) -> list[str]:
    """The names under which others on a network find a container, without those that the engine makes of its id."""
    own = {str(inspected["Id"])[:12], str(inspected["Config"].get("Hostname"))}
    told = ((inspected["NetworkSettings"].get("Networks") or {}).get(network) or {}).get("Aliases") or ()
    return [str(alias) for alias in told if alias not in own]


def is_leaving(inspected: Mapping[str, Any]) -> bool:
    """Whether it is on its way out, so that its name will be free."""
    return _state(inspected) in ("removing", "dead")


def require_labels(kind: str, name: str, there: Mapping[str, str] | None, asked: Mapping[str, str]) -> None:
    """Raises `Invalid` where something of a name that was asked for has not the labels asked for: it is
    somebody else's."""
    if not asked.items() <= (there or {}).items():
        message = f"there is a {kind} named {name} which is not ours"
        raise Invalid(message, "Error", {"call": "create", "status": 409, "message": message})


def _labels(inspected: Mapping[str, Any]) -> dict[str, str]:
    """All of them, where they are not many: an image may have large ones. Else those that only the gateway writes."""
    labels = dict(inspected["Config"].get("Labels") or {})
    if sum(len(name) + len(value) for name, value in labels.items()) <= _LABELS:
        return labels
    own = ((name, labels[name]) for name in reserved(labels) if len(name) + len(labels[name]) <= _LABELS)
    return dict(islice(own, _OWN))


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
        return None if nano % 10**9 == LIFTED_NANO else nano / 10**9
    quota, period = int(host.get("CpuQuota") or 0), int(host.get("CpuPeriod") or 0) or PERIOD
    return quota / period if quota > 0 else None


def _memory(host: Mapping[str, Any]) -> int | None:
    limit = int(host.get("Memory") or 0)
    return limit if 0 < limit < LIFTED_MEMORY else None


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
