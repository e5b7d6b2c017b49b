"""The SQL of the SQLite store: an append-only log of keys, and nothing but statements.

A row's id is its revision with the number of the operation within it, so that all operations of a
transaction share one revision and still have an order. The newest row of a key is its value; a row
without a value is a deletion."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from zun_coe.store import Batch, Change, Record
from zun_coe.store.rules import prefix_end

VERSION = 1
SHIFT = 20  # bits of a row's id for the number of the operation: a lease may carry a million keys

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, even when the newest rows are forgotten
    key BLOB NOT NULL,                    -- UTF-8, compared byte by byte
    value BLOB,                           -- NULL: the key was deleted
    created INTEGER NOT NULL,             -- the revision at which the key came to be
    previous INTEGER,                     -- the row that this one took the place of
    lease INTEGER
);
CREATE INDEX log_key ON log (key);
CREATE INDEX log_lease ON log (lease) WHERE lease IS NOT NULL;
CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl REAL NOT NULL);
CREATE TABLE progress (floor INTEGER NOT NULL, forgotten INTEGER NOT NULL);
INSERT INTO progress VALUES (0, 0);
PRAGMA user_version = 1;
COMMIT;
"""

NEWEST = "SELECT id, value IS NOT NULL, created, lease FROM log WHERE key = ? ORDER BY id DESC LIMIT 1"
APPEND = "INSERT INTO log (id, key, value, created, previous, lease) VALUES (?, ?, ?, ?, ?, ?)"
GET = "SELECT id, key, value, created FROM log WHERE key = ? ORDER BY id DESC LIMIT 1"
# The inner query picks one page of keys from the index alone, the outer one fetches their values.
PAGE = """
SELECT log.id, log.key, log.value, log.created FROM log JOIN (
    SELECT key, max(id) AS id FROM log
    WHERE key >= :first AND key < :end AND id < :bound GROUP BY key ORDER BY key LIMIT :limit
) AS newest ON log.id = newest.id ORDER BY log.key
"""
AFTER = "SELECT id, key, value, created FROM log WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
LEASED = """
SELECT key FROM log AS row WHERE lease = ? AND id = (SELECT max(id) FROM log WHERE key = row.key) ORDER BY key
"""
STEP = "SELECT max(id) FROM (SELECT id FROM log WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)"
FORGET_REPLACED = "DELETE FROM log WHERE id IN (SELECT previous FROM log WHERE id >= ? AND id <= ?)"
FORGET_DELETED = "DELETE FROM log WHERE id >= ? AND id <= ? AND value IS NULL"

Row = tuple[int, bytes, bytes | None, int]


class Newest(NamedTuple):
    """The last row of a key."""

    id: int
    there: int
    created: int
    lease: int | None


def first_id(revision: int) -> int:
    """The id that the first row of a revision has."""
    return revision << SHIFT


def last_revision(connection: sqlite3.Connection) -> int:
    """The newest revision there ever was, 1 in an empty log."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'log'").fetchone()
    return max(1, row[0] >> SHIFT) if row else 1


def newest(connection: sqlite3.Connection, key: bytes) -> Newest | None:
    """The last row of a key, a deletion too; None where the log has none."""
    row = connection.execute(NEWEST, (key,)).fetchone()
    return Newest(*row) if row else None


class Draft:
    """The rows of one revision while its transaction is open, and what becomes of leases with it
    (their time in seconds, None for those that go). `settled`: what became of others that are committed with it."""

    def __init__(
        self, connection: sqlite3.Connection, revision: int, settled: Mapping[int, float | None] = MappingProxyType({})
    ) -> None:
        self.connection = connection
        self.revision = revision
        self.leases: dict[int, float | None] = {}
        self.changes: list[Change] = []
        self._settled = settled
        self._next = first_id(revision)

    @property
    def empty(self) -> bool:
        """Whether nothing was appended, so that the revision does not come to be."""
        return self._next == first_id(self.revision)

    @property
    def newest(self) -> int:
        """The newest revision once it is committed: its own, or the one before where it is empty."""
        return self.revision - self.empty

    def append(self, key: bytes, value: bytes | None, last: Newest | None, lease: int | None = None) -> None:
        """One more row, which takes the place of `last`; deleting what is not there is nothing."""
        there = last is not None and last.there
        if value is None and not there:
            return
        created = last.created if last and there else self.revision
        previous = last.id if last else None
        row = (self._next, key, value, created)
        self.connection.execute(APPEND, (*row, previous, lease))
        self.changes.append(Change(key.decode(), _record(row)))
        self._next += 1

    def grant(self, ttl: float) -> int:
        """A new lease's id."""
        id = self.connection.execute("INSERT INTO lease (ttl) VALUES (?)", (ttl,)).lastrowid
        assert id is not None
        self.leases[id] = ttl
        return id

    def is_gone(self, lease: int) -> bool:
        """Whether a lease is revoked by this draft, or by one before it."""
        leases = self.leases if lease in self.leases else self._settled
        return leases.get(lease, 0.0) is None

    def revoke(self, lease: int) -> None:
        """Forget a lease and delete its keys. Idempotent."""
        for key in leased(self.connection, lease):
            self.append(key, None, newest(self.connection, key))
        self.connection.execute("DELETE FROM lease WHERE id = ?", (lease,))
        self.leases[lease] = None


