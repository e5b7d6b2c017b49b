"""The embedded store: one process, one SQLite file, nothing to install.

SQLite has neither revisions nor watches nor leases, so the file is a log (see `zun_coe.store.log`) that
one thread at a time appends to, and watchers are woken inside the process. Every commit is on the disk
before anybody hears of it (WAL, synchronous FULL).

Leases run on the clock of the process. Opening the file sets all of them back to their full time, as a
restarted etcd does."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Event as StopEvent
from urllib.parse import unquote

import structlog

from zun_coe.errors import Compacted, Fenced, OutcomeUnknown, StoreUnavailable
from zun_coe.store import Batch, Condition, Delete, Lease, Operation, Page, Record, Store, log, rules

KEEP_REVISIONS = 10_000
"""The log keeps at least this many of the newest revisions whole ..."""
KEEP_SECONDS = 60.0
"""... and at least those of the last minute, so that a listing in pages and a watch that was cut off go on."""
TIDY_SECONDS = 10.0
"""How often the log is trimmed."""
STEP_ROWS = 500
"""Rows looked at in one step of forgetting; writers get their turn between the steps."""
STEP_PAUSE = 0.005
READ_ROWS = 1000
IDLE = 0.5
"""How often a watch without news says so, in seconds."""
POLL = 0.05
"""How often it looks whether it should stop."""

_logger = structlog.get_logger(__name__)


class SqliteStore(Store):
    """The store in the file `path`, which is made where it is missing, with its folder, for the owner only.

    Raises `StoreUnavailable` when another process has the file, or when it is no file of ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = StopEvent()
        self._writing = threading.Lock()  # held by whoever uses the writing connection or the leases
        self._forgetting = threading.Lock()
        self._committed = threading.Condition()
        self._tend = StopEvent()  # set when the housekeeping thread should look at the leases again
        self._readers = _Readers(path)
        self._lock = _lock(path)
        try:
            self._writer = _open(path)
        except StoreUnavailable:
            os.close(self._lock)
            raise
        self._revision = log.last_revision(self._writer)
        self._floor, _ = log.progress(self._writer)
        self._leases = _Leases(log.leases(self._writer))
        self._end_leases()
        self._housekeeping = threading.Thread(target=self._keep_house, name="store-housekeeping", daemon=True)
        self._housekeeping.start()

    @classmethod
    def from_url(cls, url: str) -> SqliteStore:
        """The store of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raises `ValueError`."""
        path = unquote(url.removeprefix("sqlite:///"))
        if not url.startswith("sqlite:///") or not path:
            raise ValueError(f"{url!r} names no file: use sqlite:///FILE, with four slashes for an absolute path")
        return cls(Path(path))

    def get(self, key: str) -> Record | None:
        """See `Store`."""
        encoded = rules.encoded(key)
        with self._reading() as connection:
            return log.get(connection, encoded)

    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        """See `Store`."""
        rules.check_limit(limit)
        if revision is not None:
            return self._page(prefix, limit, after, revision)
        while True:
            with suppress(Compacted):  # so many writes meanwhile that the newest is no longer kept
                return self._page(prefix, limit, after, self._revision)

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        """See `Store`. The revision is the newest one where the operations changed nothing."""
        rules.check(conditions, operations)
        keys = {one.key: one.key.encode() for one in (*conditions, *operations)}
        with self._transaction() as draft:
            rows = {key: row for key in keys if (row := log.newest(draft.connection, keys[key]))}
            states = {key: rules.State(row.id >> log.SHIFT, row.lease) for key, row in rows.items() if row.there}
            if error := rules.failure(conditions, states):
                raise error
            for operation in operations:
                self._append(draft, operation, keys[operation.key], rows.get(operation.key))
        return draft.revision - draft.empty  # nothing appended: the revision before is still the newest

    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        """See `Store`. A commit is heard of in a fraction of a millisecond."""
        position = since
        while not stop.is_set():
            batches = self._after(prefix, position)
            yield from (batch for batch in batches[:-1] if batch.changes)
            if batches:
                yield batches[-1]
                position = batches[-1].revision
            elif not self._wait(position, stop):
                yield Batch(position, ())

    def grant(self, ttl: float) -> Lease:
        """See `Store`. A lease ends with its process: whoever opens the file knows that nobody else has it."""
        with self._transaction() as draft:
            lease = Lease(draft.grant(ttl), ttl)
        self._tend.set()
        return lease

    def renew(self, lease: Lease) -> None:
        """See `Store`. Nothing is written."""
        with self._writing:
            self._check_open()
            self._leases.renew(lease.id)

    def revoke(self, lease: Lease) -> None:
        """See `Store`."""
        with self._transaction() as draft:
            draft.revoke(lease.id)

    def compact(self, before: int) -> None:
        """See `Store`. Blocks until it is done; writers get their turn between the steps."""
        with self._forgetting:
            with self._committed:
                self._floor = max(self._floor, min(before, self._revision))
            more = True
            while more and not self._closed.wait(STEP_PAUSE):
                with self._transaction() as draft:
                    more = log.forget(draft.connection, self._floor, STEP_ROWS)

    def close(self) -> None:
        """See `Store`."""
        self._closed.set()
        self._tend.set()
        with self._committed:
            self._committed.notify_all()
        if threading.current_thread() is not self._housekeeping:
            self._housekeeping.join()
        with self._writing:
            if self._lock < 0:
                return
            self._writer.close()
            self._readers.close()
            os.close(self._lock)
            self._lock = -1

    def _page(self, prefix: str, limit: int | None, after: str | None, revision: int) -> Page:
        if revision > self._revision or revision < 1:
            raise Compacted(f"revision {revision} is none of this store's", self._floor)
        wanted = None if limit is None else limit + 1
        start = None if after is None else after.encode()
        with self._reading() as connection:
            records = tuple(islice(log.page(connection, prefix.encode(), start, revision, wanted), wanted))
        self._check_kept(revision)
        return Page(records[:limit], revision, more=limit is not None and len(records) > limit)

    def _after(self, prefix: str, since: int) -> Sequence[Batch]:
        self._check_open()
        upto = self._revision
        if upto == since:
            return []
        with self._reading() as connection:
            batches = log.after(connection, prefix, since, upto, READ_ROWS)
        self._check_kept(since)
        return batches

    def _wait(self, since: int, stop: StopEvent) -> bool:
        """Until there is something after a revision, for a while; whether there is."""
        deadline = time.monotonic() + IDLE
        with self._committed:
            while self._revision <= since and not self._closed.is_set():
                if stop.is_set() or time.monotonic() > deadline:
                    return False
                self._committed.wait(POLL)
        return True

    def _check_kept(self, revision: int) -> None:
        # After reading: forgetting raises the floor before it takes the first row away.
        if revision < self._floor:
            raise Compacted(f"revision {revision} is no longer kept", self._floor)

    def _append(self, draft: log.Draft, operation: Operation, key: bytes, last: log.Newest | None) -> None:
        if isinstance(operation, Delete):
            draft.append(key, None, last)
            return
        if operation.lease is not None:
            self._leases.check(operation.lease)
        draft.append(key, operation.value, last, operation.lease)

    @contextmanager
    def _transaction(self) -> Iterator[log.Draft]:
        with self._writing:
            self._check_open()
            draft = log.Draft(self._writer, self._revision + 1)
            with self._translated():
                self._writer.execute("BEGIN IMMEDIATE")
            try:
                with self._translated():
                    yield draft
            except BaseException:
                self._roll_back()
                raise
            self._commit(draft)

    def _commit(self, draft: log.Draft) -> None:
        try:
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            with self._translated():
                self._roll_back()
                self._publish(log.last_revision(self._writer))
            raise OutcomeUnknown(f"{self._path} failed in the middle of a commit: {error}") from error
        self._leases.settle(draft.leases)
        if not draft.empty:
            self._publish(draft.revision)

    def _roll_back(self) -> None:
        if self._writer.in_transaction:  # some failures of SQLite have ended it already
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    def _publish(self, revision: int) -> None:
        with self._committed:
            self._revision = revision
            self._committed.notify_all()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        self._check_open()
        with self._translated(), self._readers.one() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path} cannot be used: {error}") from error

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StoreUnavailable(f"{self._path} is closed")

    def _keep_house(self) -> None:
        marks: deque[tuple[float, int]] = deque()
        tidy = time.monotonic() + TIDY_SECONDS
        while not self._closed.is_set():
            try:
                self._expire()
                if time.monotonic() >= tidy:
                    tidy = time.monotonic() + TIDY_SECONDS
                    self._trim(marks)
            except (StoreUnavailable, OutcomeUnknown) as error:
                _logger.warning("store.housekeeping", error=str(error))
                self._closed.wait(1.0)
            self._tend.wait(min(self._leases.next(), tidy) - time.monotonic())
            self._tend.clear()

    def _end_leases(self) -> None:
        """End the leases of the process that had the file before: it has it no longer, so it is gone."""
        if leases := self._leases.all():
            with self._transaction() as draft:
                for lease in leases:
                    draft.revoke(lease)

    def _expire(self) -> None:
        while self._leases.next() <= time.monotonic():
            with self._transaction() as draft:
                for lease in self._leases.expired():  # looked at again: it may have been renewed meanwhile
                    draft.revoke(lease)

    def _trim(self, marks: deque[tuple[float, int]]) -> None:
        marks.append((time.monotonic(), self._revision))
        while len(marks) > 1 and marks[1][0] <= time.monotonic() - KEEP_SECONDS:
            marks.popleft()
        if marks[0][0] <= time.monotonic() - KEEP_SECONDS:
            self.compact(min(marks[0][1], self._revision - KEEP_REVISIONS))


