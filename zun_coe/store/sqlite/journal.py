"""Who writes to the file: one thread at a time, for all that wait to.

A commit takes as long as the disk does, whatever is in it. So those who come while one is under way are taken
on together by the next one: each with a revision of its own, or an error of its own, and one commit for all."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Lock
from threading import Event as StopEvent

from zun_coe.errors import OutcomeUnknown, StoreError, StoreUnavailable
from zun_coe.store import Batch
from zun_coe.store.sqlite import log
from zun_coe.store.sqlite.file import open_log
from zun_coe.store.sqlite.recent import Recent

TOGETHER = 64
"""At most so many are committed together."""
POLL = 0.05
"""How often whoever waits looks whether it should stop, in seconds."""

Work = Callable[[log.Draft], None]
"""What appends to a draft, or raises what is wrong with it."""
Settle = Callable[[Mapping[int, float | None]], None]
"""Called with what became of leases, once it is committed."""


class Journal:
    """The writing connection, and what was written last. Thread-safe. `lock` is held while it writes; whoever
    else holds it keeps it from writing. Raises `StoreUnavailable` for a file that is not ours."""

    def __init__(self, path: Path, settle: Settle) -> None:
        self.lock = Lock()
        self._path, self._settle = path, settle
        self._connection = open_log(path)
        self._waiting: deque[_Job] = deque()
        self._committed = Condition()
        self._revision = log.last_revision(self._connection)
        self._recent = Recent(self._revision)
        self._closed = False

    @property
    def revision(self) -> int:
        """The newest revision."""
        return self._revision

    def progress(self) -> tuple[int, int]:
        """See `log.progress`."""
        return log.progress(self._connection)

    def leases(self) -> dict[int, float]:
        """See `log.leases`."""
        return log.leases(self._connection)

    def write(self, work: Work) -> int:
        """Do some work in a transaction, which is on the disk then; its revision, the newest one where nothing was
        appended. Raises what `work` does, `StoreUnavailable`, `OutcomeUnknown`. Blocks."""
        job = _Job(work)
        self._waiting.append(job)
        with self.lock:
            while not job.done:
                self._commit_next()
        if job.error is not None or job.draft is None:
            raise job.error or OutcomeUnknown(f"{self._path}: nobody knows what came of it")
        return job.draft.newest

    def after(self, since: int) -> Sequence[Batch] | None:
        """What came after a revision; None where that is not kept in memory."""
        with self._committed:
            return self._recent.after(since)

    def wait(self, since: int, seconds: float, stop: StopEvent) -> bool:
        """Until there is something after a revision, or to be told of the end; False when `stop` is set or the
        time is over."""
        deadline = time.monotonic() + seconds
        with self._committed:
            while self._revision <= since and not self._closed:
                if stop.is_set() or time.monotonic() > deadline:
                    return False
                self._committed.wait(POLL)
        return True

    def wake(self) -> None:
        """Nobody shall wait any more."""
        with self._committed:
            self._closed = True
            self._committed.notify_all()

    def close(self) -> None:
        """Close the connection. The caller holds `lock`."""
        self._connection.close()

    def _commit_next(self) -> None:
        jobs = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
        failure: StoreError | None = StoreUnavailable(f"{self._path} cannot be used: writing was interrupted")
        try:
            drafts = self._append(jobs)
            failure = OutcomeUnknown(f"{self._path}: committing was interrupted")
            self._commit(drafts)
            failure = None
        except (StoreUnavailable, OutcomeUnknown) as error:
            failure = error
        finally:
            self._roll_back()
            for job in jobs:
                job.end(failure)

    def _append(self, jobs: Sequence[_Job]) -> list[log.Draft]:
        """Everybody's work; where one's fails that one is told. Raises `StoreUnavailable`: nothing is done then."""
        settled: dict[int, float | None] = {}
        drafts = []
        revision = self._revision
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                draft = log.Draft(self._connection, revision + 1, settled)
                if self._do(job, draft):
                    revision += not draft.empty
                    settled |= draft.leases
                    drafts.append(draft)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path} cannot be used: {error}") from error
        return drafts

    def _do(self, job: _Job, draft: log.Draft) -> bool:
        """One's work, as if it had never been where it fails."""
        self._connection.execute("SAVEPOINT job")
        try:
            job.work(draft)
        except StoreError as error:  # it is told to whoever wanted it
            job.error = error
            self._connection.execute("ROLLBACK TO job")
        else:
            job.draft = draft
        self._connection.execute("RELEASE job")
        return job.error is None

    def _commit(self, drafts: Sequence[log.Draft]) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._roll_back()
                self._publish(log.last_revision(self._connection), None)
            raise OutcomeUnknown(f"{self._path} failed in the middle of a commit: {error}") from error
        for draft in drafts:
            self._settle(draft.leases)
        self._publish(
            max((draft.newest for draft in drafts), default=self._revision),
            [Batch(draft.revision, tuple(draft.changes)) for draft in drafts if not draft.empty],
        )

    def _publish(self, revision: int, batches: Sequence[Batch] | None) -> None:
        """Tell whoever waits; `batches` is None where nobody knows what was written."""
        with self._committed:
            if revision > self._revision:
                self._revision = revision
                self._committed.notify_all()
            if batches is None:
                self._recent.clear(revision)
            else:
                self._recent.add(batches)

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # a connection that was closed meanwhile cannot even tell
            if self._connection.in_transaction:  # some failures of SQLite have ended it already
                self._connection.execute("ROLLBACK")


class _Job:
    """Somebody's work, and what came of it."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done = False
        self.error: Exception | None = None
        self.draft: log.Draft | None = None

    def end(self, failure: StoreError | None) -> None:
        """It is over: committed, or failed by itself, or with all the others."""
        self.done = True
        self.error = self.error or failure
