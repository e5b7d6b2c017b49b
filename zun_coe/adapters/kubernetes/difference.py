"""What is otherwise in a live object than is wanted of it. Pure.

Only what is rendered is compared, leaf by leaf: what the server fills in, and what others add (annotations, injected
containers), is theirs. What was rendered before and is wanted no more would look the same as theirs; it is known by
the server's record of who set which field (`metadata.managedFields`, as server-side apply keeps it).

https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from zun_coe.adapters.kubernetes import naming, quantities
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

_CONTAINERS = "/spec/template/spec/containers"

# What the server lets be set only once.
_FIXED: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("/spec/selector",),
    "Pod": ("/spec",),
    "Service": ("/spec/clusterIP",),
    "Secret": ("/type",),
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


def added(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Drift, ...]:
    """What somebody has put where all is ours, or where there is no room beside ours. Variables of the containers in a
    Deployment's template that are ours: what a process is told is all of it specified. Not so in pods, where admission
    puts more of them and no request takes any out. And ports of a Service that have the name of one of ours."""
    if wanted.get("kind") == "Service":
        return tuple(_colliding(_ports(wanted), _ports(live)))
    if wanted.get("kind") != "Deployment":
        return ()
    ours = {container["name"]: container.get("env", ()) for container in _containers(wanted)}
    return tuple(
        Drift(pointer=f"{_CONTAINERS}/{place}/env/{index}", found=variable)
        for place, container in enumerate(_containers(live))
        if container["name"] in ours
        for index, variable in enumerate(container.get("env") or ())
        if variable["name"] not in {one["name"] for one in ours[container["name"]]}
    )


def without(wanted: Mapping[str, Any], live: Mapping[str, Any], surplus: Sequence[Drift]) -> dict[str, Any]:
    """The lists that were added to, by their pointers, as they are to be. What the server chose for our ports stays."""
    if wanted["kind"] == "Service":
        chosen = {port.get("name"): port["nodePort"] for port in _ports(live) if port.get("nodePort")}
        known = ({"nodePort": chosen[n]} if (n := port.get("name")) in chosen else {} for port in _ports(wanted))
        return {"/spec/ports": [{**more, **port} for more, port in zip(known, _ports(wanted), strict=True)]}
    gone: dict[int, list[int]] = defaultdict(list)
    for drift in surplus:
        *_, place, _, index = drift.pointer.split("/")  # …/containers/0/env/1
        gone[int(place)].append(int(index))
    variables = {place: _containers(live)[place]["env"] for place in gone}
    return {
        f"{_CONTAINERS}/{place}/env": [v for n, v in enumerate(variables[place]) if n not in those]
        for place, those in gone.items()
    }


def _colliding(ours: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]]) -> Iterator[Drift]:
    key = ("port", "protocol")
    places, names = {_identity(port, key) for port in ours}, {port.get("name") for port in ours} - {None}
    for index, port in enumerate(live):
        if _identity(port, key) not in places and port.get("name") in names:
            yield Drift(pointer=f"/spec/ports/{index}", found=port)


def _ports(service: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return service.get("spec", {}).get("ports") or ()


def _containers(deployment: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    template = deployment["spec"].get("template") or {}
    found: Sequence[Mapping[str, Any]] = template.get("spec", {}).get("containers") or ()
    return found


def _masked(drift: Drift) -> Drift:
    wanted, found = (None if value is None else MASK for value in (drift.wanted, drift.found))
    return Drift(pointer=drift.pointer, wanted=wanted, found=found)


def _compared(wanted: Any, live: Any, pointer: str) -> Iterator[Drift]:
    if wanted == live:
        return
    if isinstance(wanted, Mapping) and (isinstance(live, Mapping) or not wanted):
        for key, value in wanted.items():
            yield from _compared(value, (live or {}).get(key), f"{pointer}/{_token(key)}")
    elif isinstance(wanted, list) and isinstance(live, list) and (key := _key_of(pointer, wanted)):
        yield from _by_key(wanted, live, key, pointer)
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _compared(one, other, f"{pointer}/{index}")
    elif not _same(wanted, live, pointer):
        yield Drift(pointer=pointer, wanted=wanted, found=live)


def _by_key(wanted: Sequence[Any], live: Sequence[Any], key: tuple[str, ...], pointer: str) -> Iterator[Drift]:
    places = {_identity(item, key): index for index, item in enumerate(live)}
    for index, item in enumerate(wanted):
        place = places.get(_identity(item, key))
        if place is None:
            yield Drift(pointer=f"{pointer}/{index}", wanted=item)
        else:
            yield from _compared(item, live[place], f"{pointer}/{place}")


def _key_of(pointer: str, items: Sequence[Any]) -> tuple[str, ...] | None:
    """The fields that tell the items of this list apart; None for a list that is one value."""
    choices = _KEYS.get(pointer.rsplit("/", 1)[-1], ())
    return next((key for key in choices if all(isinstance(i, Mapping) and key[0] in i for i in items)), None)


def _identity(item: Mapping[str, Any], key: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(field, "TCP" if field == "protocol" else None) for field in key)


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
    """Walk a set of fields: `f:` a field's name, `k:` an item of a list by its key, `.` the value itself."""
    for name, inner in fields.items():
        sort, _, rest = name.partition(":")
        if sort == "f":
            step, one, other = rest, _field(wanted, rest), _field(live, rest)
        elif sort == "k":
            step, one, other = _item(wanted, live, msgspec.json.decode(rest))
        else:
            continue
        where = f"{pointer}/{_token(step)}"
        if where in _LATER:
            continue
        if one is None and other is not None:
            yield Drift(pointer=where, found=other)
        elif one is not None and other is not None:
            yield from _unwanted(inner, one, other, where)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _item(wanted: Any, live: Any, key: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """The item with this key in both lists, and its place in the live one."""

    def having(items: Any) -> Iterator[tuple[int, Any]]:
        listed = items if isinstance(items, list) else []
        return ((i, item) for i, item in enumerate(listed) if _identity(item, tuple(key)) == tuple(key.values()))

    (_, one), (place, other) = next(having(wanted), (0, None)), next(having(live), (0, None))
    return str(place), one, other


def _token(key: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
