"""Why a key gets no further, written into its status where the step that derives statuses did not come to its end:
the backend failed for this key alone, its deletion can't go on, or the gateway itself failed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import msgspec

from zun_coe.engine import telling
from zun_coe.engine.acting import Key, Ledger
from zun_coe.errors import BackendError, Unavailable
from zun_coe.model import Intent, Status, Volume, VolumeStatus
from zun_coe.model.event_series import normalised
from zun_coe.model.evidence import capped, cut
from zun_coe.model.status import reasoned
from zun_coe.vault import Undecryptable


def unexpected(error: Exception, record: Any) -> Unavailable:
    """What nobody foresaw, as an error with a reason. It names the id that the lines about it in the gateway's log
    carry, and of the exception only its type: its text may tell of things that are not the user's."""
    what = str(error) if isinstance(error, Undecryptable) else f"{type(error).__name__}"
    id = logged_as(record)
    message = f"The gateway itself failed ({what}) and tries again. Its log says more: search it for {id}."
    return Unavailable(message, "Error", {"error": type(error).__name__, "request_id": id})


def logged_as(record: Any) -> str:
    """The id that the log's lines about a record carry: of the request that it is acted on for."""
    deletion = getattr(record, "deletion", None)
    return (deletion.request_id if deletion else "") or record.request_id or record.id


class Explainer:
    """Writes reasons into the statuses of apps, containers and volumes. Thread-safe."""

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._ledger, self._clock = ledger, clock

    def explain(self, key: Key, error: BackendError) -> None:
        """Write why, with an event, unless the status says so already. The next step that comes to its end takes
        it away. Raises `StoreError`."""
        entry = self._ledger.intent(key)
        if entry is None:
            return
        if key.noun == "volume":
            self._explain_volume(key, cast(Volume, entry.value), error)
        else:
            self._explain_workload(key, cast(Intent, entry.value), error)

    def _explain_workload(self, key: Key, intent: Intent, error: BackendError) -> None:
        before, expected = self._ledger.status(key, Status())
        now = self._clock()
        after = msgspec.structs.replace(
            before,
            phase="Deleting" if intent.deletion else before.phase,
            troubled=intent.generation,
            reason=error.reason,
            message=cut(str(error)),
            evidence=capped(error.evidence),
        )
        if _says(after) != _says(before):
            events = telling.tell(intent, before, after, now)
            self._ledger.write_status(key, reasoned(after, before, now), expected, events)

    def _explain_volume(self, key: Key, volume: Volume, error: BackendError) -> None:
        before, expected = self._ledger.status(key, VolumeStatus())
        after = msgspec.structs.replace(before, reason=error.reason, message=cut(str(error)))
        if _says(after) != _says(before):
            event = telling.held_up(volume, error.reason, str(error), self._clock())
            self._ledger.write_status(key, after, expected, [event])


def _says(status: Status | VolumeStatus) -> tuple[Any, ...]:
    """What makes it worth writing: neither numbers nor ids within a message."""
    generation = getattr(status, "troubled", 0)
    return status.phase, generation, status.reason, normalised(status.message or "")
