"""Killed just before and just after every change that it makes, in every scenario: nothing is lost,
nothing is doubled, nothing is left behind, and the events tell it all."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.crash import truth
from tests.crash.clockwork import Site
from tests.crash.killing import killed
from tests.crash.life import Moment
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.story import begin

pytestmark = pytest.mark.usefixtures("engines_by_hand")
MOMENTS: tuple[Moment, Moment] = ("before", "after")
# How many pairs of moments, drawn once and for all, each scenario is killed at.
TWICE = 8


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
        if not killed(Site(place), scenario, moment, n):
            break
    assert n > 3, "the scenario changes so little that this says nothing"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_killed_again_while_taking_up(scenario: Scenario, folder: Path) -> None:
    chance = Random(scenario.name)
    for run in range(TWICE):
        place = folder / str(run)
        place.mkdir()
        first, second = chance.choice(MOMENTS), (chance.randint(1, 12), chance.choice(MOMENTS))
        killed(Site(place), scenario, first, chance.randint(1, 12), again=second)
