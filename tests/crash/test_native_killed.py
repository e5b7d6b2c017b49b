"""Killed just before and just after every change that it makes on hosts which it orchestrates by itself: nothing
is lost, nothing is doubled, nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.crash import truth
from tests.crash.killing import killed
from tests.crash.life import Moment
from tests.crash.native_site import NativeSite, native_by_hand
from tests.crash.scenarios import SCENARIOS, Scenario, leave_half_done, nothing, roll, take_up
from tests.crash.story import Story, begin

LOG = [{"name": "log", "image": "log:1"}]
ELSEWHERE = {"take-up", "rollback", "run-once"}
"""What is done otherwise here, or makes no other changes on hosts than the rest."""


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    with native_by_hand():
        yield


def _with_sidecars(story: Story) -> None:
    story.create("app", "web", replicas=2, sidecars=LOG)
    story.settle()


def _roll_with_sidecars(story: Story) -> None:
    roll(story)
    story.delete("app", "web")
    story.settle()


def _recreate(story: Story) -> None:
    story.patch("web", image="web:2", update={"strategy": "recreate"})
    story.settle()


def _leave_a_mess(story: Story) -> None:
    """And others happen while nobody looks."""
    leave_half_done(story, sidecars=LOG)
    (host,) = story.site.hosts.values()
    host.change(host.named("zun-job").id, state="exited", exit_code=1)
    lost = [one for one in host.containers.values() if one.name.startswith("zun-web")]
    host.change(lost[0].id, state="exited", exit_code=137)
    del host.containers[lost[1].id]


def _drain(story: Story) -> None:
    story.do(lambda: story.site.drain("a"))
    story.turn(3)
    story.settle()
    assert not story.site.hosts["a"].containers


SCENES = (
    *(s for s in SCENARIOS if s.name not in ELSEWHERE),
    Scenario("create-with-sidecars", nothing, _with_sidecars),
    Scenario("roll-with-sidecars", _with_sidecars, _roll_with_sidecars),
    Scenario("recreate", _with_sidecars, _recreate),
    Scenario("take-up", _leave_a_mess, take_up),
    Scenario("drain", _with_sidecars, _drain),
)


def site(scenario: Scenario, folder: Path) -> NativeSite:
    """One host, or two where one is to be drained."""
    return NativeSite(folder, ("a", "b") if scenario.name == "drain" else ("a",))


@pytest.mark.parametrize("scenario", SCENES, ids=str)
def test_undisturbed(scenario: Scenario, folder: Path) -> None:
    story = begin(site(scenario, folder), scenario.prepare)
    scenario.play(story)
    truth.check(story)
    story.site.close()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("scenario", SCENES, ids=str)
def test_killed_at_every_change(scenario: Scenario, moment: Moment, folder: Path) -> None:
    for n in count(1):
        place = folder / str(n)
        place.mkdir()
        if not killed(site(scenario, place), scenario, moment, n):
            break
    assert n > 3, "so little is changed that this says nothing"
