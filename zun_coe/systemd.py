"""Telling systemd how far the service is, by the protocol of sd_notify(3): lines in a datagram to $NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

READY, STOPPING = "READY=1", "STOPPING=1"


def notify(*lines: str) -> None:
    """Tell it. Nothing happens where systemd did not start this process; never raises for a socket that is gone."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = f"\0{where[1:]}" if where.startswith("@") else where  # a name without a file
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        told.sendto("\n".join(lines).encode(), address)


def reloading() -> None:
    """Tell that the settings are being read anew; `READY` says that it is done."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
