"""How resources are listed: what they are sorted and filtered by, and the markers of pages. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from zun_coe.errors import FieldProblem, Malformed
from zun_coe.gateway.entries import Found, Replica, phase_of
from zun_coe.gateway.indexes import Condition, Place, Scope, Traits
from zun_coe.model.evidence import quoted

PUBLIC = "*"
"""The scope of what everybody sees. No project can be called so."""
SORTS = ("created_at", "updated_at", "name", "id")
_TIMES = frozenset({"created_at", "updated_at"})
_MARK = "~"
"""What a marker begins with, so that none is taken for an id."""


def traits(public: bool = False) -> Traits[Found]:
    """How lists see their items. `public`: whether some of them are seen by everybody."""
    return Traits(
        id=lambda found: found.id,
        key=key_of,
        values=values_of,
        scopes=_shared_scopes if public else _scopes,
        fields=SORTS,
    )


def key_of(found: Found, field: str) -> Any:
    """What an item is sorted by."""
    if field == "id":
        return found.id
    if isinstance(found, Replica):
        return _key_of_replica(found, field)
    return getattr(found.intent, field)


def _key_of_replica(found: Replica, field: str) -> Any:
    if field == "name":
        return found.name
    created = found.instance.created_at or found.app.intent.created_at
    return created if field == "created_at" else found.instance.started_at or created


def values_of(found: Found, facet: str) -> Iterable[str]:
    """What an item can be filtered by: each value that a filter of this name would have to be."""
    intent = found.app.intent if isinstance(found, Replica) else found.intent
    match facet:
        case "name":
            return (found.name if isinstance(found, Replica) else intent.name,)
        case "phase":
            return (phase_of(found),)
        case "app":
            return (intent.id, intent.name) if isinstance(found, Replica) else ()
        case "label":
            labels: Mapping[str, str] = getattr(intent, "labels", {})
            return [*labels, *(f"{key}={value}" for key, value in labels.items())]
        case _:
            value = getattr(intent, facet, None)
            return () if value is None else (str(value),)


def conditions_of(filters: Mapping[str, str], clusters: Callable[[str], Sequence[str]]) -> Sequence[Condition]:
    """The filters of a request. `clusters`: the ids of the clusters that a name may mean. Raises `Malformed` for a
    list of labels with an empty one, which nothing has."""
    conditions: list[Condition] = []
    for name, wanted in filters.items():
        if name == "label":
            if "" in wanted.split(","):
                detail = "has an empty label; write key or key=value, several with commas"
                raise Malformed(f"/label: {detail}.", [FieldProblem("/label", detail)])
            conditions += [("label", (part,)) for part in wanted.split(",")]
        elif name == "cluster":
            conditions.append(("cluster", (wanted, *clusters(wanted))))
        else:
            conditions.append((name, (wanted,)))
    return conditions


def marker_of(field: str, place: Place) -> str:
    """A place in an order as the marker of a page: it stays right when the item that was there is gone."""
    key = place[0].isoformat() if field in _TIMES else place[0]
    return _MARK + base64.urlsafe_b64encode(msgspec.json.encode([field, key, place[1]])).decode().rstrip("=")


def place_of(marker: str, field: str, find: Callable[[str], Found | None]) -> Place:
    """The place that a marker of a list sorted by a field means; the id of an item that is there is one, too. Raises
    `Malformed`."""
    if marker.startswith(_MARK):
        return _place(marker, field)
    found = find(marker)
    if found is None:
        raise _lost(marker)
    return (key_of(found, field), found.id)


def _place(marker: str, field: str) -> Place:
    try:
        encoded = marker.removeprefix(_MARK)
        of, key, id = msgspec.json.decode(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), type=_Marker)
        place = (datetime.fromisoformat(key) if of in _TIMES else key, id)
    except ValueError as error:
        raise _lost(marker) from error
    if of != field or (of in _TIMES and place[0].tzinfo is None):
        detail = f"The marker {quoted(marker)} is of a list that is sorted by {of}; begin again without it."
        raise Malformed(detail, [FieldProblem("/marker", detail)])
    return place


_Marker = tuple[str, str, str]


def _lost(marker: str) -> Malformed:
    detail = f"The marker {quoted(marker)} is not there (any more); begin again without it."
    return Malformed(detail, [FieldProblem("/marker", detail)])


def _scopes(found: Found) -> Sequence[Scope]:
    return (None, found.app.intent.project if isinstance(found, Replica) else found.intent.project)


def _shared_scopes(found: Found) -> Sequence[Scope]:
    return (*_scopes(found), PUBLIC) if getattr(found.intent, "public", False) else _scopes(found)  # type: ignore[union-attr]  # a replica is not shared
