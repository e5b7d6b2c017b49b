"""What each reason means, whatever the backend."""

from __future__ import annotations

from collections.abc import Mapping

from zun_coe.model.status import Reason

MEANINGS: Mapping[Reason, str] = {
    "InvalidSpec": "The backend will never start this as it is described.",
    "PermissionDenied": "The gateway may not do on the cluster what it takes.",
    "ImageNotFound": "The registry answers, and has no such image.",
    "ImagePullFailed": "The image could not be fetched, though it may be there.",
    "QuotaExceeded": "The project has as much on the cluster as it may have.",
    "VolumeUnavailable": "Something that is mounted is not there, or cannot be reached from where it is needed.",
    "PortConflict": "A port that was asked for by its number is somebody else's.",
    "Unschedulable": "No node has room for it, or none is as it is asked for.",
    "OutOfMemory": "The process took more memory than its limit, and was killed for it.",
    "CrashLoop": "The process ends again and again, and is started each time after a longer delay.",
    "HealthCheckFailing": "The process runs, and its health check says that it does not do its work.",
    "BackendChanged": "Another backend answers at the cluster's address; nothing is done there.",
    "CredentialsExpired": "The gateway's credentials at the cluster have expired. What was known last is shown.",
    "BackendUnreachable": "The cluster, or the node, does not answer. What was known last is shown.",
    "RolloutStuck": "Nothing came nearer to its end for as long as the deadline of the update, or the cluster refuses "
    "the new template for good.",
    "Contested": "Somebody changes it past the gateway each time that it is put right; the tries grow rarer.",
    "Error": "Something that has no name here.",
    "Pulling": "Nothing is wrong: the image is on its way.",
}
