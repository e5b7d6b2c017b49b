"""Where each reason comes from on hosts with a bare runtime, for people who look for it there themselves."""

from __future__ import annotations

from collections.abc import Mapping

SOURCES: Mapping[str, str] = {
    "InvalidSpec": "The engine refuses to create or to start the container; what it said is the message.",
    "PermissionDenied": "The engine does not take the gateway's certificate, or the gateway may not open its socket.",
    "ImageNotFound": "The registry has no such image; or it is not on the host, and pull is never.",
    "ImagePullFailed": "The host does not reach the registry, or the registry refuses the login.",
    "QuotaExceeded": "The engine has no addresses left for another network.",
    "VolumeUnavailable": "The path of a bind is not on the host, the host that has a volume is away, or several hosts "
    "have what must be on one.",
    "PortConflict": "Something else listens on it, on every host that would do. After 30 seconds it is tried again.",
    "Unschedulable": "What each host lacks is in the message: a label, memory, a GPU; it is drained, or away.",
    "OutOfMemory": "The engine's record of the last run: OOMKilled, and the exit code 137.",
    "CrashLoop": "The engine has started the container again three times or more, and it has not run for ten seconds "
    "since.",
    "HealthCheckFailing": "The engine's own health check for exec, and the gateway's probe for http and tcp. A replica "
    "of an app is replaced after growing delays.",
    "BackendChanged": "The ID that the engine of a host gives itself.",
    "CredentialsExpired": "The engine does not take the gateway's certificate, whose end has passed.",
    "BackendUnreachable": "No host of the cluster answers; of a replica: its host does not.",
    "RolloutStuck": "The gateway's own verdict.",
    "Contested": "The gateway's own verdict, on limits or a restart policy that others set again and again (`docker "
    "update`).",
    "Error": "Anything else that the engine said.",
    "Pulling": "The gateway has the host pull the image.",
}
