"""What runs in a cluster and is not ours: what there is to tell of it, and why no app can take it over. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from zun_coe.adapters import Connection, Foreign, Offer
from zun_coe.adapters.kubernetes import manifest, naming, wire
from zun_coe.adapters.kubernetes.additions import added
from zun_coe.adapters.kubernetes.adoption import lost
from zun_coe.adapters.kubernetes.difference import differences
from zun_coe.adapters.kubernetes.fieldsets import steps
from zun_coe.adapters.kubernetes.hardening import security
from zun_coe.adapters.kubernetes.managing import scaled_by
from zun_coe.adapters.kubernetes.parsing import Understood, understood
from zun_coe.errors import Invalid
from zun_coe.model import Drift, Template, Workload, WorkloadRef, template_hash

Object = Mapping[str, Any]

SYSTEM = frozenset({"kube-system", "kube-public", "kube-node-lease"})
"""The namespaces of Kubernetes itself."""
_ONLY = "Only Deployments can be taken over."
_RESTARTS = 1000
"""So many restarts of an app are tried to find out how often its template was restarted."""
_NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Judgement:
    """Whether an app can take a Deployment over. `refused`: all reasons against it, in sentences; `said`: what it says,
    where that can be understood; `differences`: what an app would have otherwise; `warnings`: who else manages it."""

    refused: tuple[str, ...]
    said: Understood | None = None
    differences: tuple[Drift, ...] = ()
    warnings: tuple[str, ...] = ()
    left: WorkloadRef | None = None
    restarts: int = 0

    def offer(self, deployment: Object, native: Mapping[str, Any]) -> Offer | None:
        """What it would be, None where no app can take it over."""
        if self.refused or self.said is None:
            return None
        metadata, said = deployment["metadata"], self.said
        return Offer(
            template=said.template,
            replicas=said.replicas,
            update=said.update,
            placement=said.placement,
            labels=said.labels,
            place=str(naming.Place(metadata.get("namespace", ""), metadata["name"], said.main)),
            native=native,
            warnings=self.warnings,
            left=self.left,
            restarts=self.restarts,
        )


def judged(deployment: Object, scalers: Sequence[Object] | None, connection: Connection) -> Judgement:
    """The one verdict, for the list of what runs and for taking it over. `scalers`: the autoscalers of its namespace,
    None where they may not be seen."""
    refused = list(_objections(deployment, scalers or (), connection))
    if scalers is None:
        refused.append("The cluster's credentials may not tell whether an autoscaler decides about its replicas.")
    warnings = tuple(_managed(deployment))
    try:
        said, otherwise = examined(deployment)
    except Invalid as error:
        return Judgement((*refused, str(error)), warnings=warnings)
    refused += [f"{field_of(d.pointer)}: an app would be otherwise." for d in otherwise]
    return Judgement(tuple(refused), said, otherwise, warnings)


def judged_left(deployment: Object, services: Sequence[Object], claims: Sequence[Object]) -> Judgement:
    """The verdict on a Deployment of this gateway whose app was let go: the app can be had again where rendering it
    gives the same. `services`: its own; `claims`: those of its project."""
    metadata = deployment["metadata"]
    ref = naming.ref_of(labels_of(deployment), metadata.get("annotations") or {})
    if ref is None or ref.place is not None:
        return Judgement((f"It was left by this gateway. Take the labels of {naming.DOMAIN} from it to adopt it.",))
    if "deletionTimestamp" in metadata:
        return Judgement(("It is being deleted.",), left=ref)
    hash_ = (deployment["spec"]["template"]["metadata"].get("labels") or {}).get(naming.HASH, "")
    try:
        said = understood(deployment, services, claims)
        target = manifest.Target(metadata["namespace"], security=security("", hash_, [deployment]))
        rendered = manifest.plan(_as_left(ref, said, hash_, claims), target)
    except (msgspec.ValidationError, ValueError, KeyError, Invalid) as error:
        return Judgement((f"It was left by this gateway, and cannot be understood: {error}.",), left=ref)
    (body,) = [o for o in rendered if o["kind"] == "Deployment"]
    exact = _exact(said.template, hash_)
    changed = (*differences(body, deployment), *added(body, deployment))
    found = tuple(drift for drift in changed if drift.pointer.startswith("/spec"))
    refused = [f"{field_of(d.pointer)}: the app would be otherwise." for d in found]
    if exact is None:
        refused.append("It has more than can be read from it, so that the app would replace its pods.")
        return Judgement(tuple(refused), said, found, left=ref)
    template, restarts = exact
    return Judgement(tuple(refused), replace(said, template=template), found, left=ref, restarts=restarts)


def _exact(template: Template, hash_: str) -> tuple[Template, int] | None:
    """The template that has a hash, and after how many restarts; None where it has more than can be read."""
    tried = ((each, restarts) for each in _variants(template) for restarts in range(_RESTARTS))
    return next(((each, restarts) for each, restarts in tried if template_hash(each, restarts) == hash_), None)


def _variants(template: Template) -> Iterator[Template]:
    """What was said, as far as it can be read: a port of a node may have been chosen by the cluster."""
    yield template
    ports = (msgspec.structs.replace(p, publish="auto") if p.publish is not None else p for p in template.ports)
    yield msgspec.structs.replace(template, ports=tuple(ports))


def left_over(deployment: Object, verdict: Judgement) -> Foreign:
    """A Deployment of this gateway whose app was let go."""
    found = _told("Deployment", deployment, verdict.refused)
    return replace(found, offer=verdict.offer(deployment, {}), left=verdict.left)


def _as_left(ref: WorkloadRef, said: Understood, hash_: str, claims: Sequence[Object]) -> Workload:
    labels = [labels_of(claim) for claim in claims]
    return Workload(
        ref=ref,
        template=said.template,
        hash=hash_,
        replicas=said.replicas,
        update=said.update,
        placement=said.placement,
        labels=dict(said.labels),
        volumes={each[naming.NAME]: each[naming.VOLUME] for each in labels if naming.VOLUME in each},
    )


def field_of(pointer: str) -> str:
    """A JSON pointer as Kubernetes names fields: `spec.template.spec.containers[0].image`."""
    found = ""
    for step in steps(pointer):
        plain = step.isidentifier()
        found += f"[{step}]" if not plain else f".{step}" if found else step
    return found


def _managed(deployment: Object) -> Iterator[str]:
    """By whose own marks it is known who would change it again."""
    metadata = deployment["metadata"]
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if (release := notes.get("meta.helm.sh/release-name")) or labels.get("app.kubernetes.io/managed-by") == "Helm":
        yield f"Helm manages it{f' (release {release})' if release else ''}, and would change it with the next upgrade."
    tracked = notes.get("argocd.argoproj.io/tracking-id")
    if tracked or "argocd.argoproj.io/instance" in labels:
        name = (tracked or "").partition(":")[0] or labels.get("argocd.argoproj.io/instance", "")
        yield f"Argo CD manages it (application {name}), and would change it with the next synchronisation."


def examined(deployment: Object) -> tuple[Understood, tuple[Drift, ...]]:
    """What a Deployment says, and what an app that says the same would have otherwise. Services do not count: they
    stay as they are. Raises `Invalid` for what cannot be said at all."""
    try:
        found = understood(deployment, (), ())
        app = Workload(
            ref=WorkloadRef(installation="", cluster="", project="", noun="app", id=_NOBODY, name="app"),
            template=found.template,
            hash="",
            replicas=found.replicas,
            update=found.update,
            placement=found.placement,
            volumes=dict.fromkeys(found.volumes, _NOBODY),
        )
        rendered = manifest.plan(app, manifest.Target(deployment["metadata"].get("namespace", "")))
    except (msgspec.ValidationError, ValueError, KeyError) as error:
        raise Invalid(f"It cannot be understood: {error}.") from error
    (body,) = [o for o in rendered if o["kind"] == "Deployment"]
    return found, lost(body, deployment)


def of_deployment(deployment: Object, scalers: Sequence[Object] | None, connection: Connection) -> Foreign:
    """A Deployment. `scalers`: None where they may not be seen."""
    verdict = judged(deployment, scalers, connection)
    found = _told("Deployment", deployment, verdict.refused)
    return replace(found, offer=verdict.offer(deployment, {}), warnings=verdict.warnings)


def of_set(kind: str, found: Object) -> Foreign:
    """A StatefulSet or a DaemonSet."""
    return _told(kind, found, (_ONLY,))


def of_pod(pod: wire.Pod) -> Foreign:
    """A pod of its own."""
    ready = pod.condition("Ready")
    return Foreign(
        kind="Pod",
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        images=tuple(container.image for container in pod.spec.containers),
        replicas=1,
        ready=int(ready is not None and ready.status == "True"),
        created_at=pod.metadata.creation_timestamp,
        refused=(_ONLY,),
    )


def is_ours(labels: Mapping[str, str], connection: Connection) -> bool:
    """Whether this gateway has an object by this very registration of the cluster."""
    return naming.ours(connection.installation, connection.cluster).items() <= labels.items()


def labels_of(found: Object) -> Mapping[str, str]:
    """An object's labels."""
    return found["metadata"].get("labels") or {}


