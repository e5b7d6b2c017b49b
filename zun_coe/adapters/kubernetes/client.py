"""Calls to one API server: plain JSON over connections that are kept, with everything said explicitly.

The official client's models cost more than the calls, and its configuration follows proxy variables and keeps
keys in files; what is left of it is what urllib3 does."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Lock
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes.failures import Expired, answered, errors
from zun_coe.adapters.kubernetes.freshness import Freshness
from zun_coe.adapters.kubernetes.naming import FIELD_MANAGER, selector
from zun_coe.adapters.kubernetes.registration import Session, session
from zun_coe.adapters.kubernetes.streaming import BLOCK, Stream
from zun_coe.adapters.kubernetes.wire import Page
from zun_coe.errors import Absent, TimedOut, Unavailable

T = TypeVar("T")
Json = dict[str, Any]

PAGE = 500
"""Objects that are asked for at once."""
LARGEST = 64 << 20
"""Bytes of the largest answer that is taken."""
METADATA = "application/json;as={};v=v1;g=meta.k8s.io,application/json"
"""The metadata alone, or the whole from a server that does not do that; the metadata look the same."""
_DECODERS = Lock()

# A server that vanished without a word is noticed on a quiet connection after about a minute.
_KEEPALIVE = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


@dataclass(frozen=True)
class Listing(Generic[T]):
    """The objects of a list, and the version of the server's state that they are of."""

    items: Sequence[T]
    version: str


class Client:
    """One API server. Thread-safe; opening calls nobody; each call ends within about the connection's timeout.
    Paths begin with `/api` or `/apis`. Every call raises `Unavailable`, `Denied` or `Invalid`. `freshness`: what its
    writes and whoever watches have seen."""

    def __init__(self, connection: Connection) -> None:
        self.freshness = Freshness()
        self._connection = connection
        self._lock = Lock()
        self._opened: urllib3.HTTPSConnectionPool | None = None

    @property
    def timeout(self) -> float:
        """Seconds for one call."""
        return self._connection.timeout

    @cached_property
    def session(self) -> Session:
        """The facts of the registration. Raises `Denied` where it cannot be used."""
        return session(self._connection)

    def get(self, path: str) -> Json:
        """An object as it is. Raises `Absent`."""
        return self.read(path, dict)

    def read(self, path: str, type: type[T], params: Mapping[str, Any] | None = None) -> T:
        """What is at a path, decoded. Raises `Absent`."""
        found: T = _decoded(path, self._call("GET", path, params=params), type)
        return found

    def list(
        self,
        path: str,
        type: type[T],
        *,
        labels: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        accept: str = "application/json",
        since: str | None = None,
    ) -> Listing[T]:
        """All objects of a collection that have the labels, page by page. Objects of a list name neither their
        `kind` nor their `apiVersion`. `params` are the API's own, as `fieldSelector`. `since`: the server may answer
        from its memory, which is not older than that; what has no limit does not make it look elsewhere."""
        wanted = {**(params or {}), **({"labelSelector": selector(labels)} if labels else {})}
        if since is not None:
            return self._pages(path, type, wanted | {"resourceVersion": since}, accept)
        try:
            return self._pages(path, type, {"limit": PAGE} | wanted, accept)
        except Expired:  # the state that the pages are of was compacted away meanwhile: all at once, then
            return self._pages(path, type, wanted, accept)

    def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Make an object in a collection; it as it is then. `Unavailable` with the evidence "AlreadyExists" as
        reason where it is there."""
        params = {"fieldManager": FIELD_MANAGER} | _dry(dry_run)
        return self._change("POST", path, body, params=params)

    def ask(self, path: str, body: Mapping[str, Any], type: type[T]) -> T:
        """The answer to a question that is put as an object and changes nothing, as reviews of access are."""
        found: T = _decoded(path, self._call("POST", path, body), type)
        return found

    def apply(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Server-side apply, forced: what the body says is so afterwards, and is the gateway's; what it said before
        and no longer says is given up. `path` is the object's own. The object as it is then. Idempotent."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true"} | _dry(dry_run)
        return self._change("PATCH", path, body, "application/apply-patch+yaml", params)

    def patch(self, path: str, body: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> Json:
        """A JSON merge patch of an object, or a JSON patch, which is a list; it as it is then. Raises `Absent`."""
        params = {"fieldManager": FIELD_MANAGER} | _dry(dry_run)
        content = "application/merge-patch+json" if isinstance(body, Mapping) else "application/json-patch+json"
        return self._change("PATCH", path, body, content, params)

    def delete(
        self, path: str, *, propagation: str = "Foreground", grace: int | None = None, uid: str | None = None
    ) -> bool:
        """Have an object deleted: `grace` in seconds (None: its own), and with `uid` only that very one. Whether
        it was there; it may still be there for a while. Idempotent."""
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        body |= {} if grace is None else {"gracePeriodSeconds": grace}
        body |= {} if uid is None else {"preconditions": {"uid": uid}}
        try:
            self._change("DELETE", path, body)
        except Absent:
            return False
        except Unavailable as error:
            if uid and error.evidence.get("reason") == "Conflict" and "UID in the precondition" in str(error):
                return False  # another one of that name is there
            raise
        return True

    def stream(
        self,
        path: str,
        params: Mapping[str, Any],
        *,
        accept: str = "*/*",
        patience: float | None = None,
        prompt: float | None = None,
    ) -> Stream:
        """The answer as it comes, on a connection of its own. Nothing is called before it is read. `patience`: for
        how many seconds the server may say nothing (None: for ever); `prompt`: the same until it begins to answer,
        where that is sooner."""
        begin = patience if prompt is None else prompt
        return Stream(self._connect, self._url(path, params), self._headers(accept), patience, begin)

    def close(self) -> None:
        """Let go of the connections that nobody uses. Idempotent; a later call opens new ones."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _pages(self, path: str, type: type[T], params: Mapping[str, Any], accept: str) -> Listing[T]:
        items: list[T] = []
        further: Mapping[str, Any] = {}
        while True:
            body = self._call("GET", path, params={**params, **further}, accept=accept)
            page: Page[T] = _decoded(path, body, Page[type])  # type: ignore[valid-type]  # made where it is used
            items += page.found
            if not page.metadata.continued:
                return Listing(items, page.metadata.resource_version)
            further = {"continue": page.metadata.continued}

    def _change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        content: str = "application/json",
        params: Mapping[str, Any] | None = None,
    ) -> Json:
        if self._connection.check is not None:
            self._connection.check()
        found: Json = _decoded(path, self._call(method, path, body, content, params), dict)
        self.freshness.see_object(found)
        return found

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        content: str = "application/json",
        params: Mapping[str, Any] | None = None,
        accept: str = "application/json",
    ) -> bytes:
        call = f"{method} {path}"
        headers = self._headers(accept) | ({} if body is None else {"Content-Type": content})
        with errors(call):
            deadline = time.monotonic() + self.timeout
            response = self._pool.urlopen(
                method,
                self._url(path, params),
                None if body is None else msgspec.json.encode(body),
                headers,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(total=self.timeout),
                preload_content=False,
            )
            told = _whole(call, response, deadline)
        if not 200 <= response.status < 300:
            raise answered(call, response.status, told, response.headers)
        return told

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": FIELD_MANAGER}
        token = self.session.token
        return headers | ({"Authorization": f"Bearer {token}"} if token else {})

    def _url(self, path: str, params: Mapping[str, Any] | None) -> str:
        before = urllib3.util.parse_url(self.session.endpoint).path or ""
        return f"{before}{path}{'?' + urlencode(params) if params else ''}"

    @property
    def _pool(self) -> urllib3.HTTPSConnectionPool:
        with self._lock:
            if self._opened is None:
                host, port, options = self._place()
                self._opened = urllib3.HTTPSConnectionPool(host, port, maxsize=self._connection.parallelism, **options)
            return self._opened

    def _connect(self) -> HTTPSConnection:
        """A connection for one call alone, not open yet."""
        with self._lock:
            host, port, options = self._place()
        return HTTPSConnection(host, port, timeout=self.timeout, **options)

    def _place(self) -> tuple[str, int, dict[str, Any]]:
        url = urllib3.util.parse_url(self.session.endpoint)
        options: dict[str, Any] = {"ssl_context": self._tls, "socket_options": _KEEPALIVE}
        if self.session.server_name:
            options["server_hostname"] = self.session.server_name
        return (url.host or "").strip("[]"), url.port or 443, options

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        with errors("read the credentials"):
            return tls(self.session)


