"""One stretch of time in which this process has a cluster."""

from __future__ import annotations

from threading import Event

from zun_coe.engine.ownership import Ownership
from zun_coe.errors import Fenced


class Tenure:
    """Ends once and for good: whoever still works under it when the cluster comes back to this process
    works no more. `over` is set when it was ended here. Thread-safe."""

    def __init__(self, ownership: Ownership, cluster: str) -> None:
        self._ownership, self._cluster = ownership, cluster
        self.over = Event()

    def check(self) -> None:
        """To be called before everything that changes a backend: by this machine's own clock, so that it
        blocks on nobody. Raises `Fenced` when it is over."""
        if self.over.is_set() or not self._ownership.valid(self._cluster):
            raise Fenced(f"this engine no longer has the cluster {self._cluster}")
