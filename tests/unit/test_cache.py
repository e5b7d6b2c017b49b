"""The copy of the store: whole revisions, no gap and no doubling, whatever happens to the watch."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.real.waiting import wait_until
from zun_coe.errors import StoreUnavailable
from zun_coe.model import Tombstone
from zun_coe.store import Batch, Condition, Delete, Lease, Operation, Page, Put, Record, Store, records
from zun_coe.store.cache import Cache, Entry, Update
from zun_coe.store.sqlite import SqliteStore


class Cuttable(Store):
    """A store whose reads and watches fail while `away` is set, for whoever reads through it."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.away = threading.Event()

    def get(self, key: str) -> Record | None:
        return self.inner.get(key)

    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        self._check()
        return self.inner.list(prefix, limit=limit, after=after, revision=revision)

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        return self.inner.transact(conditions, operations)

    def watch(self, prefix: str, since: int, stop: threading.Event) -> Iterator[Batch]:
        for batch in self.inner.watch(prefix, since, stop):
            self._check()
            yield batch

    def grant(self, ttl: float) -> Lease:
        return self.inner.grant(ttl)

    def renew(self, lease: Lease) -> None:
        self.inner.renew(lease)

    def revoke(self, lease: Lease) -> None:
        self.inner.revoke(lease)

    def compact(self, before: int) -> None:
        self.inner.compact(before)

    def close(self) -> None:
        self.inner.close()

    def _check(self) -> None:
        if self.away.is_set():
            raise StoreUnavailable("it was cut off")


