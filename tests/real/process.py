"""A server that a test starts, torments and ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.real.isolation import dying_with_us
from tests.real.waiting import wait_until


def freeze(pid: int) -> None:
    """Stop a process where it is, and wait until each of its threads has stopped."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    wait_until(lambda: all("T" in _state(thread) for thread in threads.iterdir()), 10, f"The process {pid} has stopped")


def thaw(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)


class Process:
    """A child process whose output goes to `log`. It dies with the thread that starts it."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._command, self._env = list(command), env
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its number; only while it was started."""
        assert self._popen is not None
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start it (again); tells nothing about whether it serves yet."""
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                dying_with_us(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if self._env is None else {**os.environ, **self._env},
            )

    def kill(self) -> None:
        """End it at once, and wait until it has. No-op when it has ended."""
        self._end(signal.SIGKILL)

    def stop(self, timeout: float = 10.0) -> None:
        """Ask it to end, and wait; kill it when time is up. No-op when it has ended."""
        self._end(signal.SIGTERM, timeout)

    def freeze(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nothing is answered."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let it go on."""
        thaw(self.pid)

    def _end(self, how: signal.Signals, timeout: float = 10.0) -> None:
        if self._popen is None or self._popen.poll() is not None:
            return
        self._popen.send_signal(how)
        self._popen.send_signal(signal.SIGCONT)
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def _state(thread: Path) -> str:
    """The letter behind the name in parentheses."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]
