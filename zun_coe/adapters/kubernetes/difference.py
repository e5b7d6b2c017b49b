"""What is otherwise in a live object than is wanted of it. Pure.

Only what is rendered is compared, leaf by leaf: for what others add see `additions`. What was rendered before and is
wanted no more is known by the server's record of who set which field (`metadata.managedFields`, as server-side apply
keeps it).

https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zun_coe.adapters.kubernetes import naming, quantities
from zun_coe.adapters.kubernetes.fieldsets import identity, places, token
from zun_coe.model import Drift

MASK = "***"
# By which fields the items of a list are told apart, for each list whose items server-side apply merges.
_KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "env": (("name",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "volumes": (("name",),),
    "volumeMounts": (("mountPath",),),
    "imagePullSecrets": (("name",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ownerReferences": (("uid",),),
}
# Maps whose values are quantities, and one field that is.
_QUANTITIES = frozenset({"limits", "requests", "sizeLimit"})
_STORAGE = "/spec/resources/requests/storage"

# What the server lets be set only once.
_FIXED: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("/spec/selector",),
    "Pod": ("/spec",),
    "Service": ("/spec/clusterIP",),
    "Secret": ("/type", "/immutable"),
    "PersistentVolumeClaim": ("/spec/storageClassName", "/spec/accessModes", "/spec/volumeName"),
}
# Several workloads may name one claim, and one says more of it than another.
_SHARED = frozenset({"PersistentVolumeClaim"})
# Set when the owner is known, which is after the rendering.
_LATER = frozenset({"/metadata/ownerReferences"})


def differences(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Drift, ...]:
    """Each field of an object that is not as wanted, empty where nothing need be sent. Of Secrets only where, never
    what. `found` is None for what is missing, `wanted` for what is to go."""
    # Objects of a list do not name their kind.
    rendered = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")}
    found = [*_compared(rendered, live, ""), *_abandoned(wanted, live)]
    if wanted.get("kind") != "Secret":
        return tuple(found)
    return tuple(_masked(drift) if drift.pointer.startswith("/data") else drift for drift in found)


def immutable(wanted: Mapping[str, Any], drifts: Sequence[Drift]) -> bool:
    """Whether no request can put it right: the object has to be made anew (a claim would lose what it holds)."""
    fixed = _FIXED.get(wanted["kind"], ())
    return any(drift.pointer == place or drift.pointer.startswith(f"{place}/") for drift in drifts for place in fixed)


def _masked(drift: Drift) -> Drift:
    wanted, found = (None if value is None else MASK for value in (drift.wanted, drift.found))
    return Drift(pointer=drift.pointer, wanted=wanted, found=found)


def _compared(wanted: Any, live: Any, pointer: str) -> Iterator[Drift]:
    if wanted == live:
        return
    if isinstance(wanted, Mapping) and (isinstance(live, Mapping) or not wanted):
        for key, value in wanted.items():
            yield from _compared(value, (live or {}).get(key), f"{pointer}/{token(key)}")
    elif isinstance(wanted, list) and isinstance(live, list) and (key := _key_of(pointer, wanted)):
        yield from _by_key(wanted, live, key, pointer)
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _compared(one, other, f"{pointer}/{index}")
    elif not _same(wanted, live, pointer):
        yield Drift(pointer=pointer, wanted=wanted, found=live)


def _by_key(wanted: Sequence[Any], live: Sequence[Any], key: tuple[str, ...], pointer: str) -> Iterator[Drift]:
    places = {identity(item, key): index for index, item in enumerate(live)}
    for index, item in enumerate(wanted):
        place = places.get(identity(item, key))
        if place is None:
            yield Drift(pointer=f"{pointer}/{index}", wanted=item)
        else:
            yield from _compared(item, live[place], f"{pointer}/{place}")


def _key_of(pointer: str, items: Sequence[Any]) -> tuple[str, ...] | None:
    """The fields that tell the items of this list apart; None for a list that is one value."""
    choices = _KEYS.get(pointer.rsplit("/", 1)[-1], ())
    return next((key for key in choices if all(isinstance(i, Mapping) and key[0] in i for i in items)), None)


def _same(wanted: Any, live: Any, pointer: str) -> bool:
    """Whether two leaves mean the same. The server leaves out what is false, 0 or empty."""
    if wanted == live or (live is None and not wanted):
        return True
    *_, above, last = ("", *pointer.split("/"))
    if not _QUANTITIES & {above, last}:
        return False
    one, other = quantities.number_of(wanted), quantities.number_of(live)
    if one is None or other is None:
        return False
    # A claim can grow and never shrink: more than is asked for is enough.
    return one <= other if pointer == _STORAGE else one == other


def _abandoned(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Drift]:
    """What our own applying set before, and is not rendered any more."""
    if wanted.get("kind") in _SHARED:
        return
    for entry in live.get("metadata", {}).get("managedFields", ()):
        if (entry.get("manager"), entry.get("operation")) == (naming.FIELD_MANAGER, "Apply"):
            yield from _unwanted(entry.get("fieldsV1", {}), wanted, live, "")


def _unwanted(fields: Mapping[str, Any], wanted: Any, live: Any, pointer: str) -> Iterator[Drift]:
    for place in places(fields, wanted, live, pointer):
        if place.pointer in _LATER or place.found is None:
            continue
        if place.wanted is None:
            yield Drift(pointer=place.pointer, found=place.found)
        else:
            yield from _unwanted(place.below, place.wanted, place.found, place.pointer)
