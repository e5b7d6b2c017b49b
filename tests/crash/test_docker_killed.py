"""Killed at every change that it makes, in the store and on a real Docker engine: nothing is lost, nothing is
doubled, nothing is left behind.

Nothing happens between two changes, so what a process leaves that is killed just before one is what it leaves
that was killed just after the one before. Usually each of these states is taken up once; with ZUN_TEST_KILLS, for
a long run, it is killed at both moments, and so many times more, in all, at two changes one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.crash import truth
from tests.crash.docker_site import DockerSite, docker_by_hand, with_images
from tests.crash.killing import killed
from tests.crash.life import Moment
from tests.crash.scenarios import VOLUME, Scenario, delete_with_volumes, nothing, roll
from tests.crash.story import Story, begin
from tests.real.engine import Engine

KILLS = int(os.environ.get("ZUN_TEST_KILLS", "0"))
SEED = int(os.environ.get("ZUN_TEST_SEED", "1"))
# So many runs at once: most of one is waiting for the engine.
SIDE_BY_SIDE = 4
SIDECAR = [{"name": "log", "image": "log:1"}]
Point = tuple[int, Moment, tuple[int, Moment] | None]
"""Where a process is killed, and where the one that takes up what it left is killed as well."""


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    with docker_by_hand():
        yield


@pytest.fixture(scope="module")
def there(docker_engine: Engine) -> Engine:
    return with_images(docker_engine)


def _create_app(story: Story) -> None:
    story.create("app", "web", replicas=2, stop_timeout=1, mounts=VOLUME, ports=[{"port": 80, "publish": "auto"}])
    story.settle()


def _create_with_sidecar(story: Story) -> None:
    story.create("app", "web", stop_timeout=1, sidecars=SIDECAR)
    story.settle()


def _create_container(story: Story) -> None:
    story.create("container", "job", stop_timeout=1, mounts=VOLUME)
    story.settle()


def _two_replicas(story: Story) -> None:
    story.create("app", "web", replicas=2, stop_timeout=1)
    story.settle()


def _half_updated(story: Story) -> None:
    _two_replicas(story)
    story.patch("web", image="web:2")
    story.turn(1)
    assert len(story.site.left()) == 3  # one of each template, and the network


def _delete_app(story: Story) -> None:
    story.delete("app", "web")
    story.settle()
    assert not story.site.left()


def _app_and_container(story: Story) -> None:
    story.create("app", "web", stop_timeout=1, sidecars=SIDECAR, mounts=VOLUME)
    story.create("container", "job", stop_timeout=1)
    story.settle()


def _delete_both(story: Story) -> None:
    delete_with_volumes(story)
    assert not story.site.left()


SCENES = (
    Scenario("create-app", nothing, _create_app),
    Scenario("create-with-sidecar", nothing, _create_with_sidecar),
    Scenario("create-container", nothing, _create_container),
    Scenario("update", _two_replicas, roll),
    Scenario("delete", _app_and_container, _delete_both),
    Scenario("delete-during-rollout", _half_updated, _delete_app),
)


@pytest.mark.timeout(600 + 20 * KILLS)
@pytest.mark.parametrize("scenario", SCENES, ids=str)
def test_killed_at_every_change(scenario: Scenario, folder: Path, there: Engine) -> None:
    def kill(number: int, point: Point) -> bool:
        place = folder / str(number)
        place.mkdir()
        n, moment, again = point
        return killed(DockerSite(place, there), scenario, moment, n, again)

    changes = undisturbed(scenario, folder, there)
    points = _points(changes, scenario.name)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        reached = dict(zip(points, pool.map(kill, range(len(points)), points), strict=True))
    assert changes > 3
    assert all(reached[point] for point in points if point[0] < changes), "it does not do the same each time"


def undisturbed(scenario: Scenario, folder: Path, there: Engine) -> int:
    """How many changes the scenario makes."""
    story = begin(DockerSite(folder, there), scenario.prepare)
    try:
        life = story.site.running.life
        life.changes.clear()
        scenario.play(story)
        truth.check(story)
        return len(life.changes)
    finally:
        story.site.close()


def _points(changes: int, name: str) -> Sequence[Point]:
    every = range(1, changes + 1)
    points: list[Point] = [(1, "before", None), *((n, "after", None) for n in every)]
    if KILLS:
        points += [(n, "before", None) for n in every[1:]]
    chance = Random(f"{name} {SEED}")
    return [*points, *(_pair(chance, changes) for _ in range(KILLS // len(SCENES)))]


def _pair(chance: Random, changes: int) -> Point:
    return chance.randint(1, changes), "after", (chance.randint(1, 8), chance.choice(("before", "after")))
