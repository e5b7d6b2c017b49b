"""What the Docker adapter makes of events that tell of an end, while the engine shows nothing of it yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.native.docker.ends import End, Ends, ended
from zun_coe.native.docker.recall import Glance, glance
from zun_coe.native.runtime import Found, Restart

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RAN = Found("1", "n", "i", {}, "running", restarts=2, address="172.17.0.2")
UP = glance({"State": "running", "Status": "Up 3 seconds"}, 5)
RESTARTING = glance({"State": "restarting", "Status": "Restarting (137) Less than a second ago"}, 5)
GONE = glance({"State": "exited", "Status": "Exited (3) 1 second ago"}, 5)


def event(action: str, code: int | None = None, id: str = "1") -> dict[str, Any]:
    """An event as the engine writes it."""
    attributes = {} if code is None else {"exitCode": str(code)}
    return {"Action": action, "id": id, "time": int(AT.timestamp()), "Actor": {"ID": id, "Attributes": attributes}}


@pytest.mark.parametrize(
    ("restart", "now", "end", "state", "code"),
    [
        ("always", UP, End(3, AT), "restarting", 3),
        ("always", UP, End(0, AT), "restarting", 0),
        ("on_failure", UP, End(0, AT), "exited", 0),
        ("on_failure", UP, End(1, AT), "restarting", 1),
        ("never", UP, End(137, AT), "exited", 137),
        ("never", UP, End(None, AT), "exited", None),
        ("always", RESTARTING, None, "restarting", 137),
        ("on_failure", RESTARTING, End(137, AT), "restarting", 137),
    ],
)
def test_what_is_told_while_nobody_may_look(
    restart: Restart, now: Glance, end: End | None, state: str, code: int | None
) -> None:
    before = replace(RAN, restart=restart)
    told = ended(before, now, end)
    assert told == replace(before, state=state, exit_code=code, finished_at=end.at if end else None, held=True)


@pytest.mark.parametrize(
    ("before", "now", "end"), [(None, RESTARTING, End(1, AT)), (RAN, UP, None), (RAN, GONE, End(3, AT))]
)
def test_what_tells_nothing(before: Found | None, now: Glance, end: End | None) -> None:
    """Nothing known from before, no end that was told, or one that can be inspected."""
    assert ended(before, now, end) is None


def test_an_end_counts_until_it_is_started_or_gone() -> None:
    for later in ("start", "destroy"):
        ends = Ends()
        ends.heard(event("die", 3))
        assert ends.of("1") == End(3, AT)
        assert ends.of("2") is None
        ends.heard(event(later))
        assert ends.of("1") is None


def test_what_somebody_ended_by_a_signal_may_stay_down() -> None:
    ends = Ends()
    for action in ("kill", "die", "stop"):
        ends.heard(event(action, 137))
        assert ends.of("1") is None
    ends.heard(event("start"))
    ends.heard(event("die", 1))
    assert ends.of("1") == End(1, AT)


def test_memory_that_ran_out_is_of_the_run_in_which_it_did() -> None:
    ends = Ends()
    for action in ("oom", "die"):
        ends.heard(event(action, 137))
    end = ends.of("1")
    assert end == End(137, AT, oom_killed=True)
    told = ended(RAN, UP, end)
    assert told is not None
    assert told.oom_killed
    for action in ("start", "die"):
        ends.heard(event(action, 137))
    assert ends.of("1") == End(137, AT)


def test_a_look_that_began_after_it_counts_more() -> None:
    ends = Ends()
    ends.superseded("1", ends.of("1"))
    begun = ends.of("1")
    ends.heard(event("die", 3))
    ends.superseded("1", begun)
    assert ends.of("1") == End(3, AT)
    ends.superseded("1", ends.of("1"))
    assert ends.of("1") is None


def test_an_event_that_says_little() -> None:
    ends = Ends()
    ends.heard({"Action": "die", "id": "1"})
    assert ends.of("1") == End(None, None)
    ends.heard({})


@given(st.lists(st.tuples(st.sampled_from(["die", "start", "kill", "oom", "destroy"]), st.integers(0, 9))))
def test_no_more_are_kept_than_may_be(told: list[tuple[str, int]]) -> None:
    ends = Ends(limit=3)
    for action, id in told:
        ends.heard(event(action, 1, str(id)))
    assert sum(ends.of(str(id)) is not None for id in range(10)) <= 3
    if told and told[-1][0] == "start":
        assert ends.of(str(told[-1][1])) is None
