"""Who refers to a volume, a secret or a cluster, such that nobody can begin to while it is deleted.

A new reference is written on condition that what it refers to is at the revision that was looked at, and puts
a new value at that thing's `use/` key (`Change.refer` of the gateway). A deletion is written on condition that the
`use/` key is as it was before the references were looked through. So of a deletion and a new reference that know
nothing of each other one fails, while references to one thing never get in each other's way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

from zun_coe.model import Intent, Revision, Secret, Status, Volume
from zun_coe.model.references import older_revisions, secret_names, volume_names
from zun_coe.store import At, Condition, Missing
from zun_coe.store.cache import Cache
from zun_coe.store.records import revision_key, status_key, use_key

_WORKLOADS = ("app", "container")
_CARRIED = (*_WORKLOADS, "volume")


class User(NamedTuple):
    """An app, a container or (on a cluster) a volume that refers to something; `revision`: by an older revision
    alone, which runs or may run again."""

    noun: str
    id: str
    name: str
    revision: int | None = None

    def __str__(self) -> str:
        past = f" (by its revision {self.revision}, which may run again)" if self.revision else ""
        return f"the {self.noun} {self.name}{past}"


class Uses(NamedTuple):
    """Who refers to something, and the condition on which nobody else does."""

    users: tuple[User, ...]
    unchanged: Condition


def volume_uses(cache: Cache, volume: Volume) -> Uses:
    """Who mounts a volume."""

    def now(intent: Intent) -> bool:
        return volume.id in intent.volumes.values()

    def once(intent: Intent, revision: Revision) -> bool:
        if revision.volumes is not None:
            return volume.id in revision.volumes.values()
        return intent.cluster == volume.cluster and volume.name in volume_names(revision.template)

    unchanged = _unchanged(cache, "volume", volume.id)
    return Uses(tuple(_users(cache, volume.project, now, once)), unchanged)


def secret_uses(cache: Cache, secret: Secret) -> Uses:
    """Who takes values from a secret."""
    unchanged = _unchanged(cache, "secret", secret.id)
    users = _users(
        cache,
        secret.project,
        lambda intent: secret.name in secret_names(intent.template),
        lambda _, revision: secret.name in secret_names(revision.template),
    )
    return Uses(tuple(users), unchanged)


def cluster_uses(cache: Cache, cluster: str) -> Uses:
    """What a cluster carries."""
    unchanged = _unchanged(cache, "cluster", cluster)
    records = ((noun, cast(Intent, entry.value)) for noun in _CARRIED for entry in cache.list(f"intent/{noun}/"))
    users = (User(noun, record.id, record.name) for noun, record in records if record.cluster == cluster)
    return Uses(tuple(users), unchanged)


def _unchanged(cache: Cache, noun: str, id: str) -> Condition:
    """To be asked for before the users are looked for: a user that comes in between is seen by one of the two."""
    key = use_key(noun, id)
    entry = cache.get(key)
    return Missing(key) if entry is None else At(key, entry.revision)


def _users(
    cache: Cache,
    project: str,
    now: Callable[[Intent], bool],
    once: Callable[[Intent, Revision], bool],
) -> Iterator[User]:
    """Those of a project that refer to something `now`, or `once` did by a revision that still counts."""
    for noun in _WORKLOADS:
        for entry in cache.list(f"intent/{noun}/{project}/"):
            intent = cast(Intent, entry.value)
            if now(intent):
                yield User(noun, intent.id, intent.name)
                continue
            for revision in _older(cache, intent):
                if once(intent, revision):
                    yield User(noun, intent.id, intent.name, revision.number)
                    break


def _older(cache: Cache, intent: Intent) -> Iterator[Revision]:
    entry = cache.get(status_key(intent.noun, intent.project, intent.id))
    if entry is None or intent.noun != "app":
        return
    for number in sorted(older_revisions(intent, cast(Status, entry.value))):
        kept = cache.get(revision_key(intent.project, intent.id, number))
        if kept is not None:
            yield cast(Revision, kept.value)
