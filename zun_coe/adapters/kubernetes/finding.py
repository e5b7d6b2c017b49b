"""Asks a cluster what is there: of one workload with everything that is compared, or of all in a few lists."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import msgspec

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes import happenings, naming, paths, survey, wire
from zun_coe.adapters.kubernetes.claiming import claimed, is_adopted, labels_of_pods
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.converging import Json, Key, key_of
from zun_coe.adapters.kubernetes.happenings import Happenings, Place, Told
from zun_coe.adapters.kubernetes.owners import Owners
from zun_coe.errors import Absent, Denied, TimedOut
from zun_coe.model import WorkloadRef

T = TypeVar("T")

SCALERS_KEPT = 30.0
"""For how many seconds a list of the autoscalers is good enough: one that came since is noticed by what it did."""
NODES_KEPT = 10.0
"""For how many seconds a list of the nodes is good enough."""
SECRETS_KEPT = 30.0
"""For how many seconds it is believed that a workload has no Secrets, where nobody here has made one."""
ASKED_ABOUT = 3
"""Of so many pods that are not well the events are asked for: more of them say the same."""


@dataclass(frozen=True)
class Sight:
    """A workload as it was found: for the eyes of people, and object by object. `again`: in how many seconds another
    look may show more, though nothing happens (None: it would not)."""

    found: survey.Found
    live: Mapping[Key, Json]
    again: float | None = None


class Finder:
    """Looks. Thread-safe; changes nothing."""

    def __init__(self, client: Client, connection: Connection, owners: Owners) -> None:
        self._client, self._connection, self._owners = client, connection, owners
        self._nodes: tuple[float, Sequence[wire.Node]] = (float("-inf"), ())
        self._scalers: tuple[float, Sequence[wire.Scaler]] = (float("-inf"), ())
        self._bare: dict[str, float] = {}
        self._happenings = Happenings(client)
        self._lock = Lock()

    def namespace(self, project: str) -> str:
        """Where a project's objects are."""
        return self._connection.namespace or naming.namespace(self._connection.installation, project)

    def namespace_of(self, ref: WorkloadRef) -> str:
        """Where a workload's objects are: what was taken over stays where it was."""
        place = naming.place_of(ref.place)
        return place.namespace if place else self.namespace(ref.project)

    def one(self, ref: WorkloadRef) -> Sight:
        """One workload, with the claims of its project where it uses any. Raises `BackendError`."""
        namespace = self.namespace_of(ref)
        labels = naming.ours(ref.installation, ref.cluster) | {naming.ID: ref.id}
        # What goes with its owner is listed before it: else it may seem that it alone has been taken away.
        kinds = ("Service", *self._secret(ref), "Deployment" if ref.noun == "app" else "Pod")
        asked = [kind for kind in kinds if not self._owners.lacks(ref, kind)]
        live = {key_of(object): object for kind in asked for object in self._own(ref, kind, namespace, labels)}
        self._note(ref, kinds, live)
        pods = self._pods(ref, namespace, labels, live)
        claims = self.claims(ref) if survey.mounts_claims(_of(live, "Deployment"), pods) else []
        live |= {key_of(claim): claim for claim in claims}
        begun = time.monotonic()
        unwell = () if self._owners.leaves(ref) else _unwell(pods, claims)[:ASKED_ABOUT]
        told = self._happenings.of(unwell)
        listed = survey.Listed(
            deployments=_of(live, "Deployment"),
            pods=pods,
            services=_of(live, "Service"),
            claims=claims,
            events=[event for _, events in told for event in events],
            nodes=self._known_nodes(),
            at=self._client.clock.now,
            ahead=self._client.clock.ahead,
            scalers=self._known_scalers() if ref.noun == "app" else (),
        )
        found = survey.sorted_out(listed)
        # Whatever a label says of the name, these are the objects of the id that was asked for.
        return Sight(next(iter(found.values()), survey.Found(nodes=listed.nodes)), live, _again(told, begun))

    def all(self) -> Mapping[WorkloadRef, survey.Found]:
        """Everything of ours. Raises `BackendError`."""
        labels = naming.ours(self._connection.installation, self._connection.cluster)
        namespace = self._connection.namespace
        pods = self._client.list(paths.collection("Pod", namespace), wire.Pod, labels=labels).items
        claims = self._objects("PersistentVolumeClaim", namespace, labels)
        deployments = self._objects("Deployment", namespace, labels)
        listed = survey.Listed(
            deployments=deployments,
            pods=[*pods, *self._all_claimed(deployments)],
            services=self._objects("Service", namespace, labels),
            claims=claims,
            events=self._happenings.of_many(_unwell(pods, claims)),
            nodes=self._known_nodes(),
            at=self._client.clock.now,
            ahead=self._client.clock.ahead,
            scalers=self._known_scalers() if deployments else (),
        )
        return survey.sorted_out(listed)

    def _all_claimed(self, deployments: Sequence[Json]) -> list[wire.Pod]:
        """A list for each namespace in which something was taken over."""
        places: dict[str, list[Json]] = defaultdict(list)
        for deployment in filter(is_adopted, deployments):
            places[deployment["metadata"]["namespace"]].append(deployment)
        return [pod for namespace, those in places.items() for pod in self._claimed(namespace, those, {})]

    def claims(self, ref: WorkloadRef) -> list[Json]:
        """The claims of a workload's project."""
        labels = naming.of_project(ref.installation, ref.cluster, ref.project)
        return self._newest("PersistentVolumeClaim", self.namespace_of(ref), labels)

    def doubt(self, ref: WorkloadRef) -> None:
        """Whether a workload has Secrets is not known: one is made, or all of it goes. Idempotent."""
        with self._lock:
            self._bare.pop(ref.id, None)

    def there(self, object: Json) -> Json | None:
        """An object's live form, whoever made it."""
        try:
            return self._client.get(paths.path_of(object))
        except Absent:
            return None

    def users(self, namespace: str, label: str) -> Sequence[str]:
        """The names of the pods with a label."""
        pods = self._client.list(paths.collection("Pod", namespace), wire.Pod, params={"labelSelector": label})
        return [pod.metadata.name for pod in pods.items]

    def replica_sets(self, ref: WorkloadRef) -> list[Json]:
        """Those of an app."""
        labels = naming.ours(ref.installation, ref.cluster) | {naming.ID: ref.id}
        return self._objects("ReplicaSet", self.namespace_of(ref), labels)

    def _pods(
        self, ref: WorkloadRef, namespace: str, labels: Mapping[str, str], live: Mapping[Key, Json]
    ) -> Sequence[wire.Pod]:
        if ref.noun == "container":
            return [msgspec.convert(pod, wire.Pod) for pod in _of(live, "Pod")]
        found = () if self._owners.lacks(ref, "Pod") else self._recent("Pod", namespace, wire.Pod, labels)
        adopted = [d for d in _of(live, "Deployment") if is_adopted(d)]
        return [*found, *(pod for d in adopted for pod in self._claimed(namespace, [d], labels_of_pods(d)))]

    def _claimed(self, namespace: str, deployments: Sequence[Json], labels: Mapping[str, str]) -> list[wire.Pod]:
        """The pods of Deployments that were taken over, as far as they do not say themselves whose they are."""
        selector = ",".join(filter(None, (f"!{naming.ID}", naming.selector(labels))))
        pods = self._client.list(paths.collection("Pod", namespace), wire.Pod, params={"labelSelector": selector})
        return [pod for deployment in deployments for pod in claimed(deployment, pods.items)]

    def _objects(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> list[Json]:
        """Whole objects, with what lists leave out: of what kind they are."""
        return _named(kind, self._client.list(paths.collection(kind, namespace), dict[str, Any], labels=labels).items)

    def _own(self, ref: WorkloadRef, kind: str, namespace: str, labels: Mapping[str, str]) -> Sequence[Json]:
        """The objects of a workload; those that are held are not asked for."""
        if (held := self._owners.held(ref, kind)) is not None:
            return held
        found = self._newest(kind, namespace, labels)
        self._owners.release(ref, kind)
        for object in found:
            self._owners.hold(ref, object)
        return found

    def _newest(self, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Json]:
        """The same in a namespace, as new as the watch and our own writes."""
        return _named(kind, self._recent(kind, namespace, dict[str, Any], labels))

    def _recent(self, kind: str, namespace: str, type: type[T], labels: Mapping[str, str]) -> Sequence[T]:
        """A namespace's objects, from the server's memory where it is known how new that has to be."""
        path, freshness = paths.collection(kind, namespace), self._client.freshness
        if (since := freshness.of(kind)) is not None:
            try:
                listing = self._client.list(path, type, labels=labels, since=since)
            except TimedOut as error:
                if error.evidence.get("status") is None:  # else it told that its memory has not come that far
                    raise
                freshness.doubt(kind)
            else:
                freshness.see(kind, listing.version)  # what was seen once is not unseen by another server
                return listing.items
        return self._client.list(path, type, labels=labels).items

    def _secret(self, ref: WorkloadRef) -> Sequence[str]:
        """The kind, where it is to be listed: that is dear, since nobody watches them."""
        new = self._owners.is_new(ref)
        with self._lock:
            if new:
                self._bare[ref.id] = time.monotonic()
            since = self._bare.get(ref.id, float("-inf"))
        return () if time.monotonic() - since < SECRETS_KEPT else ("Secret",)

    def _note(self, ref: WorkloadRef, kinds: Collection[str], live: Mapping[Key, Json]) -> None:
        """Keep in mind that a workload has no Secrets, where that was seen."""
        if "Secret" not in kinds or _of(live, "Secret"):
            return
        with self._lock:
            self._bare[ref.id] = time.monotonic()

    def scaler_of(self, deployment: Json) -> str | None:
        """The autoscaler that a Deployment has now, for people; None where it has none, or they may not be seen."""
        with self._lock:
            self._scalers = (float("-inf"), ())
        return survey.scaler_of(deployment, self._known_scalers())

    def _known_scalers(self) -> Sequence[wire.Scaler]:
        """The autoscalers, none where they may not be seen or the cluster has none."""
        with self._lock:
            at, scalers = self._scalers
            if time.monotonic() - at < SCALERS_KEPT:
                return scalers
        try:
            path = paths.collection("HorizontalPodAutoscaler", self._connection.namespace)
            scalers = self._client.list(path, wire.Scaler).items
        except (Denied, Absent):
            scalers = ()
        with self._lock:
            self._scalers = time.monotonic(), scalers
        return scalers

    def _known_nodes(self) -> Sequence[wire.Node]:
        """The nodes, none where they may not be seen."""
        with self._lock:
            at, nodes = self._nodes
            if time.monotonic() - at < NODES_KEPT:
                return nodes
        try:
            nodes = self._client.list(paths.collection("Node"), wire.Node).items
        except Denied:
            nodes = ()
        with self._lock:
            self._nodes = time.monotonic(), nodes
        return nodes


def _named(kind: str, objects: Sequence[Json]) -> list[Json]:
    return [{"apiVersion": paths.version(kind), "kind": kind} | object for object in objects]


def _of(live: Mapping[Key, Json], kind: str) -> list[Json]:
    return [object for key, object in live.items() if key[0] == kind]


def _again(told: Sequence[Told], begun: float) -> float | None:
    """In how many seconds what was known before a look began is to be asked for anew, None where nothing was."""
    oldest = min((at for at, _ in told), default=begun)
    left = oldest + happenings.KEPT - begun
    return None if oldest >= begun else left if left > 0 else happenings.KEPT


def _unwell(pods: Sequence[wire.Pod], claims: Sequence[Json]) -> list[Place]:
    """What is not as it should be, about which events may tell why: of each workload's pods some, and claims."""
    unready: dict[str, list[Place]] = defaultdict(list)
    for pod in pods:
        ready, metadata = pod.condition("Ready"), pod.metadata
        if (ready is None or ready.status != "True") and metadata.deletion_timestamp is None:
            whose = metadata.labels.get(naming.ID, metadata.name)
            unready[whose].append((metadata.namespace, metadata.uid))
    waiting = [c["metadata"] for c in claims if c.get("status", {}).get("phase") != "Bound"]
    some = [place for places in unready.values() for place in places[:ASKED_ABOUT]]
    return some + [(m.get("namespace", ""), m["uid"]) for m in waiting]
