"""Details of containers that were inspected before: listing hundreds is one call, inspecting them is
hundreds, so only those whose line in the list tells of a change are inspected again.

Pure but for the memory itself. The list tells no start time, only words such as "Up 5 minutes". Two of
those that lie further apart, or nearer, than the time between them mean a restart in between."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zun_coe.native.runtime import Found

# Seconds between which the engine says these words (it rounds); wide rather than narrow.
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}
_SLACK = 2.0
# A container younger than this is always inspected: its words are too coarse to tell a restart by.
_YOUNG = 5.0
_LIMIT = 20_000
# Longer are none of the words that engines have.
_LONGEST = 200
# The lookbehind keeps a long number from being tried anew at each of its digits.
_TIMES = r"(?<!\d)(\d+) (second|minute|hour|day|week|month|year)s?"


@dataclass(frozen=True)
class Glance:
    """What a line of the list tells: everything but the time, and how long it has been so, as a range in
    seconds. `at`: when it was looked at, on the monotonic clock."""

    facts: tuple[Any, ...]
    since: tuple[float, float]
    at: float


def glance(summary: Mapping[str, Any], at: float) -> Glance:
    """A line of the list, reduced to what matters."""
    words = str(summary.get("Status") or "")[:_LONGEST]
    span = _duration(words)
    networks = (summary.get("NetworkSettings") or {}).get("Networks") or {}
    facts = (
        summary.get("State"),
        _without_time(words),
        tuple(summary.get("Names") or ()),
        tuple(sorted((p.get("PrivatePort"), p.get("PublicPort") or 0, str(p.get("Type"))) for p in _ports(summary))),
        tuple(sorted((name, str((n or {}).get("IPAddress"))) for name, n in networks.items())),
    )
    return Glance(facts, span, at)


def unchanged(before: Glance, now: Glance) -> bool:
    """Whether the second look tells of the same run as the first."""
    if before.facts != now.facts or before.since[0] < _YOUNG:
        return False
    elapsed = now.at - before.at
    low, high = before.since[0] + elapsed - _SLACK, before.since[1] + elapsed + _SLACK
    return now.since[0] <= high and now.since[1] >= low


class Recall:
    """What was found of each container when it was last inspected. Thread-safe and bounded.

    `turn` counts our own changes: what was looked at before one of them is not remembered after it."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[Glance | None, Found]] = OrderedDict()
        self._changed: dict[str, int] = {}
        self._floor = 0
        self.turn = 0

    def recall(self, id: str, now: Glance) -> Found | None:
        """What is known of the container, unless the list says that it changed."""
        with self._lock:
            before, found = self._known.get(id, (None, None))
        return found if before and unchanged(before, now) else None

    def last(self, id: str) -> Found | None:
        """What the container was when it was last inspected, however long ago."""
        with self._lock:
            return self._known.get(id, (None, None))[1]

    def keep(self, seen: Glance, found: Found, turn: int) -> Found:
        """Remember it; `turn` is that of the look. What was found, `healthy_since` as early as was known before."""
        with self._lock:
            known = self._known.pop(found.id, None)
            found = steadied(known[1], found) if known else found
            valid = turn >= max(self._floor, self._changed.get(found.id, 0))
            self._known[found.id] = (seen if valid else None, found)
            while len(self._known) > self._limit:
                self._known.popitem(last=False)
        return found

    def forget(self, id: str) -> None:
        """The container was changed by us: inspect it next time."""
        with self._lock:
            self.turn += 1
            self._changed[id] = self.turn
            if id in self._known:
                self._known[id] = (None, self._known[id][1])
            if len(self._changed) > self._limit:
                self._changed.clear()
                self._floor = self.turn

    def drop_gone(self, labels: Mapping[str, str], there: Iterable[str]) -> None:
        """Of the containers with these labels only those in `there` are left."""
        present = set(there)
        with self._lock:
            known = [(id, found) for id, (_, found) in self._known.items() if id not in present]
            for id, found in known:
                if labels.items() <= found.labels.items():
                    del self._known[id]
                    self._changed.pop(id, None)

    def __len__(self) -> int:
        return len(self._known)


def steadied(before: Found, now: Found) -> Found:
    """The engine keeps the last few results of a check only; what was known of the same run before
    tells of the time before those."""
    same_run = before.started_at == now.started_at
    if not (same_run and before.health == now.health == "healthy" and before.healthy_since and now.healthy_since):
        return now
    return replace(now, healthy_since=min(before.healthy_since, now.healthy_since))


def _ports(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(summary.get("Ports") or ())


def _duration(words: str) -> tuple[float, float]:
    if "Less than a second" in words:
        return 0.0, 1.0
    if match := re.search(r"About an? (minute|hour)", words):
        unit = _UNITS[match[1]]
        return 0.5 * unit, 2.0 * unit
    if match := re.search(_TIMES, words):
        count, unit = int(match[1]), _UNITS[match[2]]
        return float((count - 1) * unit), float((count + 1) * unit)
    return 0.0, float("inf")


def _without_time(words: str) -> str:
    return re.sub(rf"Less than a second|About an? \w+|{_TIMES}", "", words)
