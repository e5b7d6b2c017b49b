"""From what Kubernetes says to our reasons, with its own words as the message: the same reason as on every other
COE for the same fault. Pure.

The sentences are those of kubelets, schedulers and controllers from 1.20 on, over Docker, containerd and CRI-O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zun_coe.adapters.kubernetes import probing, wire
from zun_coe.adapters.kubernetes.parts import Part, newest
from zun_coe.model import Reason

Rules = tuple[tuple[re.Pattern[str], Reason], ...]


@dataclass(frozen=True)
class Trouble:
    """What is wrong, as it is shown."""

    reason: Reason
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def _rules(*rules: tuple[str, Reason]) -> Rules:
    return tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), reason) for pattern, reason in rules)


# Of each table the first that matches.
_MISSING = (
    r"manifest unknown|name unknown|manifest for .* not found|no matching manifest|repository .* not found"
    r"|: not found$|not found: manifest"
)
_MISSING_OR_PRIVATE = r"repository does not exist|does not exist or no pull access"
_DENIED = (
    r"unauthorized|authentication required|no basic auth|incorrect username|access (.* )?denied|denied:"
    r"|failed to authorize|failed to fetch (anonymous|oauth) token|40[13] (unauthorized|forbidden)"
)
_PULLS_ANONYMOUS = _rules(
    (_MISSING, "ImageNotFound"), (_MISSING_OR_PRIVATE, "ImageNotFound"), (_DENIED, "ImagePullFailed")
)
_PULLS_LOGGED_IN = _rules(
    (_MISSING, "ImageNotFound"), (_DENIED, "ImagePullFailed"), (_MISSING_OR_PRIVATE, "ImageNotFound")
)
_STARTS = _rules(
    (r"port is already allocated|address already in use", "PortConflict"),
    (r"timed out|timeout|deadline exceeded|connection refused|failed to sync", "Error"),
    (r"executable file not found|exec format error|exec: \"|no command specified", "InvalidSpec"),
    (r"unable to find (user|group)|no matching entries in passwd|no users found", "InvalidSpec"),
    (r"runAsNonRoot|couldn't find key|(secret|configmap) \".*\" not found", "InvalidSpec"),
    (r"minimum memory limit|cannot be smaller|memory limit too low|range of cpus", "InvalidSpec"),
    (r"(bind )?source path does not exist|failed to prepare subpath|error while mounting volume", "VolumeUnavailable"),
    (r"not a directory: unknown|no such file or directory|permission denied", "InvalidSpec"),
)
_PLACEMENTS = _rules(
    (r"free ports for the requested pod", "PortConflict"),
    (
        r"unbound immediate persistentvolumeclaims|persistentvolumeclaim \".*\" (not found|is being deleted)",
        "VolumeUnavailable",
    ),
    (r"persistent volumes? to bind|bound to non-existent persistentvolume", "VolumeUnavailable"),
)
_ADMISSIONS = _rules(
    (r"exceeded quota|(maximum|minimum) .* usage per|limit is .*, but|request ratio", "QuotaExceeded"),
    (r"error looking up service account|no API token found|being terminated", "Error"),
    (r"failed quota: .* must specify", "InvalidSpec"),
    (r"cannot create resource", "PermissionDenied"),
    # A policy of the cluster refuses such pods, as `failures` has it of a pod that the gateway itself sends.
    (r"is forbidden|denied the request|is invalid", "InvalidSpec"),
)

_PULLING = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed"}
)
_STARTING = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
        "CrashLoopBackOff",
    }
)
_ON_ITS_WAY = frozenset({"ContainerCreating", "PodInitializing", "CrashLoopBackOff"})
_VOLUME_EVENTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "VolumeResizeFailed"})
_SANDBOX_EVENTS = frozenset({"FailedCreatePodSandBox", "FailedCreatePodContainer", "NetworkNotReady"})
_UNPLACED = ("OutOf", "NodeAffinity", "NodePorts", "Preempt", "TopologyAffinity", "UnexpectedAdmission")
_RPC = re.compile(r"^(rpc error: code = \w+ desc = )+")
_MOST = 2000
# So many characters of what is told are looked at.
_LOOKED_AT = 4000


def of_pod(pod: wire.Pod, parts: Sequence[Part], events: Sequence[wire.Event], at: datetime) -> Trouble | None:
    """What is wrong with a pod: that it is not placed, was thrown out, or what is wrong with the first of its
    containers that has something wrong. `events`: those of this pod."""
    if pod.status.phase == "Failed":
        if told := thrown_out(pod):
            return told
    elif told := of_placement(pod):
        return told
    found = ((part, of_part(part, pod, at)) for part in parts)
    for part, trouble in ((p, t) for p, t in found if t is not None):
        who = {} if part.main else {"container": part.spec.name}
        return Trouble(trouble.reason, trouble.message, dict(trouble.evidence) | who)
    return preparing(parts, events)


def of_placement(pod: wire.Pod) -> Trouble | None:
    """What the scheduler says of a pod that it cannot place."""
    told = pod.condition("PodScheduled")
    if pod.spec.node_name or told is None or told.status != "False" or not told.reason:
        return None
    message = told.message or "It is not placed on any node."
    return Trouble(_first(_PLACEMENTS, message) or "Unschedulable", message)


def thrown_out(pod: wire.Pod) -> Trouble | None:
    """Why a node did not take a pod, or did not keep it. That its time was over is no fault."""
    reason = pod.status.reason
    if pod.status.phase != "Failed" or not reason or reason == "DeadlineExceeded":
        return None
    message = pod.status.message or f"The node {pod.spec.node_name} ended it: {reason}."
    evidence = {"reason": reason, "host": pod.spec.node_name}
    if reason.startswith(_UNPLACED):
        return Trouble("Unschedulable", message, evidence)
    return Trouble("OutOfMemory" if reason == "Evicted" and "memory" in message else "Error", message, evidence)


def of_part(part: Part, pod: wire.Pod, at: datetime) -> Trouble | None:
    """What is wrong with one container; None also while it is only on its way."""
    ended, waiting = part.ended, part.waiting
    if ended is not None and ended.killed_for_memory and (not part.running or part.looping(at)):
        return Trouble("OutOfMemory", "It used more memory than its limit and was killed.", _facts(part))
    if waiting is not None and (told := _of_image(part, waiting, pod)):
        return told
    if told := _of_start(part):
        return told
    if probing.of_part(part, pod.condition("Ready"), at) == "unhealthy":
        return _of_health(part)
    if part.looping(at):
        return _of_crashes(part)
    if waiting is not None and waiting.message and waiting.reason not in _ON_ITS_WAY:
        return Trouble("Error", _said(waiting.message), {"reason": waiting.reason})
    return _of_end(part, at)


def preparing(parts: Sequence[Part], events: Sequence[wire.Event]) -> Trouble | None:
    """What keeps a pod, or a container of it, from being made although nothing failed for good yet: the newest
    event of that kind tells."""
    if not any(p.waiting is not None or p.status.state == wire.State() for p in parts):
        return None
    told = newest(e for e in events if e.reason in _VOLUME_EVENTS | _SANDBOX_EVENTS and _outlives(e, events))
    if told is not None:
        reason: Reason = "VolumeUnavailable" if told.reason in _VOLUME_EVENTS else "Error"
        return Trouble(reason, _said(told.text), {"reason": told.reason})
    pulls = [e for p in parts if not p.running for e in p.events if e.reason in ("Pulling", "Pulled", "Failed")]
    last = newest(pulls)
    if last is None or last.reason != "Pulling":
        return None
    return Trouble("Pulling", f"{last.text}.", {})


def of_deployment(deployment: Mapping[str, Any]) -> Trouble | None:
    """What controllers say of a Deployment, where that is about its present generation."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return None
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    if failure.get("status") == "True":
        return of_admission(failure.get("message", ""), failure.get("reason", ""))
    if progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded":
        return Trouble("RolloutStuck", progress.get("message", ""), {"reason": "ProgressDeadlineExceeded"})
    return None


