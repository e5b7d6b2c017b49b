"""The time in which nobody could see what becomes of anything is no lack of progress, however the first looks go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.crash.clockwork import Site, hand_turned, quick_folder
from tests.crash.place import Place
from tests.crash.story import begin
from zun_coe.errors import Unavailable
from zun_coe.store.records import utc_now


@pytest.fixture
def place() -> Iterator[Place]:
    with hand_turned(), quick_folder() as folder:
        story = begin(Site(folder), lambda story: None)
        yield Place(story)
        story.site.close()


@pytest.mark.parametrize("in_vain", [0, 1, 2])
def test_looks_in_vain_take_nothing_of_the_time_before_them(place: Place, in_vain: int) -> None:
    """The process was not there for ten minutes; the cluster tells who it is, and only later what runs there."""
    place.story.settle()
    runner = place.runner
    keeper = runner._keeper
    status, revision = keeper._status()
    before = replace(status, as_of=utc_now() - timedelta(minutes=10))
    runner._ledger.write_status(keeper._key, before, revision)
    runner._reachable, keeper._answered, runner._reconciler._since = False, None, None
    place.site.cluster.faults.fail_next("observe", times=in_vain)
    for _ in range(in_vain):
        with pytest.raises(Unavailable) as failed:
            runner._survey()
        runner._away(failed.value)
    runner._survey()
    assert runner._reconciler._since is not None
