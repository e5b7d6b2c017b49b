"""The copy of the store that one watch of the whole process keeps up to date.

Reads are answered from it, and whoever wants to hear of changes listens to it, so that the store is
watched once and not once for each reader. The copy moves by whole revisions only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from sys import intern
from typing import Any

import msgspec
import structlog
from sortedcontainers import SortedDict

from zun_coe.errors import Compacted, StoreUnavailable
from zun_coe.model import ClusterStatus, Event, InstancePart, Status, Value
from zun_coe.model.parts import unpacked, whole
from zun_coe.store import Batch, Record, Store, records

PAGE = 1000
"""Records that are asked for at once when the copy is made."""
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""The delays before the store is asked again after a failure, in seconds: the first, doubled up to the last."""

_OF_EVENTS = ("project", "type", "subject", "subject_id", "subject_name", "cluster")
_OF_INSTANCES = ("native_id", "hash", "host")

_logger = structlog.get_logger(__name__)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A key as it is in the copy: decoded where `records.type_of` knows its type, else its text."""

    key: str
    value: Value | str
    revision: int
    created: int


class Update(msgspec.Struct, frozen=True, gc=False):
    """What became of a key: new (`before` None), changed, or gone (`after` None)."""

    key: str
    before: Entry | None
    after: Entry | None


Listener = Callable[[int, Sequence[Update]], None]
"""Called with a revision and what it changed, never with nothing: in the watch's thread, in order, when
the entries are in place. It must not block for long, since everybody's copy waits for it."""


