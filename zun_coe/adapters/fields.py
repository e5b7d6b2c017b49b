"""Lossless or refuse: how each leaf of the specification is carried, and what to refuse before it is stored.

A leaf is named by a pattern: a JSON pointer in which `*` stands for an index of a list. Maps that users
name the keys of (`env`, `labels`, …) are one leaf. An accounting names every leaf; a test walks the
contract and fails for one that is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zun_coe.errors import FieldProblem
from zun_coe.model import ClusterInfo, OperationSupport, Support, Workload, canonical
from zun_coe.model.workload import spec_of

# Maps whose keys are the user's own: one leaf each.
MAPS = frozenset({"env", "env_secrets", "labels", "constraints"})

Accepts = Callable[[Workload, Any, ClusterInfo], str | None]


@dataclass(frozen=True)
class Carried:
    """How a leaf is carried. `note` tells how an emulation differs, or why there is none. `accepts`
    gives the sentence with which a value is refused, or None; it is pure and is asked for every value
    that is set, defaults included."""

    support: Support
    note: str = ""
    accepts: Accepts | None = None


Accounting = Mapping[str, Carried]


def native(note: str = "", accepts: Accepts | None = None) -> Carried:
    """The backend has it."""
    return Carried(Support.NATIVE, note, accepts)


def emulated(note: str, accepts: Accepts | None = None) -> Carried:
    """The gateway does it, and the note says how that differs."""
    return Carried(Support.EMULATED, note, accepts)


def within_deadline(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    """Of `/update/deadline`: that a replica turns ready is progress, and that it stays so is none, so that a rollout
    whose replicas have to prove themselves for longer than that fails however well they are."""
    if value <= workload.update.min_ready:
        return f"The deadline must be longer than min_ready, which is {workload.update.min_ready} seconds."
    return None


def absent(note: str) -> Carried:
    """It can't be had, and the note says why."""
    return Carried(Support.NONE, note)


@dataclass(frozen=True)
class Refusal(FieldProblem):
    """A field that the cluster can't carry. `value`: the field is fine in general, this value is not."""

    value: bool = False


def refusals(
    workload: Workload, fields: Accounting, info: ClusterInfo, accept_loss: Sequence[str] = ()
) -> list[Refusal]:
    """What the cluster can't carry of this workload, besides what the user accepts to lose. An accepted
    pointer covers everything below it. Pure; one refusal for each pointer."""
    found = [r for leaf in leaves_of(workload) if (r := _refusal(workload, *leaf, fields, info))]
    return [r for r in found if not any(covers(accepted, r.pointer) for accepted in accept_loss)]


def losses(workload: Workload, fields: Accounting, info: ClusterInfo, accept_loss: Sequence[str]) -> list[Refusal]:
    """What is lost because the user accepted it."""
    if not accept_loss:
        return []
    kept = {r.pointer for r in refusals(workload, fields, info, accept_loss)}
    return [r for r in refusals(workload, fields, info) if r.pointer not in kept]


def covers(accepted: str, pointer: str) -> bool:
    """Whether accepting the loss of one pointer accepts that of another: the same, or one below it."""
    return pointer == accepted or pointer.startswith(accepted.rstrip("/") + "/")


def leaves_of(workload: Workload) -> Iterator[tuple[str, Any, bool]]:
    """Every leaf that is set, as (pointer, value, whether it differs from its default)."""
    changed = {pointer for pointer, _ in _walk(_changed(workload))}
    for pointer, value in _walk(spec_of(workload)):
        yield pointer, value, pointer in changed


def pattern_of(pointer: str) -> str:
    """`/ports/0/publish` → `/ports/*/publish`."""
    return re.sub(r"/\d+(?=/|$)", "/*", pointer)


def _refusal(
    workload: Workload, pointer: str, value: Any, changed: bool, fields: Accounting, info: ClusterInfo
) -> Refusal | None:
    pattern = pattern_of(pointer)
    carried = fields[pattern]
    override: OperationSupport | None = info.overrides.get(pattern)
    support, note = (override.support, override.note) if override else (carried.support, carried.note)
    if support is Support.NONE and changed:
        return Refusal(pointer, note)
    sentence = carried.accepts(workload, value, info) if carried.accepts and support is not Support.NONE else None
    return Refusal(pointer, sentence, value=True) if sentence else None


def _changed(workload: Workload) -> dict[str, Any]:
    spec: dict[str, Any] = canonical(workload.template)
    if workload.labels:
        spec["labels"] = workload.labels
    if workload.desired_state != "running":
        spec["desired_state"] = workload.desired_state
    if not workload.standalone:
        spec |= {"update": canonical(workload.update), "placement": canonical(workload.placement)}
        spec |= {"replicas": workload.replicas} if workload.replicas != 1 else {}
    return spec


def _walk(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    name = pointer.rsplit("/", 1)[-1]
    if isinstance(value, Mapping) and name not in MAPS and (value or not pointer):
        for key, inner in value.items():
            yield from _walk(inner, f"{pointer}/{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(i, Mapping) for i in value):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{pointer}/{index}")
    elif value not in ([], ()) and not (value == {} and name in MAPS):
        yield pointer, value
