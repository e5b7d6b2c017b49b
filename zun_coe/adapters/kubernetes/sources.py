"""Where each reason comes from on Kubernetes, for people who look for it there themselves."""

from __future__ import annotations

from collections.abc import Mapping

SOURCES: Mapping[str, str] = {
    "InvalidSpec": "The API server answers 400 or 422; or a policy of the cluster, such as an admission webhook or a "
    "Pod Security Standard, refuses its pods; or a container waits with CreateContainerConfigError, "
    "CreateContainerError, RunContainerError or InvalidImageName.",
    "PermissionDenied": "The API server answers 401 or 403. The evidence has the verb and the resource that the "
    "credentials' role lacks.",
    "ImageNotFound": "A container waits with ErrImagePull or ImagePullBackOff, and the registry has no such image; or "
    "with ErrImageNeverPull.",
    "ImagePullFailed": "A container waits with ErrImagePull or ImagePullBackOff, and its node does not reach the "
    "registry, or the registry refuses the login.",
    "QuotaExceeded": "A ResourceQuota or a LimitRange of the namespace takes no pod: ReplicaFailure of the Deployment.",
    "VolumeUnavailable": "A claim is not bound, and its events say why; or the events of a pod tell of FailedMount or "
    "FailedAttachVolume.",
    "PortConflict": "The API server refuses a Service whose node port another one has; nothing is started before it "
    "is free.",
    "Unschedulable": "The condition PodScheduled of a pod, in the words of the scheduler.",
    "OutOfMemory": "The last run of a container ended with OOMKilled and the exit code 137, or its node evicted "
    "the pod for want of memory.",
    "CrashLoop": "A container waits with CrashLoopBackOff, or was started again just now, for the second time or more.",
    "HealthCheckFailing": "A probe failed as often as it may: events Unhealthy and Killing of the pod.",
    "BackendChanged": "The uid of the namespace kube-system, or of the one that the cluster was registered with.",
    "CredentialsExpired": "The API server answers 401, and the end of the client certificate or of the token, where it "
    "is a JWT, has passed.",
    "BackendUnreachable": "The API server does not answer; of a replica: the lease of its node has run out.",
    "RolloutStuck": "The gateway's own verdict, or ProgressDeadlineExceeded of the Deployment.",
    "Contested": "The gateway's own verdict, on a field that others set again and again: see `managedFields`.",
    "Error": "Anything else, such as FailedCreatePodSandBox.",
    "Pulling": "The last event of a container that waits is Pulling.",
}
