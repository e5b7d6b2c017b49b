"""Rollouts that failed or are paused, on a real engine, while the replicas that still serve are taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import CLUSTER, World
from tests.real.components import Engine

PLAIN = {"image": Engine.image, "cluster": CLUSTER, "command": ["sleep", "1000"], "stop_timeout": 0}
NEVER = {"command": ["/no/such/program"]}
OTHER = {"command": ["sleep", "2000"]}
SICK = {"health": {"exec": {"command": ["false"]}, "interval": 1, "timeout": 2, "retries": 1}}


@pytest.fixture
def world(tmp_path: Path, docker_engine: Engine) -> Iterator[World]:
    host = {"name": "a", "runtime": "docker", "endpoint": docker_engine.endpoint, "address": "127.0.0.1"}
    world = World(tmp_path, {"kind": "native", "hosts": [host]}, 60.0, resync=0.5)
    world.register()
    yield world
    world.close()


def halted(world: World, change: Any, state: str) -> None:
    """An app of two replicas of revision 1, with a rollout to revision 2 in this state."""
    world.create("app", PLAIN | {"name": "web", "replicas": 2})
    world.settled("app", "web", "Running")
    world.patch("app", "web", change)
    world.until(lambda: (rollout(world) or {}).get("state") == state, f"the rollout is not {state}")


def rollout(world: World) -> Any:
    return world.show("app", "web")["status"].get("rollout")


def serving(world: World) -> list[int]:
    """The revisions of the replicas that run."""
    return [r["revision"] for r in world.replicas("web") if r["status"]["phase"] == "Running"]


def stop_and_start(world: World, engine: Engine) -> None:
    world.patch("app", "web", {"desired_state": "stopped"})
    world.settled("app", "web", "Stopped")
    world.patch("app", "web", {"desired_state": "running"})


def scale_to_none_and_back(world: World, engine: Engine) -> None:
    world.patch("app", "web", {"replicas": 0})
    world.settled("app", "web", "Stopped")
    world.patch("app", "web", {"replicas": 2})


def remove_all(world: World, engine: Engine) -> None:
    _remove(engine, lambda container: True)


def remove_all_that_run(world: World, engine: Engine) -> None:
    _remove(engine, lambda container: container.status == "running")


def _remove(engine: Engine, condition: Callable[[Any], bool]) -> None:
    for container in engine.client().containers.list(all=True, filters={"label": "zun.name=web"}):
        if condition(container):
            container.remove(force=True)


@pytest.mark.parametrize("take_away", [stop_and_start, scale_to_none_and_back, remove_all, remove_all_that_run])
@pytest.mark.parametrize(("change", "state"), [(NEVER, "failed"), (OTHER | {"update": {"paused": True}}, "paused")])
def test_what_was_reached_comes_back(
    world: World, docker_engine: Engine, take_away: Callable[[World, Engine], None], change: Any, state: str
) -> None:
    halted(world, change, state)
    count = len(world.events("InstanceReady"))
    take_away(world, docker_engine)
    world.until(lambda: len(world.events("InstanceReady")) == count + 2, "no two replicas became ready again")
    world.until(lambda: serving(world) == [1, 1], "it is not revision 1 that runs")
    assert (rollout(world)["state"], rollout(world)["from"]) == (state, 1)
    world.patch("app", "web", {"command": ["sleep", "3000"], "update": {"paused": False}})
    world.settled("app", "web", "Running")
    assert serving(world) == [3, 3]


@pytest.mark.parametrize("change", [NEVER, SICK], ids=["refused", "unhealthy"])
def test_going_back_is_told_as_a_change_on_its_way(world: World, docker_engine: Engine, change: Any) -> None:
    """What is left of the revision that failed takes nothing from those that serve all the time."""
    update = {"on_failure": "rollback", "deadline": 3}
    world.create("app", PLAIN | {"name": "web", "replicas": 2, "stop_timeout": 1, "update": update})
    world.settled("app", "web", "Running")
    world.patch("app", "web", change)
    world.until(lambda: (rollout(world) or {}).get("state") == "rolled_back", "it does not go back")
    world.settled("app", "web", "Running")
    world.until(lambda: len(docker_engine.client().containers.list(all=True)) == 2, "something is left")
    world.patch("app", "web", {"labels": {"seen": "again"}})
    world.settled("app", "web", "Running")
    assert [e["type"] for e in world.events() if e["type"] in ("AppDegraded", "AppFailed")] == []


def test_what_serves_is_kept_up_while_the_next_image_can_not_be_had(world: World, docker_engine: Engine) -> None:
    world.create("app", PLAIN | {"name": "web", "replicas": 2})
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"image": "127.0.0.1:1/nowhere:1"})
    world.until(lambda: world.show("app", "web")["status"].get("reason") == "ImagePullFailed", "it is not missed")
    remove_all(world, docker_engine)
    world.until(lambda: serving(world) == [1, 1], "they are not made again")
    world.patch("app", "web", {"replicas": 3})
    world.until(lambda: serving(world) == [1, 1, 1], "it is not scaled")
    world.patch("app", "web", OTHER | {"image": PLAIN["image"]})
    world.settled("app", "web", "Running")
    assert serving(world) == [3, 3, 3]
