"""Killed just before and just after every change that it makes, in every scenario: nothing is lost,
nothing is doubled, nothing is left behind, and the events tell it all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.crash import truth
from tests.crash.clockwork import Site, hand_turned, quick_folder
from tests.crash.life import Killed, Moment
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.story import Story, begin


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


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_killed_at_every_change(scenario: Scenario, moment: Moment, folder: Path) -> None:
    for n in count(1):
        place = folder / str(n)
        place.mkdir()
        if not killed(scenario, moment, n, place):
            break
    assert n > 3, "the scenario changes so little that this says nothing"


def killed(scenario: Scenario, moment: Moment, n: int, folder: Path) -> bool:
    """Play a scenario, killed at its n-th change, and check what comes of it. Whether it got so far."""
    story = begin(Site(folder), scenario.prepare)
    life = story.site.running.life
    life.end_at(n, moment)
    try:
        scenario.play(story)
    except Killed:
        try:
            recovered(story)
        except BaseException as error:
            error.add_note(f"killed {moment} change {n}: {life.changes}")
            raise
        return True
    finally:
        story.site.close()
    return False


def recovered(story: Story) -> None:
    """Another process takes up what is there; then the user asks again for what was not answered."""
    story.site.drop()
    story.site.boot()
    story.settle()
    truth.check(story)
    story.ask_again()
    story.settle()
    truth.check(story)
