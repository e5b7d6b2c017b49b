"""From what is wanted and what is there to what is to be sent. Pure.

What is sent carries its own digest. So what differs from what is wanted beside the same digest was changed by
somebody else: that is drift, and is told of before it is put right."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from zun_coe.adapters.kubernetes import managing, naming, quantities
from zun_coe.adapters.kubernetes.additions import MASK, added, correction, manager_of
from zun_coe.adapters.kubernetes.difference import differences, immutable
from zun_coe.model import Drift

Json = dict[str, Any]
Key = tuple[str, str]
"""Kind and name of an object within the namespace."""

REPLICAS = "/spec/replicas"
# What runs a workload, and owns what goes with it.
BODIES = frozenset({"Deployment", "Pod"})
# What follows its owner.
FOLLOWERS = frozenset({"Service", "Secret"})

Kept = Mapping[str, Collection[Drift]]
"""By the uid of an object: what is otherwise and stays so, since the server makes it so whatever is sent."""
_NOTHING: Kept = MappingProxyType({})


@dataclass(frozen=True)
class Send:
    """Have an object be as it says."""

    object: Json


@dataclass(frozen=True)
class Erase:
    """Have this very object deleted."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Strip:
    """Have this very object without what others have added, and otherwise as it says, unless it was changed meanwhile.
    `operations`: of a JSON patch."""

    object: Json
    version: str
    operations: Sequence[Json]

    @property
    def patch(self) -> list[Json]:
        """The whole patch, which fails with a conflict for an object of another version."""
        return [{"op": "replace", "path": "/metadata/resourceVersion", "value": self.version}, *self.operations]


Change = Send | Erase | Strip


@dataclass(frozen=True)
class Changed:
    """What others have changed of an object since it was sent."""

    object: Json
    there: Json
    found: tuple[Drift, ...]

    @property
    def told(self) -> tuple[Drift, ...]:
        """The same for people: with the manager, and pointers that begin with the kind and the name of the object."""
        return tuple(
            Drift(
                pointer=place_of(key_of(self.object)) + drift.pointer,
                wanted=drift.wanted,
                found=drift.found,
                manager=manager_of(self.there, drift.pointer),
            )
            for drift in self.found
        )


@dataclass(frozen=True)
class Plan:
    """What to do, in this order. `changed`: what others have changed of what was sent. `waiting`: the names of
    objects that have to be gone first, and are on their way out."""

    changes: tuple[Change, ...] = ()
    changed: tuple[Changed, ...] = ()
    waiting: tuple[str, ...] = ()

    @property
    def drift(self) -> tuple[Drift, ...]:
        """What others have changed, for people."""
        return tuple(drift for one in self.changed for drift in one.told)


def key_of(object: Mapping[str, Any]) -> Key:
    """How an object is found among those of its namespace."""
    return object["kind"], object["metadata"]["name"]


def place_of(key: Key) -> str:
    """An object as the beginning of a pointer: `/Deployment/web-1`."""
    kind, name = key
    return f"/{kind}/{name}"


def plan(wanted: Sequence[Json], live: Mapping[Key, Json], kept: Kept = _NOTHING) -> Plan:
    """What brings what is there to what is wanted. `live`: everything of this workload and its claims."""
    changes: list[Change] = []
    changed: list[Changed] = []
    waiting: list[str] = []
    for object in (stamped(owned(one, live)) for one in sorted(wanted, key=_may_come_late)):
        there = live.get(key_of(object))
        if there is None:
            changes += [] if _comes_early(object, wanted) else [Send(object)]
        elif "deletionTimestamp" in there["metadata"]:
            waiting.append(there["metadata"]["name"])
        elif _spent(object, there):
            changes.append(_erase(there))
        else:
            known = kept.get(there["metadata"].get("uid", ""), ())
            found = tuple(drift for drift in otherwise(object, there) if drift not in known)
            if found and _touched(object, there):
                changed.append(Changed(object, there, found))
            changes += _correction(as_large(object, there), there, found)
    changes += _surplus(wanted, live)
    return Plan(tuple(changes), tuple(changed), tuple(waiting))


def _may_come_late(object: Json) -> bool:
    """Not so a port at all nodes that is asked for by its number: it may be somebody else's, and what cannot be reached
    is not to run, as on the other COEs."""
    ports = object["spec"].get("ports") or () if object["kind"] == "Service" else ()
    return not any("nodePort" in port for port in ports)


def _comes_early(object: Json, wanted: Sequence[Json]) -> bool:
    """Whether it would only have to be sent again when its owner is there, which it can as well wait for."""
    owner_follows = any(one["kind"] in BODIES for one in wanted) and "ownerReferences" not in object["metadata"]
    return object["kind"] == "Service" and _may_come_late(object) and owner_follows


def stamped(object: Json) -> Json:
    """The object with its own digest. How many replicas an autoscaler wants is no part of it."""
    metadata = object["metadata"]
    known = metadata.get("annotations", {})
    whole = object | {"spec": object["spec"] | {"replicas": None}} if naming.SCALED_BY in known else object
    digest = hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()[:32]
    annotations = known | {naming.APPLIED: digest}
    return object | {"metadata": metadata | {"annotations": annotations}}


def as_large(object: Json, there: Json) -> Json:
    """A claim with the size that it has, where that is more than is asked for: it can never shrink."""
    if object["kind"] != "PersistentVolumeClaim":
        return object
    spec, has = object["spec"], there.get("spec", {}).get("resources", {}).get("requests", {}).get("storage")
    asked, live = (quantities.number_of(size) for size in (spec["resources"]["requests"].get("storage"), has))
    if asked is None or live is None or live <= asked:
        return object
    return object | {"spec": spec | {"resources": {"requests": {"storage": has}}}}


