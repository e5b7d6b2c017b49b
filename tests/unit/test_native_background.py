"""What goes on for days: delays stay what they are, and nothing that is remembered grows without end."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.clock import Clock
from tests.native.workloads import app
from tests.real.waiting import wait_until
from zun_coe.errors import Unavailable
from zun_coe.model import WorkloadRef
from zun_coe.native import background
from zun_coe.native.background import LAST_RETRY, Demand, Pulls, Relapses
from zun_coe.native.runtime import Runtime

DAYS = 2000
"""So many attempts, one in five minutes, take a week."""


class Registry:
    """A runtime that pulls. `there`: whether it finds the image."""

    def __init__(self, *, there: bool) -> None:
        self._there, self.pulled = there, 0

    def pull(self, image: str, auth: Any) -> None:
        self.pulled += 1
        if not self._there:
            raise Unavailable("no route to the registry", "ImagePullFailed")

    def has_image(self, image: str) -> bool:
        return False


def demand(image: str = "web:1", hash_: str = "h") -> Demand:
    return Demand("a", image, "always", app().ref, hash_)


def pulled(pulls: Pulls, registry: Registry, wanted: Demand) -> Any:
    """Want an image and wait until that attempt has ended."""
    told = pulls.want(wanted, cast(Runtime, registry))
    wait_until(lambda: not pulls._jobs.under_way(), 30, "the pull has not ended")
    return told


def test_what_is_unhealthy_for_days_is_replaced_as_often_as_ever() -> None:
    clock = Clock()
    relapses = Relapses(clock)
    for _ in range(DAYS):
        relapses.replaced("web")
        assert 0 < relapses.due("web") <= LAST_RETRY
        clock.now += LAST_RETRY
    relapses.replaced("web")
    assert relapses.due("web") == LAST_RETRY


def test_what_can_not_be_pulled_for_days_is_tried_as_often_as_ever() -> None:
    hinted: list[WorkloadRef] = []
    pulls, registry = Pulls(hinted.append, Clock()), Registry(there=False)
    pulls._record(demand()).failures = DAYS
    pulls._record(demand()).tried.add(demand().who)
    pulled(pulls, registry, demand())
    assert len(hinted) == 1
    again = pulls.want(demand(), cast(Runtime, registry))
    assert again is not None
    assert (again.seconds, again.reason, registry.pulled) == (LAST_RETRY, "ImagePullFailed", 1)


def test_of_many_images_those_asked_for_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_MANY", 10)
    pulls, registry = Pulls(lambda ref: None), Registry(there=True)
    for number in range(30):
        pulled(pulls, registry, demand(f"web:{number}"))
        assert pulls.want(demand(f"web:{number}"), cast(Runtime, registry)) is None
    assert len(pulls._records) == 10
    for number in range(30):
        pulled(pulls, registry, demand("db:1", f"template {number}"))
    assert len(pulls._record(demand("db:1")).served) == 10
    assert pulls.want(demand("db:1", "template 29"), cast(Runtime, registry)) is None


def test_of_many_relapses_the_last_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_MANY", 10)
    relapses = Relapses(Clock())
    for number in range(30):
        relapses.replaced(number)
        relapses.replaced(0)
    assert len(relapses._known) == 10
    assert relapses.due(0) > 0
