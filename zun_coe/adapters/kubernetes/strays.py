"""What is left of a workload although its Deployment does not keep it any more, and what does not go although it was
deleted. Pure.

A ReplicaSet lets a pod go whose labels others have changed (`kubectl label pod web-1 pod-template-hash-`), and a
Deployment that is deleted with `--cascade=orphan` leaves its ReplicaSets behind. A new Deployment takes the latter up
again; a pod that was let go is nobody's. Anything that was deleted stays as long as it has finalizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from zun_coe.adapters.kubernetes import wire
from zun_coe.adapters.kubernetes.converging import Erase, Json
from zun_coe.adapters.kubernetes.reasons import Trouble

PATIENCE = timedelta(seconds=5)
"""So long after its time something that was deleted may have finalizers without anybody being told: most are taken off
by what set them."""
# What the server itself sets to delete what belongs to an object, or to let it go, before the object.
_ITS_OWN = frozenset({"foregroundDeletion", "orphan"})


def is_loose(pod: wire.Pod) -> bool:
    """Whether nothing keeps a pod of an app: it is no replica, and nothing replaces it or takes it away."""
    return not pod.metadata.owner_references


def loose(pods: Sequence[wire.Pod]) -> Iterator[Erase]:
    """What takes such pods away."""
    return (Erase("Pod", p.metadata.name, p.metadata.uid) for p in pods if is_loose(p) and _stays(p))


def orphaned(pods: Sequence[wire.Pod]) -> bool:
    """Whether something keeps pods of an app that has no Deployment any more."""
    return any(owner.kind == "ReplicaSet" for p in pods if _stays(p) for owner in p.metadata.owner_references)


def replica_sets(those: Iterable[Json]) -> Iterator[Erase]:
    """What takes ReplicaSets away that are nobody's."""
    metadata = (found["metadata"] for found in those)
    return (Erase("ReplicaSet", m["name"], m["uid"]) for m in metadata if not m.get("ownerReferences"))


def kept(objects: Iterable[Json], pods: Sequence[wire.Pod], at: datetime) -> Trouble | None:
    """What keeps the first of these that was deleted and should be gone."""
    metadata = [_metadata(found) for found in objects]
    metadata += [("Pod", p.metadata.name, p.metadata.deletion_timestamp, p.metadata.finalizers) for p in pods]
    for kind, name, end, finalizers in metadata:
        theirs = sorted(set(finalizers) - _ITS_OWN)
        if end is not None and theirs and at - end > PATIENCE:
            message = f"The {kind} {name} was deleted, and goes when nobody keeps it: it has {_listed(theirs)}."
            return Trouble("Error", message, {"kind": kind, "name": name, "finalizers": theirs})
    return None


def _metadata(found: Mapping[str, Any]) -> tuple[str, str, datetime | None, Sequence[str]]:
    metadata = found["metadata"]
    end = metadata.get("deletionTimestamp")
    return found["kind"], metadata["name"], datetime.fromisoformat(end) if end else None, metadata.get("finalizers", ())


def _listed(finalizers: Sequence[str]) -> str:
    return f"the finalizer{'s' if len(finalizers) > 1 else ''} {', '.join(finalizers)}"


def _stays(pod: wire.Pod) -> bool:
    return pod.metadata.deletion_timestamp is None