class _Readers:
    """Connections for reading, as many as there are readers at once. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _connect(self._path)
        try:
            yield connection
        finally:
            self._idle.append(connection)
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close those that are idle; the others close when they have been used. Idempotent."""
        self._closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


class _Leases:
    """When each lease runs out, on the monotonic clock. Guarded by the store's writing lock."""

    def __init__(self, granted: dict[int, float]) -> None:
        self._ttls = dict(granted)
        self._deadlines: dict[int, float] = {}
        for lease in granted:
            self.renew(lease)

    def settle(self, leases: Mapping[int, float | None]) -> None:
        """Take over what was committed: new leases with their times, None for those that are gone."""
        for lease, ttl in leases.items():
            if ttl is None:
                self._ttls.pop(lease, None)
                self._deadlines.pop(lease, None)
            else:
                self._ttls[lease] = ttl
                self.renew(lease)

    def check(self, lease: int) -> None:
        """Raises `Fenced` when the lease is gone."""
        if lease not in self._ttls:
            raise Fenced(f"lease {lease} is gone")

    def renew(self, lease: int) -> None:
        """Its full time again. Raises `Fenced`."""
        self.check(lease)
        self._deadlines[lease] = time.monotonic() + self._ttls[lease]

    def next(self) -> float:
        """When the first one runs out; far away when there is none. Needs no lock."""
        return min(list(self._deadlines.values()), default=time.monotonic() + TIDY_SECONDS)

    def all(self) -> list[int]:
        """Every lease there is."""
        return list(self._ttls)

    def expired(self) -> list[int]:
        """Those whose time is over."""
        return [lease for lease, deadline in self._deadlines.items() if deadline <= time.monotonic()]


def _lock(path: Path) -> int:
    """The descriptor that holds the lock beside the file; the lock ends with it, and with the process."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be used: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StoreUnavailable(
            f"{path} is in use: a SQLite store belongs to one gateway process; several need etcd"
        ) from error
    return lock


def _open(path: Path) -> sqlite3.Connection:
    """The writing connection. Raises `StoreUnavailable` for a file that is not ours."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = _connect(path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            version = log.VERSION
            connection.executescript(log.SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"{path} cannot be used: {error}") from error
    if version != log.VERSION:
        connection.close()
        raise StoreUnavailable(f"{path} has format {version}, this version of zun-coe reads {log.VERSION}")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
