"""Finding what runs in a cluster besides ours, and making a Deployment of it ours without restarting anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zun_coe.adapters import Connection, Foreign, Offer
from zun_coe.adapters.kubernetes import foreign, managing, naming, paths, wire
from zun_coe.adapters.kubernetes.adoption import is_as_kept, kept
from zun_coe.adapters.kubernetes.claiming import TEMPLATE, labels_of_pods
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.converging import Json, Key, key_of, stamped
from zun_coe.adapters.kubernetes.difference import differences
from zun_coe.adapters.kubernetes.foreign import Judgement
from zun_coe.errors import Absent, Denied, Invalid
from zun_coe.model import Adopted, Workload, plain

_REVISION = "deployment.kubernetes.io/revision"


class Takeover:
    """What is not ours. Thread-safe; each call asks the cluster."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self._client, self._connection = client, connection

    def foreign(self, known: Collection[str] = ()) -> list[Foreign]:
        """What runs there and is not ours, or of no id that is known, as far as the credentials let it be seen. Raises
        `BackendError`."""
        scalers = self._seen("HorizontalPodAutoscaler")
        found = [
            foreign.of_deployment(d, None if scalers is None else _beside(d, scalers), self._connection)
            for d in self._objects("Deployment", self._connection.namespace)
            if not self._is_ours(d)
        ]
        for kind in ("StatefulSet", "DaemonSet"):
            found += [foreign.of_set(kind, o) for o in self._seen(kind) or () if not self._is_ours(o)]
        return [*found, *self._left(known), *(foreign.of_pod(pod) for pod in self._single_pods())]

    def _left(self, known: Collection[str]) -> list[Foreign]:
        """Deployments of ours that are nobody's any more."""
        ours = [d for d in self._objects("Deployment", self._connection.namespace) if self._is_ours(d)]
        left = [d for d in ours if foreign.labels_of(d).get(naming.ID) not in known]
        return [foreign.left_over(d, self._judged_left(d)) for d in left]

    def _judged_left(self, deployment: Json) -> Judgement:
        namespace, labels = deployment["metadata"]["namespace"], foreign.labels_of(deployment)
        whose = {key: labels[key] for key in naming.OWNERSHIP if key in labels}
        own = whose | {naming.ID: labels.get(naming.ID, "")}
        services = self._client.list(paths.collection("Service", namespace), dict[str, Any], labels=own)
        claims = self._client.list(paths.collection("PersistentVolumeClaim", namespace), dict[str, Any], labels=whose)
        return foreign.judged_left(deployment, services.items, claims.items)

    def offer(self, namespace: str, name: str) -> Offer:
        """See `adapters.Adopts.offer`."""
        live = self._deployment(namespace, name)
        ours = self._is_ours(live)
        if ours:
            verdict = self._judged_left(live)
        else:
            verdict = foreign.judged(live, self._objects("HorizontalPodAutoscaler", namespace), self._connection)
        if (offer := verdict.offer(live, {})) is None:
            differences = [plain(d) | {"field": foreign.field_of(d.pointer)} for d in verdict.differences]
            evidence = {"refused": list(verdict.refused), "differences": differences or None}
            raise Invalid(verdict.refused[0], evidence=evidence)
        return offer if ours else replace(offer, native=kept(live, self._template_of(live)))

    def prepared(self, workload: Workload, wanted: Sequence[Json], live: Mapping[Key, Json]) -> dict[Key, Json]:
        """A Deployment that is not ours yet, ready to be applied: nobody else keeps its fields from changing later.
        Empty where it is among ours, or there is none. Raises `Invalid` where it is not what was offered, so that
        applying it could restart what runs. Idempotent."""
        rendered = next(o for o in wanted if o["kind"] == "Deployment")
        if workload.adopted is None or key_of(rendered) in live:
            return {}
        try:
            there = self._client.get(paths.path_of(rendered))
        except Absent:
            return {}
        _must_be_it(workload.adopted, there)
        object = stamped(rendered)
        then = self._client.apply(paths.path_of(object), object, dry_run=True)
        if workload.hash == workload.adopted.hash:
            _must_stay(workload.adopted, there, then)
        entries = there["metadata"].get("managedFields") or []
        left = managing.given_up(entries, managing.ours(then["metadata"].get("managedFields") or []))
        if left != entries:
            metadata = {"managedFields": left, "resourceVersion": there["metadata"]["resourceVersion"]}
            there = self._client.patch(paths.path_of(rendered), {"metadata": metadata})
        return {key_of(there): there}

    def _deployment(self, namespace: str, name: str) -> Json:
        own = self._connection.namespace
        if own is not None and namespace != own:
            raise Invalid(f"The cluster was registered with its namespace {own} alone.")
        try:
            return self._client.get(paths.path("Deployment", name, namespace))
        except Absent as error:
            raise Absent(f"There is no Deployment {name} in the namespace {namespace}.") from error

    def _template_of(self, live: Json) -> str:
        """Kubernetes' own name for the template that a Deployment has, by the ReplicaSet of its last revision."""
        uid, revision = live["metadata"]["uid"], (live["metadata"].get("annotations") or {}).get(_REVISION)
        path = paths.collection("ReplicaSet", live["metadata"]["namespace"])
        for found in self._client.list(path, dict[str, Any], labels=labels_of_pods(live)).items:
            metadata = found["metadata"]
            owned = any(o["uid"] == uid for o in metadata.get("ownerReferences") or ())
            if owned and (metadata.get("annotations") or {}).get(_REVISION) == revision:
                return str(metadata["labels"][TEMPLATE])
        raise Invalid("Its last change is not rolled out yet.")

    def _single_pods(self) -> list[wire.Pod]:
        path = paths.collection("Pod", self._connection.namespace)
        pods = self._client.list(path, wire.Pod).items
        return [p for p in pods if not p.metadata.owner_references and not self._has_our_labels(p.metadata.labels)]

    def _seen(self, kind: str) -> list[Json] | None:
        """Those of a kind; None where they may not be seen."""
        try:
            return self._objects(kind, self._connection.namespace)
        except Denied:
            return None

    def _objects(self, kind: str, namespace: str | None) -> list[Json]:
        return list(self._client.list(paths.collection(kind, namespace), dict[str, Any]).items)

    def _is_ours(self, found: Json) -> bool:
        return self._has_our_labels(foreign.labels_of(found))

    def _has_our_labels(self, labels: Any) -> bool:
        return foreign.is_ours(labels, self._connection)


def _beside(deployment: Json, others: Sequence[Json]) -> list[Json]:
    """Those in its namespace."""
    namespace = deployment["metadata"]["namespace"]
    return [other for other in others if other["metadata"]["namespace"] == namespace]


def _must_be_it(adopted: Adopted, there: Json) -> None:
    metadata, labels = there["metadata"], foreign.labels_of(there)
    gone = metadata["uid"] != adopted.native["uid"] or "deletionTimestamp" in metadata
    if gone or naming.INSTALLATION in labels:
        told = f"The Deployment {adopted.name} in {adopted.namespace} is not the one that was to be taken over."
        raise Invalid(told, evidence={"uid": metadata["uid"], "labels": dict(labels)})


def _must_stay(adopted: Adopted, there: Json, then: Json) -> None:
    if is_as_kept(there, adopted.native) and there["spec"]["template"] == then["spec"]["template"]:
        return
    changed = differences({"spec": {"template": adopted.native["template"]}}, there)
    told = "The Deployment was changed since it was to be taken over; delete this app and adopt it again."
    raise Invalid(told, evidence={"differences": [plain(d) for d in changed]})
