"""From containers to replicas: what a host has, as the instances that everything else sees. Pure.

A replica is one container, or several that share a network; it is as ready as the least ready of them. Times of
containers are those of their host's clock, times of instances those of the gateway's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec.structs import replace as replace_struct

from zun_coe.adapters.clocks import SAME
from zun_coe.model import Endpoint, Instance, WorkloadRef
from zun_coe.model.observation import InstanceState
from zun_coe.model.status import killed_for_memory
from zun_coe.native import naming
from zun_coe.native.naming import INFRA, MAIN
from zun_coe.native.runtime import Found, State

# Docker takes a run of ten seconds for a success, and starts its delays between restarts anew.
STEADY = timedelta(seconds=10)
CRASHES = 3
# A process that was started again is given a moment to show that it stays.
RECOVERY = timedelta(seconds=2)

_STATES: dict[State, InstanceState] = {
    "created": "creating",
    "running": "running",
    "paused": "paused",
    "restarting": "restarting",
    "exited": "exited",
    "removing": "removing",
    "dead": "failed",
}
# A replica is in the state of that of its containers which is furthest from running.
_FURTHEST: tuple[InstanceState, ...] = (
    "removing",
    "failed",
    "creating",
    "exited",
    "restarting",
    "paused",
    "running",
)


@dataclass(frozen=True)
class Probed:
    """What the gateway's own probe of a container found, since when, and what it last said. `run`: when the run of
    the container began that it is about; None: whichever it is in."""

    health: Literal["starting", "healthy", "unhealthy"] = "starting"
    since: datetime | None = None
    output: str = ""
    run: datetime | None = None


@dataclass(frozen=True)
class Place:
    """A host as it bears on what is on it. `reachable` False: this is what was last seen there.
    `removing`: ids of containers on their way out. `probed`: results of our own probes by id. `ended`: those that
    may run again by now as they were when they had ended last, by id. `recalled`: what was known of replicas before
    anything was probed here, by the id of the container that stands for each. `ahead`: by how much its clock is
    ahead of the gateway's."""

    name: str
    address: str = "127.0.0.1"
    reachable: bool = True
    removing: frozenset[str] = frozenset()
    probed: Mapping[str, Probed] = field(default_factory=dict)
    ended: Mapping[str, Found] = field(default_factory=dict)
    recalled: Mapping[str, Instance] = field(default_factory=dict)
    ahead: timedelta = timedelta()

    def ours(self, moment: datetime | None) -> datetime | None:
        """A time of the host's clock as one of the gateway's."""
        return None if moment is None else moment - self.ahead