def get(connection: sqlite3.Connection, key: bytes) -> Record | None:
    """The newest value of a key."""
    row = connection.execute(GET, (key,)).fetchone()
    return _record(row) if row else None


def page(
    connection: sqlite3.Connection, prefix: bytes, after: bytes | None, revision: int, limit: int | None
) -> Iterator[Record]:
    """Records below a prefix as they were at a revision, in key order, after a key; deleted keys cost a
    look but no place."""
    first = prefix if after is None else max(prefix, after + b"\0")
    wanted = -1 if limit is None else limit
    span = {"end": prefix_end(prefix), "bound": first_id(revision + 1), "limit": wanted}
    while True:
        rows: list[Row] = connection.execute(PAGE, span | {"first": first}).fetchall()
        yield from (record for row in rows if (record := _record(row)))
        if wanted < 0 or len(rows) < wanted:
            return
        first = rows[-1][1] + b"\0"


def after(connection: sqlite3.Connection, prefix: str, since: int, upto: int, limit: int) -> list[Batch]:
    """Whole revisions after `since`, at most about `limit` rows, the oldest first, with what they
    changed below the prefix (which may be nothing)."""
    end = first_id(upto + 1)
    rows: list[Row] = connection.execute(AFTER, (first_id(since + 1), end, limit)).fetchall()
    if len(rows) == limit:  # the last revision may have been cut
        rest = first_id((rows[-1][0] >> SHIFT) + 1)
        rows += connection.execute(AFTER, (rows[-1][0] + 1, rest, -1)).fetchall()
    changes = ((row[0] >> SHIFT, Change(row[1].decode(), _record(row))) for row in rows)
    return [
        Batch(revision, tuple(change for _, change in group if change.key.startswith(prefix)))
        for revision, group in groupby(changes, key=lambda pair: pair[0])
    ]


def leased(connection: sqlite3.Connection, lease: int) -> list[bytes]:
    """The keys that go when a lease does."""
    return [key for (key,) in connection.execute(LEASED, (lease,))]


def leases(connection: sqlite3.Connection) -> dict[int, float]:
    """All leases with their times to live, in seconds."""
    return dict(connection.execute("SELECT id, ttl FROM lease").fetchall())


def progress(connection: sqlite3.Connection) -> tuple[int, int]:
    """The oldest revision that is kept whole, and the first row that forgetting has not come to."""
    floor, forgotten = connection.execute("SELECT floor, forgotten FROM progress").fetchone()
    return floor, forgotten


def forget(connection: sqlite3.Connection, floor: int, limit: int) -> bool:
    """One small step of forgetting what was replaced or deleted up to the revision `floor`. True when
    there is more to do. The caller begins and commits."""
    _, start = progress(connection)
    (last,) = connection.execute(STEP, (start, first_id(floor + 1), limit)).fetchone()
    if last is None:
        return False
    connection.execute(FORGET_REPLACED, (start, last))
    connection.execute(FORGET_DELETED, (start, last))
    connection.execute("UPDATE progress SET floor = max(floor, ?), forgotten = ?", (floor, last + 1))
    return True


def _record(row: Row) -> Record | None:
    id, key, value, created = row
    return None if value is None else Record(key.decode(), value, id >> SHIFT, created)
