"""Whose the objects are that the watches tell of, so that it is known without a call what is not there.

A workload that is new has nothing, and one that was removed has nothing any more: to ask the server for all kinds of
objects each time would be most of what it costs to make and to remove many at once. What the watches do not tell of
yet is only what this process has sent itself; that is remembered until they do."""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock

from zun_coe.adapters.kubernetes import wire
from zun_coe.adapters.kubernetes.freshness import Freshness
from zun_coe.model import WorkloadRef

Place = tuple[str, str, str]
"""Kind, namespace and name of an object."""

_SUFFIXES = {"ReplicaSet": 1, "Pod": 2}
_BODIES = frozenset({"Deployment", "Pod", "Service"})


class Owners:
    """What the watches have told of. Without watches nothing is known, and everything has to be asked for.
    Thread-safe."""

    def __init__(self, freshness: Freshness) -> None:
        self._freshness = freshness
        self._refs: dict[Place, WorkloadRef] = {}
        self._places: dict[str, set[Place]] = {}
        self._sent: dict[str, set[str]] = {}
        self._leaving: set[str] = set()
        self._lock = Lock()

    def keep(self, place: Place, ref: WorkloadRef) -> None:
        """It is there."""
        with self._lock:
            self._refs[place] = ref
            self._places.setdefault(ref.id, set()).add(place)
            self._sent.get(ref.id, set()).discard(place[0])

    def drop(self, place: Place) -> None:
        """It is gone."""
        with self._lock:
            ref = self._refs.pop(place, None)
            if ref is not None:
                self._places.get(ref.id, set()).discard(place)

    def listed(self, kind: str, places: Collection[Place]) -> None:
        """These are all of a kind: what went meanwhile was not told of."""
        with self._lock:
            gone = [place for place in self._refs if place[0] == kind and place not in places]
        for place in gone:
            self.drop(place)

    def send(self, ref: WorkloadRef, kind: str) -> None:
        """This process makes or changes an object of a workload."""
        with self._lock:
            if not any(place[0] == kind for place in self._places.setdefault(ref.id, set())):
                self._sent.setdefault(ref.id, set()).add(kind)

    def leave(self, ref: WorkloadRef) -> None:
        """All of a workload was deleted, and goes."""
        with self._lock:
            self._leaving.add(ref.id)

    def leaves(self, ref: WorkloadRef) -> bool:
        """Whether all of a workload was deleted and is not gone yet."""
        with self._lock:
            return ref.id in self._leaving

    def forget(self, ref: WorkloadRef) -> None:
        """A workload is gone. Idempotent."""
        with self._lock:
            self._leaving.discard(ref.id)
            self._sent.pop(ref.id, None)
            if not self._places.get(ref.id):
                self._places.pop(ref.id, None)

    def is_new(self, ref: WorkloadRef) -> bool:
        """Whether nothing of a workload has ever been there, as far as all is told."""
        with self._lock:
            known = ref.id in self._places
        return not known and all(self.follows(kind) for kind in _BODIES)

    def lacks(self, ref: WorkloadRef, kind: str) -> bool:
        """Whether it is known that a workload has no object of a kind."""
        with self._lock:
            places, sent = self._places.get(ref.id, set()), self._sent.get(ref.id, set())
            lacks = kind not in sent and not any(place[0] == kind for place in places)
        return lacks and self.follows(kind)

    def follows(self, kind: str) -> bool:
        """Whether all changes of a kind are told."""
        return self._freshness.of(kind) is not None

    def only_goes(self, ref: WorkloadRef, kind: str, *, gone: bool) -> bool:
        """Whether what is told of a workload is only that it goes, as it was asked to, and not all of it is gone yet.
        What is left of its pods is worth a look each time."""
        with self._lock:
            if ref.id not in self._leaving or (kind == "Pod" and not gone):
                return False
            return any(place[0] in _BODIES for place in self._places.get(ref.id, ()))

    def of(self, object: wire.ObjectReference) -> WorkloadRef | None:
        """Whose it is, None where it is not known. A replica set has its deployment's name with a suffix, and a pod
        that of its replica set with another: those of what was taken over have no labels that say more."""
        kind, name = object.kind, object.name
        known = self._refs.get((kind, object.namespace, name))
        if known is None and kind in _SUFFIXES:
            name = name.rsplit("-", _SUFFIXES[kind])[0]
            known = self._refs.get(("Deployment", object.namespace, name))
        return known
