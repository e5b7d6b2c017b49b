"""From an intent to what an adapter is asked to run. Pure; the API uses it to check, the engine to act."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from zun_coe.model.records import Intent, Loss, Revision
from zun_coe.model.spec import Placement, Template, Update
from zun_coe.model.status import Status, effective_hash, wanted_hash
from zun_coe.model.value import plain
from zun_coe.model.workload import Workload, WorkloadRef


def ref_of(installation: str, intent: Intent) -> WorkloadRef:
    """How an adapter names what belongs to an intent."""
    return WorkloadRef(
        installation=installation,
        cluster=intent.cluster,
        project=intent.project,
        noun=intent.noun,
        id=intent.id,
        name=intent.name,
        place=intent.adopted.place if intent.adopted else None,
    )


def revision_of(intent: Intent) -> Revision:
    """What is wanted, as a revision under the hash that its replicas carry."""
    return Revision(
        app=intent.id,
        number=intent.revision,
        template=intent.template,
        hash=wanted_hash(intent),
        created_at=intent.updated_at,
        volumes=intent.volumes,
        accept_loss=intent.accept_loss,
        lost=intent.lost,
    )


def whole(record: Revision, intent: Intent) -> Revision:
    """The revision with all that belongs to it: in records of former versions the intent's stands for the rest."""
    return msgspec.structs.replace(
        record,
        volumes=intent.volumes if record.volumes is None else record.volumes,
        accept_loss=intent.accept_loss if record.accept_loss is None else record.accept_loss,
        lost=intent.lost if record.lost is None else record.lost,
    )


def revision_with(hash_: str, status: Status, records: Sequence[Revision]) -> Revision | None:
    """The revision whose replicas carry this hash; None: no record tells. `records`: those that are kept, the oldest
    first."""
    rollout, number = status.rollout, None
    if rollout is not None and hash_ == rollout.hash:
        number = rollout.to
    elif hash_ == status.hash:
        number = status.revision
    found = next((r for r in records if r.number == number), None)
    return found or next((r for r in reversed(records) if hash_ in (r.hash, *r.restarts)), None)


def assemble(
    installation: str,
    intent: Intent,
    status: Status | None = None,
    *,
    effective: Revision | None = None,
    previous: Revision | None = None,
    secrets: Mapping[str, str] | None = None,
    image_auth: Mapping[str, str] | None = None,
) -> Workload:
    """The workload of an intent. `effective`: the revision in effect where it is not what is wanted; `previous`: the
    one being replaced; each under the hash that its replicas carry. What the user accepted to lose is left out, of
    each revision what was accepted with it."""
    status = status or Status()
    effective = effective or revision_of(intent)
    _, update, placement = without(intent.template, intent.update, intent.placement, _pointers(intent.lost))
    rollout = status.rollout
    halted = bool(rollout and rollout.from_ is not None and rollout.state in ("paused", "failed"))
    halted = halted and effective.hash == effective_hash(intent, status)
    return Workload(
        ref=ref_of(installation, intent),
        template=_carried(effective),
        hash=effective.hash,
        previous=_carried(previous) if previous else None,
        previous_hash=previous.hash if previous else None,
        proven=previous is not None and previous.hash == status.hash,
        replicas=intent.replicas,
        desired_state=intent.desired_state,
        restarts=intent.restarts,
        restarted=status.restarted,
        halted=halted,
        update=update,
        placement=placement,
        labels=dict(intent.labels),
        volumes={**((previous.volumes if previous else None) or {}), **(effective.volumes or {})},
        secrets=dict(secrets or {}),
        image_auth=dict(image_auth) if image_auth else None,
        digests=effective.digests.get(effective.hash, {}),
        previous_digests=previous.digests.get(previous.hash, {}) if previous else {},
        adopted=intent.adopted,
    )


def without(
    template: Template, update: Update, placement: Placement, pointers: Iterable[str]
) -> tuple[Template, Update, Placement]:
    """The specification without what was accepted to be lost. Raises `ValueError` where what is left
    makes no sense, so that the object around it has to go."""
    pointers = sorted(pointers, key=_place, reverse=True)
    if not pointers:
        return template, update, placement
    body = plain(template) | {"update": plain(update), "placement": plain(placement)}
    for pointer in pointers:
        _drop(body, pointer.strip("/").split("/"))
    parts = body.pop("update", {}), body.pop("placement", {})
    return msgspec.convert(body, Template), msgspec.convert(parts[0], Update), msgspec.convert(parts[1], Placement)


def _carried(revision: Revision) -> Template:
    """The template without what is lost of it."""
    return without(revision.template, Update(), Placement(), _pointers(revision.lost or ()))[0]


def _pointers(lost: Iterable[Loss]) -> list[str]:
    return [loss.pointer for loss in lost]


def _place(pointer: str) -> list[tuple[int, str]]:
    """Sorts what is behind in a list after what is before it, so that it can be taken out first."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in pointer.split("/")]


def _drop(body: Any, path: list[str]) -> None:
    """Take what a pointer leads to out; nothing where it leads nowhere."""
    *parents, last = path
    for part in parents:
        body = _below(body, part)
    if isinstance(body, list) and last.isdigit() and int(last) < len(body):
        del body[int(last)]
    elif isinstance(body, dict):
        body.pop(last, None)


def _below(body: Any, part: str) -> Any:
    if isinstance(body, list):
        return body[int(part)] if part.isdigit() and int(part) < len(body) else {}
    return body.get(part, {}) if isinstance(body, dict) else {}
