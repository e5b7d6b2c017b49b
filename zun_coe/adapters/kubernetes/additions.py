"""What others have put into objects of ours. Pure.

A field that is not rendered is the server's default, or what admission made of our own request, or somebody else's.
The server records who set a field (`metadata.managedFields`): it records nobody for a default, and for admission
whoever sent the request that was admitted. What somebody else has set is taken out again: it may replace the command,
add a container, or cut the traffic of a Service. So is what is added to maps and lists that are ours as a whole,
whoever did it. Whether the server would only make it the same again is for `drifting.Insisted` to find out.

Metadata are not compared, those of a Deployment's template among them: tools put notes there (`kubectl rollout
restart` does), and they change nothing of what runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from zun_coe.adapters.kubernetes import managing, naming
from zun_coe.adapters.kubernetes.fieldsets import FieldSet, Place, at, identity, places, steps, token
from zun_coe.model import Drift

MASK = "***"
Path = tuple[str, ...]
"""Members of a set of fields, from the root on: the same whatever place an item has in its list."""

_CONTAINERS: Path = ("f:spec", "f:template", "f:spec", "f:containers")
_PORTS = "/spec/ports"
# Not compared, wherever they stand from the root on.
_LEFT = frozenset(
    {("f:metadata",), ("f:status",), ("f:apiVersion",), ("f:kind",), ("f:spec", "f:template", "f:metadata")}
)
# The server chooses them where nobody does; what was chosen may stay.
_CHOSEN = frozenset(
    {"f:clusterIP", "f:clusterIPs", "f:ipFamilies", "f:ipFamilyPolicy", "f:nodePort", "f:healthCheckNodePort"}
)
# Maps that are ours as a whole.
_OURS: Mapping[str, tuple[Path, ...]] = {
    "Service": (("f:spec", "f:selector"),),
    "Secret": (("f:data",),),
    "ConfigMap": (("f:data",),),
    "Deployment": (("f:spec", "f:template", "f:spec", "f:nodeSelector"),),
}
# What goes with a field: the server fills it in, and refuses it without the other.
_TOGETHER = {"sessionAffinity": "sessionAffinityConfig", "serviceAccountName": "serviceAccount"}
# Fields of pods that end them, and cannot be taken out again. All else that the API lets others add to a pod is
# tolerations and containers for debugging, which change nothing of what is ours.
_ENDING: Path = ("f:spec", "f:activeDeadlineSeconds")
_COMPARED = frozenset({"Deployment", "Service", "Secret", "ConfigMap", "Pod"})
_NOTHING: tuple[Any, ...] = (None, "", {}, [])


@dataclass(frozen=True)
class Addition:
    """A value that is not wanted, and where it is."""

    path: Path
    pointer: str
    value: Any
    secret: bool = False

    @property
    def drift(self) -> Drift:
        """It for people."""
        return Drift(pointer=self.pointer, found=MASK if self.secret else self.value)

    def remains(self, object: Mapping[str, Any]) -> bool:
        """Whether an object has it, at whatever place of its list."""
        value: Any = object
        for name in self.path:
            value = at(name, value)
        return bool(value == self.value)


def additions(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Addition, ...]:
    """All that others have added to an object, none of them within another."""
    kind = wanted.get("kind", "")
    if kind not in _COMPARED:
        return ()
    surplus = (one for one in _by_value(wanted, live) if not _along_set(managing.ours_of(live), one.path))
    found = {one.pointer: one for one in (*_by_managers(wanted, live), *surplus) if _counts(kind, one)}
    outer = [one for one in found.values() if not any(_within(one.pointer, other) for other in found)]
    if kind != "Secret":
        return tuple(outer)
    return tuple(_hidden(one) for one in outer)


def added(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Drift, ...]:
    """The same as differences."""
    return tuple(one.drift for one in additions(wanted, live))


def correction(wanted: Mapping[str, Any], live: Mapping[str, Any], found: Sequence[Drift]) -> list[dict[str, Any]]:
    """The JSON patch that puts all of it right in one step, so that a Deployment rolls out once. Applying cannot take
    out what others have set. The ports of a Service are replaced as a whole: one may have the name of another."""
    ports = [d for d in found if wanted["kind"] == "Service" and _within(d.pointer, _PORTS)]
    rest = [drift for drift in found if drift not in ports]
    operations = [_set(live, drift) for drift in rest if drift.wanted is not None]
    gone: dict[str, list[str]] = defaultdict(list)
    for drift in rest:
        if drift.wanted is None:
            above, _, last = drift.pointer.rpartition("/")
            gone[above].append(last)
    for above in sorted(gone, key=_order, reverse=True):
        operations += _removed(above, gone[above], _value(live, above))
    if ports:
        listed = _ports(_value(wanted, _PORTS) or (), _value(live, _PORTS) or ())
        operations.append({"op": "replace", "path": _PORTS, "value": listed})
    return operations


def manager_of(live: Mapping[str, Any], pointer: str) -> str | None:
    """Who set a field last, apart from the gateway; None where nobody else did."""
    entries = sorted(managing.others(live), key=lambda entry: str(entry.get("time", "")), reverse=True)
    sets = ((str(entry.get("manager", "")), entry.get("fieldsV1", {})) for entry in entries)
    return next((manager for manager, fields in sets if _along_set(fields, _path_of(live, pointer, fields))), None)


def _hidden(one: Addition) -> Addition:
    return Addition(one.path, one.pointer, one.value, secret=one.path[0] == "f:data")


def _counts(kind: str, one: Addition) -> bool:
    return one.path == _ENDING if kind == "Pod" else True


def _within(pointer: str, other: str) -> bool:
    return pointer.startswith(f"{other}/")


def _by_managers(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Addition]:
    """Our own patches count only where something else is wanted now: applying does not take out what they have set."""
    digests = [(object["metadata"].get("annotations") or {}).get(naming.APPLIED) for object in (wanted, live)]
    patched = managing.patched(live) if digests[0] != digests[1] else ()
    for entry in managing.others(live):
        yield from _extra(entry.get("fieldsV1", {}), wanted, live, "", ())
    for entry in patched:
        yield from _extra(entry.get("fieldsV1", {}), wanted, live, "", (), own=True)


def _extra(
    fields: FieldSet, wanted: Any, live: Any, pointer: str, path: Path, *, own: bool = False
) -> Iterator[Addition]:
    for place in places(fields, wanted, live, pointer):
        where = (*path, place.name)
        if where in _LEFT or place.name in _CHOSEN or place.found in _NOTHING:
            continue
        if place.wanted is None and not _opened(place, own=own):
            yield Addition(where, place.pointer, place.found)
        elif place.whole:
            yield from _inside(place.wanted, place.found, place.pointer, where)
        else:
            yield from _extra(place.below, place.wanted, place.found, place.pointer, where, own=own)


def _opened(place: Place, *, own: bool) -> bool:
    """Whether only what is in it was set: items of a list are told one by one, and a map may be the server's. `own`: we
    set it ourselves, and a map that is wanted no more goes with the defaults in it."""
    items = any(name.startswith(("k:", "v:")) for name in place.below)
    return items or (not own and not place.whole and "." not in place.below)


def _inside(wanted: Any, live: Any, pointer: str, path: Path) -> Iterator[Addition]:
    """What a value has more than another, in whatever depth."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key, value in live.items():
            where, name = f"{pointer}/{token(key)}", (*path, f"f:{key}")
            if key in wanted:
                yield from _inside(wanted[key], value, where, name)
            elif value not in _NOTHING:
                yield Addition(name, where, value)
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _inside(one, other, f"{pointer}/{index}", (*path, f"i:{index}"))


