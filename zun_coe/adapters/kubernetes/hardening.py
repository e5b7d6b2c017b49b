"""What pods have so that a namespace takes them which enforces one of the Pod Security Standards. Pure.

A change here would be a change of every pod template, and so a rollout of all that runs: so an annotation says what a
pod was rendered with, and what is there stays with that until its own template is changed.

https://kubernetes.io/docs/concepts/security/pod-security-standards/"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from zun_coe.adapters.kubernetes import naming

Level = Literal["", "privileged", "baseline", "restricted"]
"""What a namespace enforces; empty where it says nothing."""
Security = Literal["", "default", "restricted"]
"""What pods are rendered with: nothing (as before this was known here), the runtime's own profile of system calls,
or all that `restricted` asks for."""

ENFORCE = "pod-security.kubernetes.io/enforce"
SECURITY = f"{naming.DOMAIN}/security"
"""An annotation of a pod and of a pod's template: the `Security` that it is rendered with."""

Json = dict[str, Any]


def level_of(namespace: Mapping[str, Any]) -> Level:
    """What a namespace enforces."""
    told = (namespace.get("metadata", {}).get("labels") or {}).get(ENFORCE, "")
    return told if told in ("privileged", "baseline", "restricted") else ""


def security(level: Level, hash_: str, bodies: Iterable[Mapping[str, Any]]) -> Security:
    """What to render the template `hash_` with. `bodies`: the Deployment or Pod that is there, if any is."""
    for body in bodies:
        metadata = (body["spec"].get("template") or {}).get("metadata") or body["metadata"]
        if (metadata.get("labels") or {}).get(naming.HASH) == hash_:
            known = (metadata.get("annotations") or {}).get(SECURITY, "")
            return known if known in ("default", "restricted") else ""
    return "restricted" if level == "restricted" else "default"


def marks(wanted: Security) -> dict[str, str]:
    """What tells later what a pod was rendered with."""
    return {SECURITY: wanted} if wanted else {}


def hardened(pod: Json, wanted: Security) -> Json:
    """The specification of a pod with what is wanted."""
    if not wanted:
        return pod
    profile: Json = {"seccompProfile": {"type": "RuntimeDefault"}}
    if wanted == "default":
        return pod | {"securityContext": pod.get("securityContext", {}) | profile}
    context = pod.get("securityContext", {}) | profile | {"runAsNonRoot": True}
    return pod | {"securityContext": context, "containers": [_confined(each) for each in pod["containers"]]}


def _confined(container: Json) -> Json:
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return container | {"securityContext": container.get("securityContext", {}) | confined}
