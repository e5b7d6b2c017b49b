"""What is kept for a time goes when that is over, whoever tidies, and however far behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.clock import Clock
from zun_coe.config import Settings
from zun_coe.engine.housekeeping import Housekeeping
from zun_coe.model import Event
from zun_coe.store import Put, Store, open_store
from zun_coe.store.cache import Cache
from zun_coe.store.records import encode, event_key, floor_key, floor_of, utc_now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'state.db'}") as opened:
        yield opened


def happen(store: Store, *ages: float) -> None:
    """An event for each age, in seconds."""
    for age in ages:
        event = Event(
            project="p",
            type="T",
            subject="app",
            subject_id="1",
            subject_name="web",
            at=utc_now() - timedelta(seconds=age),
        )
        store.transact([], [Put(event_key("p", f"w{age}-{utc_now().timestamp()}", 0), encode(event))])


def copy(store: Store) -> Cache:
    """The store as a process sees it that hears of nothing more."""
    made = Cache(store)
    made.start()
    made.close()
    return made


def floor(store: Store) -> tuple[int, int]:
    record = store.get(floor_key("p"))
    return floor_of(record.value.decode()) if record else (0, 0)


def left(store: Store) -> int:
    return len(store.list("event/").records)


def test_the_floor_rises_with_what_goes(store: Store) -> None:
    happen(store, 1000, 900, 10)
    settings = Settings(event_age=500.0)
    Housekeeping(store, copy(store), settings).tidy()
    assert left(store) == 1
    first = floor(store)
    assert first > (0, 0)
    happen(store, 800)
    Housekeeping(store, copy(store), settings).tidy()
    assert floor(store) > first


def test_the_floor_never_moves_back(store: Store) -> None:
    """An engine whose copy is behind knows only of what is gone already."""
    happen(store, 1000)
    settings = Settings(event_age=500.0)
    behind = Housekeeping(store, copy(store), settings)
    happen(store, 900, 800)
    Housekeeping(store, copy(store), settings).tidy()
    risen = floor(store)
    behind.tidy()
    assert floor(store) == risen
    assert left(store) == 0


def test_two_that_tidy_at_once_do_no_harm(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    happen(store, 1000, 900)
    settings = Settings(event_age=500.0)
    one, two = (Housekeeping(store, copy(store), settings) for _ in range(2))
    get, turns = store.get, []

    def late(key: str) -> object:
        record = get(key)
        if key == floor_key("p") and not turns:
            turns.append(key)
            two.tidy()
        return record

    monkeypatch.setattr(store, "get", late)
    one.tidy()
    assert turns
    assert left(store) == 0
    assert floor(store) > (0, 0)


class TestCompaction:
    @pytest.fixture
    def compacted(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        revisions: list[int] = []
        monkeypatch.setattr(store, "compact", revisions.append)
        return revisions

    def test_it_goes_by_age(self, store: Store, compacted: list[int], clock: Clock) -> None:
        cache = Cache(store)
        cache.start()
        keeper = Housekeeping(store, cache, Settings(compaction_age=600.0), clock)
        seen = []
        for _ in range(20):
            for n in range(100):
                revision = store.transact([], [Put(f"meta/{n}", b"x")])
            cache.wait_for(revision)
            seen.append(cache.revision)
            keeper._compact()
            clock.now += 60.0
        assert compacted == seen[: len(compacted)]
        assert len(compacted) == 10, "what is younger than ten rounds of a minute each is kept"
        cache.close()

    def test_it_is_left_to_others(self, store: Store, compacted: list[int], clock: Clock) -> None:
        keeper = Housekeeping(store, copy(store), Settings(compaction_age=0.0), clock)
        for _ in range(20):
            keeper.tidy()
            clock.now += 3600.0
        assert compacted == []
