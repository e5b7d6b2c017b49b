"""When there is nothing left to wait for: what was asked for is there, or it is known why it is not. Pure."""

from __future__ import annotations

from datetime import datetime

from zun_coe.model.records import Intent
from zun_coe.model.status import Status, effective_hash

# Time alone heals neither: whoever waits need not wait any longer.
_DEFINITE = frozenset({"InvalidSpec", "ImageNotFound"})
GRACE = 10.0
"""Seconds for which a reason that might go away by itself is waited out, unless somebody asks otherwise."""


def is_settled(intent: Intent, status: Status) -> bool:
    """Whether what was asked for has come to an end, good or bad: what `?wait` waits for."""
    if status.observed_generation < intent.generation or intent.deletion:
        return False
    if intent.noun == "app":
        return status.phase in ("Running", "Stopped", "Degraded", "Failed") or _rests(intent, status)
    if intent.desired_state == "running":
        if status.phase == "Failed" and not status.instances:  # there is nothing that could be restarted
            return True
        return status.phase in ("Running", "Exited", "Failed") and status.restarted >= intent.restarts
    return status.phase in ("Stopped" if intent.desired_state == "stopped" else "Paused", "Exited", "Failed")


def settles_in(intent: Intent, status: Status, now: datetime, grace: float = GRACE) -> float | None:
    """In how many seconds there is nothing to wait for any more, if nothing changes; 0: now, None: not by the
    passing of time. Nothing is left to wait for when it has settled, when the reason that it does not run is one
    that time does not heal, and when any other has stood for `grace` seconds without progress."""
    if is_settled(intent, status):
        return 0.0
    if max(status.observed_generation, status.troubled) < intent.generation or not _is_held_up(intent, status):
        return None
    if status.reason in _DEFINITE:
        return 0.0
    since = max(filter(None, (status.reason_since, status.progressed_at)), default=now)
    return max(0.0, grace - (now - since).total_seconds())


def _rests(intent: Intent, status: Status) -> bool:
    """Whether as many serve as are wanted, and nothing more is replaced until the user says so."""
    rollout, counts = status.rollout, status.replicas
    paused = rollout is not None and rollout.state == "paused" and intent.update.paused
    return paused and counts is not None and counts.ready >= counts.desired


def _is_held_up(intent: Intent, status: Status) -> bool:
    """Whether it is to run and the status says why it does not, and not merely why its predecessor did not."""
    if intent.deletion or intent.desired_state != "running" or status.reason in (None, "Pulling"):
        return False
    if intent.noun == "container":
        return status.restarted >= intent.restarts
    target = effective_hash(intent, status)
    blamed = [i for i in status.instances if i.reason == status.reason]
    return intent.replicas > 0 and (not blamed or any(i.hash in ("", target) for i in blamed))
