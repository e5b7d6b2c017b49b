"""The clock of a host may be wrong: how much is measured, and what was assumed before stays as long as it fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from zun_coe.adapters.clocks import steadied
from zun_coe.native.docker.reading import clock_ahead

ASKED = datetime(2026, 1, 1, tzinfo=UTC)
DELAYS = st.floats(0, 30).map(lambda seconds: timedelta(seconds=seconds))
OFFSETS = st.floats(-1e6, 1e6).map(lambda seconds: timedelta(seconds=seconds))


def info(moment: datetime) -> dict[str, str]:
    return {"SystemTime": moment.isoformat(timespec="microseconds").replace("+00:00", "123Z")}


@given(OFFSETS, DELAYS, DELAYS)
def test_difference_is_never_exaggerated_and_as_exact_as_the_answer_was_quick(
    offset: timedelta, before: timedelta, after: timedelta
) -> None:
    measured = clock_ahead(info(ASKED + before + offset), ASKED, ASKED + before + after)
    assert abs(measured) <= abs(offset) + timedelta(milliseconds=1)
    assert abs(measured - offset) <= before + after + timedelta(milliseconds=1)


def test_engine_that_does_not_tell_the_time_has_ours() -> None:
    assert clock_ahead({}, ASKED, ASKED) == timedelta()


@given(OFFSETS, st.lists(st.floats(-0.4, 0.4), max_size=20))
def test_measurements_that_differ_little_change_nothing(offset: timedelta, noise: list[float]) -> None:
    known = steadied(timedelta(), offset)
    assert abs(known - offset) <= timedelta(seconds=1)
    for deviation in noise:
        assert steadied(known, known + timedelta(seconds=deviation)) == known


def test_clock_that_was_put_right_is_noticed() -> None:
    assert steadied(timedelta(seconds=90), timedelta(seconds=0.2)) == timedelta()
