"""What a template refers to by name, and which revisions of an app still count. Pure."""

from __future__ import annotations

from zun_coe.model.records import Intent
from zun_coe.model.spec import Template
from zun_coe.model.status import Status


def volume_names(template: Template) -> frozenset[str]:
    """The names of the volumes that a template mounts, also in its sidecars."""
    mounts = [*template.mounts, *(mount for sidecar in template.sidecars for mount in sidecar.mounts)]
    return frozenset(mount.volume.name for mount in mounts if mount.volume)


def secret_names(template: Template) -> frozenset[str]:
    """The names of the secrets that a template takes values from, the login of its registry among them."""
    named = {source.partition("/")[0] for source in template.env_secrets.values()}
    return frozenset(named | ({template.image_auth} if template.image_auth else set()))


def older_revisions(intent: Intent, status: Status) -> frozenset[int]:
    """The revisions besides the wanted one that run, or that a rollout can go back to."""
    rollout = status.rollout
    numbers = {status.revision, *((rollout.from_ or 0, rollout.to) if rollout else ())}
    return frozenset(numbers - {0, intent.revision})
