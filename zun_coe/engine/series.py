"""Events that repeat themselves: equal ones within a window become one, which counts them.

What goes wrong over and over would otherwise displace everything else that happened. The one event is told anew
each time: it moves to the place of the newest, with a new id, so that whoever follows sees its count grow, and
what was at its former place is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple, cast

import msgspec

from zun_coe.model import Event
from zun_coe.model.event_series import normalised
from zun_coe.store.cache import Cache
from zun_coe.store.records import utc_now

_MANY = 10_000

_Same = tuple[Any, ...]


class Continued(NamedTuple):
    """An event to be told; `former`: the key of the one that it continues, which goes. None: it is the first."""

    event: Event
    former: str | None = None


class _Last(NamedTuple):
    key: str
    event: Event


class Series:
    """The events of one cluster that were told within the window. Thread-safe; what one series is about is told by
    one thread at a time. `window`: in seconds; with 0 every event stays by itself."""

    def __init__(self, cache: Cache, cluster: str, window: float) -> None:
        self._cache, self._cluster, self._window = cache, cluster, timedelta(seconds=window)
        self._lock = Lock()
        self._last: dict[_Same, _Last] | None = None

    def continued(self, events: Sequence[Event], room: int) -> list[Continued]:
        """The events, of which at most `room` continue others: each of these takes one more operation."""
        if not self._window:
            return [Continued(event) for event in events]
        told: list[Continued] = []
        with self._lock:
            known = self._known()
            for event in events:
                last = known.get(_same(event)) if room > 0 else None
                if last is None or event.at - last.event.at > self._window:
                    told.append(Continued(event))
                    continue
                room -= 1
                told.append(Continued(_following(event, last.event), last.key))
        return told

    def told(self, key: str, event: Event) -> None:
        """The event is stored."""
        with self._lock:
            known = self._known()
            known[_same(event)] = _Last(key, event)
            if len(known) > _MANY:
                self._last = self._recent(known, event.at)

    def forget(self) -> None:
        """Nobody knows what is stored: the copy of the store is asked the next time."""
        with self._lock:
            self._last = None

    def _known(self) -> dict[_Same, _Last]:
        if self._last is None:
            stored = ((entry.key, cast(Event, entry.value)) for entry in self._cache.list("event/"))
            ours = (_Last(key, event) for key, event in stored if self._cluster in (event.cluster, event.subject_id))
            ordered = sorted(ours, key=lambda last: last.event.at)
            self._last = self._recent({_same(last.event): last for last in ordered}, utc_now())
        return self._last

    def _recent(self, known: dict[_Same, _Last], now: datetime) -> dict[_Same, _Last]:
        return {same: last for same, last in known.items() if now - last.event.at <= self._window}


def _same(event: Event) -> _Same:
    """What two events have in common that tell the same of the same thing and of the same request."""
    about = (event.project, event.subject, event.subject_id, event.data.get("slot"))
    told = (event.type, event.level, event.reason, normalised(event.message))
    return (*about, *told, event.generation, event.request_id)


def _following(event: Event, last: Event) -> Event:
    return msgspec.structs.replace(event, count=last.count + 1, first_at=last.first_at or last.at)
