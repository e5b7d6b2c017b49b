"""From pods to instances. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from zun_coe.adapters.kubernetes import naming, probing, reasons, wire
from zun_coe.adapters.kubernetes.parts import Part, of_pod
from zun_coe.adapters.kubernetes.podspec import MAIN
from zun_coe.adapters.kubernetes.quantities import number_of
from zun_coe.adapters.kubernetes.reasons import Trouble
from zun_coe.model import Instance
from zun_coe.model.observation import InstanceState

# A pod is in the state of that of its containers which is furthest from running.
_FURTHEST: tuple[InstanceState, ...] = ("failed", "creating", "exited", "restarting", "running")
_UNMADE = frozenset(
    {
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
    }
)


@dataclass(frozen=True)
class Look:
    """One pod, looked at: its containers, its state, and what is wrong with it. `at`: when, by the cluster's clock,
    which is `ahead` of the gateway's."""

    pod: wire.Pod
    parts: list[Part]
    state: InstanceState
    trouble: Trouble | None
    at: datetime
    ahead: timedelta = timedelta()

    @classmethod
    def at_pod(
        cls,
        pod: wire.Pod,
        events: Sequence[wire.Event],
        node: wire.Node | None,
        at: datetime,
        ahead: timedelta = timedelta(),
    ) -> Look:
        """`events`: those of the pod. `node`: where it is, None where that may not be seen."""
        parts = of_pod(pod, events)
        if pod.metadata.deletion_timestamp is not None:
            return cls(pod, parts, "removing", None, at, ahead)
        if finished(pod) or not _away(pod, node):
            return cls(pod, parts, _state(pod, parts), reasons.of_pod(pod, parts, events, at), at, ahead)
        return cls(pod, parts, "unknown", reasons.of_node(pod.spec.node_name, node), at, ahead)

    @property
    def unproven(self) -> timedelta | None:
        """How much longer a pod that runs and is told to be ready has to stay so to be believed; None: no longer."""
        ready = self.pod.condition("Ready")
        if self.state != "running" or ready is None or ready.status != "True":
            return None
        left = (part.unproven(self.at) for part in self.parts if not part.init)
        return max((each for each in left if each is not None), default=None)

    @property
    def ready_since(self) -> datetime | None:
        """Since when it serves, None while it does not."""
        ready = self.pod.condition("Ready")
        if self.state != "running" or ready is None or ready.status != "True" or self.unproven is not None:
            return None
        return ready.last_transition_time or self.pod.status.start_time or self.at

    def instance(self, slot: int) -> Instance:
        """It, as everything else sees it: with times of the gateway's clock."""
        pod, main, trouble = self.pod, self.parts[0] if self.parts else None, self.trouble
        ended = main.ended if main is not None else None
        return Instance(
            native_id=naming.instance_id(pod.metadata.name, pod.metadata.uid),
            name=pod.metadata.name,
            slot=slot,
            hash=pod.metadata.labels.get(naming.HASH, ""),
            state=self.state,
            ready=self.ready_since is not None,
            health=probing.health(self.parts, pod.condition("Ready"), self.at) if not finished(pod) else None,
            exit_code=ended.exit_code if ended is not None else None,
            restarts=sum(part.restarts for part in self.parts),
            host=pod.spec.node_name or None,
            address=pod.status.pod_ip or None,
            reason=trouble.reason if trouble else None,
            message=trouble.message if trouble else None,
            evidence=dict(trouble.evidence) if trouble else {},
            cpu=_limit(main, "cpu"),
            memory=int(memory) if (memory := _limit(main, "memory")) is not None else None,
            digests=_digests(self.parts),
            created_at=self._ours(pod.metadata.creation_timestamp),
            started_at=self._ours(main.started_at) if main is not None else None,
            finished_at=self._ours(wire.moment(ended.finished_at)) if ended is not None else None,
            ready_since=self._ours(self.ready_since),
        )

    def _ours(self, moment: datetime | None) -> datetime | None:
        return moment - self.ahead if moment is not None and self.ahead else moment


def finished(pod: wire.Pod) -> bool:
    """Whether nothing of a pod will ever run again."""
    return pod.status.phase in ("Failed", "Succeeded")


def _away(pod: wire.Pod, node: wire.Node | None) -> bool:
    """Whether nobody knows how a pod does, since its node is silent. A pod tells that by itself where it is not ready
    although all of its containers are: then it was not its kubelet that took it back."""
    if pod.status.phase == "Unknown" or (node is not None and node.lost):
        return True
    ready, containers = pod.condition("Ready"), pod.condition("ContainersReady")
    if ready is None or containers is None or ready.reason == "ReadinessGatesNotReady":
        return False
    return ready.status == "False" and containers.status == "True"


def _digests(parts: Sequence[Part]) -> dict[str, str]:
    """What the images were resolved to, without the runtime's scheme (docker-pullable://, docker://)."""
    named = {MAIN if part.main else part.spec.name: part.status.image_id for part in parts if not part.init}
    return {name: id.rpartition("://")[2] for name, id in named.items() if id}


def _limit(main: Part | None, resource: str) -> float | None:
    limit = number_of(main.spec.resources.limits.get(resource)) if main is not None else None
    return None if limit is None else float(limit)


def _state(pod: wire.Pod, parts: Sequence[Part]) -> InstanceState:
    if reasons.thrown_out(pod) is not None:
        return "failed"
    if finished(pod):
        return "exited"
    if not pod.spec.node_name:
        return "pending"
    return min((_state_of(part) for part in parts if not part.init), key=_FURTHEST.index, default="creating")


def _state_of(part: Part) -> InstanceState:
    if part.running:
        return "running"
    if part.unstartable is not None or (part.waiting is not None and part.waiting.reason in _UNMADE):
        return "failed"
    if part.final:
        return "exited"
    if part.terminated is not None or (part.waiting is not None and part.waiting.reason == "CrashLoopBackOff"):
        return "restarting"
    return "creating"
