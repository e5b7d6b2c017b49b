"""What a change is refused for: that which it brings, and nothing that was so before. Pure.

What was accepted once may be refused today: a node was drained, an operator's policy was tightened, a secret is gone.
Whoever changes something else is not stopped by that. A problem is excused where the specification of before has the
same one, in the same words, with the same value, by the rules and facts of today. So a rule over several fields is
still kept: what a new number of replicas makes of an old volume, the old specification has no part in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from zun_coe.adapters.fields import Accounting, Refusal, covers, losses, pattern_of, refusals
from zun_coe.errors import FieldProblem
from zun_coe.model import ClusterInfo, Intent, Loss, assemble
from zun_coe.model.workload import spec_of

P = TypeVar("P", bound=FieldProblem)
Spec = Mapping[str, Any]
At = Callable[[Spec, str], Any]


def brought(found: Sequence[P], now: Spec, before: Sequence[FieldProblem], then: Spec, at: At | None = None) -> list[P]:
    """The problems of a specification that the one before it had not. `at`: what of a specification a problem is
    about, by its pointer; the value there, unless told otherwise."""
    at = at or value_at
    excused = Counter(_identity(problem, then, at) for problem in before)
    left = []
    for problem in found:
        key = _identity(problem, now, at)
        if excused[key]:
            excused[key] -= 1
        else:
            left.append(problem)
    return left


def value_at(spec: Spec, pointer: str) -> Any:
    """The value that a pointer leads to, None where there is none."""
    found: Any = spec
    for part in pointer.strip("/").split("/"):
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, Sequence) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def item_at(spec: Spec, pointer: str) -> Any:
    """The item of the innermost list that a pointer leads into, the value where it leads into none: so much is looked
    at anew where an operator decides about a part of it."""
    parts = pointer.strip("/").split("/")
    last = next((n for n in range(len(parts), 0, -1) if parts[n - 1].isdigit()), len(parts))
    return value_at(spec, "/".join(parts[:last]))


def unsupported(
    installation: str, intent: Intent, old: Intent | None, fields: Accounting, info: ClusterInfo
) -> tuple[list[Refusal], tuple[Loss, ...]]:
    """What the cluster can't carry of an intent that is new, or that changes an `old` one, and what is lost as was
    accepted. What was lost of a field that did not change stays so."""
    workload = assemble(installation, msgspec.structs.replace(intent, lost=()))
    spec = spec_of(workload)
    refused = refusals(workload, fields, info, intent.accept_loss)
    lost = [Loss(pointer=r.pointer, detail=r.detail) for r in losses(workload, fields, info, intent.accept_loss)]
    if old is None:
        return refused, tuple(lost)
    before = assemble(installation, msgspec.structs.replace(old, lost=()))
    then = spec_of(before)
    stay = [
        loss
        for loss in old.lost
        if any(covers(pointer, loss.pointer) for pointer in intent.accept_loss)
        and value_at(spec, loss.pointer) == value_at(then, loss.pointer)
    ]
    known = {loss.pointer for loss in stay}
    stay += [loss for loss in lost if loss.pointer not in known]
    return brought(refused, spec, refusals(before, fields, info, old.accept_loss), then), tuple(stay)


def _identity(problem: FieldProblem, spec: Spec, at: At) -> tuple[str, str, bytes]:
    value = msgspec.json.encode(at(spec, problem.pointer), order="sorted")
    return pattern_of(problem.pointer), problem.detail, value


def difference(old: Intent, new: Intent) -> str:
    """What changed, by name, for the event that tells of it."""
    outside = ("labels", "desired_state", "replicas", "update", "placement")
    names = [f for f in outside if getattr(old, f) != getattr(new, f)]
    fields = type(old.template).__struct_encode_fields__
    names += [
        out
        for name, out in zip(old.template.__struct_fields__, fields, strict=True)
        if getattr(old.template, name) != getattr(new.template, name)
    ]
    return f"Changed: {', '.join(names)}." if names else "Changed."
