"""What was found to be as wanted is not compared again while neither has changed, so that rest costs nothing: a list
of everything shows the version of each object, and that is all that has to be looked at.

Secrets are in no such list. What has one is compared each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from zun_coe.adapters.kubernetes.converging import Json
from zun_coe.adapters.kubernetes.survey import Found
from zun_coe.model import Observation, Workload


class Versioned(Observation, frozen=True, kw_only=True):
    """An observation. `version` is another number when any of the objects is otherwise that a step compares."""

    version: int = 0


def versioned(observation: Observation, found: Found) -> Observation:
    """The observation of what was found, with its version; of nothing there is none."""
    version = _version(found)
    fields: dict[str, Any] = msgspec.structs.asdict(observation)
    return Versioned(**fields, version=version) if version else observation


class Settled:
    """Which workloads were as wanted when they were compared last, kept in memory alone. Thread-safe."""

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}

    def keep(self, workload: Workload, wanted: Sequence[Json], found: Found) -> None:
        """It was compared, and all is as wanted."""
        if workload.adopted is None and not any(object["kind"] == "Secret" for object in wanted):
            self._marks[workload.ref.id] = _mark(workload, _version(found))

    def holds(self, workload: Workload, seen: Observation | None) -> bool:
        """Whether that is so still. Not while something goes, which may need help."""
        mark = self._marks.get(workload.ref.id)
        if mark is None or not isinstance(seen, Versioned) or any(i.state == "removing" for i in seen.instances):
            return False
        return mark == _mark(workload, seen.version)

    def forget(self, id: str) -> None:
        """It is being taken away."""
        self._marks.pop(id, None)


def _version(found: Found) -> int:
    """Of an app its pods are not compared: they are its Deployment's."""
    deployments = [found.deployment] if found.deployment else []
    objects = [o["metadata"] for o in (*deployments, *found.services, *found.claims)]
    versions = [(m.get("uid", ""), m.get("resourceVersion", "")) for m in objects]
    pods = [] if found.deployment else [(p.metadata.uid, p.metadata.resource_version) for p in found.pods]
    return hash((found.scaler, *sorted([*versions, *pods]))) if versions or pods else 0


def _mark(workload: Workload, version: int) -> int:
    """A number instead of the workload, which has values that are secret."""
    return hash((msgspec.msgpack.encode(workload), version))
