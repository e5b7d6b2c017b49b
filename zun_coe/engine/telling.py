"""What to tell of a change of status: events, derived from the status before and the one after. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from zun_coe.model import Drift, Event, Instance, Intent, Rollout, Status, plain
from zun_coe.model.evidence import ITEMS, TEXT, capped, cut

# So many fit into one transaction with everything else in it; more are told as one event of each type.
MOST = 90
FEW = 20
"""The same, where the transaction forgets all that there is of something."""
_CALM = frozenset({"Running", "Stopped", "Paused", "Exited", "Progressing", "Creating", "Pending", "Deleting"})


def tell(intent: Intent, before: Status, after: Status, now: datetime) -> list[Event]:
    """The events between two statuses, in the order in which they make sense."""
    instances = list(_instances(before, after))
    if len(instances) > MOST:
        instances = _summed(instances)
    if intent.desired_state == "stopped":  # an end that was asked for, whatever its exit code
        instances = [d | {"level": "info"} if d["type"] == "InstanceExited" else d for d in instances]
    drafts = [*instances, *_rollout(before.rollout, after), *_phase(intent, before, after)]
    return [_event(intent, draft, now) for draft in drafts]


def gone(intent: Intent, status: Status, last: Event) -> list[Event]:
    """The events of instances that nobody looks after any more, with the reason that `last` gives."""
    drafts = [_told("InstanceRemoved", instance, last.message) for instance in status.instances]
    if len(drafts) > FEW:
        drafts = _summed(drafts)
    return [_event(intent, draft, last.at) for draft in drafts]


def event(intent: Any, subject: str, type: str, message: str, now: datetime, **fields: Any) -> Event:
    """An event of something, caused by its last request."""
    return Event(
        project=intent.project,
        type=type,
        subject=subject,
        subject_id=intent.id,
        subject_name=intent.name,
        at=now,
        message=cut(message, 2 * TEXT),
        cluster=getattr(intent, "cluster", None),
        generation=intent.generation,
        request_id=intent.request_id or None,
        **fields,
    )


def corrected(intent: Intent, drift: Sequence[Drift], now: datetime) -> Event:
    """What somebody has changed behind the gateway's back, told before it is put right."""
    named = ", ".join(d.pointer for d in drift[:3]) + (f" and {len(drift) - 3} more" if len(drift) > 3 else "")
    managers = " and ".join(dict.fromkeys(d.manager for d in drift if d.manager)) or "Somebody"
    message = f"{managers} changed {named} past the gateway; it is put right."
    data = {"differences": [capped(plain(d)) for d in drift[:ITEMS]]}
    return event(intent, intent.noun, "DriftCorrected", message, now, level="warning", data=data)


def warned(intent: Intent, warnings: Sequence[str], now: datetime) -> Event:
    """What the backend had to say about what it took."""
    message = f"The cluster warns: {' '.join(warnings[:3])}"
    data = {"warnings": list(warnings[:ITEMS])}
    return event(intent, intent.noun, "BackendWarning", message, now, level="warning", data=data)


def held_up(record: Any, reason: str, message: str, now: datetime) -> Event:
    """Why a volume gets no further."""
    draft = _held_up("volume", reason, message, {}, deleting=record.deletion is not None)
    return event(record, "volume", draft.pop("type"), draft.pop("message"), now, **draft)


def _held_up(
    noun: str, reason: str, message: str | None, evidence: Mapping[str, Any], *, deleting: bool
) -> dict[str, Any]:
    told = f"{reason}: {message}" if message else reason
    data = {"evidence": dict(evidence)} if evidence else {}
    type = f"{noun.title()}DeletionBlocked" if deleting else f"{noun.title()}{reason}"
    told = f"Its deletion can't go on. {told}" if deleting else told
    return {"type": type, "message": told, "level": "warning", "reason": reason, "data": data}


def _event(intent: Intent, draft: dict[str, Any], now: datetime) -> Event:
    return event(intent, intent.noun, draft.pop("type"), draft.pop("message"), now, **draft)


def _phase(intent: Intent, before: Status, after: Status) -> Iterator[dict[str, Any]]:
    moved = before.phase != after.phase
    why = after.reason is not None and (before.reason, before.message) != (after.reason, after.message)
    if after.phase == "Deleting":  # whoever marked it told of that
        if after.reason and (moved or before.reason != after.reason):
            yield _held_up(intent.noun, after.reason, after.message, after.evidence, deleting=True)
        return
    if not (moved or why):
        return
    noun = intent.noun.title()
    told = f"{after.reason}: {after.message}" if after.message else after.reason
    counts = after.replicas
    ready = f" ({counts.ready} of {counts.desired} ready)" if counts and counts.desired else ""
    data: dict[str, Any] = (
        {"phase": after.phase, "evidence": after.evidence} if after.evidence else {"phase": after.phase}
    )
    if after.exit_code is not None:
        data["exit_code"] = after.exit_code
    level = "info" if after.phase in _CALM and after.reason in (None, "Pulling") else "warning"
    message = f"It is {after.phase}{ready}." + (f" {told}" if told else "")
    type = f"{noun}{after.phase}" if moved else f"{noun}{after.reason}"
    yield {"type": type, "message": message, "level": level, "reason": after.reason, "data": data}


