"""The file of the SQLite store: who may use it, and the connections to it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zun_coe.errors import StoreUnavailable
from zun_coe.store.sqlite import log


class Readers:
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
            connection = connect(self._path)
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


def lock(path: Path) -> int:
    """The descriptor that holds the lock beside the file; the lock ends with it, and with the process."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be used: {error}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        raise StoreUnavailable(
            f"{path} is in use: a SQLite store belongs to one gateway process; several need etcd"
        ) from error
    return held


def open_log(path: Path) -> sqlite3.Connection:
    """The writing connection. Raises `StoreUnavailable` for a file that is not ours."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = connect(path)
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


def connect(path: Path) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
