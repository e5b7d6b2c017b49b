"""From native objects to observations. Pure.

A pod is an instance, whatever state it is in, but for those of apps that have ended, or that no ReplicaSet keeps: it
leaves such pods behind when a node throws them out, or when their labels change, and has others in their place.
Instances of apps are numbered by age, those on their way out last: Kubernetes has no slots."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from zun_coe.adapters.kubernetes import naming, reasons, wire
from zun_coe.adapters.kubernetes.claiming import original
from zun_coe.adapters.kubernetes.instances import Look, finished
from zun_coe.adapters.kubernetes.reasons import Trouble
from zun_coe.adapters.kubernetes.strays import is_loose
from zun_coe.model import Endpoint, Instance, Observation, WorkloadRef

Object = Mapping[str, Any]

# A port of every node leads to an app. Of many nodes some are enough to be told.
MOST_ADDRESSES = 8
# What explains why there is nothing better is told only where nothing else explains more.
_LAST = frozenset({"Pulling", "RolloutStuck"})

_PROMPT = (1, 22)
"""The first release whose kubelets end and forget pods by themselves at once."""
OVERDUE = timedelta(seconds=5)
"""So long after the end of its grace a pod in which nothing runs is let go, though not all of it has ended, and one
in which something runs is remembered."""


@dataclass(frozen=True)
class Found:
    """All that was found of one workload, and the nodes. `events`: at least those of its pods and claims. `at`: when
    it was asked for, by the cluster's clock, which is `ahead` of the gateway's. `scaler`: the autoscaler of its
    Deployment, for people."""

    deployment: Object | None = None
    pods: Sequence[wire.Pod] = ()
    services: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    events: Sequence[wire.Event] = ()
    nodes: Sequence[wire.Node] = ()
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    scaler: str | None = None
    ahead: timedelta = timedelta()


def observation(ref: WorkloadRef, found: Found) -> Observation:
    """What there is of a workload."""
    instances = tuple(look.instance(slot) for slot, look in enumerate(_looks(ref, found), start=1))
    hash_ = _hash(found)
    told = _trouble(found, instances, hash_)
    return Observation(
        ref=ref,
        native=tuple(_native(ref, found)),
        hash=hash_,
        desired=found.deployment["spec"].get("replicas", 1) if found.deployment else None,
        instances=instances,
        endpoints=_endpoints(found, instances),
        reason=told.reason if told else None,
        message=told.message if told else None,
        evidence=dict(told.evidence) if told else {},
        leftovers=tuple(_leftovers(found)),
        scaled_by=found.scaler,
    )


def overdue(found: Found) -> list[wire.Pod]:
    """The pods on nodes with a kubelet before 1.22, which answers, that are only there because it has not tidied up:
    all of their containers have ended (that may take ten seconds more), or their time to end is over and nothing runs
    in them (one that never started can take a minute more). Later kubelets are left to it: they end sidecars after
    the other containers."""
    return [pod for pod, late in _leaving(found) if _ended(pod) or (late and not _runs(pod))]


def forgotten(found: Found) -> list[wire.Pod]:
    """The pods on such nodes that still run though their time to end is over. What is deleted while it starts is not
    ended by kubelets before 1.22 until they look at all of their pods, or until the pod changes."""
    return [pod for pod, late in _leaving(found) if late and _runs(pod)]


def leaves_in(found: Found) -> float:
    """In how many seconds the first pod on its way out is overdue; infinite where there is none."""
    ends = (pod.metadata.deletion_timestamp for pod in found.pods)
    left = ((end + OVERDUE - found.at).total_seconds() for end in ends if end is not None)
    return min(left, default=math.inf)


def next_look(ref: WorkloadRef, found: Found) -> float | None:
    """In how many seconds time alone makes an instance ready: one that was started again has to stay for a moment.
    None: never."""
    left = (look.unproven for look in _looks(ref, found))
    return min((each.total_seconds() for each in left if each is not None), default=None)


def mounts_claims(deployments: Sequence[Object], pods: Sequence[wire.Pod]) -> bool:
    """Whether any of them does."""
    return any(_used(deployment, pods) for deployment in (*deployments, None))


def reference(kind: str, metadata: Object) -> str:
    """An object for people: `Deployment namespace/name`."""
    return f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"


def scaler_of(deployment: Object, scalers: Sequence[wire.Scaler]) -> str | None:
    """The autoscaler that decides about a Deployment's replicas, for people."""
    metadata = deployment["metadata"]
    sought = metadata.get("namespace", ""), "Deployment", metadata["name"]
    named = (s.metadata.name for s in scalers if (s.metadata.namespace, s.target.kind, s.target.name) == sought)
    return next((f"HorizontalPodAutoscaler {name}" for name in named), None)


