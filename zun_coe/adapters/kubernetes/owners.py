"""Whose the objects are that the watches tell of, so that it is known without a call what is not there.

A workload that is new has nothing, and one that was removed has nothing any more: to ask the server for all kinds of
objects each time would be most of what it costs to make and to remove many at once. What the watches do not tell of
yet is only what this process has sent itself; that is remembered until they do.

Of some kinds the objects are held as well, for as long as the watches tell of no newer version: they are not asked
for again each time that something else of their workload changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from threading import Lock
from typing import Any

import msgspec

from zun_coe.adapters.kubernetes import wire
from zun_coe.adapters.kubernetes.freshness import Freshness
from zun_coe.model import WorkloadRef

Place = tuple[str, str, str]
"""Kind, namespace and name of an object."""

MOST, LONGEST = 500_000, 2000
"""So many objects are kept, with names of so many characters: a server may be anybody's, and tell of more for ever."""

_SUFFIXES = {"ReplicaSet": 1, "Pod": 2}
_BODIES = frozenset({"Deployment", "Pod", "Service"})
_HELD = frozenset({"Service"})
"""What seldom changes by itself."""
_MANY = 1000
"""Of so many workloads objects are held at most, those that were asked for last."""


class Owners:
    """What the watches have told of. Without watches nothing is known, and everything has to be asked for.
    Thread-safe."""

    def __init__(self, freshness: Freshness) -> None:
        self._freshness = freshness
        self._refs: dict[Place, WorkloadRef] = {}
        self._places: dict[str, set[Place]] = {}
        self._sent: dict[str, set[str]] = {}
        self._leaving: set[str] = set()
        # The version of each object that was told of last, and of each kind the newest one.
        self._versions: dict[Place, int] = {}
        self._newest: dict[str, int] = {}
        # By workload: the version and the JSON of each object.
        self._held: OrderedDict[str, dict[Place, tuple[int, bytes]]] = OrderedDict()
        self._lock = Lock()

    def keep(self, place: Place, ref: WorkloadRef, version: str = "") -> None:
        """It is there, in this version. Left out are objects beyond `MOST`, and names that no server takes."""
        with self._lock:
            if place not in self._refs and (len(self._refs) >= MOST or max(map(len, (*place, *_named(ref)))) > LONGEST):
                return
            self._note(place, version)
            self._refs[place] = ref
            self._places.setdefault(ref.id, set()).add(place)
            self._sent.get(ref.id, set()).discard(place[0])

    def drop(self, place: Place, version: str = "") -> None:
        """It is gone, as of this version."""
        with self._lock:
            self._note(place, version)
            self._versions.pop(place, None)
            ref = self._refs.pop(place, None)
            if ref is not None:
                self._places.get(ref.id, set()).discard(place)
                self._let_go(ref, place)

    def listed(self, kind: str, places: Collection[Place], version: str = "") -> None:
        """These are all of a kind in this version: what went meanwhile was not told of."""
        with self._lock:
            if version.isdigit():
                self._newest[kind] = max(int(version), self._newest.get(kind, 0))
            gone = [place for place in self._refs if place[0] == kind and place not in places]
        for place in gone:
            self.drop(place)

    def send(self, ref: WorkloadRef, kind: str) -> None:
        """This process makes or changes an object of a workload."""
        with self._lock:
            if not any(place[0] == kind for place in self._places.setdefault(ref.id, set())):
                self._sent.setdefault(ref.id, set()).add(kind)

    def hold(self, ref: WorkloadRef, object: dict[str, Any]) -> None:
        """An object of a workload as the server has it, or had it a moment ago."""
        metadata, kind = object["metadata"], object["kind"]
        version = metadata.get("resourceVersion", "")
        if kind not in _HELD or not version.isdigit():
            return
        place = kind, metadata["namespace"], metadata["name"]
        with self._lock:
            self._held.setdefault(ref.id, {})[place] = int(version), msgspec.json.encode(object)
            self._held.move_to_end(ref.id)
            while len(self._held) > _MANY:
                self._held.popitem(last=False)

    def held(self, ref: WorkloadRef, kind: str) -> Sequence[dict[str, Any]] | None:
        """All objects of a kind that a workload has, as they are for all that is known. None: that has to be asked."""
        if kind not in _HELD or not self.follows(kind):
            return None
        with self._lock:
            held = {place: one for place, one in self._held.get(ref.id, {}).items() if place[0] == kind}
            told = {place for place in self._places.get(ref.id, ()) if place[0] == kind}
            # What was not told of must be newer than all that was: else it is gone again.
            least = {place: self._versions.get(place, 0) for place in told}
            unseen = self._newest.get(kind, 0) + 1
            if not told <= held.keys() or any(one[0] < least.get(p, unseen) for p, one in held.items()):
                return None
            if not held and kind in self._sent.get(ref.id, ()):
                return None  # nobody knows what came of it
        return [msgspec.json.decode(text) for _, text in held.values()]

    def release(self, ref: WorkloadRef, kind: str) -> None:
        """Hold nothing of a kind that a workload has. Idempotent."""
        with self._lock:
            held = self._held.get(ref.id, {})
            for place in [place for place in held if place[0] == kind]:
                del held[place]

    def leave(self, ref: WorkloadRef) -> None:
        """All of a workload was deleted, and goes."""
        with self._lock:
            self._leaving.add(ref.id)
            self._held.pop(ref.id, None)

    def leaves(self, ref: WorkloadRef) -> bool:
        """Whether all of a workload was deleted and is not gone yet."""
        with self._lock:
            return ref.id in self._leaving

    def forget(self, ref: WorkloadRef) -> None:
        """A workload is gone. Idempotent."""
        with self._lock:
            self._leaving.discard(ref.id)
            self._sent.pop(ref.id, None)
            self._held.pop(ref.id, None)
            if not self._places.get(ref.id):
                self._places.pop(ref.id, None)

    def _let_go(self, ref: WorkloadRef, place: Place) -> None:
        """Hold an object no longer that is gone, unless this process has made another one since."""
        held = self._held.get(ref.id, {})
        if place in held and held[place][0] > self._newest.get(place[0], 0):
            self._sent.setdefault(ref.id, set()).add(place[0])
        else:
            held.pop(place, None)

    def _note(self, place: Place, version: str) -> None:
        if version.isdigit():
            self._versions[place] = int(version)
            self._newest[place[0]] = max(int(version), self._newest.get(place[0], 0))

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


def _named(ref: WorkloadRef) -> tuple[str, ...]:
    return ref.installation, ref.cluster, ref.project, ref.id, ref.name, ref.place or ""