def left_to(scaler: str | None, wanted: Sequence[Json], live: Mapping[Key, Json]) -> Sequence[Json]:
    """What is wanted, with as many replicas as an autoscaler wants; one that was stopped is for us to start."""
    return [_as_scaled(scaler, object, live.get(key_of(object))) for object in wanted] if scaler else wanted


def _as_scaled(scaler: str | None, object: Json, there: Json | None) -> Json:
    if object["kind"] != "Deployment" or there is None or not object["spec"]["replicas"]:
        return object
    spec, metadata = object["spec"], object["metadata"]
    annotations = metadata["annotations"] | {naming.SCALED_BY: scaler}
    spec = spec | {"replicas": there["spec"].get("replicas", 1) or spec["replicas"]}
    return object | {"metadata": metadata | {"annotations": annotations}, "spec": spec}


def owned(object: Json, live: Mapping[Key, Json]) -> Json:
    """The object with its owner, where it is to follow one that is there already."""
    bodies = [one for (kind, _), one in live.items() if kind in BODIES and _stays(one)]
    if object["kind"] not in FOLLOWERS or len(bodies) != 1:
        return object
    (body,) = bodies
    version = {"Deployment": "apps/v1", "Pod": "v1"}[body["kind"]]
    # Without blockOwnerDeletion, which takes the right to change the owner's finalizers (OwnerReferencesPermission-
    # Enforcement, as OpenShift has it): all of it is removed by name anyway.
    reference = {"apiVersion": version, "kind": body["kind"]}
    reference |= {"name": body["metadata"]["name"], "uid": body["metadata"]["uid"]}
    return object | {"metadata": object["metadata"] | {"ownerReferences": [reference]}}


def _surplus(wanted: Sequence[Json], live: Mapping[Key, Json]) -> Iterator[Erase]:
    """What is there and wanted no more. Claims hold what users keep, and go only when they say so."""
    names = {key_of(object) for object in wanted}
    for key, there in live.items():
        if key not in names and key[0] in BODIES | FOLLOWERS and _stays(there):
            yield _erase(there)


def _spent(object: Json, there: Json) -> bool:
    """Whether a container's pod is to be made anew: another restart was asked for, or it was driven off its node,
    from where it does not come back by itself."""
    if object["kind"] != "Pod":
        return False
    carried_out, asked_for = (_annotation(one, naming.RESTARTED) or "0" for one in (there, object))
    ours = carried_out.isdecimal() and len(carried_out) <= len(asked_for)  # else others wrote it, which is put right
    again = ours and int(carried_out) < int(asked_for)
    status, policy = there.get("status", {}), object["spec"].get("restartPolicy")
    driven_off = status.get("phase") == "Failed" and bool(status.get("reason"))
    return again or (driven_off and policy != "Never")


def otherwise(object: Json, there: Json) -> tuple[Drift, ...]:
    """What is otherwise, and can be put right or made anew: what a claim was made with stays."""
    found = differences(object, there)
    if object["kind"] != "PersistentVolumeClaim":
        return (*found, *(drift for drift in added(object, there) if drift not in found))
    return tuple(drift for drift in found if not immutable(object, [drift]))


def stripping(object: Json, there: Json, found: Sequence[Drift]) -> Strip | None:
    """What takes away what applying cannot, None where there is nothing of that: what others have added, and what was
    a whole value of ours, of which applying leaves its defaults, or an empty one: that is no probe, and no variable."""
    extra = added(object, there)
    if not any(drift in extra or _is_a_whole(drift) for drift in found):
        return None
    shown = [drift for drift in found if drift.wanted != MASK]  # applying sets the values of Secrets
    return Strip(object, there["metadata"].get("resourceVersion", ""), correction(object, there, shown))


def _correction(object: Json, there: Json, found: Sequence[Drift]) -> Iterator[Change]:
    if immutable(object, found):
        yield _erase(there)
        return
    if (strip := stripping(object, there, found)) is not None:
        yield strip
    extra = added(object, there)
    if any(drift not in extra for drift in found):
        yield Send(object)


def _is_a_whole(drift: Drift) -> bool:
    """Whether a value with fields of its own is to go, which is no item of a list: those go with all that they have."""
    last = drift.pointer.rpartition("/")[2]
    return drift.wanted is None and isinstance(drift.found, Mapping) and not last.isdigit()


def _stays(object: Json) -> bool:
    return "deletionTimestamp" not in object["metadata"]


def _erase(there: Json) -> Erase:
    return Erase(there["kind"], there["metadata"]["name"], there["metadata"]["uid"])


def _touched(object: Json, there: Json) -> bool:
    """Whether others have changed what we sent last: it is otherwise beside the same digest, or the digest is not ours
    any more, as after `kubectl rollout undo`, which brings back that of an older template."""
    entries = there["metadata"].get("managedFields") or ()
    kept = managing.owns(entries, "f:metadata", "f:annotations", f"f:{naming.APPLIED}")
    return kept is False or _digest_of(there) == _digest_of(object)


def _digest_of(object: Json) -> str | None:
    return _annotation(object, naming.APPLIED)


def _annotation(object: Json, name: str) -> str | None:
    found: str | None = (object["metadata"].get("annotations") or {}).get(name)
    return found