def _by_value(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Addition]:
    """What is surplus, whoever put it there."""
    for path in _OURS.get(wanted["kind"], ()):
        ours, there = _along(wanted, path), _along(live, path)
        if isinstance(ours, Mapping) and isinstance(there, Mapping):
            pointer = "".join(f"/{token(name[2:])}" for name in path)
            yield from _inside(ours, {key: there[key] for key in there if key not in ours}, pointer, path)
    if wanted["kind"] == "Deployment":
        yield from _variables(wanted, live)
    if wanted["kind"] == "Service":
        yield from _colliding(_along(wanted, ("f:spec", "f:ports")) or (), _along(live, ("f:spec", "f:ports")) or ())


def _variables(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Addition]:
    """Variables of containers of ours: what a process is given is all of it specified. Not so in pods, where admission
    puts more of them and no request takes any out."""
    ours = {c["name"]: {v["name"] for v in c.get("env") or ()} for c in _along(wanted, _CONTAINERS) or ()}
    for place, container in enumerate(_along(live, _CONTAINERS) or ()):
        known = ours.get(container["name"])
        for index, variable in enumerate(container.get("env") or ()) if known is not None else ():
            if known is not None and variable["name"] not in known:
                keys = [_key(name=item["name"]) for item in (container, variable)]
                pointer = f"/spec/template/spec/containers/{place}/env/{index}"
                yield Addition((*_CONTAINERS, keys[0], "f:env", keys[1]), pointer, variable)


