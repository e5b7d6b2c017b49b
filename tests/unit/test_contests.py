"""Differences that somebody makes again and again."""

from __future__ import annotations

from tests.clock import Clock
from zun_coe.adapters.contests import CALM, FIRST, LAST, TRIES, Contests
from zun_coe.model import Drift

DRIFT = Drift(pointer="/Deployment/web/spec/replicas", wanted=1, found=2, manager="kubectl")


def test_it_is_put_right_at_once_a_few_times_and_then_less_and_less_often(clock: Clock) -> None:
    contests = Contests(clock)
    for _ in range(TRIES - 1):
        contests.corrected("web", [DRIFT])
        assert contests.left("web", DRIFT) == 0
    intervals = []
    for _ in range(12):
        contests.corrected("web", [DRIFT])
        intervals.append(contests.left("web", DRIFT))
        clock.now += intervals[-1]
        assert contests.left("web", DRIFT) == 0
    assert intervals[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert intervals[-1] == LAST


def test_what_goes_on_for_weeks_is_put_right_as_seldom_as_ever(clock: Clock) -> None:
    contests = Contests(clock)
    for _ in range(2000):
        contests.corrected("web", [DRIFT])
        clock.now += contests.left("web", DRIFT)
    contests.corrected("web", [DRIFT])
    assert contests.left("web", DRIFT) == LAST


def test_others_are_not_left_alone_for_it(clock: Clock) -> None:
    contests = Contests(clock)
    for _ in range(TRIES):
        contests.corrected("web", [DRIFT])
    assert contests.left("web", Drift(pointer="/Deployment/web/spec/paused")) == 0
    assert contests.left("other", DRIFT) == 0
    contests.forget("web")
    assert contests.left("web", DRIFT) == 0


def test_after_a_while_it_counts_as_new(clock: Clock) -> None:
    contests = Contests(clock)
    for _ in range(TRIES):
        contests.corrected("web", [DRIFT])
    clock.now += CALM + 2 * FIRST + 1
    contests.corrected("web", [DRIFT])
    assert contests.left("web", DRIFT) == 0


def test_who_is_at_it_is_told(clock: Clock) -> None:
    contests = Contests(clock)
    for _ in range(TRIES):
        contests.corrected("web", [DRIFT])
    told = contests.waiting("web", [DRIFT])
    assert (told.seconds, told.reason, told.evidence["managers"]) == (FIRST, "Contested", ["kubectl"])
    assert told.message is not None
    assert "kubectl changed /Deployment/web/spec/replicas again" in told.message
