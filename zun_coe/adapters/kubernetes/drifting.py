"""What others change past the gateway: told apart from what the server itself makes of all that is sent to it, and kept
until it was told of.

Admission may rewrite what the gateway renders: another policy for pulling, another registry. To send it again would
make it the same again, for ever. So what is still otherwise in the server's own answer to it is the server's, and is
left alone. This is known in memory only: after a restart the server is asked by a dry run, which changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zun_coe.adapters.kubernetes import paths
from zun_coe.adapters.kubernetes.additions import added, additions
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.converging import (
    BODIES,
    Changed,
    Json,
    Key,
    Send,
    Strip,
    key_of,
    otherwise,
    place_of,
    stripping,
)
from zun_coe.errors import Denied, Invalid
from zun_coe.model import Drift

MOST = 20_000
"""Of so many objects it is known at most; of those that are forgotten the server is asked again."""


class Insisted:
    """What the server makes otherwise than it was sent, of each object. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.known: dict[str, tuple[Drift, ...]] = {}

    def learn(self, change: Send | Strip, answer: Json, *, new: bool) -> None:
        """See what the server made of what was just sent. `new`: nobody could have added anything before."""
        uid, found = answer["metadata"]["uid"], otherwise(change.object, answer)
        extra = added(change.object, answer)
        sure = found if new else tuple(d for d in found if (d in extra) == isinstance(change, Strip))
        self._keep(uid, (*(d for d in self.known.get(uid, ()) if d in found), *sure))

    def forget(self, uid: str) -> None:
        """An object goes. Idempotent."""
        self.known.pop(uid, None)

    def ask(self, changed: Sequence[Changed]) -> bool:
        """Whether the server would make some of it the same again. A dry run for each object, of pods under another
        name. What of a pod cannot be asked about stays: it would have to be killed to be put right."""
        return any([self._ask(one) for one in changed])

    def _ask(self, one: Changed) -> bool:
        try:
            left = self._left(one)
        except (Invalid, Denied):
            left = one.found if one.object["kind"] == "Pod" else ()
        same = tuple(drift for drift in one.found if drift in left)
        uid = one.there["metadata"]["uid"]
        self._keep(uid, (*self.known.get(uid, ()), *same))
        return bool(same)

    def _left(self, one: Changed) -> Sequence[Drift]:
        """What would be otherwise after it was put right."""
        object, where = one.object, paths.path_of(one.object)
        if object["kind"] == "Pod":
            return otherwise(object, self._another(object))
        then = self._client.apply(where, object, dry_run=True)
        left = [drift for drift in otherwise(object, then) if drift not in added(object, then)]
        if (strip := stripping(object, one.there, one.found)) is None:
            return left
        then = self._client.patch(where, strip.patch, dry_run=True)
        return [*left, *(extra.drift for extra in additions(object, one.there) if extra.remains(then))]

    def _another(self, pod: Json) -> Json:
        """What the server would make of a pod that it does not have."""
        metadata = pod["metadata"]
        asked = pod | {"metadata": metadata | {"name": f"{metadata['name'][:58]}-asks"}}
        made = self._client.create(paths.collection("Pod", metadata["namespace"]), asked, dry_run=True)
        return made | {"metadata": made["metadata"] | {"name": metadata["name"]}}

    def _keep(self, uid: str, drifts: tuple[Drift, ...]) -> None:
        if drifts:
            self.known.pop(uid, None)
            self.known[uid] = tuple(d for n, d in enumerate(drifts) if d not in drifts[:n])
            for oldest in list(self.known)[:-MOST]:  # of what others have deleted nobody tells
                self.known.pop(oldest, None)
        else:
            self.known.pop(uid, None)


class Remembered:
    """Which objects were there when everything was as wanted: those that are not any more, others have taken away.
    Pods are not among them, which end in many ways. Thread-safe."""

    def __init__(self) -> None:
        self._there: dict[str, frozenset[Key]] = {}

    def keep(self, id: str, wanted: Sequence[Json], live: Mapping[Key, Json]) -> None:
        """All is as wanted."""
        keys = (key_of(object) for object in wanted if object["kind"] != "Pod")
        self._there[id] = frozenset(key for key in keys if key in live)

    def forget(self, id: str) -> None:
        """It is being taken away."""
        self._there.pop(id, None)

    def gone(self, id: str, wanted: Sequence[Json], live: Mapping[Key, Json]) -> list[tuple[Json, Drift]]:
        """What is not there any more. What belongs to a Deployment goes with it and is not told of."""
        known = self._there.get(id, frozenset())
        gone = [object for object in wanted if (key := key_of(object)) in known and key not in live]
        bodies = [object for object in gone if object["kind"] in BODIES]
        return [(o, Drift(pointer=place_of(key_of(o)), wanted={"name": key_of(o)[1]})) for o in bodies or gone]
