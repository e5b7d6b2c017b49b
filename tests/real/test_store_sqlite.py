"""The SQLite store, on real files."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.store import StoreContract, keys, now, watching
from tests.real.waiting import wait_until
from zun_coe.errors import Compacted, Fenced, KeyExists, KeyNotFound, RevisionConflict, StoreError, StoreUnavailable
from zun_coe.store import At, Condition, Delete, Missing, Operation, Present, Put, Store, open_store, sqlite
from zun_coe.store.sqlite import SqliteStore

WRITER = """
import sys
from zun_coe.store import Put, open_store
store = open_store(sys.argv[1])
n = 0
while True:
    store.transact([], [Put(f"a/{n}", b"x" * 200), Put(f"b/{n}", b"x" * 200)])
    print(n, flush=True)
    n += 1
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with SqliteStore(tmp_path / "state.db") as opened:
        yield opened


class TestContract(StoreContract):
    """Everything that every store does."""


def reopened(store: Store, path: Path) -> SqliteStore:
    store.close()
    return SqliteStore(path / "state.db")


def test_what_was_written_is_there_again(store: Store, tmp_path: Path) -> None:
    revision = store.create("a", b"1")
    with reopened(store, tmp_path) as again:
        assert again.get("a").revision == revision
        assert again.create("b", b"") > revision
        with watching(again, "", revision - 1) as watch:
            watch.until(revision + 1)
        assert watch.changes == [("a", b"1"), ("b", b"")]


def test_a_revision_is_not_used_again(store: Store, tmp_path: Path) -> None:
    revision = store.delete("a", store.create("a", b"1"))
    store.compact(revision)
    with reopened(store, tmp_path) as again:
        assert again.list("").records == ()
        assert now(again) == revision
        with pytest.raises(Compacted):
            again.list("", revision=revision - 1)
        assert again.create("a", b"") == revision + 1


def test_a_lease_ends_with_its_process(store: Store, tmp_path: Path) -> None:
    lease = store.grant(60)
    revision = store.create("a", b"", lease.id)
    with reopened(store, tmp_path) as again:
        assert again.get("a") is None
        assert now(again) > revision
        with pytest.raises(Fenced):
            again.renew(lease)


def test_one_process_only(store: Store, tmp_path: Path) -> None:
    store.create("a", b"")
    for path in (tmp_path / "state.db", tmp_path / "." / "state.db"):
        with pytest.raises(StoreUnavailable, match="one gateway process"):
            SqliteStore(path)
    url = f"sqlite:///{tmp_path}/state.db"
    other = subprocess.run([sys.executable, "-c", WRITER, url], capture_output=True, text=True, check=False)
    assert "one gateway process" in other.stderr
    with reopened(store, tmp_path) as again:
        assert again.get("a") is not None


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout as said:
        acknowledged = [int(said.readline()) for _ in range(200)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in said]
    writer.wait()
    with open_store(url) as store:
        first, second = (keys(store.list(prefix).records) for prefix in ("a/", "b/"))
        assert {f"a/{n}" for n in acknowledged} <= set(first)
        assert len(first) == len(second)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "new" / "state.db") as store:
        store.create("a", b"")
        for file in (tmp_path / "new").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_files_that_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, and it is long enough to be looked at " * 20)
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with SqliteStore(tmp_path / "newer") as store:
        store.create("a", b"")
    with sqlite3.connect(tmp_path / "newer") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    for name, said in (("text", "cannot be used"), ("other", "format 0"), ("newer", "format 99"), ("", "cannot be")):
        with pytest.raises(StoreUnavailable, match=said):
            SqliteStore(tmp_path / name)


def oldest(store: Store) -> int:
    """The first revision that is kept; 0 while all are."""
    try:
        store.list("", revision=2)
    except Compacted as told:
        return told.oldest
    return 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:/state.db"])
def test_urls_that_name_no_file(url: str) -> None:
    with pytest.raises(ValueError, match="names no"):
        open_store(url)


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///here.db").close()
    assert (tmp_path / "here.db").exists()


def test_the_log_trims_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "KEEP_REVISIONS", 10)
    monkeypatch.setattr(sqlite, "KEEP_SECONDS", 0.1)
    monkeypatch.setattr(sqlite, "TIDY_SECONDS", 0.1)
    with SqliteStore(tmp_path / "state.db") as store:
        for n in range(50):
            store.transact([], [Put("a", b"%d" % n), Put(f"b/{n}", b"")])
            store.transact([], [Delete(f"b/{n}")])
        newest = now(store)
        wait_until(lambda: oldest(store) == newest - 10, 10, "All but the newest is forgotten")
        look = sqlite3.connect(tmp_path / "state.db")
        wait_until(lambda: look.execute("SELECT count(*) FROM log").fetchone()[0] <= 20, 10)
        look.close()
        assert len(store.list("", revision=newest - 10).records) > 0
        assert store.get("a").value == b"49"


