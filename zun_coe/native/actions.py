"""What can be done about one replica on its host, and the plan that these make up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from zun_coe.model import Instance, Template, bytes_of
from zun_coe.native.placement import Refused


@dataclass(frozen=True)
class Create:
    """A new instance of a slot, on a host."""

    slot: int
    hash: str
    host: str


@dataclass(frozen=True)
class Remove:
    """Stop an instance within its grace and remove it. `update`: something newer takes its place, so the
    image of that must be there first, on the host `to` where it is not the same one."""

    instance: Instance
    update: bool = False
    to: str | None = None


@dataclass(frozen=True)
class Mend:
    """Bring an instance to run that was made in part, ended from outside, or lost a part."""

    instance: Instance


@dataclass(frozen=True)
class Stop:
    """Stop in place."""

    instance: Instance


@dataclass(frozen=True)
class Start:
    """Start in place."""

    instance: Instance


@dataclass(frozen=True)
class Restart:
    """Stop and start in place, for the restart with this number."""

    instance: Instance
    number: int


@dataclass(frozen=True)
class Pause:
    """Freeze in place."""

    instance: Instance


@dataclass(frozen=True)
class Unpause:
    """Let go on in place."""

    instance: Instance


@dataclass(frozen=True)
class Resize:
    """Set the limits in place: CPUs and bytes, None for none."""

    instance: Instance
    cpu: float | None
    memory: int | None


Action = Create | Remove | Mend | Stop | Start | Restart | Pause | Unpause | Resize


@dataclass(frozen=True)
class Plan:
    """One converging step. `waiting`: nothing can be done until something turns ready, stops, or comes
    back, at the latest in `due` seconds; `blocked`: why an instance could not be placed."""

    actions: tuple[Action, ...] = ()
    waiting: bool = False
    due: float | None = None
    blocked: Refused | None = None


def limits_restored(instance: Instance, template: Template) -> Resize | None:
    """What gives a replica the limits of its template, None where it has them: `docker update` changes them in place.
    Docker counts CPUs in billionths and rounds, so a difference below a millionth is none."""
    memory = bytes_of(template.memory) if template.memory else None
    if abs((template.cpu or 0.0) - (instance.cpu or 0.0)) < 1e-6 and memory == instance.memory:
        return None
    return Resize(instance, template.cpu, memory)
