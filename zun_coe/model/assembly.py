"""From an intent to what an adapter is asked to run. Pure; the API uses it to check, the engine to act."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from zun_coe.model.records import Intent
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


def assemble(
    installation: str,
    intent: Intent,
    status: Status | None = None,
    *,
    effective: Template | None = None,
    previous: tuple[Template, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    image_auth: Mapping[str, str] | None = None,
) -> Workload:
    """The workload of an intent. `effective`: the template in effect where it is not the intent's own;
    `previous`: the one being replaced, with its hash. What the user accepted to lose is left out."""
    status = status or Status()
    lost = [loss.pointer for loss in intent.lost]
    template = without(effective or intent.template, intent.update, intent.placement, lost)
    rollout = status.rollout
    halted = bool(rollout and rollout.from_ is not None and rollout.state in ("paused", "failed"))
    return Workload(
        ref=ref_of(installation, intent),
        template=template[0],
        hash=effective_hash(intent, status) if effective else wanted_hash(intent),
        previous=previous[0] if previous else None,
        previous_hash=previous[1] if previous else None,
        replicas=intent.replicas,
        desired_state=intent.desired_state,
        restarts=intent.restarts,
        restarted=status.restarted,
        halted=halted,
        update=template[1],
        placement=template[2],
        labels=dict(intent.labels),
        volumes=dict(intent.volumes),
        secrets=dict(secrets or {}),
        image_auth=dict(image_auth) if image_auth else None,
        adopted=intent.adopted,
    )


def without(
    template: Template, update: Update, placement: Placement, pointers: Iterable[str]
) -> tuple[Template, Update, Placement]:
    """The specification without what was accepted to be lost. Raises `ValueError` where what is left
    makes no sense, so that the object around it has to go."""
    pointers = sorted(pointers, reverse=True)
    if not pointers:
        return template, update, placement
    body = plain(template) | {"update": plain(update), "placement": plain(placement)}
    for pointer in pointers:
        _drop(body, pointer.strip("/").split("/"))
    parts = body.pop("update", {}), body.pop("placement", {})
    return msgspec.convert(body, Template), msgspec.convert(parts[0], Update), msgspec.convert(parts[1], Placement)


def _drop(body: Any, path: list[str]) -> None:
    *parents, last = path
    for part in parents:
        body = body[int(part)] if isinstance(body, list) else body.get(part, {})
    if isinstance(body, list):
        del body[int(last)]
    elif isinstance(body, dict):
        body.pop(last, None)
