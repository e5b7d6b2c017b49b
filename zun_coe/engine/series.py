"""Events that repeat themselves: equal ones within a window become one, which counts them.

What goes wrong over and over would otherwise displace everything else that happened. The one event is told anew
each time: it moves to the place of the newest, with a new id, so that whoever follows sees its count grow, and
what was at its former place is gone."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta
from threading import Lock
from typing import Any, NamedTuple, cast

import msgspec

from zun_coe.model import Event
from zun_coe.model.event_series import normalised
from zun_coe.store.cache import Cache
from zun_coe.store.records import utc_now

# So many series of one cluster are known at most: those that were continued last.
_MANY = 10_000
# Events that were looked through so many seconds ago at most are not looked through again.
_FRESH = 5.0

_Same = tuple[Any, ...]


class Continued(NamedTuple):
    """An event to be told; `former`: the key of the one that it continues, which goes. None: it is the first."""

    event: Event
    former: str | None = None


class _Last(NamedTuple):
    key: str
    event: Event


class Recent:
    """What was told lately, by cluster: looked through once for all the clusters that an engine takes over at about
    the same time. Thread-safe. `window`: in seconds."""

    def __init__(self, cache: Cache, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache, self.window, self._clock = cache, timedelta(seconds=window), clock
        self._lock = Lock()
        self._found: dict[str, list[_Last]] = {}
        self._given: set[str] = set()
        self._until = float("-inf")

    def of(self, cluster: str) -> Sequence[_Last]:
        """The events about a cluster and what is on it, the oldest first."""
        with self._lock:
            if self._clock() > self._until or cluster in self._given:
                self._found, self._until, self._given = self._look(), self._clock() + _FRESH, set()
            self._given.add(cluster)
            return self._found.pop(cluster, ())

    def _look(self) -> dict[str, list[_Last]]:
        found: dict[str, list[_Last]] = {}
        limit = utc_now() - self.window
        for entry in self._cache.list("event/"):
            event = cast(Event, entry.value)
            if event.at >= limit:
                about = event.subject_id if event.subject == "cluster" else event.cluster
                found.setdefault(about or "", []).append(_Last(entry.key, event))
        for lasts in found.values():
            lasts.sort(key=lambda last: last.event.at)
        return found


class Series:
    """The events of one cluster that were told within the window. Thread-safe; what one series is about is told by
    one thread at a time. With a window of 0 every event stays by itself."""

    def __init__(self, recent: Recent, cluster: str) -> None:
        self._recent, self._cluster, self._window = recent, cluster, recent.window
        self._lock = Lock()
        self._last: OrderedDict[_Same, _Last] | None = None

    def continued(self, events: Sequence[Event], room: int) -> list[Continued]:
        """The events, of which at most `room` continue others: each of these takes one more operation. Of several
        that are equal the first alone continues what was told before: a write takes away each event once."""
        if not self._window:
            return [Continued(event) for event in events]
        told: list[Continued] = []
        formers: set[str] = set()
        with self._lock:
            known = self._known()
            for event in events:
                last = known.get(_same(event))
                if last is None or not self._continues(event, last) or last.key in formers or len(formers) >= room:
                    told.append(Continued(event))
                    continue
                formers.add(last.key)
                told.append(Continued(_following(event, last.event), last.key))
        return told

    def _continues(self, event: Event, last: _Last) -> bool:
        return event.at - last.event.at <= self._window

    def told(self, key: str, event: Event) -> None:
        """The event is stored."""
        with self._lock:
            known = self._known()
            same = _same(event)
            known[same] = _Last(key, event)
            known.move_to_end(same)
            while len(known) > _MANY:
                known.popitem(last=False)

    def forget(self) -> None:
        """Nobody knows what is stored: the copy of the store is asked the next time."""
        with self._lock:
            self._last = None

    def _known(self) -> OrderedDict[_Same, _Last]:
        if self._last is None:
            self._last = OrderedDict((_same(last.event), last) for last in self._recent.of(self._cluster))
        return self._last


def _same(event: Event) -> _Same:
    """What two events have in common that tell the same of the same thing and of the same request. Instances of one
    slot are different things: that each of them was created, and removed, is told of each. So are hosts, whose names
    often differ by a number alone, and fields of a list; and a process that ends otherwise has another fault."""
    data = event.data
    about = (event.project, event.subject, event.subject_id, data.get("native_id"), data.get("host"))
    fields = tuple(difference.get("pointer") for difference in data.get("differences", ()))
    told = (event.type, event.level, event.reason, normalised(event.message), data.get("exit_code"), fields)
    return (*about, *told, event.generation, event.request_id)


def _following(event: Event, last: Event) -> Event:
    return msgspec.structs.replace(event, count=last.count + 1, first_at=last.first_at or last.at)