class Cache:
    """The copy. Thread-safe. A value that can't be decoded is logged and skipped: what was there stays."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: SortedDict[str, Entry] = SortedDict()
        self._revision = 0
        self._told = 0
        self._heard = float("-inf")
        self._lock = threading.Lock()  # guards all of these
        self._waiting: list[tuple[int, int, threading.Event]] = []  # a heap: who waits for which revision
        self._numbers = count()
        self._listeners: tuple[Listener, ...] = ()
        self._parts: dict[str, Any] = {}  # of statuses, by key; of the watch's thread
        self._undecodable: set[str] = set()
        self._stop = threading.Event()
        self._loaded = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-watch", daemon=True)

    def listen(self, listener: Listener) -> None:
        """Hear of every change from now on. Before `start` this begins with everything there is, in one
        call; afterwards with the next revision."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Listener) -> None:
        """Hear no more; a call that is under way ends by itself. Idempotent."""
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one != listener)

    def start(self, timeout: float = 10.0) -> None:
        """Make the copy and keep it. Blocks until it is there and the listeners have seen it. Raises
        `StoreUnavailable` when that takes longer than `timeout` seconds; the cache is closed then."""
        self._thread.start()
        if not self._loaded.wait(timeout):
            self.close()
            raise StoreUnavailable(f"the store could not be read within {timeout:g} s")

    def get(self, key: str) -> Entry | None:
        """The entry at a key. Never blocks."""
        return self._entries.get(key)

    def list(self, prefix: str) -> list[Entry]:
        """All entries below a prefix in key order, as of one revision."""
        with self._lock:
            first = self._entries.bisect_left(prefix)
            last = self._entries.bisect_left(_end(prefix)) if prefix else len(self._entries)
            return list(self._entries.values()[first:last])

    def wait_for(self, revision: int, timeout: float = 5.0) -> None:
        """Blocks until the copy and all listeners have seen a revision: after that they show the caller's
        own write. Not for listeners, which would wait for themselves. Raises `StoreUnavailable` after
        `timeout` seconds."""
        with self._lock:
            if self._told >= revision:
                return
            # Each by itself: woken together, all would compete for the interpreter at every revision.
            seen = threading.Event()
            heappush(self._waiting, (revision, next(self._numbers), seen))
        if not seen.wait(timeout):
            raise StoreUnavailable(f"revision {revision} of the store was not seen within {timeout:g} s")

    @property
    def revision(self) -> int:
        """The newest revision that the copy has seen; 0 before it is made."""
        return self._revision

    @property
    def age(self) -> float:
        """Seconds since the store was last heard of: about a second at most while it is there."""
        return time.monotonic() - self._heard

    def close(self) -> None:
        """Stop watching; the copy stays readable. Idempotent; blocks until the last listener was called."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        pause, told = FIRST_PAUSE, 0.0
        stale = True
        while not self._stop.is_set():
            heard = self._heard
            try:
                if stale:
                    self._load()
                    self._loaded.set()
                    stale = False
                self._follow()
            except Compacted:
                stale = True
                continue
            except StoreUnavailable as error:
                if told != self._heard:  # once for each time that it goes away
                    told = self._heard
                    _logger.warning("store.away", error=str(error))
            except Exception:  # the watch must not end: whatever it was, the copy is made anew
                _logger.exception("store.watch")
                stale = True
            pause = FIRST_PAUSE if self._heard > heard else min(2 * pause, LAST_PAUSE)
            self._stop.wait(pause)

    def _follow(self) -> None:
        for batch in self._store.watch("", self._revision, self._stop):
            self._take(batch)
            if self._stop.is_set():
                return

    def _take(self, batch: Batch) -> None:
        self._heard = time.monotonic()
        if batch.revision <= self._revision:
            return
        updates = [update for change in batch.changes if (update := self._update(change.key, change.record))]
        self._apply(batch.revision, updates)

    def _load(self) -> None:
        """Everything at one revision; told are the differences to what the copy had."""
        found: dict[str, Record] = {}
        page = self._store.list("", limit=PAGE)
        while True:
            self._heard = time.monotonic()
            found |= {record.key: record for record in page.records}
            if not page.more or self._stop.is_set():
                break
            page = self._store.list("", limit=PAGE, after=page.records[-1].key, revision=page.revision)
        if not self._stop.is_set():
            self._apply(page.revision, self._differences(found))

    def _differences(self, found: dict[str, Record]) -> Sequence[Update]:
        updates = []
        for key in sorted(found.keys() | self._entries.keys()):
            before, record = self._entries.get(key), found.get(key)
            same = before is not None and record is not None and before.revision == record.revision
            if not same and (update := self._update(key, record)):
                updates.append(update)
        return updates

    def _update(self, key: str, record: Record | None) -> Update | None:
        before = self._entries.get(key)
        if record is None:
            self._parts.pop(key, None)
        after = self._decoded(record) if record else None
        if after is None and (record or before is None):
            return None
        return Update(key, before, after)

    def _decoded(self, record: Record) -> Entry | None:
        type_ = records.type_of(record.key)
        try:
            value = record.value.decode() if type_ is None else self._whole(record, type_)
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError) as error:
            if record.key not in self._undecodable:
                self._undecodable.add(record.key)
                _logger.error("store.undecodable", key=record.key, error=str(error))
            return None
        self._undecodable.discard(record.key)
        return Entry(record.key, value, record.revision, record.created)

    def _whole(self, record: Record, type_: type[Value]) -> Value:
        """The value; a status with what is in its parts, which are written before it and with it."""
        value = unpacked(_shared(records.decode(record.value, type_)))
        if record.key.startswith("part/"):
            self._parts[record.key] = value
        elif isinstance(value, Status | ClusterStatus):
            below = record.key.replace("status/", "part/", 1)
            value = whole(value, lambda name: self._parts[f"{below}/{name}"])
        return value

    def _take_over(self, updates: Sequence[Update]) -> None:
        if not self._entries:  # all at once, which is quicker: at a start there are very many
            self._entries.update({update.after.key: update.after for update in updates if update.after})
            return
        for update in updates:
            if update.after is None:
                del self._entries[update.key]
            else:
                self._entries[update.after.key] = update.after  # one text, as the key and in the entry

    def _apply(self, revision: int, updates: Sequence[Update]) -> None:
        with self._lock:
            self._take_over(updates)
            self._revision = revision
            listeners = self._listeners
        for listener in listeners if updates else ():
            try:
                listener(revision, updates)
            except Exception:  # one listener's fault must not keep the others from hearing
                _logger.exception("store.listener", revision=revision)
        with self._lock:
            self._told = revision
            while self._waiting and self._waiting[0][0] <= revision:
                heappop(self._waiting)[2].set()


def _shared(value: Value) -> Value:
    """The value, with the texts that many values have in common kept once for all of them."""
    if isinstance(value, Event):
        _share(value, _OF_EVENTS)
        value.data.update({name: intern(text) for name, text in value.data.items() if isinstance(text, str)})
    elif isinstance(value, Status | InstancePart):
        for instance in value.instances:
            _share(instance, _OF_INSTANCES)
    return value


def _share(value: Value, names: Sequence[str]) -> None:
    for name in names:
        text = getattr(value, name)
        if text is not None:
            msgspec.structs.force_setattr(value, name, intern(text))


def _end(prefix: str) -> str:
    """The first text after all that begins with `prefix`: code points sort as their UTF-8 does."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