def tls(session: Session) -> ssl.SSLContext:
    """How to connect: to nobody whose certificate is not signed by the authority given, or one of the system's
    where none is. The environment has no say in which these are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if session.ca_cert:
        context.load_verify_locations(cadata=session.ca_cert)
    else:
        system = ssl.get_default_verify_paths()
        places = (p if os.path.exists(p) else None for p in (system.openssl_cafile, system.openssl_capath))
        context.load_verify_locations(*places)
    if session.client_cert and session.client_key:
        _identify(context, session.client_cert, session.client_key)
    return context


def _identify(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The ssl module takes keys from files alone: this one is there while it is read, for nobody else."""
    with tempfile.NamedTemporaryFile("w", prefix="zun-coe-", suffix=".pem") as file:
        file.write(f"{key}\n{certificate}\n")
        file.flush()
        context.load_cert_chain(file.name)


def _whole(call: str, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """The whole body. Raises `Unavailable` where it is too large, `TimedOut` where it comes too slowly."""
    parts, size = [], 0
    try:
        while block := response.read1(BLOCK):
            parts.append(block)
            size += len(block)
            if size > LARGEST:
                raise Unavailable(f"the API server's answer has more than {LARGEST} bytes", evidence={"call": call})
            if time.monotonic() > deadline:
                raise TimedOut("the API server did not answer in time", evidence={"call": call})
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(parts)


def _decoded(path: str, body: bytes, type: Any) -> Any:
    with errors(f"read {path}"):
        return _decoder(type).decode(body)


@cache
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    with _DECODERS:  # other threads would be shown what msgspec has half made of a type, and crash
        return msgspec.json.Decoder(type)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
