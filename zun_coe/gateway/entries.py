"""What lists are made of: resources, and the replicas of apps, which are seen as containers."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any, cast

from zun_coe.gateway import rendering
from zun_coe.model import Instance


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: its intent (or record), its status, and, once it was read, its JSON without what its
    cluster adds. `replicas`: that of its replicas, by their native ids."""

    noun: str
    intent: Any
    status: Any
    revision: int
    json: list[bytes] = field(default_factory=list, compare=False, repr=False)
    replicas: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Its id."""
        return cast(str, self.intent.id)


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of an app, seen as a container."""

    app: Resource
    instance: Instance

    @property
    def id(self) -> str:
        """Its id, which follows from the app's and the native one."""
        return rendering.replica_id(self.app.id, self.instance)

    @property
    def name(self) -> str:
        """Its name as a container."""
        return f"{self.app.intent.name}-{self.instance.slot}"


Found = Resource | Replica


def same_replicas(before: Resource, after: Resource) -> bool:
    """Whether the replicas of an app are seen as before, and have their place in the same lists."""
    return before.intent is after.intent and before.status.instances == after.status.instances


def volumes_of(user: Resource | None) -> Set[str]:
    """The ids of the volumes that somebody mounts."""
    return frozenset(getattr(user.intent, "volumes", {}).values()) if user is not None else frozenset()


def phase_of(found: Found) -> str:
    """The phase that is shown."""
    if isinstance(found, Replica):
        return str(rendering.replica_phase(found.app.intent, found.instance))
    if getattr(found.intent, "deletion", None):
        return "Deleting"
    return str(getattr(found.status, "phase", ""))