def _looks(ref: WorkloadRef, found: Found) -> list[Look]:
    events: dict[str, list[wire.Event]] = defaultdict(list)
    for event in found.events:
        events[event.involved_object.uid].append(event)
    nodes = {node.metadata.name: node for node in found.nodes}
    return [
        Look.at_pod(pod, events.get(pod.metadata.uid, ()), nodes.get(pod.spec.node_name), found.at, found.ahead)
        for pod in _current(ref, found)
    ]


def _current(ref: WorkloadRef, found: Found) -> list[wire.Pod]:
    """The pods that are instances, the oldest first, those on their way out last."""
    pods = found.pods
    if ref.noun == "app":
        pods = [p for p in pods if not finished(p) and not is_loose(p)]
    never = datetime.max.replace(tzinfo=UTC)

    def age(pod: wire.Pod) -> tuple[bool, datetime, str]:
        metadata = pod.metadata
        return metadata.deletion_timestamp is not None, metadata.creation_timestamp or never, metadata.name

    return sorted(pods, key=age)


def _hash(found: Found) -> str:
    """The template that is asked for: a Deployment's, or the pod's own."""
    if found.deployment is None:
        return next((p.metadata.labels.get(naming.HASH, "") for p in found.pods), "")
    metadata = found.deployment["spec"]["template"].get("metadata") or {}
    return str((metadata.get("labels") or {}).get(naming.HASH) or original(found.deployment).hash)


def _trouble(found: Found, instances: Sequence[Instance], hash_: str) -> Trouble | None:
    """What is in the way of all of a workload: that no pod is taken, that its template can never start, that a volume
    or its pods do not stay, that it takes too long; the first of these."""
    deployed = reasons.of_deployment(found.deployment) if found.deployment else None
    hopeless = (i for i in instances if i.reason == "InvalidSpec" and i.hash == hash_)
    refused = next((Trouble("InvalidSpec", i.message or "", i.evidence) for i in hopeless), None)
    if deployed is not None and deployed.reason not in _LAST:
        return deployed
    return refused or _of_claims(found) or _of_thrown_out(found) or deployed


def _of_claims(found: Found) -> Trouble | None:
    for claim in found.claims:
        uid = claim["metadata"].get("uid")
        if told := reasons.of_claim(claim, [e for e in found.events if e.involved_object.uid == uid]):
            return told
    return None


def _of_thrown_out(found: Found) -> Trouble | None:
    """Why the youngest pod of an app ended, where none that is younger took its place."""
    if found.deployment is None or not found.pods:
        return None
    never = datetime.min.replace(tzinfo=UTC)
    return reasons.thrown_out(max(found.pods, key=lambda p: p.metadata.creation_timestamp or never))


def _leftovers(found: Found) -> list[str]:
    deployments = [found.deployment] if found.deployment else []
    named = [("Deployment", d) for d in deployments] + [("Service", s) for s in found.services]
    return [reference(kind, o["metadata"]) for kind, o in named]


def _native(ref: WorkloadRef, found: Found) -> list[str]:
    """What there is besides the pods of a Deployment, which are known by their instances."""
    pods = found.pods if ref.noun == "container" else ()
    named = [reference("Pod", {"namespace": p.metadata.namespace, "name": p.metadata.name}) for p in pods]
    return [*named, *_leftovers(found), *(reference("PersistentVolumeClaim", c["metadata"]) for c in found.claims)]


def _endpoints(found: Found, instances: Sequence[Instance]) -> tuple[Endpoint, ...]:
    """The node ports, at addresses of nodes; none while nothing runs behind them."""
    if not any(i.state == "running" for i in instances):
        return ()
    ports = [p for s in found.services for p in s["spec"].get("ports") or () if p.get("nodePort")]
    ports.sort(key=lambda p: (str(p.get("targetPort") or p["port"]), p.get("protocol", "TCP")))
    addresses = _addresses(found)
    return tuple(
        Endpoint(address=address, port=p["nodePort"], target=_target(p), protocol=p.get("protocol", "TCP").lower())
        for p in ports
        for address in addresses
    )


