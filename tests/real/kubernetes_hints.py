"""What the watch of a Kubernetes hints at, heard in a thread of its own."""

from __future__ import annotations

import threading

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.watching import hints
from zun_coe.model import WorkloadRef


class Heard:
    """Listens from now until it is closed. `hints`: all that came, in order."""

    def __init__(self, connection: Connection) -> None:
        self.hints: list[WorkloadRef | None] = []
        self._connection, self._stop = connection, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        client = Client(self._connection)
        for hint in hints(client, self._connection, self._stop):
            self.hints.append(hint)
        client.close()

    def close(self) -> None:
        """End it; that it does not end is a failure."""
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