def test_writers_get_their_turn_while_much_is_forgotten(store: Store) -> None:
    for n in range(100):
        store.transact([], [Put(f"k/{i}", b"%d" % n) for i in range(100)])
    forgetting = threading.Thread(target=store.compact, args=(now(store),))
    forgetting.start()
    slowest = 0.0
    while forgetting.is_alive():
        began = time.monotonic()
        store.transact([], [Put("mine", b"")])
        slowest = max(slowest, time.monotonic() - began)
    forgetting.join()
    assert slowest < 1.0
    assert len(store.list("k/").records) == 100


def test_a_watch_hears_of_a_commit_at_once(store: Store) -> None:
    heard = threading.Semaphore(0)
    delays: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        for batch in store.watch("", 1, stop):
            for change in batch.changes:
                delays.append(time.perf_counter() - float(change.record.value))
                heard.release()

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(100):
        store.transact([], [Put("a", b"%r" % time.perf_counter())])
        assert heard.acquire(timeout=10)
    stop.set()
    thread.join()
    assert sorted(delays)[50] < 0.05  # a fraction of a millisecond, but on a machine that is busy


def test_a_full_disk_changes_nothing(store: Store) -> None:
    store.create("a", b"1")
    writer = store._journal._connection  # type: ignore[attr-defined]  # the limit is the connection's own
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    before = now(store)
    with pytest.raises(StoreUnavailable, match="full"):
        store.create("b", bytes(1_000_000))
    assert now(store) == before
    writer.execute("PRAGMA max_page_count = 1000000")
    assert store.create("b", bytes(1_000_000)) == before + 1


# Those who come while another commits are committed together


@contextmanager
def held_up(store: Store, count: int) -> Iterator[None]:
    """So many writers wait when this ends, and are then let go all at once."""
    journal = store._journal  # type: ignore[attr-defined]  # as a disk that is slow would hold them up
    with journal.lock:
        yield
        wait_until(lambda: len(journal._waiting) == count, 10, "They all wait")


def committed(store: Store, works: Sequence[Callable[[], object]]) -> list[object]:
    """What each of them returned or raised."""

    def outcome(work: Callable[[], object]) -> object:
        try:
            return work()
        except StoreError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        with held_up(store, len(works)):
            answers = [pool.submit(outcome, work) for work in works]
        return [answer.result(10) for answer in answers]


def test_each_has_a_revision_of_its_own(store: Store) -> None:
    before = now(store)
    with watching(store, "", before) as watch:
        answers = committed(store, [partial(store.create, f"k/{n}", b"%d" % n) for n in range(100)])
        watch.until(before + 100)
    assert sorted(answers) == list(range(before + 1, before + 101))  # type: ignore[type-var]  # they are numbers
    assert [batch.revision for batch in watch.batches] == list(range(before + 1, before + 101))
    for n, revision in enumerate(answers):
        found = store.get(f"k/{n}")
        assert found is not None
        assert (found.value, found.revision, found.created) == (b"%d" % n, revision, revision)


def test_one_of_them_fails_by_itself(store: Store) -> None:
    store.create("taken", b"")
    same = [partial(store.create, "same", b"%d" % n) for n in range(5)]
    answers = committed(store, [partial(store.create, "taken", b""), partial(store.create, "a", b"1"), *same])
    assert isinstance(answers[0], KeyExists)
    assert isinstance(answers[1], int)
    won = [answer for answer in answers[2:] if isinstance(answer, int)]
    assert len(won) == 1
    assert sum(isinstance(answer, KeyExists) for answer in answers[2:]) == 4
    assert now(store) == max(answers[1], *won)


def test_a_lease_that_ends_among_them_takes_no_more_keys(store: Store) -> None:
    lease = store.grant(60)
    store.create("before", b"", lease.id)
    works = [partial(store.revoke, lease), *(partial(store.create, f"k/{n}", b"", lease.id) for n in range(8))]
    answers = committed(store, works)
    assert all(answer is None or isinstance(answer, int | Fenced) for answer in answers)
    assert store.list("").records == ()
    with pytest.raises(Fenced):
        store.create("after", b"", lease.id)


def test_a_full_disk_fails_all_of_them(store: Store) -> None:
    writer = store._journal._connection  # type: ignore[attr-defined]  # the limit is the connection's own
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    before = now(store)
    answers = committed(store, [partial(store.create, f"k/{n}", bytes(500_000)) for n in range(5)])
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert (now(store), store.list("").records) == (before, ())
    writer.execute("PRAGMA max_page_count = 1000000")
    assert store.create("b", b"") == before + 1


