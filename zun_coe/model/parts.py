"""Large statuses in parts: what grows with the number of replicas or nodes is kept beside the status itself.

A transaction of the store has room for 1.5 MB. The status of an app has all of its instances, and that of a
cluster all of its nodes; where there are many they are cut into runs of `RUN`. The status names its parts in
their order. A part never changes: a run that is otherwise than before gets a name of its own, so that a status
and what it consists of change at once, with the one write of the status. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from zun_coe.model.observation import Instance
from zun_coe.model.records import ClusterStatus
from zun_coe.model.status import Status
from zun_coe.model.value import Value
from zun_coe.model.workload import Node

RUN = 64
"""So many instances or nodes are in one part, and up to so many in the status itself."""

V = TypeVar("V", bound=Value)


class InstancePart(Value, frozen=True, kw_only=True):
    """Some instances of an app. Evidence that several of them have is in `evidence` once; `which` says for each
    instance which it is (-1: its own)."""

    instances: tuple[Instance, ...]
    evidence: tuple[dict[str, Any], ...] = ()
    which: tuple[int, ...] = ()


class NodePart(Value, frozen=True, kw_only=True):
    """Some nodes of a cluster."""

    nodes: tuple[Node, ...]


Part = InstancePart | NodePart


class Divided(NamedTuple):
    """A status as it is kept, and those of its parts that are not kept yet, by name."""

    status: Value
    new: Mapping[str, Part]


def divide(status: V, write: str, kept: Callable[[str], Part | None]) -> Divided:
    """The status without what is in parts. `write` names the parts that are new; `kept` finds those that there
    are, which are used again where they say the same."""
    items = _items(status)
    if items is None or len(items) <= RUN:
        return Divided(status if items is None else _with(status, items, ()), {})
    names: list[str] = []
    new: dict[str, Part] = {}
    for index, first in enumerate(range(0, len(items), RUN)):
        part = _part(items[first : first + RUN])
        name = next(iter(_names(status)[index : index + 1]), "")
        if not name or kept(name) != part:
            name = f"{write}-{index}"
            new[name] = packed(part)
        names.append(name)
    return Divided(_with(status, (), tuple(names)), new)


def whole(status: V, part: Callable[[str], Part]) -> V:
    """The status with what is in its parts. Raises what `part` raises for one that is not there."""
    names = _names(status)
    if not names:
        return status
    items = [item for name in names for item in _of(part(name))]
    return _with(status, tuple(items), names)


def packed(part: Part) -> Part:
    """A part as it is kept: equal evidence is there once."""
    if not isinstance(part, InstancePart) or not any(instance.evidence for instance in part.instances):
        return part
    known: list[dict[str, Any]] = []
    which: list[int] = []
    for evidence in (dict(instance.evidence) for instance in part.instances):
        if evidence and evidence not in known:
            known.append(evidence)
        which.append(known.index(evidence) if evidence else -1)
    bare = tuple(msgspec.structs.replace(instance, evidence={}) for instance in part.instances)
    return InstancePart(instances=bare, evidence=tuple(known), which=tuple(which))


def unpacked(part: Value) -> Value:
    """The reverse of `packed`; anything else stays as it is."""
    if not isinstance(part, InstancePart) or not part.which:
        return part
    instances = (
        instance if index < 0 else msgspec.structs.replace(instance, evidence=part.evidence[index])
        for instance, index in zip(part.instances, part.which, strict=True)
    )
    return InstancePart(instances=tuple(instances))


def _items(status: Value) -> Sequence[Any] | None:
    if isinstance(status, Status):
        return status.instances
    if isinstance(status, ClusterStatus) and status.info is not None:
        return status.info.nodes
    return None


def _names(status: Value) -> tuple[str, ...]:
    return status.parts if isinstance(status, Status | ClusterStatus) else ()


def _part(items: Sequence[Any]) -> Part:
    if isinstance(items[0], Node):
        return NodePart(nodes=tuple(items))
    return InstancePart(instances=tuple(items))


def _of(part: Part) -> Sequence[Any]:
    return part.nodes if isinstance(part, NodePart) else part.instances


def _with(status: V, items: Sequence[Any], names: tuple[str, ...]) -> V:
    if isinstance(status, ClusterStatus) and status.info is not None:
        info = msgspec.structs.replace(status.info, nodes=tuple(items))
        return msgspec.structs.replace(status, info=info, parts=names)
    return msgspec.structs.replace(status, instances=tuple(items), parts=names)
