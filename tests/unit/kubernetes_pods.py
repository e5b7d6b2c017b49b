"""Pods as a server tells of them: recorded from Kubernetes 1.20 and shortened, or made up of a few words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from zun_coe.adapters.kubernetes import naming, survey, wire
from zun_coe.model import Instance, WorkloadRef

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
HASH = "a" * 32
REPLICA_SET = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "uid-web-1"}]
ID = "11111111-2222-4333-8444-555555555555"


def ref(noun: Any = "container", name: str = "web", id: str = ID) -> WorkloadRef:
    """Whose the pods are."""
    return WorkloadRef(installation="inst", cluster="here", project="Blue Team", noun=noun, id=id, name=name)


def before(seconds: float) -> str:
    """A time as servers write it, so long before `AT`."""
    return (AT - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def owned(owner: WorkloadRef, name: str, **labels: str) -> dict[str, Any]:
    """The metadata of an object of a workload."""
    return {
        "name": name,
        "namespace": "blue",
        "uid": f"uid-{name}",
        "labels": naming.of_workload(owner) | labels,
        "annotations": {naming.PROJECT_NAME: owner.project},
        "creationTimestamp": before(600),
    }


def pod(
    *statuses: Mapping[str, Any],
    phase: str = "Running",
    name: str = "web-1",
    owner: WorkloadRef | None = None,
    ready: bool | None = None,
    metadata: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    container: Mapping[str, Any] | None = None,
    **status: Any,
) -> wire.Pod:
    """A pod with these statuses of containers. `ready`: whether it is told to be, where not all of them are."""
    every = all(s.get("ready") for s in statuses) if statuses else False
    conditions = {"PodScheduled": True, "ContainersReady": every, "Ready": every if ready is None else ready}
    told = [{"type": t, "status": str(s), "lastTransitionTime": before(300)} for t, s in conditions.items()]
    made = {"containers": [{"name": s["name"]} | dict(container or {}) for s in statuses], "nodeName": "node-1"}
    body = {
        "metadata": owned(owner or ref(), name, **{naming.HASH: HASH}) | _kept(owner or ref()) | dict(metadata or {}),
        "spec": made | dict(spec or {}),
        "status": {"phase": phase, "conditions": told, "containerStatuses": statuses, "hostIP": "10.0.0.1"} | status,
    }
    return msgspec.convert(json.loads(json.dumps(body)), wire.Pod)


def _kept(owner: WorkloadRef) -> dict[str, Any]:
    """What pods of apps have besides."""
    return {"ownerReferences": REPLICA_SET} if owner.noun == "app" else {}


def container(name: str = "main", *, ready: bool = False, restarts: int = 0, **states: Any) -> dict[str, Any]:
    """The status of a container: `waiting`, `running` or `terminated`, and `last` for how it ended before."""
    last = {"terminated": states.pop("last")} if "last" in states else {}
    return {"name": name, "ready": ready, "restartCount": restarts, "state": states, "lastState": last}


def running(name: str = "main", since: float = 300, *, ready: bool = True, **more: Any) -> dict[str, Any]:
    """The status of a container that has run for so many seconds."""
    return container(name, ready=ready, running={"startedAt": before(since)}, **more)


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    """The status of a container that waits."""
    return container(waiting={"reason": reason, "message": message}, **more)


def ended(code: int, reason: str = "Error", ago: float = 5, message: str = "") -> dict[str, Any]:
    """How a run of a second ended."""
    times = {"startedAt": before(ago + 1), "finishedAt": before(ago)}
    return {"exitCode": code, "reason": reason, "message": message} | times


def event(
    reason: str, message: str, ago: float = 5, *, of: str = "web-1", container: str = "main", count: int = 1
) -> Any:
    """An event of a pod."""
    about = {"kind": "Pod", "name": of, "uid": f"uid-{of}"}
    about |= {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
    body = {"involvedObject": about, "reason": reason, "message": message, "count": count, "lastTimestamp": before(ago)}
    return msgspec.convert(body, wire.Event)


def instance(found: wire.Pod, *events: wire.Event, **more: Any) -> Instance:
    """A container's only instance."""
    told = survey.observation(ref(), survey.Found(pods=[found], events=events, **({"at": AT} | more)))
    (only,) = told.instances
    return only


@cache
def recorded(kind: str) -> Mapping[str, Any]:
    """The recorded cases by name, as they were."""
    cases = json.loads((Path(__file__).parent / "kubernetes_recorded.json").read_text())[kind]
    return {case["case"]: case for case in cases}


def found(case: Mapping[str, Any]) -> survey.Found:
    """A recorded case as the survey takes it."""
    pods = case.get("pods") or ([case["pod"]] if "pod" in case else [])
    if "deployment" in case:
        pods = [p | {"metadata": {"ownerReferences": REPLICA_SET} | p["metadata"]} for p in pods]
    return survey.Found(
        deployment=case.get("deployment"),
        pods=msgspec.convert(pods, list[wire.Pod]),
        services=case.get("services", ()),
        events=msgspec.convert(case["events"], list[wire.Event]),
        nodes=msgspec.convert(case["nodes"], list[wire.Node]),
        at=datetime.fromisoformat(case["at"]),
    )
