"""What probes say of a container, in the words that every COE has: starting until it passed once, healthy, and
unhealthy after so many failures in a row. Pure.

Kubernetes tells only whether a container is ready. Why it is not stands in events, one for every failure whether or
not it counts; and what was killed by a liveness or startup probe looks as if it had crashed, but for an event. Events
may come late or never (a kubelet sends a few each second, and of one container one in five minutes when it has sent
many), so that nothing hangs on them alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from zun_coe.adapters.kubernetes import wire
from zun_coe.adapters.kubernetes.parts import Part, newest

Health = Literal["starting", "healthy", "unhealthy"]

_ORDER: tuple[Health, ...] = ("unhealthy", "starting", "healthy")
# What a kubelet says when it ends a container because of a probe, since Kubernetes 1.14.
_KILLED_BY = ("failed liveness probe", "failed startup probe")
# The probes whose failures end a container.
_FATAL = ("Liveness", "Startup")
# How processes end that are told to, and do not say so themselves.
_SIGNALLED = frozenset({137, 143})
# What a runtime says of a command that it could not run, for instance while the container was ending already.
_NOT_RUN = re.compile(r"OCI runtime exec failed|failed to exec in container|cannot exec in a stopped|is not running")
# What a kubelet may take to tell what it knows.
_LATE = timedelta(seconds=10)


def health(parts: Iterable[Part], ready: wire.Condition | None, at: datetime) -> Health | None:
    """The worst of all that are probed, None where none is. `ready`: the pod's condition."""
    told = {of_part(part, ready, at) for part in parts if part.probed and not part.init}
    return next((each for each in _ORDER if each in told), None)


def of_part(part: Part, ready: wire.Condition | None, at: datetime) -> Health | None:
    """What the probes of one container say; None where it has ended for good."""
    if part.final:
        return None
    if part.running and part.status.ready:
        return "healthy"
    if killed(part) or (part.running and (_lost(part, ready) or _failed(part) or _silent(part, at))):
        return "unhealthy"
    return "starting"


def killed(part: Part) -> bool:
    """Whether its kubelet ended its last run, or ends the present one, because of a probe. Where the event of that
    very run is missing, those of earlier ones tell what such an exit code means."""
    ended = part.ended
    begun = None if ended is None else wire.moment(ended.started_at)
    if any(word in event.text for event in part.since("Killing", begun) for word in _KILLED_BY):
        return True
    if ended is None or ended.exit_code not in _SIGNALLED or ended.killed_for_memory:
        return False
    return any(event.text.startswith(_FATAL) for event in part.since("Unhealthy", None))


def output(part: Part) -> str:
    """What its probe said last; empty where nobody knows any more. That one could not be run comes second."""
    events = part.since("Unhealthy", None)
    failed = [e for e in events if " failed: " in e.text]
    event = newest(e for e in failed if not _NOT_RUN.search(e.text)) or newest(failed) or newest(events)
    return "" if event is None else event.text.partition(": ")[2].strip()


def _lost(part: Part, ready: wire.Condition | None) -> bool:
    """Whether it was ready in this run: a kubelet takes that back only after enough failures in a row."""
    if ready is None or ready.last_transition_time is None or part.started_at is None:
        return False
    return ready.status != "True" and ready.last_transition_time > part.started_at


def _failed(part: Part) -> bool:
    """Whether events tell of enough failures in a run that was never ready: by number and by time, since they
    tell of those too that do not count."""
    probe, starting = _probe(part)
    if probe is None or part.started_at is None:
        return False
    told = [e for e in part.since("Unhealthy", part.started_at) if e.text.startswith("Startup") == starting]
    allowed = probe.failure_threshold
    due = _begin(part, probe) + timedelta(seconds=probe.period_seconds * (allowed - 1))
    return sum(e.times for e in told) >= allowed and any(e.at >= due for e in told)


def _silent(part: Part, at: datetime) -> bool:
    """Whether it must have failed often enough by now, events or none."""
    probe, _ = _probe(part)
    if probe is None or part.started_at is None:
        return False
    each = max(probe.period_seconds, probe.timeout_seconds)
    return at >= _begin(part, probe) + timedelta(seconds=each * (probe.failure_threshold + 1)) + _LATE


def _begin(part: Part, probe: wire.Probe) -> datetime:
    """When failures begin to count."""
    assert part.started_at is not None  # the callers made sure
    return part.started_at + timedelta(seconds=probe.initial_delay_seconds) + part.grace


def _probe(part: Part) -> tuple[wire.Probe | None, bool]:
    """The probe that decides now, and whether that is the one of the start, which comes first."""
    if part.spec.startup_probe is not None and not part.status.started:
        return part.spec.startup_probe, True
    return part.spec.readiness_probe or part.spec.liveness_probe, False