def test_who_comes_too_late_is_told_so(store: Store) -> None:
    """A writer that has asked whether the store is open before somebody closes it."""
    journal = store._journal  # type: ignore[attr-defined]  # past the question
    store.close()
    with pytest.raises(StoreUnavailable):
        journal.write(lambda draft: None)


# A random history against a dictionary

NAMES = st.sampled_from(["a", "a/", "a/b", "b", "é", "\U0001f600"])
VALUES = st.binary(max_size=3)
OPERATIONS = st.one_of(st.builds(Put, NAMES, VALUES), st.builds(Delete, NAMES))
# The revision of an At is relative: 0 is the key's own.
CONDITIONS = st.one_of(
    st.builds(Missing, NAMES), st.builds(Present, NAMES), st.builds(At, NAMES, st.sampled_from([0, 0, 0, 1, -1]))
)
HISTORIES = st.lists(
    st.tuples(
        st.lists(CONDITIONS, max_size=2),
        st.lists(OPERATIONS, max_size=4, unique_by=lambda operation: operation.key),
    ),
    max_size=12,
)

Known = dict[str, tuple[bytes, int, int]]


class Model:
    """What the store should be: key -> (value, revision, created), at each of its revisions."""

    def __init__(self, revision: int) -> None:
        self.now: Known = {}
        self.first = self.revision = revision
        self.then: dict[int, Known] = {revision: {}}

    def absolute(self, condition: Condition) -> Condition:
        if isinstance(condition, At):
            return At(condition.key, self.now.get(condition.key, (b"", 5, 0))[1] + condition.revision)
        return condition

    def transact(self, conditions: list[Condition], operations: list[Operation]) -> int | type[StoreError]:
        for condition in conditions:
            match condition, self.now.get(condition.key):
                case Missing(), (_, _, _):
                    return KeyExists
                case ((Present() | At()), None):
                    return KeyNotFound
                case At(revision=wanted), (_, found, _) if wanted != found:
                    return RevisionConflict
        new = self.revision + 1
        after = dict(self.now)
        for operation in operations:
            if isinstance(operation, Put):
                _, _, created = self.now.get(operation.key, (b"", 0, new))
                after[operation.key] = (operation.value, new, created)
            else:
                after.pop(operation.key, None)
        if after != self.now:
            self.now, self.revision = after, new
            self.then[new] = after
        return self.revision


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SqliteStore(tmp_path_factory.mktemp("shared") / "state.db") as opened:
        yield opened


def attempt(store: Store, conditions: list[Condition], operations: list[Operation]) -> int | type[StoreError]:
    try:
        return store.transact(conditions, operations)
    except StoreError as error:
        return type(error)


def listed(store: Store, revision: int) -> Known:
    records = store.list("", revision=revision).records
    assert keys(records) == sorted(keys(records), key=str.encode)
    return {record.key: (record.value, record.revision, record.created) for record in records}


@settings(deadline=None, max_examples=60)
@given(history=HISTORIES)
def test_any_history_is_that_of_a_dictionary(shared: Store, history: list[tuple[list, list]]) -> None:
    left = keys(shared.list("").records)
    model = Model(shared.transact([], [Delete(key) for key in left]))
    for conditions, operations in history:
        asked = [model.absolute(condition) for condition in conditions]
        assert attempt(shared, asked, operations) == model.transact(asked, operations)
    for revision, known in model.then.items():
        assert listed(shared, revision) == known
    assert {key: shared.get(key).value for key in model.now} == {key: value[0] for key, value in model.now.items()}
    if model.revision > model.first:
        check_watch(shared, model)


def check_watch(store: Store, model: Model) -> None:
    """What a watch tells leads from each state to the next."""
    state = model.then[model.first]
    for batch in store.watch("", model.first, threading.Event()):
        state = dict(state)
        for change in batch.changes:
            state.pop(change.key, None)
            if change.record:
                state[change.key] = (change.record.value, change.record.revision, change.record.created)
        assert state == model.then[batch.revision]
        if batch.revision == model.revision:
            return


def test_leases_end_although_looking_for_them_failed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[int] = []
    original = SqliteStore._expire

    def expire(self: SqliteStore) -> None:
        if not failed:
            failed.append(1)
            raise ValueError("surprise")
        original(self)

    monkeypatch.setattr(SqliteStore, "_expire", expire)
    store.create("a", b"", store.grant(2).id)
    wait_until(lambda: failed and store.get("a") is None, message="the lease does not end")