def _rollout(before: Rollout | None, status: Status) -> Iterator[dict[str, Any]]:
    after = status.rollout
    if after is None:
        if before is not None and before.from_ is not None and before.state != "rolled_back":
            yield _ended(before, status)
        return
    same = before is not None and before.hash == after.hash
    if before is not None and same and before.state == after.state:
        return
    told = {
        "progressing": ("RolloutProgressing", _begins(after)),
        "paused": ("RolloutPaused", f"The rollout to revision {after.to} is paused."),
        "failed": ("RolloutFailed", after.message or ""),
        "rolled_back": ("RolledBack", after.message or ""),
    }
    if after.from_ is not None or after.state != "progressing":
        yield _rolled(*told[after.state][:1], after, told[after.state][1])


def _begins(rollout: Rollout) -> str:
    if rollout.from_ == rollout.to:  # a restart
        return f"Replacing every replica of revision {rollout.to}."
    return f"Replacing revision {rollout.from_} by {rollout.to}."


def _ended(rollout: Rollout, status: Status) -> dict[str, Any]:
    """That a rollout is over: it has reached its template, or what ran before it is wanted again."""
    if rollout.hash in ("", status.hash):  # former versions did not note it
        return _rolled("RolloutComplete", rollout, f"Revision {rollout.to} is in place.")
    ran = msgspec.structs.replace(rollout, to=status.revision, state="progressing", reason=None)
    told = f"The rollout to revision {rollout.to} was given up: revision {status.revision} is what ran before it."
    return _rolled("RolloutGivenUp", ran, told)


def _rolled(type: str, rollout: Rollout, message: str) -> dict[str, Any]:
    level = "warning" if rollout.state in ("failed", "rolled_back") else "info"
    data = {"from": rollout.from_, "to": rollout.to}
    return {"type": type, "message": message, "level": level, "reason": rollout.reason, "data": data}


def _instances(before: Status, after: Status) -> Iterator[dict[str, Any]]:
    old = {i.native_id: i for i in before.instances}
    new = {i.native_id: i for i in after.instances}
    for id, instance in new.items():
        yield from _changes(old.get(id), instance)
    for id, instance in old.items():
        if id not in new:
            yield _told("InstanceRemoved", instance, "It was removed.")


def _changes(before: Instance | None, after: Instance) -> Iterator[dict[str, Any]]:
    if before is None:
        yield _told("InstanceCreated", after, f"It was created on {after.host}." if after.host else "It was created.")
    was = before.state if before else "creating"
    back = was == "unknown" and after.state == "running"
    if back:
        yield _told("InstanceReachable", after, "Its host is reachable again, and it runs.")
    elif after.state != was:
        yield from _moved(after)
    if before and after.restarts > before.restarts:
        yield _told("InstanceRestarted", after, f"The engine restarted it ({after.restarts} times so far).", "warning")
    elif before and (back or was == after.state == "running") and _runs_anew(before, after):
        message = "It has ended and was started again, as all do whose engine is restarted."
        yield _told("InstanceRestarted", after, message, "warning")
    if bool(before and before.ready) != after.ready and after.state == "running":
        word = "ready" if after.ready else "not ready"
        level = "info" if after.ready or before is None else "warning"
        if before is not None or after.ready:
            yield _told("InstanceReady" if after.ready else "InstanceNotReady", after, f"It is {word}.", level)


def _runs_anew(before: Instance, after: Instance) -> bool:
    """Whether a container that nobody has seen ended has done so. Its end counts besides its start: all times of a
    host are others when its clock is put right."""
    if after.started_at is None or after.finished_at is None or after.started_at == before.started_at:
        return False
    if before.started_at is None or before.finished_at is None:
        return True
    return after.started_at - after.finished_at != before.started_at - before.finished_at


def _moved(after: Instance) -> Iterator[dict[str, Any]]:
    match after.state:
        case "running":
            yield _told("InstanceStarted", after, "It runs.")
        case "exited" | "failed" | "restarting":
            code = "" if after.exit_code is None else f" with exit code {after.exit_code}"
            told = f" {after.reason}: {after.message}" if after.reason else ""
            yield _told("InstanceExited", after, f"It ended{code}.{told}", "warning" if after.exit_code else "info")
        case "paused":
            yield _told("InstancePaused", after, "It is paused.")
        case "unknown":
            yield _told("InstanceUnknown", after, f"Its host {after.host} is away.", "warning")


def _told(type: str, instance: Instance, message: str, level: str = "info") -> dict[str, Any]:
    data: dict[str, Any] = {"native_id": instance.native_id, "slot": instance.slot, "host": instance.host}
    if instance.exit_code is not None and type == "InstanceExited":
        data["exit_code"] = instance.exit_code
    told = f"{instance.name or instance.slot}: {message}"
    return {"type": type, "message": told, "level": level, "reason": instance.reason, "data": data}


def _summed(drafts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    types = list(dict.fromkeys(d["type"] for d in drafts))
    return [_sum(type, [d for d in drafts if d["type"] == type]) for type in types]


def _sum(type: str, drafts: list[dict[str, Any]]) -> dict[str, Any]:
    if len(drafts) == 1:
        return drafts[0]
    slots = [d["data"]["slot"] for d in drafts]
    level = max(d["level"] for d in drafts)
    data = {"count": len(drafts), "slots": slots}
    return {"type": type, "message": f"{len(drafts)} of its containers.", "level": level, "data": data}