def of_admission(message: str, reason: str = "") -> Trouble:
    """Why the API server takes no pod."""
    return Trouble(_first(_ADMISSIONS, message) or "Error", message, {"reason": reason} if reason else {})


def of_claim(claim: Mapping[str, Any], events: Iterable[wire.Event]) -> Trouble | None:
    """Why a volume is not there. A claim that waits for its first pod has nothing wrong. `events`: those of it."""
    name, phase = claim["metadata"]["name"], (claim.get("status") or {}).get("phase")
    if phase == "Lost":
        return Trouble("VolumeUnavailable", f"The volume of the claim {name} is lost.", {"claim": name})
    told = newest(e for e in events if e.reason in ("ProvisioningFailed", "FailedBinding"))
    if phase != "Pending" or told is None:
        return None
    return Trouble("VolumeUnavailable", _said(told.text), {"claim": name, "reason": told.reason})


def of_node(name: str, node: wire.Node | None) -> Trouble:
    """That nobody knows what goes on on a node. None: nobody may see it either. It may have been listed before."""
    told = node.readiness if node is not None else None
    said = told.message if told is not None and told.status != "True" else ""
    message = f"The node {name} is away: {said}" if said else f"The node {name} is away."
    return Trouble("BackendUnreachable", message, {"host": name})


