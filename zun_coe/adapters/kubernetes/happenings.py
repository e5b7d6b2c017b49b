"""What happened to objects that are not well, as the cluster's events tell it.

Events are a help and nothing more: where they cannot be had, what was known of them is used. They come from the
server's database alone, which reads all events of a namespace for them: so they are asked for object by object, of a
few objects at once, and answers are used for a moment, since many looks follow each other while many pods start."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from threading import Lock

from zun_coe.adapters.kubernetes import paths, wire
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.errors import BackendError

KEPT = 1.0
"""For how many seconds the events of an object are good enough."""
AT_ONCE = 20
"""Of so many objects of a cluster events are asked for in one survey: of those whose events are the oldest."""
FORGOTTEN = 600.0
"""After so many seconds in which nobody asked, the events of an object are forgotten."""

Told = tuple[float, Sequence[wire.Event]]
"""The events of an object, and when they were asked for, on the monotonic clock."""
Place = tuple[str, str]
"""An object by its namespace and uid."""

_NEVER = float("-inf")


class Happenings:
    """Thread-safe. Nothing here raises a `BackendError`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._told: dict[str, Told] = {}
        self._lock = Lock()

    def of(self, places: Iterable[Place]) -> list[Told]:
        """The events of each of some objects. An object of which nothing could be learned is left out."""
        now = time.monotonic()
        for namespace, uid in places:
            if now - self._known(uid)[0] >= KEPT and not self._ask(namespace, uid):
                break  # else every further call might take as long to fail
        found = (self._known(uid) for _, uid in places)
        return [told for told in found if told[0] != _NEVER]

    def of_many(self, places: Collection[Place]) -> list[wire.Event]:
        """The events of all of a cluster's objects that are not well, as far as they are known or can be had with
        few calls."""
        oldest = sorted(places, key=lambda place: self._known(place[1])[0])
        self.of(oldest[:AT_ONCE])
        return [event for _, uid in places for event in self._known(uid)[1]]

    def _known(self, uid: str) -> Told:
        with self._lock:
            return self._told.get(uid, (_NEVER, ()))

    def _ask(self, namespace: str, uid: str) -> bool:
        now, params = time.monotonic(), {"fieldSelector": f"involvedObject.uid={uid}"}
        try:
            events = self._client.list(paths.collection("Event", namespace), wire.Event, params=params).items
        except BackendError:
            return False
        with self._lock:
            self._told = {of: known for of, known in self._told.items() if now - known[0] < FORGOTTEN}
            self._told[uid] = now, events
        return True