class Follower:
    """A listener that builds a copy of its own from what it hears and checks that every step fits."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[Update]]] = []
        self.copy: dict[str, Entry] = {}

    def __call__(self, revision: int, updates: Sequence[Update]) -> None:
        assert updates
        self.calls.append((revision, list(updates)))
        for update in updates:
            assert self.copy.get(update.key) == update.before, update
            self.copy.pop(update.key, None)
            if update.after:
                self.copy[update.key] = update.after

    @property
    def revisions(self) -> list[int]:
        return [revision for revision, _ in self.calls]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Cuttable]:
    with SqliteStore(tmp_path / "state.db") as inner:
        yield Cuttable(inner)


@pytest.fixture
def cache(store: Store) -> Iterator[Cache]:
    made = Cache(store)
    yield made
    made.close()


def test_it_shows_what_was_there_and_what_comes(store: Store, cache: Cache) -> None:
    first = store.create("meta/a", b"1")
    cache.start()
    assert cache.get("meta/a") == Entry("meta/a", "1", first, first)
    assert cache.revision == first
    second = store.update("meta/a", b"zwei", first)
    cache.wait_for(second)
    assert cache.get("meta/a") == Entry("meta/a", "zwei", second, first)
    cache.wait_for(store.delete("meta/a", second))
    assert cache.get("meta/a") is None
    assert cache.list("") == []


def test_values_are_decoded(store: Store, cache: Cache) -> None:
    tombstone = Tombstone(noun="app", id="i", project="p", name="web", cluster="c", at=datetime.now(UTC))
    key = records.tombstone_key("c", "app", "i")
    cache.start()
    cache.wait_for(store.create(key, records.encode(tombstone)))
    assert cache.get(key).value == tombstone


def test_lists_are_in_order_and_of_a_prefix(store: Store, cache: Cache) -> None:
    names = ["owner/b", "owner/a", "owner/é", "owner/\U0001f600", "owner/\uffff", "owner", "owner0", "a", "z"]
    store.transact([], [Put(name, b"") for name in names])
    cache.start()
    found = [entry.key for entry in cache.list("owner/")]
    assert found == sorted((name for name in names if name.startswith("owner/")), key=str.encode)
    assert [entry.key for entry in cache.list("")] == sorted(names, key=str.encode)
    assert cache.list("none/") == []


def test_a_listener_hears_everything_in_order(store: Store, cache: Cache) -> None:
    follower = Follower()
    cache.listen(follower)
    before = store.transact([], [Put("meta/a", b"1"), Put("meta/b", b"2")])
    cache.start()
    revisions = [store.transact([], [Put("meta/a", b"%d" % n), Put(f"meta/{n}", b"")]) for n in range(50)]
    cache.wait_for(revisions[-1])
    wait_until(lambda: follower.revisions == [before, *revisions], 5)
    assert [len(updates) for _, updates in follower.calls] == [2] * 51
    assert all(update.before is None for update in follower.calls[0][1])
    assert follower.copy == {entry.key: entry for entry in cache.list("")}


def test_a_listener_of_an_empty_store_hears_nothing_at_first(store: Store, cache: Cache) -> None:
    follower = Follower()
    cache.listen(follower)
    cache.start()
    assert follower.calls == []


def test_the_entries_are_in_place_when_a_listener_is_called(store: Store, cache: Cache) -> None:
    seen: list[bool] = []
    cache.listen(lambda revision, updates: seen.append(cache.get(updates[0].key) == updates[0].after))
    cache.start()
    store.create("meta/a", b"1")
    wait_until(lambda: seen == [True], 5)


def test_a_listener_that_raises_harms_nobody(store: Store, cache: Cache) -> None:
    def broken(revision: int, updates: Sequence[Update]) -> None:
        raise RuntimeError("a fault of mine")

    follower = Follower()
    cache.listen(broken)
    cache.listen(follower)
    with capture_logs() as logs:
        cache.start()
        first = store.create("meta/a", b"1")
        second = store.update("meta/a", b"2", first)
        wait_until(lambda: follower.revisions == [first, second], 5)
    assert [line["event"] for line in logs] == ["store.listener"] * 2


def test_who_does_not_listen_any_more(store: Store, cache: Cache) -> None:
    follower, late = Follower(), Follower()
    cache.listen(follower)
    cache.start()
    first = store.create("meta/a", b"1")
    wait_until(lambda: follower.revisions == [first], 5)
    cache.unlisten(follower)
    cache.unlisten(follower)
    cache.listen(late)
    second = store.create("meta/b", b"2")
    wait_until(lambda: late.revisions == [second], 5)
    assert follower.revisions == [first]


def test_what_cannot_be_decoded_is_logged_once_and_skipped(store: Store, cache: Cache) -> None:
    follower = Follower()
    cache.listen(follower)
    with capture_logs() as logs:
        cache.start()
        bad = store.transact([], [Put("event/p/w/000", b"{"), Put("meta/x", b"\xff")])
        store.transact([], [Put("event/p/w/000", b"{{")])
        last = store.create("meta/good", b"1")
        cache.wait_for(last)
    assert [line["event"] for line in logs] == ["store.undecodable"] * 2
    assert cache.get("event/p/w/000") is None
    assert [entry.key for entry in cache.list("")] == ["meta/good"]
    cache.wait_for(store.transact([], [Delete("event/p/w/000"), Put("meta/x", b"now text")]))
    assert cache.get("meta/x").value == "now text"
    wait_until(lambda: follower.revisions[-1] == cache.revision, 5)
    assert bad < last
    assert [update.key for update in follower.calls[-1][1]] == ["meta/x"]


def test_a_value_that_becomes_undecodable_does_not_look_deleted(store: Store, cache: Cache) -> None:
    cache.start()
    first = store.create("meta/x", b"good")
    cache.wait_for(store.update("meta/x", b"\xff", first))
    assert cache.get("meta/x").value == "good"


def test_a_gap_is_made_up_for(store: Cuttable, cache: Cache) -> None:
    """The store is away while things change and what happened is forgotten: the differences are told as one."""
    follower = Follower()
    cache.listen(follower)
    store.transact([], [Put(f"meta/{n}", b"old") for n in range(5)])
    cache.start()
    store.away.set()
    wait_until(lambda: cache.age > 0.8, 5, "The age grows")
    known = len(follower.calls)
    for n in range(3):
        last = store.transact([], [Put("meta/0", b"new %d" % n), Delete("meta/1"), Put("meta/9", b"new")])
    store.compact(last)
    store.away.clear()
    cache.wait_for(last)
    wait_until(lambda: len(follower.calls) > known, 5)
    revision, updates = follower.calls[known]
    assert revision == last
    assert [(update.key, update.after.value if update.after else None) for update in updates] == [
        ("meta/0", "new 2"),
        ("meta/1", None),
        ("meta/9", "new"),
    ]
    assert follower.copy == {entry.key: entry for entry in cache.list("")}
    wait_until(lambda: cache.age < 0.8, 5, "The store is heard again")


def test_a_watch_that_breaks_goes_on_where_it_was(store: Cuttable, cache: Cache) -> None:
    follower = Follower()
    cache.listen(follower)
    cache.start()
    revisions = []
    for n in range(100):
        revisions.append(store.create(f"meta/{n}", b""))
        if n % 20 == 10:
            store.away.set()
            wait_until(lambda: cache.age > 0.05, 5)
            store.away.clear()
    cache.wait_for(revisions[-1])
    wait_until(lambda: follower.revisions == revisions, 5)


@pytest.mark.parametrize("seed", range(3))
def test_any_fate_leaves_a_true_copy(store: Cuttable, cache: Cache, seed: int) -> None:
    chance = random.Random(seed)
    follower = Follower()
    cache.listen(follower)
    cache.start()
    last = 0
    for n in range(300):
        key = f"meta/{chance.randrange(10)}"
        last = store.transact([], [Put(key, b"%d" % n) if chance.random() < 0.6 else Delete(key)])
        if chance.random() < 0.03:
            (store.away.clear if store.away.is_set() else store.away.set)()
        if chance.random() < 0.03:
            store.compact(last)
    store.away.clear()
    cache.wait_for(last)
    there = {record.key: (record.value.decode(), record.revision) for record in store.list("").records}
    assert {entry.key: (entry.value, entry.revision) for entry in cache.list("")} == there
    wait_until(lambda: follower.copy == {entry.key: entry for entry in cache.list("")}, 5)
    assert follower.revisions == sorted(set(follower.revisions))


def test_a_store_that_is_away_at_the_start(store: Cuttable) -> None:
    store.away.set()
    cache = Cache(store)
    assert cache.age == float("inf")
    with pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
        cache.start(timeout=0.2)


def test_a_store_that_comes_late_at_the_start(store: Cuttable, cache: Cache) -> None:
    store.away.set()
    back = threading.Timer(0.2, store.away.clear)
    back.start()
    cache.start(timeout=10)
    back.join()
    assert cache.age < 5


def test_waiting_for_what_does_not_come(store: Store, cache: Cache) -> None:
    cache.start()
    with pytest.raises(StoreUnavailable, match="was not seen"):
        cache.wait_for(10**9, timeout=0.05)


def test_it_stays_readable_when_closed(store: Store, cache: Cache) -> None:
    store.create("meta/a", b"1")
    cache.start()
    cache.close()
    cache.close()
    assert cache.get("meta/a").value == "1"
