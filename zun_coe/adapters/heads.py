"""The head of an answer, bounded in time. Each read of it has a timeout of its own, so that a backend that sends a byte
now and then would be listened to for ever. What follows the head is bounded in `bodies`."""

from __future__ import annotations

import time
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from socket import SocketIO, socket
from typing import Any, cast

PATIENCE = 2.0
"""So many times what one read of it may take, the whole head may."""


class Response(HTTPResponse):
    """An answer whose head raises `TimeoutError` where it does not come in time."""

    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        each = sock.gettimeout()
        until = None if each is None else time.monotonic() + PATIENCE * each
        self._timed = _Timed(cast(SocketIO, self.fp.detach()), until)
        self.fp = BufferedReader(self._timed)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._timed.until = None


class _Timed(RawIOBase):
    """What comes through a socket, until a moment of the monotonic clock; None: without end."""

    def __init__(self, raw: SocketIO, until: float | None) -> None:
        super().__init__()
        self._raw, self.until = raw, until

    @property
    def _sock(self) -> Any:
        """As `SocketIO` has it, where docker-py finds it."""
        return self._raw._sock  # type: ignore[attr-defined]  # the stubs name it not

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """See `RawIOBase`."""
        if self.until is not None and time.monotonic() > self.until:
            raise TimeoutError("the head of the answer did not come in time")
        return self._raw.readinto(buffer)

    def fileno(self) -> int:
        """See `RawIOBase`."""
        return self._raw.fileno()

    def close(self) -> None:
        """See `RawIOBase`."""
        self._raw.close()
        super().close()