@dataclass(frozen=True)
class Replica:
    """One instance and the containers that it consists of, by role. `probed`: the verdicts of our own probes, by
    role; None where there is no probe."""

    ref: WorkloadRef
    instance: Instance
    parts: Mapping[str, Found]
    probed: Mapping[str, Probed | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Trouble:
    reason: str
    message: str
    evidence: dict[str, Any]


def gather(found: Iterable[Found], place: Place, now: datetime) -> list[Replica]:
    """The replicas that these containers of one host make up. What has not our labels is left out."""
    groups: dict[tuple[WorkloadRef, str, str], dict[str, Found]] = defaultdict(dict)
    for container in found:
        if ref := naming.ref_of(container.labels):
            key = ref, container.labels.get(naming.SLOT, "1"), container.labels.get(naming.HASH, "")
            groups[key][container.labels.get(naming.ROLE, MAIN)] = container
    return [_replica(ref, int(slot), hash_, parts, place, now) for (ref, slot, hash_), parts in groups.items()]


def unreachable(instance: Instance) -> Instance:
    """An instance as it is told of while its host is unreachable, from what was known of it."""
    return replace_struct(
        instance, state="unknown", ready=False, ready_since=None, health=None, reason=None, message=None, evidence={}
    )


def stale(parts: Mapping[str, Found]) -> list[Found]:
    """Containers that run in a network that is gone, since the one that holds it was started after them."""
    infra = parts.get(INFRA)
    if infra is None or infra.started_at is None:
        return []
    others = (part for role, part in parts.items() if role != INFRA and part.state == "running")
    return [part for part in others if part.started_at is not None and part.started_at < infra.started_at]


def orphaned(parts: Mapping[str, Found]) -> bool:
    """Whether the container that held the network is gone, so that the others can only be made anew."""
    return INFRA not in parts and any(part.labels.get(naming.PARTS) for part in parts.values())


def missing(parts: Mapping[str, Found]) -> set[str]:
    """The roles that a replica should have and has no container for."""
    told = next((known for part in parts.values() if (known := part.labels.get(naming.PARTS))), "")
    return set(filter(None, told.split(","))) - parts.keys()


def cut_off(parts: Mapping[str, Found]) -> list[Found]:
    """Containers that run, and that somebody took off a network of theirs, or that do not publish their ports."""
    return [part for part in parts.values() if part.detached or part.unpublished]


def leading(parts: Mapping[str, Found]) -> Found:
    """The container that stands for its replica: the main one, or whichever there is."""
    return parts.get(MAIN) or parts[min(parts)]


def ended_like(part: Found, before: Found | None) -> Found:
    """How a container ended. `before`: how its run before that did. Engines do not notice each time that memory ran
    out: what was killed again after a short run was killed for that again."""
    if before is None or part.oom_killed or part.exit_code != before.exit_code:
        return part
    if not killed_for_memory(ran_out=before.oom_killed, exit_code=before.exit_code):
        return part
    start, end = part.started_at, part.finished_at
    short = start is None or end is None or end - start < STEADY
    return replace(part, oom_killed=True) if short else part


def ready_since(
    container: Found, probed: Probed | None, now: datetime, ahead: timedelta = timedelta()
) -> datetime | None:
    """Since when a container serves, None while it does not. `ahead`: by how much its host's clock is."""
    if container.state != "running":
        return None
    if probed is not None:
        return probed.since if probed.health == "healthy" else None
    if container.health is not None:
        since = container.healthy_since or container.started_at
        return since - ahead if since is not None and container.health == "healthy" else None
    proof = STEADY if container.restarts >= CRASHES else RECOVERY if container.restarts else timedelta()
    started = container.started_at - ahead if container.started_at else now
    return started if not proof or now - started >= proof else None


def _replica(ref: WorkloadRef, slot: int, hash_: str, parts: dict[str, Found], place: Place, now: datetime) -> Replica:
    before = place.recalled.get(leading(parts).id)
    probed = {role: _probed(role, part, place, before) for role, part in parts.items()}
    state = _state(parts, place)
    since = [ready_since(part, probed[role], now, place.ahead) for role, part in parts.items()]
    known = [moment for moment in since if moment is not None]
    ready = state == "running" and len(known) == len(since) and not cut_off(parts)
    main = leading(parts)
    trouble = _trouble(parts, probed, place.ended, now + place.ahead) if state != "unknown" else None
    instance = Instance(
        native_id=main.id,
        name=main.name,
        slot=slot,
        hash=hash_,
        state=state,
        ready=ready,
        health=_health(parts, probed),
        exit_code=main.exit_code if main.state != "running" or main.restarts else None,
        restarts=sum(part.restarts for part in parts.values()),
        host=place.name,
        address=parts.get(INFRA, main).address,
        reason=trouble.reason if trouble else None,
        message=trouble.message if trouble else None,
        evidence=trouble.evidence if trouble else _memory_event(main) if state == "exited" else {},
        endpoints=_endpoints(parts, place),
        cpu=main.cpu,
        memory=main.memory,
        digests={role.removeprefix("sidecar:"): p.digest for role, p in parts.items() if p.digest and role != INFRA},
        created_at=place.ours(main.created_at),
        started_at=place.ours(main.started_at),
        finished_at=place.ours(main.finished_at),
        ready_since=max(known) if ready else None,
    )
    return Replica(ref, instance, parts, probed)


def _state(parts: Mapping[str, Found], place: Place) -> InstanceState:
    if not place.reachable:
        return "unknown"
    if any(part.id in place.removing for part in parts.values()):
        return "removing"
    if orphaned(parts) or stale(parts):
        return "failed"
    states = {_STATES[part.state] for part in parts.values()}
    if missing(parts):
        states.add("creating")
    if any(_unstartable(part) for part in parts.values()):
        states.add("failed")
    return min(states, key=_FURTHEST.index)


def _unstartable(part: Found) -> bool:
    return part.state == "created" and bool(part.error)


def _health(
    parts: Mapping[str, Found], probed: Mapping[str, Probed | None]
) -> Literal["starting", "healthy", "unhealthy"] | None:
    """The worst health of all that is checked, None where nothing is."""
    order: tuple[Literal["unhealthy", "starting", "healthy"], ...] = ("unhealthy", "starting", "healthy")
    told = {_checked(part, probed[role]) for role, part in parts.items()}
    return next((health for health in order if health in told), None)


def _checked(part: Found, probed: Probed | None) -> str | None:
    return probed.health if probed is not None else part.health


def _probed(role: str, part: Found, place: Place, before: Instance | None) -> Probed | None:
    """The result of our probe of this run; the verdict of before where there is none yet, else "starting"."""
    if not part.labels.get(naming.HEALTH):
        return None
    now = place.probed.get(part.id)
    if now is not None and now.run in (None, part.started_at):
        return now
    return verdict_of(role, part, before, place.ahead) if before is not None else Probed()


def verdict_of(role: str, part: Found, before: Instance, ahead: timedelta = timedelta()) -> Probed:
    """The last verdict on a container, as what was known of its replica tells it; "starting" where the container was
    started since, or it tells of another one. Of a sidecar no start is known: one that began before its replica was
    ready is in the run that was checked. `ahead`: see `Place`."""
    started = part.started_at - ahead if part.started_at else None
    if before.health == "healthy":
        since = before.ready_since or before.started_at
        same = _same(started, before.started_at, ahead) if role == MAIN else _not_after(started, since)
        return Probed("healthy", since, run=part.started_at) if same else Probed()
    blamed = before.evidence.get("container", MAIN) == role.removeprefix("sidecar:")
    if before.health == "unhealthy" and blamed and _same(started, before.started_at, ahead):
        return Probed("unhealthy", None, str(before.evidence.get("output", "")), part.started_at)
    return Probed()


def _same(moment: datetime | None, other: datetime | None, ahead: timedelta) -> bool:
    """Whether two times are of one start: where clocks differ, one may have been told with another difference."""
    if moment is None or other is None or not ahead:
        return moment == other
    return abs(moment - other) <= 2 * SAME


def _not_after(moment: datetime | None, other: datetime | None) -> bool:
    return moment is not None and other is not None and moment <= other


def _endpoints(parts: Mapping[str, Found], place: Place) -> tuple[Endpoint, ...]:
    bindings = (b for part in parts.values() for b in part.bindings if b.host_port)
    return tuple(
        Endpoint(address=place.address, port=b.host_port or 0, target=b.port, protocol=b.protocol)
        for b in sorted(bindings, key=lambda b: (b.port, b.protocol))
    )


def _trouble(
    parts: Mapping[str, Found], probed: Mapping[str, Probed | None], ended: Mapping[str, Found], now: datetime
) -> _Trouble | None:
    """What is wrong with a replica: of its first container that has something wrong."""
    if lost := cut_off(parts):
        return _cut_off(lost)
    for role, part in parts.items():
        if told := _wrong(part, probed[role], ended.get(part.id), now):
            who = {} if role == MAIN else {"container": role.removeprefix("sidecar:")}
            return _Trouble(told.reason, told.message, told.evidence | who)
    return None


def _wrong(part: Found, probed: Probed | None, ended: Found | None, now: datetime) -> _Trouble | None:
    last = ended if ended is not None and part.state in ("running", "restarting", "exited") else part
    evidence = {"exit_code": last.exit_code, "restarts": part.restarts, "error": part.error}
    told = {name: value for name, value in evidence.items() if value is not None} | _memory_event(last)
    killed = killed_for_memory(ran_out=last.oom_killed, exit_code=last.exit_code)
    if killed and (part.state != "running" or (part.restarts and _short_lived(part, now))):
        return _Trouble("OutOfMemory", "It used more memory than its limit and was killed.", told)
    if part.restarts >= CRASHES and _short_lived(part, now):
        how = "" if last.exit_code is None else f", last with exit code {last.exit_code}"
        return _Trouble("CrashLoop", f"It ends again and again{how}.", told)
    if part.error and part.state in ("created", "exited", "dead"):
        return _Trouble(reason_of(part.error), part.error, told)
    if part.state == "running" and _checked(part, probed) == "unhealthy":
        said = probed.output if probed else next((said for said in reversed(part.health_log) if said.strip()), "")
        words = f"Its health check fails: {said.strip()[:500]}" if said.strip() else "Its health check fails."
        return _Trouble("HealthCheckFailing", words, {"output": said[:2000]})
    if part.state == "restarting" or (part.restarts and _short_lived(part, now, RECOVERY)):
        how = "" if last.exit_code is None else f" with exit code {last.exit_code}"
        return _Trouble("Error", f"It ended{how}, and is started again.", told)
    return None


def _cut_off(parts: Sequence[Found]) -> _Trouble:
    networks = sorted({name for part in parts for name in part.detached})
    ports = sorted({port for part in parts for port in part.unpublished})
    told = [f"is not on its network {', '.join(networks)} any more"] if networks else []
    told += [f"does not publish its port {', '.join(map(str, ports))}"] if ports else []
    evidence = ({"networks": networks} if networks else {}) | ({"ports": ports} if ports else {})
    return _Trouble("Error", f"It runs, but {' and '.join(told)}.", evidence)


def _memory_event(part: Found) -> dict[str, Any]:
    """That memory ran out in it, whichever of its processes was killed for that."""
    return {"out_of_memory": True} if part.oom_killed else {}


def _short_lived(part: Found, now: datetime, proof: timedelta = STEADY) -> bool:
    if part.state == "restarting":
        return True
    return part.state == "running" and part.started_at is not None and now - part.started_at < proof


def reason_of(error: str) -> str:
    """The reason, of our vocabulary, for what a runtime said when it could not start a container."""
    words = error.lower()
    if "port is already allocated" in words or "address already in use" in words:
        return "PortConflict"
    if "executable file not found" in words or "no such file or directory" in words or "permission denied" in words:
        return "InvalidSpec"
    return "Error"
