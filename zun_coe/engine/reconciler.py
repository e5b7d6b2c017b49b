"""One key, one step: observe, apply, derive the status, write it if it changed.

Level-triggered: it looks at what is wanted and what is there and never at what happened. Killed between
any two lines it is run again with the same outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import msgspec
import structlog

from zun_coe.adapters import Adapter, Again, Done, Outcome, Wait
from zun_coe.engine import telling
from zun_coe.engine.acting import Key, Ledger, Tools
from zun_coe.engine.explaining import Explainer, logged_as, unexpected
from zun_coe.engine.measuring import MeasuredAdapter
from zun_coe.engine.repetition import Repetition
from zun_coe.engine.revisions import Revisions, asked_for
from zun_coe.engine.rollout import Refusal, excused, judge, next_look
from zun_coe.engine.tenure import Tenure
from zun_coe.engine.volumes import Volumes
from zun_coe.engine.workloads import Workloads
from zun_coe.errors import BackendError, Invalid, StoreError
from zun_coe.model import (
    Deletion,
    Drift,
    Intent,
    Observation,
    Status,
    Tombstone,
    derive_status,
    effective_hash,
    is_finished,
    ref_of,
)
from zun_coe.model.evidence import capped, capped_observation, cut
from zun_coe.model.status import reasoned
from zun_coe.store.cache import Entry
from zun_coe.store.records import utc_now

log = structlog.get_logger()

_STEPS = 200


@dataclass(frozen=True)
class Result:
    """When to look again, in seconds (None: when something happens); `failed`: with growing delays, of which none is
    shorter than that.
    `quiet`: nothing was to be done, and nothing is waited for."""

    after: float | None = None
    failed: bool = False
    quiet: bool = False


class Reconciler:
    """Brings the apps, containers and volumes of one cluster to what is wanted. Thread-safe as long as no
    key is worked on twice at once."""

    def __init__(
        self,
        tools: Tools,
        ledger: Ledger,
        adapter: Adapter | MeasuredAdapter,
        tenure: Tenure,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tools, self._ledger, self._adapter, self._clock = tools, ledger, adapter, clock
        self._tenure = tenure
        self._explainer = Explainer(ledger, clock)
        self._revisions = Revisions(tools, ledger)
        self._volumes = Volumes(tools, ledger, adapter, tenure, clock)
        self._workloads = Workloads(tools, ledger, self._revisions, self._volumes)
        self._drift: dict[str, Sequence[Drift]] = {}
        self._warned: dict[str, Sequence[str]] = {}
        self._since: datetime | None = None

    def reconcile(self, key: Key, seen: Observation | None = None) -> Result:
        """Work on a key until nothing more can be done now. `seen`: an observation that was just made.
        Raises `BackendError` where the cluster could not be asked, `StoreError`, `Fenced`."""
        if key.noun == "volume":
            self._volumes.reconcile(key)
            return Result()
        repetition = Repetition()
        for _ in range(_STEPS):
            entry = self._ledger.intent(key)
            if entry is None:
                return Result()
            intent = cast(Intent, entry.value)
            step = self._remove if intent.deletion else self._converge
            result = step(key, entry, intent, seen)
            if isinstance(result, Result):
                return result
            if repetition.endless(result):
                break
            seen = None
        return Result(after=0.0, failed=True)

    def resumed(self) -> None:
        """The cluster can be asked again after nobody could for a while."""
        self._since = self._clock()

    def forget(self, key: Key, why: BackendError | None = None) -> Result:
        """Finish a deletion that needs no backend, which may not be asked now; any other deletion says `why` it
        can't go on. Anything else is left as it is."""
        entry = self._ledger.intent(key)
        mark = cast(Intent, entry.value).deletion if entry else None
        if mark is None:
            return Result()
        if mark.force or (mark.keep and key.noun != "volume"):
            return self.reconcile(key)
        if why is not None:
            self.explain(key, why)
        return Result()

    def explain(self, key: Key, error: BackendError) -> None:
        """Write into a key's status why working on it has failed. Raises `StoreError`."""
        self._explainer.explain(key, error)

    def _converge(self, key: Key, entry: Entry, intent: Intent, seen: Observation | None) -> Result | Observation:
        """One step towards what is wanted; what it started from when another can follow at once."""
        before, expected = self._ledger.status(key, Status())
        seen = seen or self._observe(intent)
        now = self._clock()
        self._tell_drift(intent, seen, now)
        self._revisions.learn(intent, before, seen)
        self._tell_warnings(intent, seen, now)
        lacking = self._workloads.lacking(intent)
        judged = judge(intent, capped_observation(seen), excused(before, self._since), now, lacking)
        if _lost(before, seen) or judged.restarting != before.restarting:
            # The step that brings it back may take long, and nobody has to wait for that to hear of it. And what
            # there was before a restart is kept before it begins.
            self._write(key, intent, before, expected, self._derived(intent, judged, seen, Again(), now), now)
            before, expected = self._ledger.status(key, Status())
        outcome, trouble = self._apply(intent, judged, seen)
        if refusal := _refusal(asked_for(intent, judged, seen), outcome, trouble, lacking):
            rejudged = judge(intent, capped_observation(seen), judged, now, refusal)
            if effective_hash(intent, rejudged) != effective_hash(intent, judged):  # it goes back, and at once
                after = self._derived(intent, rejudged, seen, Again(), now)
                self._write(key, intent, before, expected, after, now)
                return seen
            judged = rejudged
        after = self._derived(intent, judged, _with_trouble(seen, outcome, trouble), outcome, now)
        self._write(key, intent, before, expected, after, now)
        self._revisions.prune(key, intent, after)
        if trouble is not None:
            return Result(after=None if isinstance(trouble, Invalid) else trouble.retry_after or 0.0, failed=True)
        if isinstance(outcome, Again):
            return seen
        if isinstance(outcome, Wait) and outcome.failed:
            return Result(after=outcome.seconds, failed=True)
        waits = [s for s in (_seconds(outcome), next_look(intent, after, now)) if s is not None]
        quiet = isinstance(outcome, Done) and after == before and not waits
        return Result(after=min(waits, default=None), quiet=quiet)

    def _tell_drift(self, intent: Intent, seen: Observation, now: datetime) -> None:
        """Once for each difference, however often the cluster does not take what puts it right."""
        if seen.drift and self._drift.get(intent.id) != seen.drift:
            self._ledger.tell(telling.corrected(intent, seen.drift, now))
        if seen.drift:
            self._drift[intent.id] = seen.drift
        else:
            self._drift.pop(intent.id, None)

    def _tell_warnings(self, intent: Intent, seen: Observation, now: datetime) -> None:
        """Once, until the backend warns of something else."""
        if seen.warnings and self._warned.get(intent.id) != seen.warnings:
            self._ledger.tell(telling.warned(intent, seen.warnings, now))
            self._warned[intent.id] = seen.warnings

    def _write(
        self, key: Key, intent: Intent, before: Status, expected: int | None, after: Status, now: datetime
    ) -> None:
        if after != before:
            self._ledger.write_status(key, after, expected, telling.tell(intent, before, after, now))

    def _apply(self, intent: Intent, status: Status, seen: Observation) -> tuple[Outcome, BackendError | None]:
        """A backend that refuses one workload is that workload's trouble, and shown in its status; so is the
        gateway's own failure, beside what was seen."""
        if is_finished(intent, status) and not seen.instances:
            return Done(), None
        self._tenure.check()
        try:
            return _short(self._adapter.apply(self._workloads.of(intent, status, seen), seen)), None
        except BackendError as error:
            trouble = error
        except StoreError:
            raise
        except Exception as error:
            log.exception("step failed", noun=intent.noun, name=intent.name, request_id=logged_as(intent))
            trouble = unexpected(error, intent)
        return _short(Wait(0.0, trouble.reason, str(trouble), trouble.evidence)), trouble

    def _derived(self, intent: Intent, judged: Status, seen: Observation, outcome: Outcome, now: datetime) -> Status:
        if isinstance(outcome, Done):
            judged = msgspec.structs.replace(judged, restarted=intent.restarts)
        status = derive_status(intent, seen, judged, now)
        if isinstance(outcome, Again):
            # The step just taken is not seen yet: that it was accepted says nothing about its end, and one that was
            # refused may have left something.
            generation, settled = judged.observed_generation, min(judged.settled, status.settled)
            status = msgspec.structs.replace(status, observed_generation=generation, settled=settled)
        return status

    def _remove(self, key: Key, entry: Entry, intent: Intent, seen: Observation | None) -> Result | Observation:
        """One step of a deletion: take the native objects away, then forget the rest. See `_converge`."""
        mark = cast(Deletion, intent.deletion)
        self._warned.pop(intent.id, None)
        if mark.keep or mark.force:
            return self._finalise(key, entry, intent)
        seen = seen or self._observe(intent)
        self._tenure.check()
        reference = ref_of(self._tools.installation, intent)
        outcome = _short(self._adapter.remove(reference, seen))
        if isinstance(outcome, Done):
            if self._ledger.status(key, Status())[0].instances:
                self._show_leaving(key, intent, Observation(ref=reference), outcome)
            return self._finalise(key, entry, intent)
        self._show_leaving(key, intent, seen, outcome)
        if isinstance(outcome, Again):
            return seen
        return Result(after=_seconds(outcome), failed=isinstance(outcome, Wait) and outcome.failed)

    def _show_leaving(self, key: Key, intent: Intent, seen: Observation, outcome: Outcome) -> None:
        """Tell what is gone of something that is being deleted, of each instance once, and what keeps the rest: how
        its process did before is no matter any more."""
        before, expected = self._ledger.status(key, Status())
        now = self._clock()
        told = outcome if isinstance(outcome, Wait) and outcome.reason else Wait(0.0)
        after = msgspec.structs.replace(
            derive_status(intent, seen, before, now),
            reason=told.reason,
            message=told.message,
            evidence=dict(told.evidence),
        )
        self._write(key, intent, before, expected, reasoned(after, before, now), now)

    def _finalise(self, key: Key, entry: Entry, intent: Intent) -> Result:
        now, mark = self._clock(), cast(Deletion, intent.deletion)
        message = "It is gone." if not mark.keep else "It was let go; what runs is left alone."
        if mark.force:
            message = "It was forgotten; what is left of it is removed when its cluster can be reached."
        event = telling.event(intent, key.noun, f"{key.noun.title()}Deleted", message, now)
        going = self._revisions.volumes(intent, self._status_of(intent)) if mark.volumes else ()
        self._ledger.finalise(
            key,
            entry,
            event,
            tombstone=_tombstone(intent, key.noun, now, mark.keep),
            extra=self._volumes.marks(intent, going, now),
        )
        return Result()

    def _status_of(self, intent: Intent) -> Status:
        return self._ledger.status(Key(intent.noun, intent.project, intent.id), Status())[0]

    def _observe(self, intent: Intent) -> Observation:
        reference = ref_of(self._tools.installation, intent)
        found = self._adapter.observe(reference)
        return found[0] if found else Observation(ref=reference)


