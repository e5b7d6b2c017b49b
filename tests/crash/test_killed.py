"""Killed just before and just after every change that it makes, in every scenario: nothing is lost,
nothing is doubled, nothing is left behind, and the events tell it all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.crash import truth
from tests.crash.clockwork import Site, hand_turned, quick_folder
from tests.crash.life import Killed, Life, Moment
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.story import Story, begin

MOMENTS: tuple[Moment, Moment] = ("before", "after")
# How many pairs of moments, drawn once and for all, each scenario is killed at.
TWICE = 8


@pytest.fixture(autouse=True)
def engines_by_hand() -> Iterator[None]:
    with hand_turned():
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as made:
        yield made


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_undisturbed(scenario: Scenario, folder: Path) -> None:
    story = begin(Site(folder), scenario.prepare)
    scenario.play(story)
    truth.check(story)
    story.site.close()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_killed_at_every_change(scenario: Scenario, moment: Moment, folder: Path) -> None:
    for n in count(1):
        place = folder / str(n)
        place.mkdir()
        if not killed(scenario, moment, n, place):
            break
    assert n > 3, "the scenario changes so little that this says nothing"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_killed_again_while_taking_up(scenario: Scenario, folder: Path) -> None:
    chance = Random(scenario.name)
    for run in range(TWICE):
        place = folder / str(run)
        place.mkdir()
        first, second = chance.choice(MOMENTS), (chance.randint(1, 12), chance.choice(MOMENTS))
        killed(scenario, first, chance.randint(1, 12), place, again=second)


def killed(scenario: Scenario, moment: Moment, n: int, folder: Path, again: tuple[int, Moment] | None = None) -> bool:
    """Play a scenario, killed at its n-th change, and check what comes of it. Whether it got so far. `again`:
    where the next process is killed as well."""
    story = begin(Site(folder), scenario.prepare)
    life = story.site.running.life
    life.end_at(n, moment)
    try:
        scenario.play(story)
    except Killed:
        try:
            recovered(story, again)
        except BaseException as error:
            error.add_note(f"killed {moment} change {n}: {life.changes}, then at {again}")
            raise
        return True
    finally:
        story.site.close()
    return False


def recovered(story: Story, again: tuple[int, Moment] | None) -> None:
    """Another process takes up what is there; then the user asks again for what was not answered."""
    story.site.drop()
    if again is not None:
        with suppress(Killed):
            take_up(story, again)
        story.site.drop()
    story.site.boot()
    story.settle()
    truth.check(story)
    story.ask_again()
    story.settle()
    truth.check(story)


def take_up(story: Story, end: tuple[int, Moment]) -> None:
    """A process that does not get far."""
    life = Life()
    life.end_at(*end)
    story.site.boot(life)
    story.settle()
