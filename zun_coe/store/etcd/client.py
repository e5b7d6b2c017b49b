"""Calls to etcd's JSON gateway over several endpoints, and what each failure means.

What matters to a caller is whether something may have happened. A request that was never sent, or that
etcd refused by name, did nothing and may be sent to the next endpoint. Everything else is unknown: for a
read that is as good as nothing, for a write it is not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeVar

import msgspec
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from zun_coe.errors import Compacted, Fenced, OutcomeUnknown, StoreError, StoreUnavailable
from zun_coe.store.etcd import wire
from zun_coe.store.etcd.login import Login

T = TypeVar("T")

CONNECT = 1.0
"""Seconds until a connection must be there."""
ANSWER = 5.0
"""Seconds until an answer must be there."""
CONNECTIONS = 32
"""Connections to each endpoint that are kept for the next call."""
_HEADERS = {"Content-Type": "application/json"}
# A request without a token, and one with a token from before a change of users or rights.
_WHO = ("user name is empty", "revision of auth store is old", "revision in header is old")
GATEWAY_LIMIT = "received message larger than max"


class Code(IntEnum):
    """The codes of gRPC that mean something here."""

    INVALID = 3
    NOT_FOUND = 5
    DENIED = 7
    EXHAUSTED = 8
    OUT_OF_RANGE = 11
    UNAUTHENTICATED = 16


class TooLarge(StoreUnavailable):
    """The gateway could not take an answer from its own server: ask for less at once."""


class TokenRefused(StoreUnavailable):
    """etcd wants to know who asks, or does not know the token (any more): nothing happened."""


class FutureRevision(Compacted):
    """The revision is none that this etcd has had: it was restored from a backup, or is another one."""


class Client:
    """Connections to the members of one etcd, the last one that worked first. Thread-safe."""

    def __init__(self, endpoints: Sequence[str], tls: ssl.SSLContext | None = None, login: Login | None = None) -> None:
        make = urllib3.HTTPConnectionPool if tls is None else urllib3.HTTPSConnectionPool
        options = {} if tls is None else {"ssl_context": tls}
        self.pools: tuple[urllib3.HTTPConnectionPool, ...] = tuple(
            make(
                host,
                port,
                maxsize=CONNECTIONS,
                retries=False,
                timeout=urllib3.Timeout(connect=CONNECT, read=ANSWER),
                **options,  # type: ignore[arg-type]  # only HTTPSConnectionPool is given one
            )
            for host, port in map(_host_and_port, endpoints)
        )
        self._login = login
        self._first = 0
        self._closed = False

    def read(self, path: str, request: wire.Message, answer: type[T]) -> T:
        """The answer of the first endpoint that has one: for reads, and writes that may happen twice.
        Raises `StoreUnavailable` when none has."""
        try:
            return self._call(path, request, answer, again=True)
        except OutcomeUnknown as error:
            raise StoreUnavailable(str(error)) from error

    def write(self, path: str, request: wire.Message, answer: type[T]) -> T:
        """The answer to a request that is sent once. Raises `StoreUnavailable`, `OutcomeUnknown`."""
        return self._call(path, request, answer, again=False)

    def in_turn(self) -> Iterator[urllib3.HTTPConnectionPool]:
        """Every endpoint once, beginning with the last one that worked. Raises `StoreUnavailable` when closed."""
        if self._closed:
            raise StoreUnavailable("the connection to etcd is closed")
        first = self._first
        for n in range(len(self.pools)):
            yield self.pools[(first + n) % len(self.pools)]

    def avoid(self, pool: urllib3.HTTPConnectionPool) -> None:
        """Begin with another endpoint from now on."""
        if self.pools[self._first] is pool:
            self._first = (self._first + 1) % len(self.pools)

    def headers(self, pool: urllib3.HTTPConnectionPool) -> dict[str, str]:
        """What a request tells of who we are, besides what it has anyway. Raises `StoreUnavailable` for a name or a
        password that is wrong."""
        if self._login is None:
            return {}
        token = self._login.token(lambda name, password: _authenticate(pool, name, password))
        return {"Authorization": token} if token else {}

    def disbelieve(self, headers: Mapping[str, str], error: Exception) -> bool:
        """Ask for another token the next time, if the error may come of the one in these headers. Whether the
        request can be sent again at once, which did nothing for that reason alone."""
        doubtful = isinstance(error, TokenRefused | OutcomeUnknown)
        if self._login is not None and doubtful:
            self._login.forget(headers.get("Authorization"))
        return self._login is not None and isinstance(error, TokenRefused)

    def close(self) -> None:
        """Drop the connections. Idempotent."""
        self._closed = True
        for pool in self.pools:
            pool.close()

    def _call(self, path: str, request: wire.Message, answer: type[T], *, again: bool) -> T:
        body = wire.encode(request)
        failed: StoreError = StoreUnavailable("etcd has no endpoint")
        for pool in self.in_turn():
            try:
                return self._ask(pool, path, body, answer)
            except TooLarge:
                raise
            except (StoreUnavailable, OutcomeUnknown) as error:
                self.avoid(pool)
                failed = error
                if isinstance(error, OutcomeUnknown) and not again:
                    break
        raise failed

    def _ask(self, pool: urllib3.HTTPConnectionPool, path: str, body: bytes, answer: type[T]) -> T:
        """Once, or twice where the token was refused the first time."""
        headers = self.headers(pool)
        try:
            return _once(pool, path, body, answer, headers)
        except (TokenRefused, OutcomeUnknown) as error:
            if not self.disbelieve(headers, error):
                raise
        return _once(pool, path, body, answer, self.headers(pool))


def _authenticate(pool: urllib3.HTTPConnectionPool, name: str, password: str) -> str:
    """A token; empty where etcd has no authentication."""
    request = wire.encode(wire.Authenticate(name=name, password=password))
    try:
        return _once(pool, "/v3/auth/authenticate", request, wire.AuthenticateAnswer, {}).token
    except OutcomeUnknown as error:
        if "authentication is not enabled" in str(error):
            return ""
        raise StoreUnavailable(str(error)) from error
    except ValueError as error:
        raise StoreUnavailable(f"etcd refuses the user {name}: its name or password is wrong") from error


def _once(pool: urllib3.HTTPConnectionPool, path: str, body: bytes, answer: type[T], headers: Mapping[str, str]) -> T:
    with translated(pool):
        response = pool.urlopen("POST", path, body=body, headers={**_HEADERS, **headers}, redirect=False)
        if response.status != 200:
            raise fault(response.data)
        return wire.decode(response.data, answer)


@contextmanager
def translated(pool: urllib3.HTTPConnectionPool) -> Iterator[None]:
    """The errors of the connection as ours."""
    where = f"etcd at {pool.host}:{pool.port}"
    try:
        yield
    except ConnectTimeoutError as error:  # refused and unresolved are kinds of it
        raise StoreUnavailable(f"{where} cannot be reached: {error}") from error
    except (HTTPError, OSError) as error:
        raise OutcomeUnknown(f"{where} did not answer: {error}") from error
    except msgspec.MsgspecError as error:
        raise OutcomeUnknown(f"{where} answered what is not understood: {error}") from error


def fault(body: bytes) -> Exception:
    """What an error of etcd means to us."""
    answer = wire.decode(body, wire.Fault)
    said = answer.of_stream or answer
    message = f"etcd says: {said.message}"
    if any(words in said.message for words in _WHO):
        return TokenRefused(f"{message}; it wants a user: etcd://USER:PASSWORD@HOST:PORT")
    match said.code:
        case Code.OUT_OF_RANGE:
            return FutureRevision(message) if "future" in said.message else Compacted(message)
        case Code.NOT_FOUND:  # only leases are looked for by name
            return Fenced(message)
        case Code.INVALID:
            return ValueError(message)
        case Code.EXHAUSTED if GATEWAY_LIMIT in said.message:
            return TooLarge(message)
        case Code.UNAUTHENTICATED:
            return TokenRefused(message)
        case Code.DENIED | Code.EXHAUSTED:
            return StoreUnavailable(message)
    # Of the others only this one says that nothing was even proposed; a timed-out write may happen yet.
    return StoreUnavailable(message) if "no leader" in said.message else OutcomeUnknown(message)


def _host_and_port(endpoint: str) -> tuple[str, int]:
    url = urllib3.util.parse_url(f"//{endpoint}")
    if not url.host or url.path or url.auth:
        raise ValueError(f"{endpoint!r} is no endpoint of etcd: use HOST:PORT")
    return url.host, url.port or 2379
