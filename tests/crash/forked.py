"""A gateway that is quick to start again: forked from a process that has read the code already, which takes
most of a start. What is killed is a process like any other."""

from __future__ import annotations

import ctypes
import os
import signal
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.processes.fleet import Member

_PR_SET_PDEATHSIG = 1
_context = get_context("forkserver")
_context.set_forkserver_preload(["zun_coe.cli", "zun_coe.app"])


class Forked(Member):
    """A member of a fleet. It dies with the tests."""

    _child: ForkServerProcess | None = None

    @property
    def pid(self) -> int:
        """See `Process`."""
        assert self._child is not None
        assert self._child.pid is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        """See `Process`."""
        return self._child is not None and self._child.is_alive()

    def start(self) -> None:
        """See `Process`."""
        self._child = _context.Process(target=_serve, args=(self.role, self.log, self._env))
        self._child.start()

    def _end(self, how: signal.Signals, timeout: float = 10.0) -> None:
        if self.running:
            os.kill(self.pid, how)
            assert self._child is not None
            self._child.join(timeout)


def _serve(role: str, log: Path, env: dict[str, str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(env)
    from zun_coe.cli import main

    main([role])
