"""What every store does, as one suite. An implementation inherits it and gives the fixture `store`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise, takewhile

import pytest

from tests.real.waiting import wait_until
from zun_coe.errors import (
    Compacted,
    Fenced,
    KeyExists,
    KeyNotFound,
    RevisionConflict,
    StoreError,
    StoreUnavailable,
)
from zun_coe.store import (
    MAX_BYTES,
    MAX_OPERATIONS,
    At,
    Batch,
    Condition,
    Delete,
    Held,
    Lease,
    Missing,
    Present,
    Put,
    Record,
    Store,
)

TTL = 3.0


def now(store: Store) -> int:
    """The newest revision."""
    return store.list("", limit=1).revision


def keys(records: Sequence[Record]) -> list[str]:
    return [record.key for record in records]


class Watching:
    """A watch in a thread of its own, and what it heard. With `turns` it is begun anew after that many
    batches with changes, from where it was; a `patient` one is when the store was away, as users of it do."""

    def __init__(self, store: Store, prefix: str, since: int, turns: int | None = None, patient: bool = False) -> None:
        self._store, self._prefix, self._turns = store, prefix, turns
        self._forgiven = (StoreUnavailable,) if patient else ()
        self.stop = threading.Event()
        self.batches: list[Batch] = []
        self.heard = 0
        self.error: Exception | None = None
        self.position = since
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def changes(self) -> list[tuple[str, bytes | None]]:
        """Every change in order, its key and value (None: deleted)."""
        changes = [change for batch in self.batches for change in batch.changes]
        return [(change.key, change.record.value if change.record else None) for change in changes]

    def until(self, revision: int, timeout: float = 20.0) -> None:
        """Wait until a revision was heard of."""
        wait_until(lambda: self.position >= revision or self.error, timeout, f"The watch sees revision {revision}")
        assert self.error is None, self.error

    def end(self) -> None:
        self.stop.set()
        self.thread.join(15)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                with suppress(*self._forgiven):
                    self._once()
        except StoreError as error:
            self.error = error

    def _once(self) -> None:
        turns = 0
        for batch in self._store.watch(self._prefix, self.position, self.stop):
            self.heard += 1
            self.position = batch.revision
            if batch.changes:
                self.batches.append(batch)
                turns += 1
            if turns == self._turns:
                return


@contextmanager
def watching(
    store: Store, prefix: str, since: int, turns: int | None = None, patient: bool = False
) -> Iterator[Watching]:
    watch = Watching(store, prefix, since, turns, patient)
    try:
        yield watch
    finally:
        watch.end()


def at_once(work: Callable[[int], object], count: int) -> list[object]:
    """What each of several threads that begin together gave back or raised (of the store's errors)."""
    barrier = threading.Barrier(count)

    def one(n: int) -> object:
        barrier.wait()
        try:
            return work(n)
        except StoreError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class StoreContract:
    """The fixture `store` is a new, empty store for each test."""

    # One key

    def test_a_key_that_is_not_there(self, store: Store) -> None:
        assert store.get("app/a") is None
        assert store.list("").records == ()

    def test_a_key_through_its_life(self, store: Store) -> None:
        first = store.create("app/a", b"one")
        assert store.get("app/a") == Record("app/a", b"one", first, first)
        second = store.update("app/a", b"two", first)
        assert store.get("app/a") == Record("app/a", b"two", second, first)
        third = store.delete("app/a", second)
        assert store.get("app/a") is None
        fourth = store.create("app/a", b"")
        assert store.get("app/a") == Record("app/a", b"", fourth, fourth)
        assert first < second < third < fourth

    def test_what_is_there_is_not_created(self, store: Store) -> None:
        store.create("a", b"1")
        with pytest.raises(KeyExists, match="a is there"):
            store.create("a", b"2")
        assert store.get("a").value == b"1"

    def test_an_old_revision_is_neither_updated_nor_deleted(self, store: Store) -> None:
        old = store.create("a", b"1")
        store.update("a", b"2", old)
        with pytest.raises(RevisionConflict):
            store.update("a", b"3", old)
        with pytest.raises(RevisionConflict):
            store.delete("a", old)
        with pytest.raises(KeyNotFound):
            store.update("b", b"", old)
        assert store.get("a").value == b"2"

    def test_any_bytes_and_any_text(self, store: Store) -> None:
        value = bytes(range(256))
        store.create("ключ/\U0001f600 \n\0", value)
        assert store.get("ключ/\U0001f600 \n\0").value == value

    # Listing

    def test_a_prefix_is_a_prefix(self, store: Store) -> None:
        names = ["a", "a/", "a/b", "a/b/c", "a0", "b", "я", "\U0001f600", "\uffff"]
        store.transact([], [Put(name, b"") for name in names])
        assert keys(store.list("a/").records) == ["a/", "a/b", "a/b/c"]
        assert keys(store.list("").records) == sorted(names, key=str.encode)
        assert keys(store.list("я").records) == ["я"]
        assert keys(store.list("x").records) == []

    def test_pages(self, store: Store) -> None:
        names = [f"p/{n:02}" for n in range(10)]
        store.transact([], [Put(name, b"") for name in [*names, "q"]])
        page = store.list("p/", limit=4)
        assert keys(page.records) == names[:4]
        assert page.more
        page = store.list("p/", limit=4, after=names[7])
        assert keys(page.records) == names[8:]
        assert not page.more
        assert not store.list("p/", limit=10).more
        assert store.list("p/", after="p/99").records == ()
        assert len(store.list("p/", after="a").records) == 10
        with pytest.raises(ValueError, match="at least one"):
            store.list("p/", limit=0)

    def test_pages_are_of_one_revision(self, store: Store) -> None:
        names = [f"p/{n:02}" for n in range(6)]
        store.transact([], [Put(name, b"old") for name in names])
        first = store.list("p/", limit=2)
        store.transact([], [Put("p/03", b"new"), Delete("p/04"), Put("p/035", b"new")])
        rest = store.list("p/", after="p/01", revision=first.revision)
        assert [(record.key, record.value) for record in rest.records] == [(name, b"old") for name in names[2:]]
        assert rest.revision == first.revision
        assert keys(store.list("p/").records) == ["p/00", "p/01", "p/02", "p/03", "p/035", "p/05"]

    def test_deleted_keys_take_no_place_in_a_page(self, store: Store) -> None:
        store.transact([], [Put(f"p/{n:02}", b"") for n in range(20)])
        store.transact([], [Delete(f"p/{n:02}") for n in range(15)])
        page = store.list("p/", limit=3)
        assert keys(page.records) == ["p/15", "p/16", "p/17"]
        assert page.more

    def test_more_than_is_asked_for_at_once(self, store: Store) -> None:
        names = [f"p/{n:04}" for n in range(1200)]
        for n in range(0, 1200, 100):
            store.transact([], [Put(name, b"") for name in names[n : n + 100]])
        assert keys(store.list("p/").records) == names
        assert len(store.list("p/", limit=1100).records) == 1100

    def test_a_revision_that_never_was(self, store: Store) -> None:
        with pytest.raises(Compacted):
            store.list("", revision=now(store) + 1000)
        with pytest.raises(Compacted):
            store.list("", revision=0)

    # Transactions

    @pytest.mark.parametrize(
        ("condition", "error"),
        [
            (Missing("there"), KeyExists),
            (At("there", 10**9), RevisionConflict),
            (At("there", 0), RevisionConflict),
            (At("gone", 10**9), KeyNotFound),
            (At("gone", 0), KeyNotFound),
            (Present("gone"), KeyNotFound),
            (Held("there", 12345), Fenced),
            (Held("there", 0), Fenced),
            (Held("gone", 12345), Fenced),
            (Held("gone", 0), Fenced),
        ],
    )
    def test_a_condition_that_does_not_hold(self, store: Store, condition: Condition, error: type[StoreError]) -> None:
        store.create("there", b"")
        before = now(store)
        with pytest.raises(error):
            store.transact([condition], [Put("new", b"")])
        assert store.get("new") is None
        assert now(store) == before

    def test_conditions_that_hold(self, store: Store) -> None:
        lease = store.grant(60)
        revision = store.create("leased", b"", lease.id)
        conditions = [Missing("a"), At("leased", revision), Present("leased"), Held("leased", lease.id)]
        store.transact(conditions, [Put("a", b"1"), Put("b", b"2")])
        assert keys(store.list("").records) == ["a", "b", "leased"]
        store.revoke(lease)

    def test_the_first_condition_that_fails_is_told(self, store: Store) -> None:
        store.create("there", b"")
        with pytest.raises(KeyNotFound):
            store.transact([Present("there"), Present("gone"), Missing("there")], [])
        with pytest.raises(KeyExists):
            store.transact([Missing("there"), Present("gone")], [])

    def test_a_lost_lease_is_told_before_all_else(self, store: Store) -> None:
        store.create("there", b"")
        with pytest.raises(Fenced):
            store.transact([Missing("there"), Present("gone"), Held("lock", 5)], [])

    def test_all_operations_share_a_revision(self, store: Store) -> None:
        store.create("c", b"")
        revision = store.transact([], [Put("b", b"1"), Delete("c"), Put("a", b"2")])
        assert {record.revision for record in store.list("").records} == {revision}
        with watching(store, "", revision - 1) as watch:
            watch.until(revision)
        assert watch.changes == [("b", b"1"), ("c", None), ("a", b"2")]

    def test_what_raises_the_revision(self, store: Store) -> None:
        first = store.create("a", b"same")
        assert store.transact([], [Delete("gone")]) == first
        assert store.transact([Present("a")], []) == first
        assert now(store) == first
        assert store.transact([], [Put("a", b"same")]) > first

    def test_limits(self, store: Store) -> None:
        many = [Put(f"k/{n}", b"") for n in range(MAX_OPERATIONS + 1)]
        for conditions, operations in (
            ([], many),
            ([Missing(put.key) for put in many], []),
            ([], [Put("a", b""), Delete("a")]),
            ([], [Put("", b"")]),
            ([Missing("")], []),
            ([], [Put("a", bytes(MAX_BYTES))]),
            ([], [Put("a", b"", 0)]),
        ):
            with pytest.raises(ValueError, match=r"transaction|empty|lease"):
                store.transact(conditions, operations)
        store.transact([Missing(put.key) for put in many[1:]], many[1:])
        store.create("large", bytes(MAX_BYTES - 15))
        assert len(store.get("large").value) == MAX_BYTES - 15

    # Several writers

    def test_of_concurrent_updates_one_wins(self, store: Store) -> None:
        revision = store.create("a", b"")
        for _ in range(5):
            answers = at_once(lambda n, at=revision: store.update("a", b"%d" % n, at), 8)
            won = [answer for answer in answers if isinstance(answer, int)]
            assert len(won) == 1
            assert all(isinstance(answer, RevisionConflict) for answer in answers if answer != won[0])
            revision = won[0]
            assert store.get("a").value == b"%d" % answers.index(revision)

    def test_a_name_is_given_once(self, store: Store) -> None:
        def take(n: int) -> int:
            return store.transact([Missing("name/web")], [Put("name/web", b"%d" % n), Put(f"app/{n}", b"")])

        answers = at_once(take, 8)
        won = [n for n, answer in enumerate(answers) if isinstance(answer, int)]
        assert len(won) == 1
        assert sum(isinstance(answer, KeyExists) for answer in answers) == 7
        assert keys(store.list("app/").records) == [f"app/{won[0]}"]

    def test_counting_loses_nothing(self, store: Store) -> None:
        store.create("n", b"0")

        def count(_: int) -> None:
            done = 0
            while done < 10:
                record = store.get("n")
                try:
                    store.update("n", b"%d" % (int(record.value) + 1), record.revision)
                    done += 1
                except RevisionConflict:
                    continue

        assert at_once(count, 4) == [None] * 4
        assert store.get("n").value == b"40"

    # Watching

    def test_a_watch_hears_what_came_after_and_what_comes(self, store: Store) -> None:
        store.create("x/old", b"")
        since = store.create("x/a", b"1")
        store.update("x/a", b"2", since)
        with watching(store, "x/", since) as watch:
            wait_until(lambda: watch.batches, 10)
            store.create("y/b", b"not below the prefix")
            last = store.delete("x/a", store.get("x/a").revision)
            watch.until(last)
        assert watch.changes == [("x/a", b"2"), ("x/a", None)]
        assert watch.batches[0].changes[0].record.created == since

    def test_a_watch_from_the_beginning(self, store: Store) -> None:
        last = [store.create(f"k/{n}", b"") for n in range(5)][-1]
        with watching(store, "k/", now(store) - 5) as watch:
            watch.until(last)
        assert [key for key, _ in watch.changes] == [f"k/{n}" for n in range(5)]

    @pytest.mark.parametrize("turns", [None, 4])
    def test_no_gap_and_no_doubling_under_writers(self, store: Store, turns: int | None) -> None:
        since = now(store)

        def write(n: int) -> list[int]:
            return [store.transact([], [Put(f"w/{n}/{i % 5}", b"%d" % i), Put(f"v/{n}", b"%d" % i)]) for i in range(40)]

        with watching(store, "", since, turns) as watch:
            revisions = sorted(revision for written in at_once(write, 4) for revision in written)
            watch.until(revisions[-1])
        assert [batch.revision for batch in watch.batches] == revisions
        assert all(len(batch.changes) == 2 for batch in watch.batches)
        assert all(change.record.revision == batch.revision for batch in watch.batches for change in batch.changes)
        for n in range(4):
            assert [value for key, value in watch.changes if key == f"v/{n}"] == [b"%d" % i for i in range(40)]

    def test_a_quiet_watch_shows_that_the_store_is_there(self, store: Store) -> None:
        since = now(store)
        with watching(store, "", since) as watch:
            wait_until(lambda: watch.heard >= 3, 10, "Empty batches come")
            assert watch.position == since
            watch.end()

    # Compaction

    def test_compaction_is_told(self, store: Store) -> None:
        first = store.create("a", b"1")
        second = store.update("a", b"2", first)
        before = store.create("b", b"1")
        last = store.update("b", b"2", before)
        store.compact(before)
        store.compact(before)
        with pytest.raises(Compacted):
            store.list("", revision=second)
        with pytest.raises(Compacted):
            next(iter(batch for batch in store.watch("", first, threading.Event()) if batch.changes))
        assert [(r.key, r.value) for r in store.list("", revision=before).records] == [("a", b"2"), ("b", b"1")]
        assert [(r.key, r.value) for r in store.list("").records] == [("a", b"2"), ("b", b"2")]
        with watching(store, "", before) as watch:
            watch.until(last)
        assert watch.changes == [("b", b"2")]

    def test_a_deletion_that_was_compacted_is_not_missed(self, store: Store) -> None:
        created = store.create("a", b"1")
        store.create("other", b"")
        deleted = store.delete("a", created)
        store.compact(deleted)
        with pytest.raises(Compacted):
            next(iter(batch for batch in store.watch("", deleted - 1, threading.Event()) if batch.changes))

    def test_compaction_of_what_is_to_come(self, store: Store) -> None:
        revision = store.create("a", b"1")
        store.compact(revision + 1000)
        assert store.update("a", b"2", revision) > revision

    def test_compaction_under_writers(self, store: Store) -> None:
        def write(n: int) -> None:
            for i in range(50):
                revision = store.transact([], [Put(f"k/{n}", b"%d" % i), Put(f"d/{n}/{i}", b"")])
                store.transact([], [Delete(f"d/{n}/{i}")])
                if i % 10 == 9:
                    store.compact(revision)

        at_once(write, 3)
        assert [(r.key, r.value) for r in store.list("").records] == [(f"k/{n}", b"49") for n in range(3)]

    # Leases

    def test_leases_run_out_and_their_keys_with_them(self, store: Store) -> None:
        granted = time.monotonic()
        kept, lost = store.grant(TTL), store.grant(TTL)
        store.transact([], [Put("kept", b"", kept.id), Put("lost/a", b"", lost.id), Put("lost/b", b"", lost.id)])
        since = store.create("mine", b"")
        renewals = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(store, kept, renewals))
        renewing.start()
        try:
            with watching(store, "", since) as watch:
                wait_until(lambda: len(watch.changes) == 2, TTL + 5, "The keys go")
                assert TTL <= time.monotonic() - granted <= TTL + 2.2
        finally:
            renewals.set()
            renewing.join()
        assert watch.changes == [("lost/a", None), ("lost/b", None)]
        assert keys(store.list("").records) == ["kept", "mine"]
        with pytest.raises(Fenced):
            store.renew(lost)
        with pytest.raises(Fenced):
            store.create("late", b"", lost.id)
        store.revoke(kept)

    @staticmethod
    def _renew(store: Store, lease: Lease, stop: threading.Event) -> None:
        while not stop.wait(TTL / 3):
            store.renew(lease)

    def test_the_end_of_a_lease_is_one_revision(self, store: Store) -> None:
        lease = store.grant(60)
        since = store.transact([], [Put(f"k/{n}", b"", lease.id) for n in range(5)])
        store.revoke(lease)
        store.revoke(lease)
        assert store.list("").records == ()
        with watching(store, "", since) as watch:
            watch.until(now(store))
        assert len(watch.batches) == 1
        assert watch.changes == [(f"k/{n}", None) for n in range(5)]

    def test_a_write_is_fenced_once_the_lease_is_lost(self, store: Store) -> None:
        mine, theirs = store.grant(60), store.grant(60)
        store.create("owner/c", b"me", mine.id)
        status = store.transact([Held("owner/c", mine.id)], [Put("status/a", b"1")])
        store.revoke(mine)
        with pytest.raises(Fenced):
            store.transact([Held("owner/c", mine.id), At("status/a", status)], [Put("status/a", b"2")])
        store.create("owner/c", b"them", theirs.id)
        with pytest.raises(Fenced):
            store.transact([Held("owner/c", mine.id)], [Put("status/a", b"2")])
        store.transact([Held("owner/c", theirs.id)], [Put("status/a", b"3")])
        assert store.get("status/a").value == b"3"
        store.revoke(theirs)

    def test_a_lease_lost_between_writers_fences_all_that_follow(self, store: Store) -> None:
        lease = store.grant(60)
        store.create("lock", b"", lease.id)

        def work(n: int) -> list[int]:
            if n == 0:
                wait_until(lambda: store.get("done/1") and store.get("done/2"), 10)
                store.revoke(lease)
                return []
            written: list[int] = []
            while True:
                try:
                    written.append(store.transact([Held("lock", lease.id)], [Put(f"done/{n}", b"")]))
                except Fenced:
                    return written

        since = now(store)
        _, first, second = at_once(work, 3)
        assert isinstance(first, list)
        assert isinstance(second, list)
        with watching(store, "", since) as watch:
            watch.until(now(store))
        seen = [(batch.revision, batch.changes[0].key) for batch in watch.batches]
        before = list(takewhile(lambda change: change[1] != "lock", seen))
        assert len(seen) == len(before) + 1
        assert sorted(first + second) == [revision for revision, _ in before]

    def test_a_key_that_is_set_without_its_lease_stays(self, store: Store) -> None:
        lease = store.grant(60)
        store.create("a", b"1", lease.id)
        store.transact([], [Put("a", b"2")])
        store.revoke(lease)
        assert store.get("a").value == b"2"

    # The end

    def test_a_closed_store(self, store: Store) -> None:
        store.close()
        store.close()
        for call in (
            lambda: store.get("a"),
            lambda: store.list(""),
            lambda: store.create("a", b""),
            lambda: store.grant(60),
            lambda: next(iter(store.watch("", 1, threading.Event()))),
        ):
            with pytest.raises(StoreUnavailable):
                call()

    def test_revisions_only_rise(self, store: Store) -> None:
        revisions = [store.transact([], [Put("a", b"")]) for _ in range(20)]
        assert all(a < b for a, b in pairwise(revisions))
