"""How one API server is reached with one set of credentials."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from ssl import SSLContext
from threading import RLock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes.failures import errors
from zun_coe.adapters.kubernetes.naming import FIELD_MANAGER
from zun_coe.adapters.kubernetes.plugins import current
from zun_coe.adapters.kubernetes.registration import Session
from zun_coe.adapters.tls import client_context

if TYPE_CHECKING:
    from zun_coe.adapters.kubernetes.transport import Transport

# A server that vanished without a word is noticed on a quiet connection after about a minute.
_KEEPALIVE = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class Route:
    """Thread-safe; making one calls nobody. Raises `Denied` where the registration cannot be used."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = RLock()
        self._transport: Transport | None = None

    @cached_property
    def session(self) -> Session:
        """The facts of the registration, as they are when it is first asked for."""
        return current(self._connection)

    @property
    def outdated(self) -> bool:
        """Whether its credentials may be others by now."""
        until = self.session.until
        return until is not None and time.monotonic() >= until

    def doubt(self) -> None:
        """The server does not accept the credentials: those that may change are asked for anew. Idempotent."""
        if self.session.until is not None or self.session.plugin is not None:
            self.session = replace(self.session, until=0.0)

    def renewed(self) -> Route:
        """The same with the credentials of now: this one, where they are as before."""
        fresh = Route(self._connection)
        if fresh.session != self.session:
            return fresh
        self.session = fresh.session
        return self

    @property
    def server(self) -> tuple[str, str | None]:
        """Where it leads to, and whose certificate is expected there."""
        return self.session.endpoint, self.session.server_name

    @property
    def transport(self) -> Transport:
        """For calls that are answered at once. The first one of a process imports the `kubernetes` package."""
        from zun_coe.adapters.kubernetes.transport import Transport

        with self._lock:
            if self._transport is None:
                host, port, options = self._place()
                reach, parallelism = self._connection.reach, self._connection.parallelism
                self._transport = Transport(host, port, parallelism, options, reach.https)
            return self._transport

    def connect(self) -> HTTPSConnection:
        """A connection for one call alone, not open yet."""
        with self._lock:
            host, port, options = self._place()
        return self._connection.reach.https(host, port, timeout=self._connection.timeout, **options)

    def headers(self, accept: str) -> dict[str, str]:
        """What every request says."""
        headers = {"Accept": accept, "User-Agent": FIELD_MANAGER}
        token = self.session.token
        return headers | ({"Authorization": f"Bearer {token}"} if token else {})

    def url(self, path: str, params: Mapping[str, Any] | None) -> str:
        """Path and query of a request."""
        before = urllib3.util.parse_url(self.session.endpoint).path or ""
        return f"{before}{path}{'?' + urlencode(params) if params else ''}"

    def close(self) -> None:
        """Close the connections that nobody uses. Idempotent; a later call opens new ones."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def _place(self) -> tuple[str, int, dict[str, Any]]:
        url = urllib3.util.parse_url(self.session.endpoint)
        options: dict[str, Any] = {"ssl_context": self._tls, "socket_options": _KEEPALIVE}
        if self.session.server_name:
            options["server_hostname"] = self.session.server_name
        return (url.host or "").strip("[]"), url.port or 443, options

    @cached_property
    def _tls(self) -> SSLContext:
        told = self.session
        with errors("read the credentials"):
            return client_context(told.ca_cert, told.client_cert, told.client_key)
