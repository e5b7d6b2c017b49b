"""Events that say the same become one within the window, and only those."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.clock import Clock
from zun_coe.engine import series as module
from zun_coe.engine.series import Recent, Series
from zun_coe.model import Event
from zun_coe.store.cache import Cache, Entry
from zun_coe.store.records import event_key, utc_now

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Event(
    project="p",
    type="AppDegraded",
    subject="app",
    subject_id="1",
    subject_name="web",
    at=NOW,
    level="warning",
    reason="CrashLoop",
    message="It is Degraded (2 of 3 ready). CrashLoop: container 4f5a1c9e0b7d ended.",
    cluster="c",
    generation=3,
    request_id="req-1",
    data={"native_id": "c1", "slot": 1},
)


class Stored:
    """What the copy of the store has."""

    def __init__(self, *events: Event) -> None:
        self.entries = [Entry(event_key("p", f"w{n}", 0), event, n + 1, n + 1) for n, event in enumerate(events)]

    def list(self, prefix: str) -> Sequence[Entry]:
        assert prefix == "event/"
        return self.entries


def series(*events: Event, window: float = 600.0) -> Series:
    return Series(Recent(cast(Cache, Stored(*events)), window), "c")


def told(series: Series, event: Event, write: str, room: int = 10) -> tuple[Event, str | None]:
    [one] = series.continued([event], room)
    series.told(event_key("p", write, 0), one.event)
    return one.event, one.former


def test_an_equal_event_continues_the_one_before() -> None:
    events = series()
    first, former = told(events, EVENT, "a")
    assert (first.count, first.first_at, former) == (1, None, None)
    for n in range(2, 5):
        message = EVENT.message.replace("4f5a1c9e0b7d", "0d2b6fe81c33")
        later = replace(EVENT, at=NOW + timedelta(seconds=n), message=message)
        event, former = told(events, later, f"w{n}")
        assert (event.count, event.first_at, event.at) == (n, NOW, later.at)
        assert former == event_key("p", "a" if n == 2 else f"w{n - 1}", 0)


@pytest.mark.parametrize(
    "other",
    [
        {"type": "AppFailed"},
        {"reason": "OutOfMemory"},
        {"level": "info"},
        {"message": "It is Degraded. Something else."},
        {"subject_id": "2"},
        {"project": "q"},
        {"generation": 4},
        {"request_id": "req-2"},
        {"data": {"native_id": "c2", "slot": 1}},
        {"data": EVENT.data | {"exit_code": 137}},
        {"data": EVENT.data | {"host": "node2"}},
        {"data": EVENT.data | {"differences": [{"pointer": "/ports/1/port"}]}},
        {"at": NOW + timedelta(seconds=601)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_is_an_event_of_its_own(other: dict[str, Any]) -> None:
    events = series()
    told(events, EVENT, "a")
    event, former = told(events, replace(EVENT, **other), "b")
    assert (event.count, former) == (1, None)


def test_a_series_goes_on_for_as_long_as_it_repeats_itself() -> None:
    events = series()
    told(events, EVENT, "a")
    for n in range(1, 10):
        event, _ = told(events, replace(EVENT, at=NOW + n * timedelta(seconds=599)), f"w{n}")
        assert event.count == n + 1


def test_a_new_process_continues_what_is_stored() -> None:
    recent = replace(EVENT, at=utc_now() - timedelta(seconds=30), count=7, first_at=NOW)
    old = replace(EVENT, reason="Other", at=utc_now() - timedelta(hours=1))
    others = replace(EVENT, type="Else", cluster="d", at=recent.at)
    events = series(recent, old, others)
    event, former = told(events, replace(EVENT, at=utc_now()), "a")
    assert (event.count, event.first_at, former) == (8, NOW, event_key("p", "w0", 0))
    for unrelated in (old, others):
        assert told(events, replace(unrelated, at=utc_now()), "b")[1] is None


def test_what_is_stored_is_looked_through_once_for_all_clusters() -> None:
    at = utc_now()
    stored = Stored(
        *(replace(EVENT, cluster=f"c{n}", at=at) for n in range(100)),
        replace(EVENT, subject="cluster", subject_id="c1", cluster=None, at=at),
    )
    looks: list[str] = []
    stored.list = lambda prefix, entries=stored.entries: looks.append(prefix) or entries  # type: ignore[method-assign, misc]
    recent = Recent(cast(Cache, stored), 600.0)
    for n in range(100):
        assert told(Series(recent, f"c{n}"), replace(EVENT, cluster=f"c{n}", at=at), "a")[0].count == 2
    assert looks == ["event/"]


def test_after_a_write_whose_end_is_unknown_the_store_is_asked() -> None:
    stored = Stored()
    events = Series(Recent(cast(Cache, stored), 600.0, Clock()), "c")
    told(events, replace(EVENT, at=utc_now()), "a")
    stored.entries = Stored(replace(EVENT, at=utc_now(), count=2)).entries
    events.forget()
    assert told(events, replace(EVENT, at=utc_now()), "b")[0].count == 3


def test_no_more_are_continued_than_there_is_room_for() -> None:
    events = series()
    several = [replace(EVENT, subject_id=str(n)) for n in range(5)]
    for n, event in enumerate(several):
        told(events, event, f"w{n}")
    assert [one.former is None for one in events.continued(several, 2)] == [False, False, True, True, True]


def test_without_a_window_every_event_stays() -> None:
    events = series(window=0.0)
    told(events, EVENT, "a")
    assert told(events, EVENT, "b") == (EVENT, None)


def test_of_equal_events_in_one_write_one_continues() -> None:
    """As of two replicas of one slot, of which one replaces the other: a write takes away each event once."""
    names = ["zun-web-ab12cd34ef56-1-deadbee1", "zun-web-ab12cd34ef56-1-deadbee2"]
    both = [replace(EVENT, type="InstanceUnknown", message=f"{name}: Its host a is away.") for name in names]
    events = series()
    for turn in range(3):
        continued = events.continued(both, 10)
        formers = [one.former for one in continued if one.former]
        assert len(formers) == min(turn, 1)
        for n, one in enumerate(continued):
            events.told(event_key("p", f"w{turn}", n), one.event)


def test_no_more_series_are_known_than_make_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were told last, whatever the window is: to look for those that are over at every event takes long."""
    monkeypatch.setattr(module, "_MANY", 10)
    events = series()
    for n in [*range(10), 0, *range(10, 15)]:
        told(events, replace(EVENT, subject_id=str(n)), f"w{n}")
    continued = [events.continued([replace(EVENT, subject_id=str(n))], 1)[0].former is not None for n in range(15)]
    assert [n for n in range(15) if continued[n]] == [0, *range(6, 15)]
