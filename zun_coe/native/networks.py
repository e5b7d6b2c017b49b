"""The networks of projects on one host: created when they are needed first, removed when nothing uses them.

Both may happen at once: while something is created on a network it has no user that the runtime knows of yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition

from zun_coe.native.runtime import Runtime


class ProjectNetworks:
    """Networks by their native names. Thread-safe; one process at a time has a cluster, and with it this."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._there: set[str] = set()
        self._wanted: Counter[str] = Counter()
        self._going: set[str] = set()
        self._changed = Condition()

    @contextmanager
    def using(self, names: Iterable[str], labels: Mapping[str, str]) -> Iterator[None]:
        """These are on the host, and none of them is removed meanwhile: one that is being removed just now is waited
        for, and created anew. The runtime is asked once for each."""
        names = list(names)
        with self._changed:
            self._changed.wait_for(lambda: self._going.isdisjoint(names))
            self._wanted.update(names)
        try:
            self.ensure(names, labels)
            yield
        finally:
            with self._changed:
                self._wanted.subtract(names)
                self._wanted = +self._wanted

    def ensure(self, names: Iterable[str], labels: Mapping[str, str], *, anew: bool = False) -> None:
        """These are on the host; for those that somebody is `using`. `anew`: they may be gone although they were
        there, so ask the runtime again."""
        for name in names:
            if anew or name not in self._there:
                self._runtime.ensure_network(name, labels)
                self._there.add(name)

    def release(self, names: Iterable[str]) -> list[str]:
        """Remove those that nothing uses; the others."""
        return [name for name in names if not self._release(name)]

    def _release(self, name: str) -> bool:
        """Whether it is gone. A runtime that takes long keeps nobody from other networks."""
        with self._changed:
            if self._wanted[name] or name in self._going:
                return False
            self._there.discard(name)
            self._going.add(name)
        try:
            return self._runtime.remove_network(name)
        finally:
            with self._changed:
                self._going.remove(name)
                self._changed.notify_all()
