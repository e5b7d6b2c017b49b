"""Killed at every change that it makes while a container is restarted: it is restarted once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.crash.killing import killed
from tests.crash.life import Life, Moment
from tests.crash.native_site import NativeSite, native_by_hand
from tests.crash.scenarios import Scenario
from tests.crash.story import Story


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    with native_by_hand():
        yield


class Site(NativeSite):
    """What is written counts as a change as well."""

    new_life = Life


def _running(story: Story) -> None:
    story.create("container", "job")
    story.settle()


def _restart(story: Story) -> None:
    story.act("job", "restart", "running", "Running")
    story.settle()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_restarted_once(moment: Moment, folder: Path) -> None:
    for n in count(1):
        place = folder / str(n)
        place.mkdir()
        site = Site(place)
        again = killed(site, Scenario("restart", _running, _restart), moment, n)
        assert site.hosts["a"].calls["start"] == 2, f"killed {moment} change {n}"
        if not again:
            break
    assert n > 3
