"""The state store: one small contract, two implementations (SQLite, etcd v3), and nothing above knows which.

Revisions are opaque integers that rise, may have gaps, and are shared by all operations of one
transaction. Deleting nothing and a failed transaction do not raise them; writing the same value does.
Keys are non-empty text, ordered by their UTF-8 bytes. The limits of etcd hold everywhere: 128 operations
and 128 conditions in a transaction, no key twice, 1.5 MiB in all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event as StopEvent
from types import TracebackType

import msgspec

MAX_OPERATIONS = 128
MAX_BYTES = 1_500_000


class Record(msgspec.Struct, frozen=True, gc=False):
    """A key's value, with the revisions that created it and last changed it."""

    key: str
    value: bytes
    revision: int
    created: int


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing. All pages of one listing are of the same `revision`; `more`: ask on with
    `after` the last key."""

    records: tuple[Record, ...]
    revision: int
    more: bool


class Change(msgspec.Struct, frozen=True, gc=False):
    """One key that a revision set (`record`) or deleted (`record` None)."""

    key: str
    record: Record | None


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Everything that one revision changed below the watched prefix, in the order of its operations.
    A batch without changes tells that nothing happened up to `revision`."""

    revision: int
    changes: tuple[Change, ...]


class Put(msgspec.Struct, frozen=True, gc=False):
    """Set a key. With `lease` the key goes when the lease does; without, it is kept."""

    key: str
    value: bytes
    lease: int | None = None


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Take a key away; nothing happens where it is absent."""

    key: str


class Missing(msgspec.Struct, frozen=True, gc=False):
    """Condition: the key is absent. Fails with `KeyExists`."""

    key: str


class At(msgspec.Struct, frozen=True, gc=False):
    """Condition: the key is there, last changed at this revision. Fails with `RevisionConflict`
    (`KeyNotFound` where it is absent)."""

    key: str
    revision: int


class Present(msgspec.Struct, frozen=True, gc=False):
    """Condition: the key is there, at whatever revision. Fails with `KeyNotFound`."""

    key: str


class Held(msgspec.Struct, frozen=True, gc=False):
    """Condition: the key is there and belongs to this lease. Fails with `Fenced`, which wins over every
    other failure."""

    key: str
    lease: int


Condition = Missing | At | Present | Held
Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Lease:
    """A time that runs out unless kept alive, `ttl` in seconds (5 or more)."""

    id: int
    ttl: float


class Store(ABC):
    """A transactional key-value store that can be watched. Thread-safe; every call has a deadline.

    Any call may raise `StoreUnavailable` (nothing happened); a write may raise `OutcomeUnknown`."""

    @abstractmethod
    def get(self, key: str) -> Record | None:
        """The newest value, as of all writes acknowledged before the call; None where absent."""

    @abstractmethod
    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        """Records below `prefix` in key order, those after the key `after`, at `revision` (default: now).
        Raises `Compacted` when that revision is no longer kept."""

    @abstractmethod
    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        """All of the operations at one revision, which is returned, if all of the conditions hold; else
        nothing, and the error of the first that does not. Never tried again by itself."""

    @abstractmethod
    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        """What changes below `prefix` after `since`: whole revisions in order, none missing, none twice,
        through lost connections too, until `stop` is set (noticed within a second). Raises `Compacted`
        when `since` is no longer kept. Yields empty batches now and then, so that a watcher that hears
        nothing for 5 s knows that the store is away; while it is, `StoreUnavailable` is raised and the
        caller watches again."""

    @abstractmethod
    def grant(self, ttl: float) -> Lease:
        """A new lease. It expires within [ttl, ttl + 2 s] after it was last renewed."""

    @abstractmethod
    def renew(self, lease: Lease) -> None:
        """Set the lease back to its full time. Raises `Fenced` when it is already gone."""

    @abstractmethod
    def revoke(self, lease: Lease) -> None:
        """End the lease and delete its keys. No-op when it is gone."""

    @abstractmethod
    def compact(self, before: int) -> None:
        """Forget what was overwritten before this revision, in small steps. Idempotent."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and threads. Idempotent."""

    def create(self, key: str, value: bytes, lease: int | None = None) -> int:
        """Set a key that must be absent. Raises `KeyExists`."""
        return self.transact([Missing(key)], [Put(key, value, lease)])

    def update(self, key: str, value: bytes, expected: int) -> int:
        """Set a key that must be at the revision `expected`. Raises `RevisionConflict`, `KeyNotFound`."""
        return self.transact([At(key, expected)], [Put(key, value)])

    def delete(self, key: str, expected: int) -> int:
        """Delete a key that must be at the revision `expected`. Raises `RevisionConflict`, `KeyNotFound`."""
        return self.transact([At(key, expected)], [Delete(key)])

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str) -> Store:
    """The store that a URL names: `sqlite:///path/file.db`, `etcd://[user:password@]host:2379[,host:2379…]`, or
    `etcds://` for TLS (`?ca=FILE&cert=FILE&key=FILE`). Raises `ValueError` for any other, without a password in it."""
    must_name_a_store(url)
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        from zun_coe.store.sqlite import SqliteStore

        return SqliteStore.from_url(url)
    from zun_coe.store.etcd import EtcdStore

    return EtcdStore.from_url(url)


def must_name_a_store(url: str) -> None:
    """Raises `ValueError`, without a password in it, for what is of no kind of store."""
    scheme, of_a_kind, _ = url.partition("://")
    if of_a_kind and scheme not in ("sqlite", "etcd", "etcds"):
        raise ValueError(f"{scheme}:// names no store: use sqlite:///FILE or etcd://HOST:PORT[,HOST:PORT...]")
    if not of_a_kind:
        hint = (
            "use etcd://HOST:PORT"
            if "@" in url
            else f"for the file {url!r} use sqlite:///{url.removeprefix('sqlite:')}"
        )
        raise ValueError(f"it names no store: {hint}")
