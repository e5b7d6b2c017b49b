"""Who set which field of an object, as the server keeps it (`metadata.managedFields`). Pure.

A field that several have set stays while one of them still wants it. So what was taken over is to be ours alone, or
what is left out later would stay: kubectl does the same when it begins to apply on the server's side.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zun_coe.adapters.kubernetes.naming import FIELD_MANAGER

Entry = Mapping[str, Any]

_CONTROLLERS = "kube-controller-manager"
"""Which sets the replicas of a Deployment for autoscalers alone."""


def ours(entries: Sequence[Entry]) -> Mapping[str, Any]:
    """The fields that our own applying has set."""
    found = (e.get("fieldsV1", {}) for e in entries if _is_ours(e))
    return next(found, {})


def given_up(entries: Sequence[Entry], fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries after everybody else has given these fields up. What they have besides stays theirs."""
    left = []
    for entry in entries:
        kept = entry.get("fieldsV1", {}) if _is_ours(entry) else _without(entry.get("fieldsV1", {}), fields)
        if kept:
            left.append(dict(entry) | {"fieldsV1": kept})
    return left


def scaled_by(entries: Sequence[Entry]) -> str | None:
    """Who decides about the replicas again and again: an autoscaler. A person who has scaled by hand does not count."""
    for entry in entries:
        manager = str(entry.get("manager", ""))
        sets = "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        by_scale = entry.get("subresource") == "scale" or manager == _CONTROLLERS
        if sets and by_scale and not manager.startswith("kubectl"):
            return manager
    return None


def _is_ours(entry: Entry) -> bool:
    return (entry.get("manager"), entry.get("operation")) == (FIELD_MANAGER, "Apply")


def _without(fields: Mapping[str, Any], gone: Mapping[str, Any]) -> dict[str, Any]:
    """A set of fields without those of another: each is a tree, and an empty one is a field or a whole value. A dot is
    the value around the fields: whoever has these has that, too."""
    left = {}
    for name, inner in fields.items():
        if name not in gone and name != ".":
            left[name] = inner
        elif inner and gone.get(name) and (rest := _without(inner, gone[name])):
            left[name] = rest
    return left
