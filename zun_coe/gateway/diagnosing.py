"""Why something isn't running, told from what is known already. Pure over the views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zun_coe.gateway import rendering
from zun_coe.gateway.views import Resource, Views
from zun_coe.model import ClusterStatus, Status, plain
from zun_coe.model.status import explains_more
from zun_coe.model.value import timestamp

ADVICE = {
    "ImageNotFound": "Check the image's name and tag, and push it to the registry, or load it onto the hosts.",
    "ImagePullFailed": "Check that the hosts reach the registry, and that image_auth names a login that is right.",
    "CrashLoop": "Read the logs and the exit code: the process ends by itself, or its command is wrong.",
    "OutOfMemory": "Raise memory, or make the process use less of it.",
    "Unschedulable": "No host fits: look at the cluster's hosts, its capacity and the placement's constraints.",
    "PortConflict": "Something else has the port: publish another one, or auto.",
    "HealthCheckFailing": "Ask the process what the check asks it; give it more start_period if it is slow to start.",
    "VolumeUnavailable": "A path of the host has to be there before it can be mounted: create it on each host, or "
    "correct bind. Of a volume, the host that has it may be away.",
    "InvalidSpec": "The engine refuses the specification; its message says what is wrong.",
    "QuotaExceeded": "Ask the operator of the cluster for more, or use less.",
    "BackendUnreachable": "The cluster does not answer; what is shown is as of the time given.",
    "BackendChanged": "Another engine answers at the cluster's address than before; its operator has to look.",
    "CredentialsExpired": "Whoever registered the cluster has to PATCH it with new credentials.",
    "PermissionDenied": "The cluster's credentials may not do this; its operator has to look.",
    "RolloutStuck": "Look at the newest replicas; go back with a rollback, or change the specification.",
    "Contested": "Find out what changes it (the message names it, as far as the cluster records that), and stop that.",
    "Pulling": "The image is being fetched; wait.",
    "Error": "The message and the evidence tell what is known; of its own failures the gateway has more in its log.",
}
EVENTS = 20


def diagnose(found: Resource, views: Views, cluster: ClusterStatus) -> dict[str, Any]:
    """One page: the state, the cause with its evidence, what to do, each replica, and the last events. `cluster`: the
    status of its cluster, as far as the caller may see it."""
    intent, status = found.intent, found.status
    reason, message, evidence = cause(status, cluster)
    body: dict[str, Any] = {
        "phase": "Deleting" if intent.deletion else status.phase,
        "healthy": status.phase in ("Running", "Stopped", "Exited", "Paused") and reason is None,
        "summary": _summary(intent, status, reason, message),
        "reason": reason,
        "message": message,
        "evidence": evidence or None,
        "advice": ADVICE.get(reason) if reason else None,
        "cluster": _cluster(views.cluster_name(intent.cluster), cluster),
        "rollout": rendering.status_of(status).get("rollout"),
        "containers": [_replica(i) for i in status.instances],
        "events": _events(found, views),
    }
    return {k: v for k, v in body.items() if v is not None}


def cause(status: Status, cluster: ClusterStatus) -> tuple[str | None, str | None, Mapping[str, Any]]:
    """Reason, message and evidence of whatever explains most: what the engine says of it, which may be from before
    the cluster failed, or what is wrong with the cluster."""
    of_cluster = cluster.reason or (None if cluster.reachable else "BackendUnreachable")
    if cluster.info is not None and explains_more(of_cluster, status.reason):
        return of_cluster, cluster.message, cluster.evidence
    return status.reason, status.message, status.evidence


def _summary(intent: Any, status: Any, reason: str | None, message: str | None) -> str:
    counts = status.replicas
    told = f"{counts.ready} of {counts.desired} replicas are ready. " if counts else ""
    waiting = "" if status.observed_generation >= intent.generation else "The newest change was not acted on yet. "
    why = f"{reason}: {message}" if reason and message else reason or "Nothing is wrong."
    return f"{intent.name} is {status.phase}. {told}{waiting}{why}"


def _cluster(name: str, status: ClusterStatus) -> dict[str, Any]:
    told = {
        "name": name,
        "reachable": status.reachable,
        "as_of": timestamp(status.as_of) if status.as_of else None,
        "reason": status.reason,
        "message": status.message,
    }
    return {k: v for k, v in told.items() if v is not None}


def _replica(instance: Any) -> dict[str, Any]:
    fields = [
        "name",
        "slot",
        "host",
        "state",
        "ready",
        "health",
        "exit_code",
        "restarts",
        "reason",
        "message",
        "evidence",
    ]
    told = {f: plain(getattr(instance, f)) for f in fields}
    return {k: v for k, v in told.items() if v not in (None, {})}


def _events(found: Resource, views: Views) -> list[dict[str, Any]]:
    """The newest first."""
    taken = views.events_page(found.intent.project, {"subject_id": found.id}, None, EVENTS, newest_first=True)
    return [rendering.event(s.event, s.id) for s in taken]