def _told(kind: str, found: Object, refused: tuple[str, ...]) -> Foreign:
    metadata, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    per_node = kind == "DaemonSet"
    created = metadata.get("creationTimestamp")
    return Foreign(
        kind=kind,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        images=tuple(c.get("image", "") for c in spec["template"]["spec"].get("containers") or ()),
        replicas=status.get("desiredNumberScheduled", 0) if per_node else spec.get("replicas", 1),
        ready=status.get("numberReady" if per_node else "readyReplicas") or 0,
        created_at=datetime.fromisoformat(created) if created else None,
        refused=refused,
    )


def _objections(deployment: Object, scalers: Sequence[Object], connection: Connection) -> Iterator[str]:
    metadata, spec = deployment["metadata"], deployment["spec"]
    if metadata.get("namespace") in SYSTEM:
        yield "It belongs to Kubernetes itself."
    yield from _owned(deployment, connection)
    if "deletionTimestamp" in metadata:
        yield "It is being deleted."
    for owner in metadata.get("ownerReferences") or ():
        yield f"The {owner['kind']} {owner['name']} controls it."
    for scaler in scalers:
        target = scaler["spec"].get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) == ("Deployment", metadata["name"]):
            yield f"The autoscaler {scaler['metadata']['name']} decides about its replicas."
    if by := scaled_by(metadata.get("managedFields") or ()):
        yield f"An autoscaler ({by}) decides about its replicas."
    if spec.get("paused"):
        yield "It is paused."
    if not _rolled_out(deployment):
        yield "Its last change is not rolled out yet."


def _owned(deployment: Object, connection: Connection) -> Iterator[str]:
    """Whether it carries the labels of a gateway, or its pods do."""
    template = deployment["spec"]["template"].get("metadata") or {}
    for labels in (labels_of(deployment), template.get("labels") or {}):
        if naming.INSTALLATION in labels:
            ours = labels[naming.INSTALLATION] == connection.installation
            yield "It carries labels of this gateway." if ours else "Another gateway manages it."


def _rolled_out(deployment: Object) -> bool:
    """Whether all of its replicas, and no others, are of its template. They need not be ready."""
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen) and bool(wanted == status.get("replicas", 0) == status.get("updatedReplicas", 0))