def _target(port: Object) -> int:
    target = port.get("targetPort")
    return target if isinstance(target, int) else int(port["port"])


def _addresses(found: Found) -> list[str]:
    """Where nodes are reached that answer; where nobody may list nodes, those where the pods are."""
    nodes = [n for n in found.nodes if not n.spec.unschedulable and not n.lost]
    known = [n.address or "" for n in sorted(nodes, key=lambda n: n.metadata.name)]
    if not found.nodes:
        known = sorted({p.status.host_ip for p in found.pods if p.metadata.deletion_timestamp is None})
    return list(dict.fromkeys(a for a in known if a))[:MOST_ADDRESSES]


@dataclass(frozen=True)
class Listed:
    """Everything of ours in a cluster, as it was listed. `events` and `scalers` may be of anything; `at`, `ahead`: see
    `Found`."""

    deployments: Sequence[Object] = ()
    pods: Sequence[wire.Pod] = ()
    services: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    events: Sequence[wire.Event] = ()
    nodes: Sequence[wire.Node] = ()
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    scalers: Sequence[wire.Scaler] = ()
    ahead: timedelta = timedelta()


def sorted_out(listed: Listed) -> dict[WorkloadRef, Found]:
    """What was found of each workload. What does not say whose it is is left out, and volumes that nothing uses."""
    deployments = {r: d for d in listed.deployments if (r := _ref(d["metadata"])) is not None}
    pods: dict[WorkloadRef, list[wire.Pod]] = defaultdict(list)
    for pod in listed.pods:
        if ref := naming.ref_of(pod.metadata.labels, pod.metadata.annotations):
            pods[ref].append(pod)
    services: dict[WorkloadRef, list[Object]] = defaultdict(list)
    for service in listed.services:
        if ref := _ref(service["metadata"]):
            services[ref].append(service)
    events: dict[str, list[wire.Event]] = defaultdict(list)
    for event in listed.events:
        events[event.involved_object.uid].append(event)
    claims = {(c["metadata"].get("namespace", ""), c["metadata"]["name"]): c for c in listed.claims}

    def found(ref: WorkloadRef) -> Found:
        used = _used(deployments.get(ref), pods[ref])
        own = [claims[key] for key in sorted(used) if key in claims]
        uids = [p.metadata.uid for p in pods[ref]] + [c["metadata"].get("uid", "") for c in own]
        told = [e for uid in uids for e in events.get(uid, ())]
        deployment = deployments.get(ref)
        scaler = scaler_of(deployment, listed.scalers) if deployment else None
        return Found(deployment, pods[ref], services[ref], own, told, listed.nodes, listed.at, scaler, listed.ahead)

    return {ref: found(ref) for ref in dict.fromkeys((*deployments, *pods, *services))}


def _leaving(found: Found) -> Iterator[tuple[wire.Pod, bool]]:
    """The pods on their way out on nodes with an old kubelet that answers, each with whether that takes too long."""
    slow = {node.metadata.name for node in found.nodes if not node.lost and (0, 0) < node.release < _PROMPT}
    for pod in found.pods:
        if (end := pod.metadata.deletion_timestamp) is not None and pod.spec.node_name in slow:
            yield pod, found.at - end > OVERDUE


def _ended(pod: wire.Pod) -> bool:
    """Whether its kubelet tells of the end of each of its containers."""
    ended = {status.name for status in pod.status.container_statuses if status.state.terminated is not None}
    return {container.name for container in pod.spec.containers} <= ended and not _runs(pod)


def _runs(pod: wire.Pod) -> bool:
    return any(c.state.running for c in (*pod.status.container_statuses, *pod.status.init_container_statuses))


def _ref(metadata: Object) -> WorkloadRef | None:
    return naming.ref_of(metadata.get("labels") or {}, metadata.get("annotations") or {})


def _used(deployment: Object | None, pods: Sequence[wire.Pod]) -> set[tuple[str, str]]:
    """The claims of a workload, by namespace and name."""
    used = {
        (pod.metadata.namespace, volume.persistent_volume_claim.claim_name)
        for pod in pods
        for volume in pod.spec.volumes
        if volume.persistent_volume_claim is not None
    }
    if deployment is None:
        return used
    namespace = deployment["metadata"].get("namespace", "")
    volumes = deployment["spec"]["template"].get("spec", {}).get("volumes") or ()
    return used | {
        (namespace, v["persistentVolumeClaim"]["claimName"]) for v in volumes if "persistentVolumeClaim" in v
    }
