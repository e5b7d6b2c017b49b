"""When the processes of containers end, as the kernel of this machine tells it: before their engine knows."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from pathlib import Path

from tests.real.engine import Engine

GROUPS = Path("/sys/fs/cgroup")


class Processes:
    """The main processes of some containers, each under a name. `ended`: when each of them did, in seconds of the
    machine's monotonic clock."""

    def __init__(self, there: Engine) -> None:
        self.ended: dict[str, float] = {}
        self._engine = there
        self._handles: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._poll = select.epoll()

    def __enter__(self) -> Processes:
        threading.Thread(target=self._watch, name="ends", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """The thread goes with this process; what has not ended goes with its engine."""

    def follow(self, name: str, container: str) -> None:
        """Follow the main process of a container, which runs. Raises `LookupError` where it does not."""
        handle = os.pidfd_open(main_process(self._engine, container))
        self._handles[name], self._names[handle] = handle, name
        self._poll.register(handle, select.EPOLLIN)

    def kill(self, name: str) -> None:
        """End it as the kernel does that runs out of memory: nobody is asked."""
        signal.pidfd_send_signal(self._handles[name], signal.SIGKILL)

    def _watch(self) -> None:
        while True:
            for handle, _ in self._poll.poll():
                self.ended[self._names[handle]] = time.monotonic()
                self._poll.unregister(handle)
                os.close(handle)


def main_process(there: Engine, container: str) -> int:
    """The number of a container's first process here, which is another one where its engine is. Raises
    `LookupError` where it does not run."""
    own = Path(there.control_group, container, "cgroup.procs")
    for found in (GROUPS / own, *GROUPS.glob(f"*/{own}")):
        if found.exists() and (numbers := found.read_text().split()):
            return min(map(int, numbers))
    raise LookupError(f"the container {container} does not run")
