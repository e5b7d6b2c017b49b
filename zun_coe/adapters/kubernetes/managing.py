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
_OWN_MACHINERY = frozenset({_CONTROLLERS, "cloud-controller-manager", "kube-scheduler", "kubelet"})
"""Kubernetes' own: what they set is theirs to set."""


def ours(entries: Sequence[Entry]) -> Mapping[str, Any]:
    """The fields that our own applying has set."""
    found = (e.get("fieldsV1", {}) for e in entries if _is_ours(e))
    return next(found, {})


def ours_of(live: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same of an object."""
    return ours(_entries(live))


def others(live: Mapping[str, Any]) -> list[Entry]:
    """What everybody else has set in an object: people and their tools. Not what Kubernetes' own machinery sets, nor
    the status."""
    left_out = _OWN_MACHINERY | {FIELD_MANAGER}
    return [e for e in _entries(live) if e.get("manager") not in left_out and not e.get("subresource")]


def patched(live: Mapping[str, Any]) -> list[Entry]:
    """What we ourselves have set by what is no applying, which is recorded apart, with the defaults of what was new."""
    return [e for e in _entries(live) if e.get("manager") == FIELD_MANAGER and not _is_ours(e)]


def owns(entries: Sequence[Entry], *path: str) -> bool | None:
    """Whether our own applying has set a field, and nobody has changed it since; None where we never applied."""
    if not any(_is_ours(entry) for entry in entries):
        return None
    fields: Any = ours(entries)
    for name in path:
        fields = fields.get(name)
        if fields is None:
            return False
    return True


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


def _entries(live: Mapping[str, Any]) -> Sequence[Entry]:
    return live.get("metadata", {}).get("managedFields") or ()


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
