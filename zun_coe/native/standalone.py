"""What to do next for a container of its own: it is made once, and changed in place after that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zun_coe.model import Instance, Workload
from zun_coe.model.status import stays_exited
from zun_coe.native import containers
from zun_coe.native.actions import (
    Action,
    Create,
    Mend,
    Pause,
    Plan,
    Remove,
    Restart,
    Restore,
    Start,
    Stop,
    Unpause,
)
from zun_coe.native.placement import HostView, Needs, Refused, place
from zun_coe.native.steps import keeping_order


@dataclass(frozen=True)
class Memory:
    """What this process remembers of containers, by native id: the restarts carried out here, those that it
    stopped itself (which have ended, but not of their own accord), when the run began that it restarted last, those
    that run and can't be reached as they are to be (`cut_off`), and those that are to have other limits or restart
    policies than they have (`altered`)."""

    restarted: dict[str, int]
    stopped: frozenset[str]
    over: Mapping[str, datetime | None] = field(default_factory=dict)
    cut_off: frozenset[str] = frozenset()
    altered: frozenset[str] = frozenset()


def plan(workload: Workload, seen: Sequence[Instance], hosts: Sequence[HostView], memory: Memory) -> Plan:
    """The next step of a standalone container. An empty plan: nothing is left to do."""
    kept = sorted((i for i in seen if i.state != "removing"), key=keeping_order)
    surplus = tuple(Remove(i) for i in kept[1:] if i.state != "unknown")
    if len(kept) < len(seen):
        return Plan(surplus, waiting=True)
    if not kept:
        return _create(workload, hosts)
    if kept[0].state == "unknown":
        return Plan(surplus, waiting=True, blocked=Refused("BackendUnreachable", f"The host {kept[0].host} is away."))
    if kept[0].state == "exited" and _is_over(kept[0], memory):
        return Plan(surplus, waiting=True)  # this was seen before it was started again
    action = _action(workload, kept[0], memory)
    return Plan((*surplus, action) if action else surplus)


def _create(workload: Workload, hosts: Sequence[HostView]) -> Plan:
    if workload.desired_state == "stopped":
        return Plan()
    volumes = containers.volumes(workload, workload.template)
    needs = Needs.of(workload.ref.id, workload.hash, workload.template, workload.placement, volumes)
    host = place(needs, hosts)
    if isinstance(host, Refused):
        return Plan(blocked=host)
    return Plan((Create(1, workload.hash, host),))


def _is_over(it: Instance, memory: Memory) -> bool:
    """Whether this is a run of it that was ended here to be followed by another."""
    return it.started_at is not None and memory.over.get(it.native_id) == it.started_at


def _action(workload: Workload, it: Instance, memory: Memory) -> Action | None:
    again = workload.restarts != max(workload.restarted, memory.restarted.get(it.native_id, 0))
    if workload.desired_state == "stopped":
        return _stop(it)
    if again and it.state == "paused":
        return Unpause(it)
    if again and it.state != "creating":
        return Restart(it, workload.restarts)
    restored = Restore(it) if it.native_id in memory.altered else None
    return _run(workload, it, memory) or restored or _freeze(workload, it)


def _stop(it: Instance) -> Action | None:
    if it.state == "paused":
        return Unpause(it)
    if it.state in ("running", "restarting"):
        return Stop(it)
    return Remove(it) if it.state in ("creating", "failed") and it.started_at is None else None


def _run(workload: Workload, it: Instance, memory: Memory) -> Action | None:
    """What brings it to run, None where it does or may stay as it ended."""
    if it.state == "paused":
        return Unpause(it) if workload.desired_state == "running" else None
    if it.state in ("creating", "failed"):
        return Start(it)
    if it.state == "running" and it.native_id in memory.cut_off:
        return Mend(it)
    ended = it.native_id not in memory.stopped and stays_exited(workload.template.restart, it.exit_code)
    return Start(it) if it.state == "exited" and not ended else None


def _freeze(workload: Workload, it: Instance) -> Action | None:
    return Pause(it) if workload.desired_state == "paused" and it.state == "running" else None