def _of_image(part: Part, waiting: wire.Waiting, pod: wire.Pod) -> Trouble | None:
    message, evidence = _said(waiting.message), {"image": part.spec.image}
    if waiting.reason == "InvalidImageName":
        return Trouble("InvalidSpec", message, evidence)
    if waiting.reason == "ErrImageNeverPull":
        return Trouble("ImageNotFound", message, evidence)
    if waiting.reason not in _PULLING:
        return None
    failure = newest(e for e in part.since("Failed", None) if e.text.startswith("Failed to pull image"))
    if failure is not None and waiting.message.startswith("Back-off"):
        # What went wrong is told when it goes wrong, and not while the next attempt is waited for.
        message = _said(failure.text.partition('": ')[2] or failure.text)
    rules = _PULLS_LOGGED_IN if pod.spec.image_pull_secrets else _PULLS_ANONYMOUS
    return Trouble(_first(rules, message) or "ImagePullFailed", message, evidence)


def _of_start(part: Part) -> Trouble | None:
    """Why a container could not be made or started."""
    unstartable, waiting = part.unstartable, part.waiting
    if unstartable is not None:
        message = unstartable.message
    elif waiting is not None and waiting.reason in _STARTING and waiting.reason != "CrashLoopBackOff":
        message = waiting.message
    else:
        return None
    message = _said(message) or "It could not be started."
    return Trouble(_first(_STARTS, message) or "Error", message, _facts(part))


def _of_health(part: Part) -> Trouble:
    said = probing.output(part)
    message = f"Its health check fails: {said[:500]}" if said else "Its health check fails."
    return Trouble("HealthCheckFailing", message, {"output": said[:_MOST]})


def _of_crashes(part: Part) -> Trouble:
    ended = part.ended
    last = "" if ended is None else f", last with exit code {ended.exit_code}"
    return Trouble("CrashLoop", f"It ends again and again{last}.", _facts(part))


def _of_end(part: Part, at: datetime) -> Trouble | None:
    """That it ended and is started again, which may be the first time of many; until it has stayed for a moment."""
    ended, stays = part.ended, part.running and part.status.ready and part.unproven(at) is None
    if ended is None or part.final or stays:
        return None
    return Trouble("Error", f"It ended with exit code {ended.exit_code}, and is started again.", _facts(part))


def _facts(part: Part) -> dict[str, Any]:
    ended = part.ended
    found = {"restarts": part.restarts} | ({} if ended is None else {"exit_code": ended.exit_code})
    said = _said(ended.message) if ended is not None else ""
    memory = {"out_of_memory": True} if ended is not None and ended.ran_out_of_memory else {}
    return found | ({"error": said} if said else {}) | memory


def _outlives(event: wire.Event, events: Sequence[wire.Event]) -> bool:
    """Whether nothing was made since: a mount that went well after some attempts is not told of."""
    made = newest(e for e in events if e.reason in ("Pulling", "Pulled", "Created", "Started"))
    return made is None or made.at <= event.at


def _first(rules: Rules, message: str) -> Reason | None:
    """A pattern may take the square of the time of a text's length, and a server may be anybody's."""
    return next((reason for pattern, reason in rules if pattern.search(message, 0, _LOOKED_AT)), None)


def _said(message: str) -> str:
    """What a runtime said, without what the protocol between it and the kubelet adds."""
    return _RPC.sub("", message.strip())[:_MOST]