def _short(outcome: Outcome) -> Outcome:
    """The outcome with no more of what the backend said than there is room for."""
    if not isinstance(outcome, Wait):
        return outcome
    message = cut(outcome.message) if outcome.message else outcome.message
    return replace(outcome, message=message, evidence=capped(outcome.evidence))


def _seconds(outcome: Outcome) -> float | None:
    return outcome.seconds if isinstance(outcome, Wait) else None


def _refusal(asked: str, outcome: Outcome, trouble: BackendError | None, lacking: Refusal | None) -> Refusal | None:
    """What was refused of the template that was asked for, for good, or until what it lacks is there."""
    if not isinstance(trouble, Invalid) and not (isinstance(outcome, Wait) and outcome.refused):
        return None
    return lacking if lacking and lacking.hash == asked else Refusal(asked, cast(Wait, outcome).message or "")


def _lost(before: Status, seen: Observation) -> bool:
    """Whether something that was ready is not."""
    ready = {i.native_id for i in seen.instances if i.ready}
    return any(i.ready and i.native_id not in ready for i in before.instances)


def _with_trouble(seen: Observation, outcome: Outcome, trouble: BackendError | None) -> Observation:
    """The observation with what stood in the way of the step, unless the backend told of it itself."""
    if not isinstance(outcome, Wait) or outcome.reason is None or (seen.reason and trouble is None):
        return seen
    return msgspec.structs.replace(
        seen, reason=outcome.reason, message=outcome.message, evidence=dict(outcome.evidence)
    )


def _tombstone(intent: Any, noun: str, now: datetime, keep: bool) -> Tombstone:
    return Tombstone(
        noun=noun, id=intent.id, project=intent.project, name=intent.name, cluster=intent.cluster, at=now, keep=keep
    )
