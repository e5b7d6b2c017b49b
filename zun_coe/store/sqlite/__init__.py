"""The embedded store: one process, one SQLite file, nothing to install.

SQLite has neither revisions nor watches nor leases, so the file is a log (see `zun_coe.store.sqlite.log`) that
one thread at a time appends to, and watchers are woken inside the process. Every commit is on the disk
before anybody hears of it (WAL, synchronous FULL).

Leases run on the clock of the process, and end with it: whoever opens the file knows that nobody else has it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import Event as StopEvent

import structlog

from zun_coe.errors import Compacted, Fenced, OutcomeUnknown, StoreUnavailable
from zun_coe.store import Batch, Condition, Delete, Lease, Operation, Page, Record, Store, rules
from zun_coe.store.places import database
from zun_coe.store.sqlite import log
from zun_coe.store.sqlite.file import Readers, lock
from zun_coe.store.sqlite.journal import Journal
from zun_coe.store.sqlite.leases import Leases

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

_logger = structlog.get_logger(__name__)


class SqliteStore(Store):
    """The store in the file `path`, which is made where it is missing, with its folder, for the owner only.

    Raises `StoreUnavailable` when another process has the file, or when it is no file of ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = StopEvent()
        self._forgetting = threading.Lock()
        self._tend = StopEvent()  # set when the housekeeping thread should look at the leases again
        self._readers = Readers(path)
        self._leases = Leases()
        self._lock = lock(path)
        try:
            self._journal = Journal(path, self._leases.settle)
        except StoreUnavailable:
            os.close(self._lock)
            raise
        self._floor, _ = self._journal.progress()
        self._end_leases()
        self._housekeeping = threading.Thread(target=self._keep_house, name="store-housekeeping", daemon=True)
        self._housekeeping.start()

    @classmethod
    def from_url(cls, url: str) -> SqliteStore:
        """The store of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raises `ValueError`."""
        return cls(database(url))

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
                return self._page(prefix, limit, after, self._journal.revision)

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        """See `Store`. The revision is the newest one where the operations changed nothing."""
        rules.check(conditions, operations)
        keys = {one.key: one.key.encode() for one in (*conditions, *operations)}

        def work(draft: log.Draft) -> None:
            rows = {key: row for key in keys if (row := log.newest(draft.connection, keys[key]))}
            states = {key: rules.State(row.id >> log.SHIFT, row.lease) for key, row in rows.items() if row.there}
            if error := rules.failure(conditions, states):
                raise error
            for operation in operations:
                self._append(draft, operation, keys[operation.key], rows.get(operation.key))

        return self._write(work)

    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        """See `Store`. A commit is heard of in a fraction of a millisecond."""
        position = since
        while not stop.is_set():
            batches = self._after(prefix, position)
            yield from (batch for batch in batches[:-1] if batch.changes)
            if batches:
                yield batches[-1]
                position = batches[-1].revision
            elif not self._journal.wait(position, IDLE, stop):
                yield Batch(position, ())

    def grant(self, ttl: float) -> Lease:
        """See `Store`. A lease ends with its process: whoever opens the file knows that nobody else has it."""
        granted: list[int] = []
        self._write(lambda draft: granted.append(draft.grant(ttl)))
        self._tend.set()
        return Lease(granted[0], ttl)

    def renew(self, lease: Lease) -> None:
        """See `Store`. Nothing is written."""
        with self._journal.lock:
            self._check_open()
            self._leases.renew(lease.id)

    def revoke(self, lease: Lease) -> None:
        """See `Store`."""
        self._write(lambda draft: draft.revoke(lease.id))

    def compact(self, before: int) -> None:
        """See `Store`. Blocks until it is done; writers get their turn between the steps."""
        with self._forgetting:
            self._floor = max(self._floor, min(before, self._journal.revision))
            more = [True]
            while more[-1] and not self._closed.wait(STEP_PAUSE):
                self._write(lambda draft: more.append(log.forget(draft.connection, self._floor, STEP_ROWS)))

    def close(self) -> None:
        """See `Store`."""
        self._closed.set()
        self._tend.set()
        self._journal.wake()
        if threading.current_thread() is not self._housekeeping:
            self._housekeeping.join()
        with self._journal.lock:
            if self._lock < 0:
                return
            self._journal.close()
            self._readers.close()
            os.close(self._lock)
            self._lock = -1

    def _page(self, prefix: str, limit: int | None, after: str | None, revision: int) -> Page:
        if revision > self._journal.revision or revision < 1:
            raise Compacted(f"revision {revision} is none of this store's", self._floor)
        wanted = None if limit is None else limit + 1
        start = None if after is None else after.encode()
        with self._reading() as connection:
            records = tuple(islice(log.page(connection, prefix.encode(), start, revision, wanted), wanted))
        self._check_kept(revision)
        return Page(records[:limit], revision, more=limit is not None and len(records) > limit)

    def _after(self, prefix: str, since: int) -> Sequence[Batch]:
        self._check_open()
        upto = self._journal.revision
        if upto == since:
            return []
        recent = self._journal.after(since)
        if recent is not None:
            batches = [_below(prefix, batch) for batch in recent]
        else:
            with self._reading() as connection:
                batches = log.after(connection, prefix, since, upto, READ_ROWS)
        self._check_kept(since)
        return batches

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
            if draft.is_gone(operation.lease):
                raise Fenced(f"lease {operation.lease} is gone")
        draft.append(key, operation.value, last, operation.lease)

    def _write(self, work: Callable[[log.Draft], None]) -> int:
        self._check_open()
        return self._journal.write(work)

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
            except Exception:  # leases would never end any more
                _logger.exception("store.housekeeping")
                self._closed.wait(1.0)
            self._tend.wait(min(self._leases.next(), tidy) - time.monotonic())
            self._tend.clear()

    def _end_leases(self) -> None:
        """End the leases of the process that had the file before: it has it no longer, so it is gone."""
        if leases := self._journal.leases():
            self._write(lambda draft: _revoke(draft, leases))

    def _expire(self) -> None:
        while self._leases.next() <= time.monotonic():
            # looked at again when it is written: it may have been renewed meanwhile
            self._write(lambda draft: _revoke(draft, self._leases.expired()))

    def _trim(self, marks: deque[tuple[float, int]]) -> None:
        marks.append((time.monotonic(), self._journal.revision))
        while len(marks) > 1 and marks[1][0] <= time.monotonic() - KEEP_SECONDS:
            marks.popleft()
        if marks[0][0] <= time.monotonic() - KEEP_SECONDS:
            self.compact(min(marks[0][1], self._journal.revision - KEEP_REVISIONS))


def _revoke(draft: log.Draft, leases: Iterable[int]) -> None:
    for lease in leases:
        draft.revoke(lease)


def _below(prefix: str, batch: Batch) -> Batch:
    if not prefix:
        return batch
    return Batch(batch.revision, tuple(change for change in batch.changes if change.key.startswith(prefix)))
