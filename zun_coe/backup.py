"""Copies of a store in one file, and stores made of one: the same file for SQLite and etcd.

A copy is of one revision, and is made while the gateway runs. It is text in gzip: a line that says what it is, one for
each record, and a last line with their number, without which it was cut off. What is leased is left out.

A store that is made of a copy has other revisions than the first one, so events have other ids; their order stays."""

from __future__ import annotations

import gzip
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp
from typing import IO, NamedTuple

import msgspec

from zun_coe import keys
from zun_coe.config import ConfigError, Settings
from zun_coe.errors import OutcomeUnknown, StoreUnavailable
from zun_coe.model import Event
from zun_coe.process import opened
from zun_coe.store import Delete, Operation, Put, Record, Store
from zun_coe.store.places import database, is_embedded
from zun_coe.store.records import RESTORING, decode, encode, type_of, utc_now
from zun_coe.store.rules import packs
from zun_coe.store.sqlite.file import connect
from zun_coe.store.sqlite.log import VERSION, last_revision, page

_LEFT_OUT = ("owner/", "service/", "meta/floor/", RESTORING)
_FORMAT = 1
_PAGE = 1000
_ATTEMPTS = 5


class Head(msgspec.Struct, frozen=True):
    """The first line of a copy. `keys`: the encryption keys, where it has them."""

    zun_coe_backup: int
    at: datetime
    revision: int
    keys: tuple[str, ...] = ()


class Line(msgspec.Struct, frozen=True):
    """A record: its key, its value, and the revision at which it was created."""

    k: str
    v: bytes
    c: int


class End(msgspec.Struct, frozen=True):
    """The last line."""

    records: int


class Copy(NamedTuple):
    """What is in a copy, the records in the order in which they were created."""

    head: Head
    lines: Sequence[Line]


def save(settings: Settings, file: Path, *, with_keys: bool, replace: bool) -> int:
    """Copy the store of the settings into a file, which only its owner reads. How many records there are. Raises
    `ConfigError`, `StoreUnavailable`, `OSError` (`FileExistsError` for a file that is there and not to be replaced)."""
    if file.exists() and not replace:
        raise FileExistsError(f"{file} is there already; use --force to replace it")
    with _reading(settings) as (revision, records):
        given = tuple(keys.at_hand(settings)) if with_keys else ()
        with _draft(file, replace=replace) as out:
            return _write(out, Head(_FORMAT, utc_now(), revision, given), records)


def load(file: Path) -> Copy:
    """What is in a copy. Raises `ConfigError` for a file that is none, or was cut off, and `OSError`."""
    try:
        with gzip.open(file, "rb") as content:
            head = msgspec.json.decode(content.readline(), type=Head)
            lines = content.readlines()
        end = msgspec.json.decode(lines.pop(), type=End)
        records = [msgspec.json.decode(line, type=Line) for line in lines]
    except (EOFError, IndexError, gzip.BadGzipFile, zlib.error, msgspec.MsgspecError) as error:
        raise ConfigError(f"{file} is no backup of a gateway, or was cut off: {error}") from error
    if head.zun_coe_backup != _FORMAT or end.records != len(records):
        raise ConfigError(f"{file} is a backup of another version, or was cut off.")
    return Copy(head, sorted(records, key=lambda line: line.c))


def restore(settings: Settings, store: Store, copy: Copy, *, replace: bool) -> int:
    """Make the store what the copy says. How many records were written. Raises `ConfigError` where it is not empty and
    not to be replaced, where processes use it, or where no key opens what the copy has encrypted, before anything is
    written; `StoreError`."""
    if store.list("service/", limit=1).records:
        raise ConfigError("Processes of the gateway use this store; stop all of them first.")
    if store.list("", limit=1).records and not replace:
        raise ConfigError("The store is not empty; use --force to replace everything in it.")
    keys.provide(settings, copy.head.keys, _sealed(copy), replace=replace)
    _write_all(store, [Put(RESTORING, b"")])
    _write_all(store, [Delete(record.key) for record in _all(store) if record.key != RESTORING])
    _write_all(store, [Put(line.k, line.v) for line in copy.lines])
    _write_all(store, [Delete(RESTORING)])
    return len(copy.lines)


def _sealed(copy: Copy) -> str | None:
    """Something that the copy has encrypted."""
    records = (Record(line.k, line.v, line.c, line.c) for line in copy.lines)
    return next((sealed.text for record in records if (sealed := keys.sealed_in(record))), None)


def _write_all(store: Store, operations: Iterable[Operation]) -> None:
    for pack in packs(list(operations)):
        _insist(store, [_numbered(operation, n) for n, operation in enumerate(pack)])


def _insist(store: Store, operations: Sequence[Operation]) -> None:
    """Write them, again where nobody knows whether it happened: twice is as good as once."""
    for _ in range(_ATTEMPTS):
        with suppress(OutcomeUnknown):
            store.transact([], operations)
            return
    raise StoreUnavailable("it did not say whether it was written")


def _numbered(operation: Operation, n: int) -> Operation:
    """Events that are written together are told apart, and ordered, by their number."""
    if not isinstance(operation, Put) or type_of(operation.key) is not Event:
        return operation
    return Put(operation.key, encode(msgspec.structs.replace(decode(operation.value, Event), n=n)))


def _write(out: IO[bytes], head: Head, records: Iterator[Record]) -> int:
    count = 0
    with gzip.GzipFile(fileobj=out, mode="wb") as content:
        content.write(msgspec.json.encode(head) + b"\n")
        for record in records:
            if record.key.startswith(_LEFT_OUT):
                continue
            content.write(msgspec.json.encode(Line(record.key, record.value, record.created)) + b"\n")
            count += 1
        content.write(msgspec.json.encode(End(count)) + b"\n")
    return count


@contextmanager
def _draft(file: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """A file that is there once it is whole."""
    descriptor, draft = mkstemp(dir=file.absolute().parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        (os.replace if replace else os.link)(draft, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)


@contextmanager
def _reading(settings: Settings) -> Iterator[tuple[int, Iterator[Record]]]:
    """A revision, and all records as they were at it."""
    if not is_embedded(settings.store):
        with opened(settings.store) as store:
            yield store.list("", limit=1).revision, _all(store)
        return
    file = _file(settings.store)
    try:
        with closing(connect(file)) as connection:
            connection.execute("BEGIN")  # what is read from now on is of one moment
            if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                raise ConfigError(f"{file} is no store of this version.")
            revision = last_revision(connection)
            yield revision, page(connection, b"", None, revision, _PAGE)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{file} cannot be read: {error}") from error


def _file(url: str) -> Path:
    try:
        file = database(url)
    except ValueError as error:
        raise ConfigError(f"store: {error}") from error
    if not file.exists():
        raise ConfigError(f"There is no store {file}.")
    return file


def _all(store: Store) -> Iterator[Record]:
    found = store.list("", limit=_PAGE)
    while True:
        yield from found.records
        if not found.more:
            return
        found = store.list("", limit=_PAGE, after=found.records[-1].key, revision=found.revision)
