"""What a cluster's listings have shown, and which keys are at rest: nothing to do, nothing to wait for.

A listing shows every key over and over, nearly always the same. A key at rest that it shows as before, with
the same records, needs no look of its own. Some of them get one nevertheless with each listing, in turn, so that
whatever a listing cannot show is put right as well."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from threading import Lock
from typing import NamedTuple
from zlib import crc32

import msgspec

from zun_coe.engine.acting import Key
from zun_coe.model import Observation

FRESH = 2.0
"""For how many seconds a worker uses what a listing has shown; after that it looks for itself."""
TURNS = 10
"""With so many listings every key has had a look of its own, at rest or not."""

Records = tuple[int, int]
"""The revisions of a key's intent and status."""


class _Sight(NamedTuple):
    at: float
    observation: Observation | None
    mark: int


class Sightings:
    """Thread-safe. Times are those of the monotonic clock."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: dict[Key, _Sight] = {}
        self._looked: dict[Key, float] = {}
        self._resting: dict[Key, int] = {}
        self._listings = 0

    def listed(self, at: float, found: Mapping[Key, Observation], wanted: Mapping[Key, Records]) -> Collection[Key]:
        """Keep what a listing that began at `at` has found of the keys that are wanted. Returned are those that
        are due: all but those at rest, of which it shows nothing new and whose turn it is not."""
        sights = {key: _Sight(at, found.get(key), _mark(found.get(key), records)) for key, records in wanted.items()}
        with self._lock:
            self._listings += 1
            self._looked = {key: when for key, when in self._looked.items() if key in wanted}
            self._resting = {key: mark for key, mark in self._resting.items() if key in wanted}
            due = {key for key, sight in sights.items() if self._resting.get(key) != sight.mark or self._turn(key)}
            self._seen = {key: sights[key] for key in due}
        return due

    def hint(self, key: Key) -> None:
        """Something has happened to a key just now: what a listing that began before shows of it is outdated."""
        with self._lock:
            self._looked[key] = time.monotonic()

    def take(self, key: Key) -> Observation | None:
        """What the last listing saw of a key that is worked on from now on, unless that is old, or somebody has
        looked at it, or something has happened to it, since the listing began."""
        with self._lock:
            sight, looked = self._seen.get(key), self._looked.get(key, 0.0)
            now = self._looked[key] = time.monotonic()
            self._resting.pop(key, None)
            if sight is not None and now - sight.at < FRESH and looked < sight.at:
                return sight.observation
            self._seen.pop(key, None)
            return None

    def done(self, key: Key, *, quiet: bool) -> None:
        """The key has been worked on. `quiet`: nothing was done and nothing is waited for, by what `take` gave."""
        with self._lock:
            self._looked[key] = time.monotonic()
            sight = self._seen.pop(key, None)
            if quiet and sight is not None:
                self._resting[key] = sight.mark

    def _turn(self, key: Key) -> bool:
        return (crc32(key.id.encode()) + self._listings) % TURNS == 0


def _mark(observation: Observation | None, records: Records) -> int:
    """A number that differs when anything does: the observations themselves would take much memory."""
    return hash((records, msgspec.msgpack.encode(observation)))