def _colliding(ours: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]]) -> Iterator[Addition]:
    """Ports that have the name of one of ours."""
    key = ("port", "protocol")
    known, names = {identity(port, key) for port in ours}, {port.get("name") for port in ours} - {None}
    for index, port in enumerate(live):
        if identity(port, key) not in known and port.get("name") in names:
            at_ = _key(port=port["port"], protocol=port.get("protocol", "TCP"))
            yield Addition(("f:spec", "f:ports", at_), f"{_PORTS}/{index}", port)


def _along_set(fields: FieldSet, path: Path) -> bool:
    """Whether a set has a member, or a whole value around it."""
    for depth, name in enumerate(path):
        if not fields:
            return depth > 0
        if name not in fields:
            return False
        fields = fields[name]
    return True


def _key(**fields: Any) -> str:
    return f"k:{msgspec.json.encode(fields).decode()}"


def _along(value: Any, path: Path) -> Any:
    for name in path:
        value = at(name, value)
    return value


def _value(value: Any, pointer: str) -> Any:
    for step in steps(pointer):
        if isinstance(value, list):
            value = value[int(step)] if step.isdigit() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _ports(ours: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The ports as they are to be. What the server chose for them stays."""
    chosen = {port.get("name"): port["nodePort"] for port in live if port.get("nodePort")}
    known = ({"nodePort": chosen[name]} if (name := port.get("name")) in chosen else {} for port in ours)
    return [{**more, **port} for more, port in zip(known, ours, strict=True)]


def _set(live: Mapping[str, Any], drift: Drift) -> dict[str, Any]:
    """What gives a field its value. An item that is missing has no place yet."""
    above = drift.pointer.rpartition("/")[0]
    missing = drift.found is None and isinstance(_value(live, above), list)
    return {"op": "add", "path": f"{above}/-" if missing else drift.pointer, "value": drift.wanted}


def _removed(above: str, lasts: Sequence[str], holder: Any) -> Iterator[dict[str, Any]]:
    """The later items of a list first, so that the places of the others stay."""
    for last in sorted(lasts, key=_order, reverse=True):
        yield {"op": "remove", "path": f"{above}/{last}"}
        if (other := _TOGETHER.get(last)) and isinstance(holder, Mapping) and other in holder and other not in lasts:
            yield {"op": "remove", "path": f"{above}/{other}"}


def _order(pointer: str) -> list[tuple[int, str]]:
    return [(int(step), "") if step.isdigit() else (-1, step) for step in pointer.split("/")]


def _path_of(live: Any, pointer: str, fields: FieldSet) -> Path:
    """A pointer into the live object in the words of a set of fields, as far as the set goes."""
    path: list[str] = []
    for step in steps(pointer):
        if isinstance(live, list):
            item = _value(live, f"/{step}")
            name = next((n for n in fields if not n.startswith("f:") and at(n, live) == item), f"i:{step}")
        else:
            name = f"f:{step}"
        path.append(name)
        fields, live = fields.get(name, {}), at(name, live)
    return tuple(path)
