"""Which host a new replica goes to. Pure.

A host is fit when it is reachable, schedulable, has the labels asked for, has the ports free, the memory not
promised to others, the volumes, and is large enough. Of those that are fit, the one that keeps replicas
spread most evenly is taken, then the one with the most memory that nobody was promised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from zun_coe.model import Placement, Template
from zun_coe.native import containers

Ports = frozenset[tuple[int, str]]


@dataclass(frozen=True)
class Claim:
    """What a container takes of its host: memory in bytes, ports of the host, and of which replica it is.
    `leading`: it stands for its replica where replicas are counted."""

    workload: str
    slot: int
    hash: str
    memory: int = 0
    ports: Ports = frozenset()
    leading: bool = True


@dataclass(frozen=True)
class HostView:
    """A host as placement sees it. `conflicts`: ports that were found taken by somebody else;
    `volumes`: native names of those it has, None where that is not known; `cpus` and `memory` None:
    not known, and not a limit."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    schedulable: bool = True
    reachable: bool = True
    cpus: float | None = None
    memory: int | None = None
    gpus: int = 0
    claims: tuple[Claim, ...] = ()
    conflicts: Ports = frozenset()
    volumes: frozenset[str] | None = frozenset()

    @property
    def promised(self) -> int:
        """The memory that replicas here may use, in bytes."""
        return sum(claim.memory for claim in self.claims)

    @property
    def taken(self) -> Ports:
        """The ports that replicas here publish."""
        return frozenset().union(*(claim.ports for claim in self.claims))

    def holding(self, claim: Claim, volumes: Iterable[str] = ()) -> HostView:
        """The same host with one more replica, and the volumes that it makes."""
        known = None if self.volumes is None else self.volumes | frozenset(volumes)
        return replace(self, claims=(*self.claims, claim), volumes=known)

    def without(self, workload: str, slot: int, hash_: str) -> HostView:
        """The same host as if one replica were gone."""
        gone = (workload, slot, hash_)
        return replace(self, claims=tuple(c for c in self.claims if (c.workload, c.slot, c.hash) != gone))


@dataclass(frozen=True)
class Refused:
    """No host will do: a reason of `model.Reason` and a sentence that says why for each host."""

    reason: str
    message: str


@dataclass(frozen=True)
class Needs:
    """What a replica asks of a host. `volumes`: native name → the user's name."""

    workload: str
    hash: str
    constraints: dict[str, str]
    spread: str | None
    cpu: float
    memory: int
    gpus: int
    ports: Ports
    volumes: dict[str, str]

    @classmethod
    def of(cls, workload: str, hash_: str, template: Template, placement: Placement, volumes: dict[str, str]) -> Needs:
        """What one replica of a template asks for."""
        cpus = [c for c in (template.cpu, *(s.cpu for s in template.sidecars)) if c]
        return cls(
            workload=workload,
            hash=hash_,
            constraints=placement.constraints,
            spread=placement.spread,
            cpu=max(cpus, default=0.0),
            memory=containers.memory_of(template),
            gpus=template.gpu,
            ports=containers.fixed_ports(template),
            volumes=volumes,
        )

    def claim(self, slot: int) -> Claim:
        """What a replica takes once it is placed."""
        return Claim(self.workload, slot, self.hash, self.memory, self.ports)


def place(needs: Needs, hosts: Sequence[HostView]) -> str | Refused:
    """The host's name, or why there is none. The same arguments give the same host."""
    if not hosts:
        return Refused("Unschedulable", "The cluster has no hosts.")
    pinned = _pinned(needs, hosts)
    if isinstance(pinned, Refused):
        return pinned
    objections = {host.name: _objection(needs, host, pinned) for host in hosts}
    fit = [host for host in hosts if objections[host.name] is None]
    if not fit:
        return _refused(list(objections.items()))
    return min(fit, key=lambda host: _cost(needs, host, hosts)).name


def _pinned(needs: Needs, hosts: Sequence[HostView]) -> str | Refused | None:
    """The host that has the volumes, None where they are yet to be made anywhere."""
    having = {user: [h.name for h in hosts if native in (h.volumes or ())] for native, user in needs.volumes.items()}
    found = sorted({name for names in having.values() for name in names})
    if len(found) > 1:
        return Refused("VolumeUnavailable", f"The volumes are on different hosts: {', '.join(found)}.")
    unknown = [h.name for h in hosts if h.volumes is None]
    lacking = [user for user, names in having.items() if not names]
    if lacking and unknown:
        where = f"The host {unknown[0]} is away and may have the volume {lacking[0]}."
        return Refused("VolumeUnavailable", where)
    return found[0] if found else None


def _objection(needs: Needs, host: HostView, pinned: str | None) -> tuple[str, str] | None:
    """Why a host will not do, as a reason and a few words; None where it will."""
    if pinned is not None and host.name != pinned:
        return "Unschedulable", f"the volumes are on {pinned}"
    if not host.reachable:
        return "VolumeUnavailable" if pinned else "Unschedulable", "it is away"
    if not host.schedulable:
        return "Unschedulable", "it takes nothing new"
    missing = [f"{k}={v}" for k, v in sorted(needs.constraints.items()) if host.labels.get(k) != v]
    if missing:
        return "Unschedulable", f"it does not have the label {missing[0]}"
    return _too_small(needs, host) or _port_taken(needs, host)


def _too_small(needs: Needs, host: HostView) -> tuple[str, str] | None:
    if host.cpus is not None and needs.cpu > host.cpus:
        return "Unschedulable", f"it has {host.cpus:g} CPUs"
    if host.memory is not None and needs.memory and host.promised + needs.memory > host.memory:
        return "Unschedulable", f"it has {max(0, host.memory - host.promised) >> 20}Mi of memory left"
    if needs.gpus > host.gpus:
        return "Unschedulable", f"it has {host.gpus} GPUs"
    return None


def _port_taken(needs: Needs, host: HostView) -> tuple[str, str] | None:
    clashes = sorted(needs.ports & (host.taken | host.conflicts))
    return ("PortConflict", f"port {clashes[0][0]}/{clashes[0][1]} is taken") if clashes else None


def _refused(objections: list[tuple[str, tuple[str, str] | None]]) -> Refused:
    told = [(name, objection) for name, objection in objections if objection]
    reasons = [reason for _, (reason, _) in told]
    reason = next((r for r in ("PortConflict", "VolumeUnavailable") if r in reasons), "Unschedulable")
    return Refused(
        reason, "No host can take a replica: " + "; ".join(f"{name}: {why}" for name, (_, why) in told) + "."
    )


def _cost(needs: Needs, host: HostView, hosts: Sequence[HostView]) -> tuple[float | str, ...]:
    group = [h for h in hosts if _group(needs, h) == _group(needs, host)]
    alike = sum(_count(needs, h, alike=True) for h in group)
    every = sum(_count(needs, h) for h in group)
    load = host.promised / host.memory if host.memory else 0.0
    own = (_count(needs, host, alike=True), _count(needs, host))
    return (alike, every, *own, round(load, 3), len(host.claims), host.name)


def _group(needs: Needs, host: HostView) -> str | None:
    return host.name if needs.spread is None else host.labels.get(needs.spread)


def _count(needs: Needs, host: HostView, *, alike: bool = False) -> int:
    mine = (c for c in host.claims if c.workload == needs.workload and c.leading)
    return sum(not alike or c.hash == needs.hash for c in mine)
