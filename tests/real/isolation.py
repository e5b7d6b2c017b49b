"""Why tests leave nothing behind and cannot disturb the machine: namespaces of their own.

Tests that run as root get a network namespace for each pytest process: ports, bridges and firewall
rules are theirs alone and go with the process. A `Cell` is a namespace for processes and mounts that
dies as a whole, with everything started in it, when its owner does, whatever ends the owner."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

CLONE_NEWNET = 0x40000000

# What the first process of a cell does: it ignores SIGCHLD, so that the kernel reaps what is orphaned.
FIRST = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print('ready', flush=True); signal.pause()"

_isolated = False


def own_network() -> None:
    """Move this process into a network namespace that has only a loopback. No-op when not root, where the
    kernel forbids it, or when done before. To be called before threads exist: they would stay behind."""
    global _isolated
    if _isolated or os.geteuid() != 0 or shutil.which("ip") is None:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        _isolated = True
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def is_isolated() -> bool:
    """Whether `own_network` has worked: what engines need."""
    return _isolated


def dying_with_us(command: Sequence[str]) -> list[str]:
    """The command, killed by the kernel when the thread that starts it ends."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


def child_of(pid: int) -> int | None:
    """The only child of a process, as this process numbers it; None while there is none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


class Cell:
    """A namespace of processes and mounts, with empty file systems in memory at the folders named.

    `close` (or the end of this process, even by SIGKILL) kills all that runs in it and drops its mounts."""

    def __init__(self, *folders: Path) -> None:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        mounts = " && ".join(f"mount -t tmpfs zun-test {folder}" for folder in folders)
        first = f'{mounts} && exec "$0" -ISc "{FIRST}"'
        namespaces = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            dying_with_us([*namespaces, "sh", "-c", first, sys.executable]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._holder.stdout is not None
        with self._holder.stdout as said:
            if (line := said.readline()) != b"ready\n":
                raise RuntimeError(f"no namespaces can be made here: {line!r}")
        init = child_of(self._holder.pid)
        assert init is not None
        self._init = init

    def start(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command inside. The process given back waits outside; `child_of` it is the command."""
        enter = ["nsenter", "--target", str(self._init), "--pid", "--mount", "--root", "--", *command]
        return subprocess.Popen(enter, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def close(self) -> None:
        """Kill everything inside and wait until it is gone. Idempotent."""
        if self._holder.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
            self._holder.wait()
