"""What can be done about one replica on its host, and the plan that these make up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from zun_coe.model import Instance
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
class Restore:
    """Give its containers the limits and the restart policies of their template again, in place."""

    instance: Instance


Action = Create | Remove | Mend | Stop | Start | Restart | Pause | Unpause | Restore


@dataclass(frozen=True)
class Plan:
    """One converging step. `waiting`: nothing can be done until something turns ready, stops, or comes
    back, at the latest in `due` seconds; `blocked`: why an instance could not be placed."""

    actions: tuple[Action, ...] = ()
    waiting: bool = False
    due: float | None = None
    blocked: Refused | None = None
