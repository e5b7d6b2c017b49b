"""What state an app or a container is in: one pure rule for all backends.

Phases of an app, the first that matches: marked for deletion, `Deleting`; never observed, `Pending`;
none wanted, `Stopped` (`Progressing` while instances remain); a rollout incomplete or not all ready,
with progress within the deadline, `Progressing`; all ready at the wanted template, `Running` (not
before those that are too many are gone); some ready, `Degraded`; none, `Failed`. Readiness that is lost
after Running is `Degraded` at once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from zun_coe.model.evidence import capped_endpoints, capped_observation
from zun_coe.model.observation import Endpoint, Instance, Observation
from zun_coe.model.records import Intent
from zun_coe.model.spec import template_hash
from zun_coe.model.value import Value

Phase = Literal[
    "Pending",
    "Creating",
    "Progressing",
    "Running",
    "Paused",
    "Restarting",
    "Stopped",
    "Exited",
    "Degraded",
    "Failed",
    "Unknown",
    "Deleting",
]
Reason = Literal[
    "InvalidSpec",
    "PermissionDenied",
    "ImageNotFound",
    "ImagePullFailed",
    "QuotaExceeded",
    "VolumeUnavailable",
    "PortConflict",
    "Unschedulable",
    "OutOfMemory",
    "CrashLoop",
    "HealthCheckFailing",
    "BackendChanged",
    "CredentialsExpired",
    "BackendUnreachable",
    "RolloutStuck",
    "Contested",
    "Error",
    "Pulling",
]
# What explains most comes first: it is shown when the replicas of one app disagree.
_PRECEDENCE: tuple[str, ...] = Reason.__args__  # type: ignore[attr-defined]  # typing has no public way to list a Literal

# What may be wrong with a container that runs: it can't be reached, or it ends again and again and runs for a moment.
_WHILE_IT_RUNS = frozenset({"Error", "CrashLoop", "OutOfMemory"})
# What keeps a replica that serves from moving to another host, or from being as it should.
_HOLDING = frozenset({"Unschedulable", "ImageNotFound", "ImagePullFailed", "PortConflict", "Contested"})
# The same, and what keeps a change from being carried out that replaces no replica.
_HOLDING |= {"Error", "PermissionDenied"}

_STATES: dict[str, Phase] = {
    "pending": "Pending",
    "creating": "Creating",
    "running": "Running",
    "paused": "Paused",
    "restarting": "Restarting",
    "failed": "Failed",
    "removing": "Restarting",
    "unknown": "Unknown",
}


class ReplicaCounts(Value, frozen=True, kw_only=True):
    """How many replicas: wanted, there, made from the wanted template (also after a rollout that failed went back
    to another one), and able to serve."""

    desired: int
    current: int = 0
    updated: int = 0
    ready: int = 0


class Rollout(Value, frozen=True, kw_only=True):
    """A change of the template on its way. `from` and `to` are revisions (`from` is absent for the
    first); `progressed_at` is when it last came nearer to its end.

    `hash` names the template it leads to, and `cause` tells why it failed: no progress until the deadline, the
    backend refuses the template for good, or something that it needs is missing. Neither is shown."""

    to: int
    from_: int | None = msgspec.field(default=None, name="from")
    state: Literal["progressing", "paused", "failed", "rolled_back"] = "progressing"
    progressed_at: datetime | None = None
    reason: str | None = None
    message: str | None = None
    hash: str = ""
    cause: Literal["deadline", "refused", "missing"] | None = None


class Status(Value, frozen=True, kw_only=True):
    """The state of an app or a container. The fields from `settled` on are the engine's memory and are
    not shown: the generation that was fully ready last, what is worked towards (`goal`) and how near it
    came (`best`, `progressed_at`), the restarts carried out and the one that was last begun (`restarting`), the
    template last reached in full (`hash`, of `revision`), the instances, since when this reason has been
    given for this generation (`reason_since`), the generation that working on has failed last (`troubled`; how far
    it was carried out is not known), and where many instances are kept (`parts`, of `model.parts`)."""

    phase: Phase = "Pending"
    observed_generation: int = 0
    since: datetime | None = None
    replicas: ReplicaCounts | None = None
    reason: str | None = None
    message: str | None = None
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)
    exit_code: int | None = None
    rollout: Rollout | None = None
    revision: int = 0
    endpoints: tuple[Endpoint, ...] = ()
    scaled_by: str | None = None
    settled: int = 0
    goal: str = ""
    best: int = 0
    progressed_at: datetime | None = None
    restarted: int = 0
    restarting: int = 0
    hash: str = ""
    instances: tuple[Instance, ...] = ()
    reason_since: datetime | None = None
    troubled: int = 0
    parts: tuple[str, ...] = ()
    write_id: str = ""


def derive_status(intent: Intent, observation: Observation | None, previous: Status, now: datetime) -> Status:
    """The status that follows from what is wanted, what was seen and what was so before.

    `previous.rollout` is already judged for this observation (`engine.rollout`). Pure; the same
    arguments give the same status, and a status that is derived again from itself does not change."""
    observation = capped_observation(observation) if observation else None
    if intent.noun == "app":
        derived = _derive_app(intent, observation, previous, now)
    else:
        derived = _derive_container(intent, observation, previous)
    since = previous.since if previous.since and previous.phase == derived.phase else now
    return reasoned(msgspec.structs.replace(derived, since=since), previous, now)


def reasoned(status: Status, previous: Status, now: datetime) -> Status:
    """The status with the moment since which its reason has been given for its generation."""
    about, before = (max(s.observed_generation, s.troubled) for s in (status, previous))
    same = (status.reason, about) == (previous.reason, before)
    since = previous.reason_since if same and previous.reason_since else now
    return msgspec.structs.replace(status, reason_since=since if status.reason else None)


def effective_hash(intent: Intent, status: Status) -> str:
    """The hash of the template that instances should have now: the intent's own, unless a failed
    rollout went back to the one before."""
    wanted, rollout = wanted_hash(intent), status.rollout
    back = rollout is not None and rollout.state == "rolled_back" and rollout.hash in ("", wanted)
    return status.hash if back else wanted


def wanted_hash(intent: Intent) -> str:
    """The hash that the intent asks for. A standalone container is restarted and resized in place, so
    neither is part of its hash."""
    if intent.noun == "app":
        return template_hash(intent.template, intent.restarts)
    return template_hash(msgspec.structs.replace(intent.template, cpu=None, memory=None))


def wanted_replicas(intent: Intent, observation: Observation) -> int:
    """How many replicas there should be: what an autoscaler of the backend says, where there is one."""
    if intent.desired_state != "running":
        return 0
    left = observation.scaled_by is not None and intent.replicas > 0
    return (observation.desired or intent.replicas) if left else intent.replicas


def is_finished(intent: Intent, status: Status) -> bool:
    """Whether a standalone container has run to its end and its restart policy leaves it there: even
    if somebody removes what is left of it, it does not run a second time."""
    return (
        intent.noun == "container"
        and status.phase == "Exited"
        and status.restarted >= intent.restarts
        and intent.desired_state == "running"
    )


def stays_exited(restart: str, exit_code: int | None) -> bool:
    """Whether a process that ended is to be left alone under this restart policy."""
    return restart == "never" or (restart == "on_failure" and exit_code == 0)


def killed_for_memory(*, ran_out: bool, exit_code: int | None) -> bool:
    """Whether a container ended since its memory ran out. Engines tell that it did whichever of its processes was
    killed for it; only where the main one ended by SIGKILL it was that one."""
    return ran_out and exit_code == 128 + signal.SIGKILL


def worst(candidates: Iterable[Instance | Observation]) -> Instance | Observation | None:
    """The one whose reason explains most, or None when none has a reason."""
    told = [c for c in candidates if c.reason]
    return min(told, key=lambda c: _rank(c.reason), default=None)


def explains_more(reason: str | None, than: str | None) -> bool:
    """Whether the first reason is nearer to the cause than the second. None explains nothing."""
    return reason is not None and (than is None or _rank(reason) < _rank(than))


def running_hash(status: Status) -> str | None:
    """The hash that most of the replicas carry, of those that are ready where any is; None where there are none."""
    live = [i for i in status.instances if i.state != "removing"]
    counts = Counter(i.hash for i in [i for i in live if i.ready] or live)
    return max(counts, key=lambda hash_: (counts[hash_], hash_ == status.hash), default=None)


def available(instance: Instance, min_ready: int, now: datetime) -> bool:
    """Ready, and for at least `min_ready` seconds."""
    if not instance.ready:
        return False
    since = instance.ready_since
    return min_ready == 0 or since is None or now - since >= timedelta(seconds=min_ready)


def _rank(reason: str | None) -> int:
    return _PRECEDENCE.index(reason) if reason in _PRECEDENCE else len(_PRECEDENCE)


def _derive_app(intent: Intent, observation: Observation | None, previous: Status, now: datetime) -> Status:
    base = msgspec.structs.replace(previous, exit_code=None)
    if observation is None:
        phase: Phase = "Deleting" if intent.deletion else previous.phase
        return msgspec.structs.replace(base, phase=phase)
    wanted = wanted_replicas(intent, observation)
    if observation.scaled_by and previous.replicas and previous.replicas.desired != wanted:
        # An autoscaler's change is a change on its way, and takes nothing from what was there.
        previous = msgspec.structs.replace(previous, settled=0)
    target = effective_hash(intent, previous)
    live = [i for i in observation.instances if i.state != "removing"]
    counts = ReplicaCounts(
        desired=wanted,
        current=len(live),
        updated=sum(i.hash == wanted_hash(intent) for i in live),
        ready=sum(i.ready for i in live),
    )
    complete = previous.rollout is None or previous.rollout.state == "rolled_back"
    # Too many is a change on its way, unless the app had settled: then somebody else made it.
    surplus = len(live) > wanted and previous.settled != intent.generation
    all_ready = _all_ready(live, target, wanted) and complete and not surplus
    moving = _moving(previous, intent, now)
    phase = _app_phase(intent, wanted, bool(observation.instances), all_ready, moving, counts.ready)
    settled = intent.generation if phase in ("Running", "Stopped") else previous.settled
    status = msgspec.structs.replace(
        base,
        phase=phase,
        observed_generation=intent.generation,
        replicas=counts,
        endpoints=_endpoints(observation),
        instances=observation.instances,
        scaled_by=observation.scaled_by,
        settled=settled,
        hash=previous.hash,
    )
    return _explained(status, observation, target)


def _app_phase(intent: Intent, wanted: int, remain: bool, all_ready: bool, moving: bool, ready: int) -> Phase:
    if intent.deletion:
        return "Deleting"
    if wanted == 0:
        return "Progressing" if remain else "Stopped"
    if all_ready:
        return "Running"
    if moving:
        return "Progressing"
    return "Degraded" if ready else "Failed"


def _all_ready(live: list[Instance], target: str, wanted: int) -> bool:
    updated = [i for i in live if i.hash == target]
    return len(updated) == len(live) and sum(i.ready for i in updated) >= wanted


def _moving(previous: Status, intent: Intent, now: datetime) -> bool:
    """Whether there may still be progress: not once it was all ready, nor after the deadline."""
    if previous.settled == intent.generation:
        return False
    if previous.rollout and previous.rollout.state in ("paused", "failed"):
        return previous.rollout.state == "paused"
    since = previous.progressed_at
    return since is None or now - since <= timedelta(seconds=intent.update.deadline)


def _explained(status: Status, observation: Observation, target: str) -> Status:
    """The status with the reason that explains it, or with none where there is nothing to explain. `target`: the
    hash of the template in effect."""
    rollout = status.rollout
    told = worst([observation, *observation.instances])
    if status.phase in ("Running", "Stopped"):
        # What serves but cannot leave a host that is to be emptied is told of all the same.
        # What is in the way of another template than the one that serves, which was given up, is no matter.
        holding = observation.reason in _HOLDING and observation.hash in ("", target)
        told = observation if status.phase == "Running" and holding else None
    reason, message = (told.reason, told.message) if told else (None, None)
    if rollout and rollout.reason and explains_more("RolloutStuck", reason):
        reason, message = rollout.reason, rollout.message
    if reason is None and status.scaled_by:
        message = f"{status.scaled_by} decides about the number of replicas."
    evidence = dict(told.evidence) if told else {}
    return msgspec.structs.replace(status, reason=reason, message=message, evidence=evidence)


def _derive_container(intent: Intent, observation: Observation | None, previous: Status) -> Status:
    if observation is None:
        phase: Phase = "Deleting" if intent.deletion else previous.phase
        return msgspec.structs.replace(previous, phase=phase)
    instance = next((i for i in observation.instances if i.state != "removing"), None)
    if instance is None:
        return _without_instance(intent, observation, previous)
    owed = previous.restarted < intent.restarts and intent.desired_state != "stopped"
    phase = _container_phase(intent, instance, owed=owed)
    failing = phase not in ("Running", "Paused", "Stopped") or instance.reason == "HealthCheckFailing"
    failing = failing or (phase == "Running" and instance.reason in _WHILE_IT_RUNS)
    failing = failing or observation.reason not in (None, "Pulling")
    told = worst([observation, instance]) if failing else None
    evidence = told.evidence if told else instance.evidence if phase == "Exited" else {}
    return msgspec.structs.replace(
        previous,
        phase=phase,
        observed_generation=intent.generation,
        reason=told.reason if told else None,
        message=told.message if told else None,
        evidence=dict(evidence),
        exit_code=instance.exit_code if phase in ("Exited", "Stopped", "Failed", "Restarting") else None,
        endpoints=_endpoints(observation),
        instances=observation.instances,
        settled=intent.generation,
        hash=wanted_hash(intent),
        revision=intent.revision,
    )


def _container_phase(intent: Intent, instance: Instance, *, owed: bool) -> Phase:
    """`owed`: it is to be restarted, and what is there is the run before that, or nobody knows."""
    if intent.deletion:
        return "Deleting"
    if owed and instance.state in ("running", "exited"):
        return "Restarting"
    if instance.state != "exited":
        return _STATES[instance.state]
    if intent.desired_state == "stopped":
        return "Stopped"
    if stays_exited(intent.template.restart, instance.exit_code):
        return "Exited"
    return "Restarting"


def _without_instance(intent: Intent, observation: Observation, previous: Status) -> Status:
    """`leaving`: where stopping takes the container away, its process may still have its grace."""
    reason, leaving = observation.reason, observation.instances
    if intent.deletion:
        phase: Phase = "Deleting"
    elif is_finished(intent, previous):
        phase = "Exited"
    elif intent.desired_state == "stopped" and reason is None:
        phase = "Running" if leaving else "Stopped"
    elif reason == "Pulling":
        phase = "Creating"
    else:
        phase = "Pending" if reason in (None, "Unschedulable", "BackendUnreachable") else "Failed"
    return msgspec.structs.replace(
        previous,
        phase=phase,
        observed_generation=intent.generation,
        reason=reason,
        message=observation.message,
        evidence=dict(observation.evidence),
        exit_code=previous.exit_code if phase == "Exited" else None,
        endpoints=(),
        instances=leaving if phase == "Running" else (),
        hash=wanted_hash(intent),
        revision=intent.revision,
    )


def _endpoints(observation: Observation) -> tuple[Endpoint, ...]:
    of_instances = (e for i in observation.instances if i.state == "running" for e in i.endpoints)
    return capped_endpoints((*observation.endpoints, *of_instances))
