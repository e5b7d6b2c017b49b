"""Steps in a row that change nothing are told from those that bring a workload nearer to what is wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.native.workloads import ref
from zun_coe.engine.repetition import PATIENCE, Repetition
from zun_coe.model import Instance, Observation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FUTILE = Observation(ref=ref(), hash="a", instances=(Instance(native_id="1", hash="a", state="exited"),))


def test_same_observation_again_and_again_is_endless() -> None:
    repetition = Repetition()
    assert [repetition.endless(FUTILE) for _ in range(PATIENCE + 1)] == [False] * PATIENCE + [True]


def test_observation_that_differs_in_nothing_but_times_and_runs_is_the_same() -> None:
    repetition = Repetition()
    runs = [
        msgspec.structs.replace(
            FUTILE,
            message=f"attempt {n}",
            instances=(
                msgspec.structs.replace(FUTILE.instances[0], restarts=n, started_at=NOW + timedelta(seconds=n)),
            ),
        )
        for n in range(PATIENCE + 1)
    ]
    assert [repetition.endless(seen) for seen in runs][-1]


@given(st.lists(st.integers(0, 2), max_size=60))
def test_only_a_run_of_equal_ones_counts(numbers: list[int]) -> None:
    repetition, run, last = Repetition(), 0, -1
    for number in numbers:
        run = run + 1 if number == last else 1
        last = number
        assert repetition.endless(msgspec.structs.replace(FUTILE, desired=number)) is (run > PATIENCE)
