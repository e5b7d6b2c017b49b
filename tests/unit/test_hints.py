"""Hints that are spaced are told of later, and hold nobody else back."""

from __future__ import annotations

import pytest

from zun_coe.adapters.hints import Hints
from zun_coe.model import WorkloadRef

LONG, SOON = 3600.0, 0.01


def ref(name: str) -> WorkloadRef:
    return WorkloadRef(installation="i", cluster="c", project="p", noun="app", id=name, name=name)


@pytest.fixture
def hints() -> Hints:
    return Hints()


def test_what_is_spaced_is_not_told_of_and_others_are(hints: Hints) -> None:
    hints.space(ref("new"), LONG)
    hints.put(ref("new"))
    hints.put(ref("old"))
    assert hints.take(0) == [ref("old")]


def test_what_was_put_meanwhile_is_told_of_once_when_the_time_is_over(hints: Hints) -> None:
    hints.space(ref("new"), SOON)
    hints.put(ref("new"))
    hints.put(ref("new"))
    assert hints.take(LONG) == [ref("new")]
    assert hints.take(0) == []


def test_an_earlier_look_stays(hints: Hints) -> None:
    hints.put_after(ref("new"), SOON)
    hints.space(ref("new"), LONG)
    hints.put(ref("new"))
    assert hints.take(LONG) == [ref("new")]


def test_without_space_it_is_told_of_at_once(hints: Hints) -> None:
    hints.space(ref("new"), 0)
    hints.put(ref("new"))
    assert hints.take(0) == [ref("new")]


def test_spacing_alone_tells_nothing(hints: Hints) -> None:
    hints.space(ref("new"), 0)
    assert hints.take(0) == []


def test_space_is_left_after_each_time_that_it_was_told_of(hints: Hints) -> None:
    hints.space(ref("new"), SOON)
    hints.put(ref("new"))
    assert hints.take(LONG) == [ref("new")]
    hints.space(ref("new"), LONG)
    hints.put(ref("new"))
    assert hints.take(0) == []


def test_what_was_put_meanwhile_is_told_of_as_soon_as_the_space_is_smaller(hints: Hints) -> None:
    hints.space(ref("new"), LONG)
    hints.put(ref("new"))
    hints.space(ref("new"), 0)
    assert hints.take(0) == [ref("new")]
