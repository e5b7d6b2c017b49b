"""Judging rollouts: whether there is progress, whether one has failed, and whether to go back. Pure.

Backends pace the batches; only this decides that a rollout failed. What it remembers is in the status:
`revision` and `hash` name the template that was last reached in full, `goal` what is being worked
towards, `best` how near it came, `progressed_at` when it last came nearer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

import msgspec

from zun_coe.model import Instance, Intent, Observation, Rollout, Status, wanted_hash
from zun_coe.model.status import available, wanted_replicas

# A replica that is refused for good, or of whose image the registry knows nothing, will not start by the deadline.
_HOPELESS = frozenset({"InvalidSpec", "ImageNotFound"})
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Refusal:
    """Why nothing can come of the template with this hash. `refused`: the backend does not accept it, and will not
    until it changes; `missing`: something that it names is not there, and it can go on once it is."""

    hash: str
    message: str
    cause: Literal["refused", "missing"] = "refused"


def judge(
    intent: Intent, observation: Observation, previous: Status, now: datetime, refusal: Refusal | None = None
) -> Status:
    """The previous status with its rollout judged by what was seen now and by what the last step was refused; of a
    container, which has no rollouts, whether it was restarted as it should be. A refusal counts for the template
    that it is about and for no other."""
    if intent.noun != "app":
        return _restarted(intent, observation, previous)
    target = wanted_hash(intent)
    status = _begun(intent, previous, target, now)
    wanted = wanted_replicas(intent, observation)
    if wanted == 0 and _is_held(intent, status.rollout):
        return _with_paused(intent, status, _hopeless([], target, refusal))
    live = [i for i in observation.instances if i.state != "removing"]
    going_back = status.rollout is not None and status.rollout.state == "rolled_back"
    towards = previous.hash if going_back else target
    status = _progressed(status, live, towards, wanted, now)
    if status.rollout is None or going_back:
        return status
    if _complete(intent, live, target, wanted, now):
        return _reached(msgspec.structs.replace(status, hash=target), intent)
    decided = _decided(intent, status, _hopeless(live, target, refusal), status.progressed_at == now, now)
    # The way back is a goal of its own, with a deadline of its own.
    return decided if decided.goal else _progressed(decided, live, previous.hash, wanted, now)


def _restarted(intent: Intent, observation: Observation, previous: Status) -> Status:
    """That a restart is wanted is noted, with what is there then. What was started since was restarted, maybe
    by a process that did not live to tell of it, and is not restarted twice."""
    if previous.restarted >= intent.restarts:
        return previous
    if previous.restarting != intent.restarts:
        return msgspec.structs.replace(previous, restarting=intent.restarts)
    noted = {i.native_id: i.started_at or _NEVER for i in previous.instances}
    there = [i for i in observation.instances if i.state not in ("removing", "unknown")]
    anew = any((i.started_at or _NEVER) > noted.get(i.native_id, _NEVER) for i in there)
    return msgspec.structs.replace(previous, restarted=intent.restarts) if anew else previous


def excused(status: Status, since: datetime | None) -> Status:
    """The status with its deadline begun anew at `since`, when somebody could look again (None: always could):
    what could not be seen, and on some backends not be worked on, is no lack of progress."""
    moving = status.phase == "Progressing" and status.progressed_at is not None
    if since is None or not moving or cast(datetime, status.progressed_at) >= since:
        return status
    rollout = status.rollout
    if rollout is not None and rollout.state == "progressing":
        rollout = msgspec.structs.replace(rollout, progressed_at=since)
    return msgspec.structs.replace(status, progressed_at=since, rollout=rollout)


def next_look(intent: Intent, status: Status, now: datetime) -> float | None:
    """In how many seconds time alone may change the verdict; None: never. Once a deadline is over it does not pass
    again: what stays on its way then, as a paused rollout does, changes by what happens alone."""
    if status.phase != "Progressing" or status.progressed_at is None:
        return None
    turns = [status.progressed_at + timedelta(seconds=intent.update.deadline)]
    waiting = [i.ready_since for i in status.instances if i.ready_since]
    if intent.update.min_ready and waiting:
        turns.append(max(waiting) + timedelta(seconds=intent.update.min_ready))
    return min(((turn - now).total_seconds() + 0.05 for turn in turns if turn >= now), default=None)


def _begun(intent: Intent, previous: Status, target: str, now: datetime) -> Status:
    """The status with a rollout to the wanted template, unless that was reached or is on its way."""
    current = previous.rollout
    if current is not None and current.hash == target:
        return previous
    if previous.hash == target and previous.revision:
        return _reached(previous, intent)
    rollout = Rollout(from_=previous.revision or None, to=intent.revision, progressed_at=now, hash=target)
    return msgspec.structs.replace(previous, rollout=rollout, progressed_at=now)


def _is_held(intent: Intent, rollout: Rollout | None) -> bool:
    """Whether the replicas are to keep the template that was reached, so that it counts when there are some again.
    Where none is wanted any template would be reached in full."""
    if rollout is None or rollout.from_ is None:
        return False
    return rollout.state == "failed" or (intent.update.paused and rollout.state != "rolled_back")


def _with_paused(intent: Intent, status: Status, refusal: Refusal | None = None) -> Status:
    """The status with its rollout paused where the user says so. Why nothing would come of it is noted all the same:
    what runs is not to be held up by that, nor to be asked for what was refused, until it is to go on."""
    rollout = status.rollout
    if not intent.update.paused or rollout is None:
        return status
    cause, message = (refusal.cause, refusal.message or None) if refusal else (None, None)
    if refusal is None and rollout.cause == "refused":
        cause, message = rollout.cause, rollout.message
    return _with(status, rollout, state="paused", reason=None, message=message, cause=cause)


def _reached(status: Status, intent: Intent) -> Status:
    """The status with what is wanted as what was last reached."""
    return msgspec.structs.replace(status, rollout=None, revision=intent.revision)


def _hopeless(live: list[Instance], target: str, refusal: Refusal | None) -> Refusal | None:
    """Why nothing can come of the wanted template: what the last step was refused, or what keeps a replica made from
    it from ever starting. What is wrong with replicas of other templates says nothing about it."""
    if refusal is not None and refusal.hash == target:
        return refusal
    found = next((i for i in live if i.hash == target and i.reason in _HOPELESS), None)
    return Refusal(target, found.message or "") if found else None


def _progressed(status: Status, live: list[Instance], towards: str, wanted: int, now: datetime) -> Status:
    goal = f"{towards}x{wanted}"
    updated = [i for i in live if i.hash == towards]
    kept = min(len(updated), wanted)
    score = 2 * min(sum(i.ready for i in updated), wanted) + kept - (len(live) - kept)
    if status.goal == goal and score <= status.best:
        return status
    rollout = status.rollout
    if rollout is not None and rollout.state == "failed" and not (status.goal == goal and _came_up(status, updated)):
        return status if status.goal == goal else msgspec.structs.replace(status, goal=goal, best=score)
    if rollout is not None and rollout.state != "paused":
        rollout = msgspec.structs.replace(rollout, progressed_at=now)
    return msgspec.structs.replace(status, goal=goal, best=score, progressed_at=now, rollout=rollout)


def _came_up(status: Status, updated: list[Instance]) -> bool:
    """Whether more replicas serve than before. That there are fewer of the others, or that another number is wanted,
    says nothing about the template that failed."""
    target = {i.hash for i in updated}
    before = sum(i.ready for i in status.instances if i.hash in target and i.state != "removing")
    return sum(i.ready for i in updated) > before


def _complete(intent: Intent, live: list[Instance], target: str, wanted: int, now: datetime) -> bool:
    if any(i.hash != target for i in live):
        return False
    return sum(available(i, intent.update.min_ready, now) for i in live) >= wanted


def _decided(intent: Intent, status: Status, refusal: Refusal | None, progressed: bool, now: datetime) -> Status:
    rollout = status.rollout
    assert rollout is not None  # the caller made sure
    if intent.update.paused and rollout.from_ is not None:
        return _with_paused(intent, status, refusal)
    if rollout.state == "paused":
        return _resumed(status, rollout, now)
    if rollout.state == "failed":
        return _reconsidered(intent, status, rollout, refusal, progressed, now)
    if refusal is None and not _late(intent, status, now):
        return _with(status, rollout, reason=None, message=None)
    return _failed(intent, status, rollout, refusal, now)


def _reconsidered(
    intent: Intent, status: Status, rollout: Rollout, refusal: Refusal | None, progressed: bool, now: datetime
) -> Status:
    """A rollout that failed: whether it goes on after all, or what is to be done about it now. What was refused is
    tried again when the template changes."""
    if rollout.cause == "missing" and refusal is None:
        return _resumed(status, rollout, now)
    in_time = rollout.cause in ("deadline", None) and refusal is None and not _late(intent, status, now)
    if in_time or (progressed and refusal is None):
        return _with(status, rollout, state="progressing", reason=None, message=None, cause=None)
    if intent.update.on_failure == "pause":
        return status
    refusal = refusal or (Refusal(rollout.hash, "") if rollout.cause == "refused" else None)
    return _failed(intent, status, rollout, refusal, now)


def _resumed(status: Status, rollout: Rollout, now: datetime) -> Status:
    """It goes on, with all the time that it may take."""
    status = msgspec.structs.replace(status, progressed_at=now)
    return _with(status, rollout, state="progressing", reason=None, message=None, cause=None, progressed_at=now)


def _late(intent: Intent, status: Status, now: datetime) -> bool:
    return now - (status.progressed_at or now) > timedelta(seconds=intent.update.deadline)


def _failed(intent: Intent, status: Status, rollout: Rollout, refusal: Refusal | None, now: datetime) -> Status:
    told, cause = _why(intent, refusal, status), refusal.cause if refusal else "deadline"
    if intent.update.on_failure == "continue":
        message = f"{_why(intent, refusal)} It goes on trying."
        return _with(status, rollout, state="progressing", reason="RolloutStuck", message=message, cause=None)
    if intent.update.on_failure == "rollback" and rollout.from_ is not None:
        message = f"{told} It went back to revision {rollout.from_}."
        status = msgspec.structs.replace(status, progressed_at=now, goal="", best=0)
        changes = {"state": "rolled_back", "message": message, "cause": cause, "progressed_at": now}
        return _with(status, rollout, reason="RolloutStuck", **changes)
    until = " until it changes, or the app is restarted" if cause == "refused" else ""
    message = told if rollout.from_ is None else f"{told} Nothing more is replaced{until}."
    return _with(status, rollout, state="failed", reason="RolloutStuck", message=message, cause=cause)


def _why(intent: Intent, refusal: Refusal | None, status: Status | None = None) -> str:
    """`status`: what was told last tells what it waited for, which nobody could see any more after it went back."""
    if refusal is None:
        told = f"No progress for {intent.update.deadline} seconds"
        known = status is not None and status.reason not in (None, "Pulling", "RolloutStuck")
        why = [status.reason, status.message] if status is not None and known else []
        return ": ".join(filter(None, (told, *why))).rstrip(".") + "."
    if refusal.cause == "missing":
        return refusal.message
    return f"The cluster refuses the new template{': ' + refusal.message if refusal.message else ''}".rstrip(".") + "."


def _with(status: Status, rollout: Rollout, **changes: object) -> Status:
    return msgspec.structs.replace(status, rollout=msgspec.structs.replace(rollout, **changes))
