"""The faults that an app can have on any cluster, each with the reason that is told for it everywhere."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.world import CLUSTER, Body, Noun, World
from tests.real.engine import Engine
from tests.real.needs import free_port
from tests.real.registry import Registry

# Of what is larger than half of a node only one has room there.
MORE_THAN_HALF = 0.6


class Ways(ABC):
    """A backend's own ways to get into trouble, and out of it. `engine` has the image, and runs what is run;
    `folder` is seen there. `body` registers the cluster; the others are those that are cut off, exchanged and
    given fewer rights. `patience`: the seconds in which anything must have happened.

    `cannot`: the faults that the backend does not know, each with the sentence why; nobody asks for those. `words`:
    what the message has to be like here, where more can be asked for than everywhere; patterns."""

    cannot: ClassVar[Mapping[str, str]] = {}
    words: ClassVar[Mapping[str, str]] = {}
    patience: ClassVar[float] = 60.0
    body: Body
    fragile_body: Body
    changing_body: Body
    limited_body: Body

    def __init__(self, engine: Engine, registry: Registry, folder: Path) -> None:
        self.engine, self.registry, self.folder = engine, registry, folder
        self.away = f"127.0.0.1:{free_port()}/away:1"

    @property
    def image(self) -> str:
        """An image with a shell, which ends when it is told to only by force."""
        return self.engine.image

    def most_of(self, resource: str) -> Any:
        """More than half of what a node has."""
        info = self.engine.client().info()
        if resource == "cpu":
            return round(info["NCPU"] * MORE_THAN_HALF, 1)
        return f"{int(info['MemTotal'] * MORE_THAN_HALF) >> 20}Mi"

    def flag(self, name: str) -> Path:
        """A file in a folder of its own, which is there; the file is not."""
        (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name / "up"

    # In pairs: the fault, and what heals it without a word about the app.

    def unplaceable(self) -> Body:
        """The fields of what no node takes because of a label."""
        raise NotImplementedError

    def make_room(self, world: World) -> None:
        """Let there be a node for it."""
        raise NotImplementedError

    def take_port(self) -> int:
        """A port that is somebody else's from now on."""
        raise NotImplementedError

    def free_port(self) -> None:
        """It is nobody's any more."""
        raise NotImplementedError

    def lack_volume(self) -> Body:
        """The fields of what mounts something that cannot be had."""
        raise NotImplementedError

    def provide_volume(self) -> None:
        """It can be had."""
        raise NotImplementedError

    def restrict(self, world: World, project: str) -> None:
        """Let a project, of which one container runs, have no other."""
        raise NotImplementedError

    def lift(self, world: World, project: str) -> None:
        """Let it have more."""
        raise NotImplementedError

    def cut(self) -> None:
        """Nobody reaches the cluster of `fragile_body`."""
        raise NotImplementedError

    def mend(self) -> None:
        """It is reached again."""
        raise NotImplementedError

    def exchange(self) -> None:
        """Another one answers at the address of `changing_body`."""
        raise NotImplementedError

    def change_back(self) -> bool:
        """Whether the right one answers there again; it may be gone for good."""
        raise NotImplementedError

    def forbid(self) -> Mapping[str, str]:
        """The credentials of `limited_body` may not scale what is there any more; the right that they lack, as the
        evidence has it."""
        raise NotImplementedError

    def allow(self) -> None:
        """They may again."""
        raise NotImplementedError


