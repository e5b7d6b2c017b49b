"""Answers of an API server that go on for a while: logs and watches.

Each has a connection of its own, so that it can be ended from another thread at any time: also before there is
an answer, since a server gives none for a log that is followed until there is something in it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from threading import Lock

from urllib3.connection import HTTPSConnection
from urllib3.response import HTTPResponse

from zun_coe.adapters import bodies
from zun_coe.adapters.kubernetes.failures import answered, errors

BLOCK = 1 << 16
_LAST_WORDS = 1 << 20
_LONGEST = 16 << 20


class Stream:
    """The bytes of one answer to a GET. `closed`: somebody asked for its end. To be read by one thread, once."""

    def __init__(
        self,
        connect: Callable[[], HTTPSConnection],
        url: str,
        headers: dict[str, str],
        patience: float | None,
        prompt: float | None,
    ) -> None:
        self._connect, self._url, self._headers = connect, url, headers
        self._patience, self._prompt = patience, prompt
        self._call = f"GET {url.partition('?')[0]}"
        self._lock = Lock()
        self._socket: socket.socket | None = None
        self.closed = False

    def blocks(self) -> Iterator[bytes]:
        """What comes, as it comes. Blocks; ends without an error once it is closed. Raises the `BackendError` of
        an answer that is not a success, and `Unavailable` where the connection breaks or says nothing for longer
        than the patience (seconds; None: for ever)."""
        try:
            with errors(self._call):
                yield from self._blocks()
        except Exception:
            if not self.closed:  # else the connection was taken away under the reader's hands, as asked
                raise

    def lines(self) -> Iterator[bytes]:
        """The same cut into lines, without their ends. Raises `Unavailable` where one has no end."""
        for line in bodies.lines(self.blocks(), _LONGEST, "a line of the API server", self._call):
            if not self.closed:
                yield line

    def close(self) -> None:
        """End it. Idempotent; from any thread; does not wait for the reader."""
        with self._lock:
            self.closed = True
            if self._socket is not None:
                _cut(self._socket)

    def _blocks(self) -> Iterator[bytes]:
        connection = self._connect()
        try:
            connection.connect()
            if not self._take(connection):
                return
            connection.timeout = self._prompt
            connection.request("GET", self._url, headers=self._headers, preload_content=False)
            response = connection.getresponse()
            self._wait_for_more()
            try:
                yield from self._read(response)
            finally:
                response.close()
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _take(self, connection: HTTPSConnection) -> bool:
        """Make the connection one that can be closed; whether it is still wanted."""
        with self._lock:
            self._socket = connection.sock
            return not self.closed

    def _wait_for_more(self) -> None:
        """It has begun to answer; how soon it goes on is another matter."""
        with self._lock:
            if self._socket is not None and not self.closed:
                self._socket.settimeout(self._patience)

    def _read(self, response: HTTPResponse) -> Iterator[bytes]:
        if not 200 <= response.status < 300:
            raise answered(self._call, response.status, response.read(_LAST_WORDS), response.headers)
        while (block := response.read1(BLOCK)) and not self.closed:
            yield block


def _cut(connected: socket.socket) -> None:
    """End what a socket carries, for whoever reads from it, too. The shutdown of TLS is left out: it would hand
    the reader what comes next as it is, encrypted."""
    try:
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        return  # it has come to its end by itself
