"""A way to a real API server that fails on command: what no other rule is for is passed on, byte by byte."""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.faults.api_server import ApiServer, Handler, Rule, Then, failing
from tests.real.kubernetes import ControlPlane

BLOCK = 1 << 16


class ApiProxy(ApiServer):
    """Listens for the API server of a control plane, with a certificate of its own. Each request that is passed on
    has a connection of its own. `asked` tells of all."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        super().__init__(folder)
        url = urlsplit(plane.endpoint)
        self._target = (url.hostname or "", url.port or 443)
        self._trust = ssl.create_default_context(cadata=plane.authority.certificate)
        self._token = plane.token
        self._passed: dict[socket.socket, str] = {}
        self._awaited: set[socket.socket] = set()
        self.heal()

    def body(self, token: str = "", **fields: Any) -> dict[str, Any]:
        """What registers it as a cluster, with the rights of an administrator or of whoever has the token."""
        credentials = {"ca_cert": self.authority.certificate, "token": token or self._token}
        return {"kind": "kubernetes", "endpoint": self.endpoint, "credentials": credentials} | fields

    def heal(self) -> None:
        """Pass everything on from now on. What hangs is broken."""
        with self._lock:
            self._rules = [Rule(re.compile(""), self.passing, None)]
            released, self.released = self.released, threading.Event()
            awaited = list(self._awaited)
        released.set()
        for one in awaited:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self, pattern: str = "") -> None:
        """Break the connections of requests that match and are being passed on."""
        with self._lock:
            found = [one for one, line in self._passed.items() if re.search(pattern, line)]
        for one in found:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def passed(self, pattern: str = "") -> list[str]:
        """The requests that match and are being passed on, each of which has two connections."""
        with self._lock:
            return [line for line in self._passed.values() if re.search(pattern, line)]

    def passing(self, handler: Handler) -> None:
        """What the API server answers. It is broken off when either of the two ends goes away."""
        handler.close_connection = True
        with suppress(OSError), self._connected() as upstream:
            with self._lock:
                self._passed[upstream] = f"{handler.command} {handler.path}"
            try:
                upstream.sendall(_request(handler))
                _pass_on(upstream, handler.connection)
            finally:
                with self._lock:
                    del self._passed[upstream]

    def halving(self, handler: Handler) -> None:
        """Half of what the API server answers, as if it were whole."""
        handler.close_connection = True
        head, _, body = self._whole(handler).partition(b"\r\n\r\n")
        half = body[: len(body) // 2]
        status = head.partition(b"\r\n")[0]
        handler.wfile.write(b"%b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(half), half))

    def deaf(self, handler: Handler) -> None:
        """What is asked for is done, and the connection breaks before anybody hears of it."""
        handler.close_connection = True
        self._whole(handler)

    def unless(self, authorization: str) -> Then:
        """It is passed on, but for requests with this header: those credentials have expired."""

        def then(handler: Handler) -> None:
            expired = handler.headers.get("Authorization") == authorization
            (failing(401, "Unauthorized", Connection="close") if expired else self.passing)(handler)

        return then

    def _whole(self, handler: Handler) -> bytes:
        """All of what the API server answers; of a watch, what it has told when everything is healed."""
        with self._connected() as upstream:
            with self._lock:
                self._awaited.add(upstream)
            try:
                upstream.sendall(_request(handler))
                return _all(upstream)
            finally:
                with self._lock:
                    self._awaited.discard(upstream)

    def _connected(self) -> ssl.SSLSocket:
        return self._trust.wrap_socket(socket.create_connection(self._target), server_hostname=self._target[0])


def _request(handler: Handler) -> bytes:
    """It as it came, but for the end of the connection, which tells the end of the answer."""
    kept = [f"{name}: {value}" for name, value in handler.headers.items() if name.lower() != "connection"]
    lines = [f"{handler.command} {handler.path} HTTP/1.1", *kept, "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + handler.asked.body


def _pass_on(upstream: ssl.SSLSocket, client: socket.socket) -> None:
    while True:
        ready = [] if upstream.pending() else select.select([upstream, client], [], [])[0]
        if ready == [client]:  # it has said everything before: now it has gone
            return
        data = upstream.recv(BLOCK)
        if not data:
            return
        client.sendall(data)


def _all(upstream: ssl.SSLSocket) -> bytes:
    return b"".join(iter(lambda: upstream.recv(BLOCK), b""))
