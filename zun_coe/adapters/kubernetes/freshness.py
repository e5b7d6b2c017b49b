"""How new an answer has to be that the server may give from its memory.

A list comes from the server's database, which is read as a whole for it, unless it names a version that it must not
be older than: then it comes from memory, however much else there is. That version is known while a kind of objects is
watched: it is the newest that the watch has told of, or that a write of our own has made. Of what is newer the watch
will tell, so that somebody looks again.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any


class Freshness:
    """The newest version known of each kind that is watched. Versions of one kind only are compared: a server's
    memory of a kind comes no further than the last change of one of its objects. Thread-safe."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._lock = Lock()

    @contextmanager
    def followed(self, kind: str, version: str) -> Iterator[None]:
        """While all changes of a kind after a version are told."""
        with self._lock:
            if version.isdigit():
                self._newest[kind] = max(int(version), self._newest.get(kind, 0))
        try:
            yield
        finally:
            with self._lock:
                self._newest.pop(kind, None)

    def see(self, kind: str, version: str) -> None:
        """An object of the kind has this version, in the server's own spelling. No-op while nobody follows it."""
        with self._lock:
            if kind in self._newest and version.isdigit():
                self._newest[kind] = max(int(version), self._newest[kind])

    def see_object(self, object: Mapping[str, Any]) -> None:
        """The same of a whole object, as an answer to a write has it."""
        self.see(object.get("kind", ""), (object.get("metadata") or {}).get("resourceVersion", ""))

    def doubt(self, kind: str) -> None:
        """A server has not come as far as the version known, and may not soon: until the next change of the kind."""
        with self._lock:
            if kind in self._newest:
                self._newest[kind] = 0

    def of(self, kind: str) -> str | None:
        """What an answer must not be older than; None: only the database knows."""
        with self._lock:
            newest = self._newest.get(kind)
        return str(newest) if newest else None
