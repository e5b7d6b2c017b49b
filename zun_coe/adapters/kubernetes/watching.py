"""Hints of what changed, from one watch for each kind of objects. They are hints only: nothing is kept of the
objects but whose they are, so that events, which have no labels of ours, find their workloads."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from threading import Event as StopEvent
from threading import Lock, Thread
from typing import Any

import msgspec

from zun_coe.adapters import Connection
from zun_coe.adapters.hints import Hints
from zun_coe.adapters.kubernetes import naming, paths, wire
from zun_coe.adapters.kubernetes.client import METADATA, Client
from zun_coe.adapters.kubernetes.failures import Expired, Status, errors, failure_of
from zun_coe.adapters.kubernetes.owners import Owners, Place
from zun_coe.adapters.kubernetes.streaming import Stream
from zun_coe.errors import BackendError
from zun_coe.model import WorkloadRef

LABELLED = ("Deployment", "Pod", "Service", "PersistentVolumeClaim")
SPAN = 240
"""Seconds after which the server is asked to end a watch, which is then resumed: by credentials that still hold."""
_GLANCE = 0.5
_FIRST_DELAY, _LAST_DELAY = 0.2, 5.0
_ONE, _MANY = METADATA.format("PartialObjectMetadata"), METADATA.format("PartialObjectMetadataList")


class Subject(wire.Wire, frozen=True, kw_only=True):
    """An object's metadata, and of an event what it is about."""

    metadata: wire.Metadata = wire.Metadata()
    involved_object: wire.ObjectReference = wire.ObjectReference()