Begin = Callable[[Ways, World], Body]
Heal = Callable[[Ways, World], None]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: how it comes, as the fields of what has it, and what is told of it. `says` is
    looked for in the message, and the values of `evidence` in the evidence; both are patterns. `heal`: what ends
    it from outside, where anything does. `again`: it happens over and over, and each time is told of."""

    reason: str
    says: str
    begin: Begin
    heal: Heal | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    phases: tuple[str, ...] = ("Progressing", "Failed")
    noun: Noun = "app"
    project: str = "default"
    again: bool = False


def _script(script: str, **fields: Any) -> Begin:
    return lambda ways, world: {"command": ["sh", "-c", script], **fields}


def _late_image(ways: Ways, world: World) -> Body:
    return {"image": f"{ways.registry.public}/late:1"}


def _push_image(ways: Ways, world: World) -> None:
    ways.registry.push(ways.engine, "late:1")


def _private_image(ways: Ways, world: World) -> Body:
    return {"image": ways.registry.push(ways.engine, "private:1", private=True)}


def _load_image(ways: Ways, world: World) -> None:
    """What is on the hosts already needs no registry."""
    ways.engine.load(ways.away)


def _beside(resource: str) -> Begin:
    """More of a resource than is left beside what has most of it."""

    def begin(ways: Ways, world: World) -> Body:
        filler = {"name": f"most-{resource}", "cluster": CLUSTER, "image": ways.image, "stop_timeout": 1}
        most = {resource: ways.most_of(resource)}
        world.create("app", {**filler, "command": ["sleep", "1000"], **most})
        world.settled("app", f"most-{resource}", "Running")
        return most

    return begin


def _without(resource: str) -> Heal:
    return lambda ways, world: world.deleted("app", f"most-{resource}")


def _down(name: str, timing: Body, **more: Any) -> Begin:
    """What is well as soon as its flag is up."""

    def begin(ways: Ways, world: World) -> Body:
        check = {"exec": {"command": ["sh", "-c", "test -e /flag/up || { echo poorly; exit 1; }"]}}
        health = {**check, "interval": 1, "timeout": 10, **timing}
        return {"mounts": [{"path": "/flag", "bind": str(ways.flag(name).parent)}], "health": health, **more}

    return begin


def _up(name: str) -> Heal:
    return lambda ways, world: ways.flag(name).touch()


def _restricted(project: str) -> Begin:
    """In a project that has all that it may have."""

    def begin(ways: Ways, world: World) -> Body:
        only = {"name": "only", "cluster": CLUSTER, "image": ways.image, "stop_timeout": 1}
        world.create("app", {**only, "command": ["sleep", "1000"]}, project)
        world.settled("app", "only", "Running", project)
        ways.restrict(world, project)
        return {}

    return begin


def _lifted(project: str) -> Heal:
    return lambda ways, world: ways.lift(world, project)


FAULTS: Mapping[str, Fault] = {
    "image-missing": Fault(
        "ImageNotFound", "not found|manifest unknown", _late_image, _push_image, evidence={"image": "/late:1$"}
    ),
    "registry-away": Fault(
        "ImagePullFailed", "refused", lambda ways, world: {"image": ways.away}, _load_image, {"image": "/away:1$"}
    ),
    "login-refused": Fault("ImagePullFailed", "no basic auth|unauthorized|authentication required", _private_image),
    "crash-loop": Fault("CrashLoop", "exit code 7", _script("exit 7"), evidence={"exit_code": "^7$"}, again=True),
    "crash-loop-container": Fault(
        "CrashLoop",
        "exit code 7",
        _script("exit 7"),
        evidence={"exit_code": "^7$"},
        phases=("Restarting", "Running"),
        noun="container",
        again=True,
    ),
    "out-of-memory": Fault(
        "OutOfMemory",
        "memory",
        lambda ways, world: {"command": ["tail", "/dev/zero"], "memory": "16Mi"},
        evidence={"exit_code": "^137$"},
        again=True,
    ),
    "command-missing": Fault(
        "InvalidSpec",
        "/no/such/program",
        lambda ways, world: {"command": ["/no/such/program"]},
        phases=("Failed",),
        again=True,
    ),
    "no-room-cpu": Fault("Unschedulable", "cpu", _beside("cpu"), _without("cpu")),
    "no-room-memory": Fault("Unschedulable", "memory", _beside("memory"), _without("memory")),
    "no-such-node": Fault(
        "Unschedulable",
        "label|node (affinity|selector)",
        lambda ways, world: ways.unplaceable(),
        lambda ways, world: ways.make_room(world),
    ),
    "unhealthy": Fault(
        "HealthCheckFailing",
        "poorly",
        _down("unhealthy", {"retries": 3}),
        _up("unhealthy"),
        {"output": "poorly"},
        again=True,
    ),
    "port-taken": Fault(
        "PortConflict",
        "port",
        lambda ways, world: {"ports": [{"port": 80, "publish": ways.take_port()}]},
        lambda ways, world: ways.free_port(),
    ),
    "quota": Fault("QuotaExceeded", "exceeded quota", _restricted("poor"), _lifted("poor"), project="poor"),
    "quota-container": Fault(
        "QuotaExceeded",
        "exceeded quota",
        _restricted("pauper"),
        _lifted("pauper"),
        phases=("Failed",),
        noun="container",
        project="pauper",
    ),
    "no-volume": Fault(
        "VolumeUnavailable",
        "not found|does not exist",
        lambda ways, world: ways.lack_volume(),
        lambda ways, world: ways.provide_volume(),
    ),
    "stuck": Fault(
        "RolloutStuck",
        "progress",
        _down("stuck", {"start_period": 1000}, update={"deadline": 3}),
        _up("stuck"),
        phases=("Failed",),
    ),
}
"""Those of one app or container. The others, which are of a cluster as a whole or pass by themselves, are tests of
their own."""
OTHERS: Mapping[str, str] = {
    "pulling": "Pulling",
    "unreachable": "BackendUnreachable",
    "exchanged": "BackendChanged",
    "forbidden": "PermissionDenied",
    "contested": "Contested",
    "expired": "CredentialsExpired",
}
"""Those, with their reasons."""
