"""The gateway against a cluster where everything goes wrong now and then: in the end all is as wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import CLUSTER, World
from tests.simulated import Outside, SimulatedCluster
from tests.simulated.fixtures import endpoint_of
from zun_coe.errors import Absent, Conflict, Invalid, NotFound, TimedOut, Unavailable

NAMES = [f"app-{n}" for n in range(6)]


@pytest.fixture
def world(tmp_path: Path, simulated: SimulatedCluster) -> Iterator[World]:
    simulated.pace.start, simulated.pace.ready = 0.005, 0.01
    world = World(tmp_path, {"kind": "simulated", "endpoint": endpoint_of(simulated)})
    world.register()
    yield world
    world.close()


def body(name: str, replicas: int, version: int) -> dict[str, Any]:
    return {
        "name": name,
        "cluster": CLUSTER,
        "image": "web",
        "replicas": replicas,
        "env": {"VERSION": str(version)},
        "stop_timeout": 0,
    }


def disturb(simulated: SimulatedCluster, outside: Outside, chance: random.Random) -> None:
    """Something happens to a container behind the gateway's back."""
    containers = [c.native_id for c in outside.containers() if c.live]
    if containers:
        with suppress(LookupError, Absent):
            chance.choice([outside.die, outside.delete])(chance.choice(containers))


def step(world: World, chance: random.Random, wanted: dict[str, tuple[int, int]]) -> None:
    """A user does something at random; `wanted` follows what was accepted."""
    name, version = chance.choice(NAMES), chance.randrange(4)
    replicas = chance.randrange(5)
    with suppress(Conflict, NotFound):
        if name not in wanted:
            world.create("app", body(name, replicas, version))
            wanted[name] = (replicas, version)
        elif chance.random() < 0.25:
            world.delete("app", name)
            del wanted[name]
        else:
            world.patch("app", name, body(name, replicas, version))
            wanted[name] = (replicas, version)


def as_wanted(world: World, wanted: dict[str, tuple[int, int]]) -> bool:
    found = {
        o.ref.name: (len(o.instances), all(i.ready and i.hash == o.hash for i in o.instances))
        for o in world.observe()
        if o.instances or o.ref.name in wanted
    }
    return found == {name: (replicas, True) for name, (replicas, _) in wanted.items()}


@pytest.mark.parametrize("seed", range(3))
def test_everything_comes_right_in_the_end(
    world: World, simulated: SimulatedCluster, outside: Outside, seed: int
) -> None:
    chance = random.Random(seed)
    faults = simulated.faults
    faults.latency = (0.0, 0.005)
    faults.rates = {Unavailable: 0.1, TimedOut: 0.05}
    faults.lost_answers, faults.dropped, faults.repeated = 0.1, 0.3, 0.2
    wanted: dict[str, tuple[int, int]] = {}
    for number in range(60):
        step(world, chance, wanted)
        disturb(simulated, outside, chance)
        seen = faults.calls.total()
        world.until(lambda n=seen: faults.calls.total() > n + 2, "the engine does nothing")
        if number == 30:
            world.restart()
    faults.rates, faults.lost_answers, faults.dropped = {}, 0.0, 0.0
    world.until(lambda: as_wanted(world, wanted), "the cluster is not as wanted")
    for name, (replicas, version) in wanted.items():
        found = world.settled("app", name, "Running" if replicas else "Stopped")
        assert (found["replicas"], found["env"]) == (replicas, {"VERSION": str(version)})
    assert world.events("OrphanFound") == []


def test_cluster_that_hangs_delays_no_user(world: World, simulated: SimulatedCluster) -> None:
    """Intent is taken on and shown while the cluster hangs, and carried out when it answers again."""
    simulated.faults.hang()
    world.create("app", body("patient", 1, 0))
    assert world.show("app", "patient")["status"]["phase"] == "Pending"
    simulated.faults.resume()
    world.settled("app", "patient", "Running")


def test_another_cluster_at_the_same_address_is_left_alone(
    world: World, simulated: SimulatedCluster, outside: Outside
) -> None:
    world.create("app", body("web", 1, 0))
    world.settled("app", "web", "Running")
    world.process.stop()
    outside.reinstall()
    world.restart()
    world.until(lambda: world.cluster()["status"].get("reason") == "BackendChanged", "the change is not noticed")
    assert outside.containers() == []


def test_a_removal_that_fails_does_not_have_all_of_the_cluster_looked_at(
    world: World, simulated: SimulatedCluster
) -> None:
    world.create("app", body("web", 1, 0))
    world.settled("app", "web", "Running")
    looks = [0]
    runner = next(iter(world.process.engine._runners.values()))
    runner.look = lambda: looks.__setitem__(0, looks[0] + 1)
    simulated.faults.fail_next("remove", Invalid("a webhook denied it"), times=3)
    world.deleted("app", "web")
    assert looks == [0]


def test_every_call_may_be_the_last(world: World, simulated: SimulatedCluster) -> None:
    """Each kind of call fails once before it does anything and once after it did: nothing is lost or doubled."""
    for call in ("observe", "apply", "remove"):
        for after in (False, True):
            simulated.faults.fail_next(call, Unavailable("it broke"), after=after)
    world.create("app", body("web", 3, 0))
    world.settled("app", "web", "Running")
    assert sorted(i.slot for i in world.observe()[0].instances) == [1, 2, 3]
    world.deleted("app", "web")
    assert world.observe() == []