class Notice(wire.Wire, frozen=True, kw_only=True):
    """One line of a watch. `type`: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: msgspec.Raw


def hints(
    client: Client, connection: Connection, stop: StopEvent, queue: Hints | None = None, owners: Owners | None = None
) -> Iterator[WorkloadRef | None]:
    """Yield hints until `stop` is set, which is noticed within half a second. One thread and one connection for each
    kind, which end with the iteration. `queue`: where others put theirs; `owners`: where is kept what there is."""
    queue, owners = queue or Hints(), owners or Owners(client.freshness)
    kinds = [_Labelled(kind, client, connection, owners, queue) for kind in LABELLED]
    watches: list[_Watch] = [*kinds, _Events("Event", client, connection, owners, queue)]
    for watch in watches:
        Thread(target=watch.run, name=f"watch {watch.kind}", daemon=True).start()
    try:
        while not stop.is_set():
            yield from queue.take(_GLANCE)
    finally:
        for watch in watches:
            watch.close()


class _Watch(ABC):
    """One kind of objects: listed once, then watched from there, resumed where it ended, and listed anew only where
    the server no longer knows the place."""

    accept = _ONE
    """What is told of an object."""

    def __init__(self, kind: str, client: Client, connection: Connection, owners: Owners, queue: Hints) -> None:
        self.kind = kind
        self._client, self._owners, self._queue = client, owners, queue
        self._freshness = client.freshness
        self._path = paths.collection(kind, connection.namespace)
        self._labels = naming.ours(connection.installation, connection.cluster)
        self._prompt, self._patience = connection.timeout, SPAN + connection.timeout
        self._version, self._heard = "", False
        self._stream: Stream | None = None
        self._lock, self._closed = Lock(), StopEvent()

    def run(self) -> None:
        """Watch until it is closed."""
        delay = _FIRST_DELAY
        while not self._closed.is_set():
            self._heard, begun, asked = False, time.monotonic(), 0.0
            try:
                self._version = self._version or self._begin()
                self._follow()
            except Expired:
                self._version = ""
            except BackendError as error:
                asked = error.retry_after or 0.0  # else it is described by those whose calls are no hints
            except Exception as error:  # noqa: BLE001  # whoever takes the hints begins anew, and says so
                self._queue.fail(error)
                return
            steady = self._heard or time.monotonic() - begun > _LAST_DELAY
            delay = _FIRST_DELAY if steady else min(delay * 2, _LAST_DELAY)
            self._closed.wait(max(delay, asked))

    def close(self) -> None:
        """End it soon. Idempotent; from any thread."""
        self._closed.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    @abstractmethod
    def _begin(self) -> str:
        """Where to watch from. Whatever happened before is for others to find out: they are told to look."""

    @abstractmethod
    def _params(self) -> dict[str, Any]:
        """What to watch."""

    @abstractmethod
    def _hear(self, subject: Subject, *, gone: bool) -> None:
        """Something happened to an object."""

    def _follow(self) -> None:
        going_on = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": SPAN}
        params = going_on | {"resourceVersion": self._version} | self._params()
        how = {"patience": self._patience, "prompt": self._prompt}  # a watch begins at once, whatever there is to tell
        stream = self._client.stream(self._path, params, accept=self.accept, **how)
        with self._lock:
            self._stream = stream
            if self._closed.is_set():
                return
        with self._freshness.followed(self.kind, self._version):
            for line in stream.lines():
                with errors(f"watch {self._path}"):
                    self._take(_NOTICE.decode(line))

    def _take(self, notice: Notice) -> None:
        if notice.type == "ERROR":
            raise failure_of(f"watch {self._path}", _STATUS.decode(notice.object))
        subject = _SUBJECT.decode(notice.object)
        self._version, self._heard = subject.metadata.resource_version, True
        self._freshness.see(self.kind, self._version)
        if notice.type != "BOOKMARK":
            self._hear(subject, gone=notice.type == "DELETED")


class _Labelled(_Watch):
    """Objects that say whose they are. Claims are a project's: of those anybody may be waiting."""

    def _begin(self) -> str:
        # Of the database, not of the memory of a server that may be behind what was seen or written already: what is
        # not listed counts as gone.
        listing = self._client.list(self._path, Subject, labels=self._labels, accept=_MANY)
        for subject in listing.items:
            self._keep(subject.metadata)
        self._owners.listed(self.kind, {self._place(subject.metadata) for subject in listing.items}, listing.version)
        self._queue.put(None)
        return listing.version

    def _params(self) -> dict[str, Any]:
        return {"labelSelector": naming.selector(self._labels)}

    def _hear(self, subject: Subject, *, gone: bool) -> None:
        ref = self._keep(subject.metadata)
        if gone:
            self._owners.drop(self._place(subject.metadata), subject.metadata.resource_version)
        if ref is not None and self._owners.only_goes(ref, self.kind, gone=gone):
            return
        if ref is not None or self.kind == "PersistentVolumeClaim":
            self._queue.put(ref)

    def _keep(self, metadata: wire.Metadata) -> WorkloadRef | None:
        ref = naming.ref_of(metadata.labels, metadata.annotations)
        if ref is not None:
            self._owners.keep(self._place(metadata), ref, metadata.resource_version)
        return ref

    def _place(self, metadata: wire.Metadata) -> Place:
        return self.kind, metadata.namespace, metadata.name


class _Events(_Watch):
    """Events of the cluster, as far as they tell of trouble: what goes well changes the objects themselves."""

    accept = "application/json"  # the metadata do not tell what an event is about

    def _begin(self) -> str:
        # Only the version is wanted: what happened before can be found on the objects.
        page = self._client.read(self._path, wire.Page[Subject], {"limit": 1} | self._params())
        return page.metadata.resource_version

    def _params(self) -> dict[str, Any]:
        return {"fieldSelector": "type=Warning"}

    def _hear(self, subject: Subject, *, gone: bool) -> None:
        ref = self._owners.of(subject.involved_object)
        if ref is not None and not gone:
            self._queue.put(ref)


_NOTICE = msgspec.json.Decoder(Notice)
_SUBJECT = msgspec.json.Decoder(Subject)
_STATUS = msgspec.json.Decoder(Status)
