"""Calls to one API server: plain JSON over connections that are kept, with everything said explicitly."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import Any, Generic, TypeVar

import msgspec
from urllib3 import HTTPHeaderDict

from zun_coe.adapters import Connection
from zun_coe.adapters.bodies import whole
from zun_coe.adapters.kubernetes.clock import Clock
from zun_coe.adapters.kubernetes.failures import Expired, answered, errors
from zun_coe.adapters.kubernetes.freshness import Freshness
from zun_coe.adapters.kubernetes.naming import FIELD_MANAGER, selector
from zun_coe.adapters.kubernetes.plugins import changes
from zun_coe.adapters.kubernetes.route import Route
from zun_coe.adapters.kubernetes.streaming import Stream
from zun_coe.adapters.kubernetes.wire import Page
from zun_coe.errors import Absent, Denied, Unavailable

T = TypeVar("T")
Json = dict[str, Any]
Texts = list[str]

PAGE = 500
"""Objects that are asked for at once."""
PAGES, LARGEST_LIST = 2000, 512 << 20
"""No list of a real cluster has more pages or bytes. A server may be anybody's, and always have another page."""
METADATA = "application/json;as={};v=v1;g=meta.k8s.io,application/json"
"""The metadata alone, or the whole from a server that does not do that; the metadata look the same."""
_DECODERS = Lock()
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_WARNINGS, _LONGEST_WARNING = 10, 1000


@dataclass(frozen=True)
class Listing(Generic[T]):
    """The objects of a list, and the version of the server's state that they are of."""

    items: Sequence[T]
    version: str


class Client:
    """One API server. Thread-safe; opening calls nobody; each call ends within about the connection's timeout.
    Paths begin with `/api` or `/apis`. Every call raises `Unavailable`, `Denied` or `Invalid`. `freshness`: what its
    writes and whoever watches have seen; `clock`: the server's."""

    def __init__(self, connection: Connection) -> None:
        self.freshness, self.clock = Freshness(), Clock()
        self._connection = connection
        self._held, self._lock = Route(connection), Lock()

    def renew(self, connection: Connection) -> bool:
        """Use other credentials from the next call on; calls and streams that are under way end as they began. False
        where they lead to another server, or cannot be used."""
        route = Route(connection)
        try:
            if changes(connection) or changes(self._connection) or route.server != self._held.server:
                return False
        except Denied:
            return False
        with self._lock:
            # The route before is not closed, for somebody may be about to use it: its connections go with it.
            self._connection, self._held = connection, route
        return True

    @property
    def timeout(self) -> float:
        """Seconds for one call."""
        return self._connection.timeout

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

    def apply(
        self, path: str, body: Mapping[str, Any], *, dry_run: bool = False, warnings: Texts | None = None
    ) -> Json:
        """Server-side apply, forced: what the body says is so afterwards, and is the gateway's; what it said before
        and no longer says is given up. `path` is the object's own. The object as it is then. `warnings`: where to put
        what the server warns of. Idempotent."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true"} | _dry(dry_run)
        return self._change("PATCH", path, body, "application/apply-patch+yaml", params, warnings)

    def patch(self, path: str, body: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, dry_run: bool = False) -> Json:
        """A JSON merge patch of an object, or a JSON patch, which is a list; it as it is then. Raises `Absent`."""
        params = {"fieldManager": FIELD_MANAGER} | _dry(dry_run)
        if isinstance(body, Mapping):
            return self._change("PATCH", path, body, "application/merge-patch+json", params)
        # The package takes a JSON patch that is no list for another kind of patch.
        return self._change("PATCH", path, [*body], "application/json-patch+json", params)

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
        route = self._route
        return Stream(route.connect, route.url(path, params), route.headers(accept), patience, begin)

    def close(self) -> None:
        """Let go of the connections that nobody uses. Idempotent; a later call opens new ones."""
        self._held.close()

    @property
    def _route(self) -> Route:
        """With the credentials of now. While they are the same, connections are kept."""
        with self._lock:
            if self._held.outdated:
                self._held = self._held.renewed()
            return self._held

    def _pages(self, path: str, type: type[T], params: Mapping[str, Any], accept: str) -> Listing[T]:
        items: list[T] = []
        further: Mapping[str, Any] = {}
        size = 0
        for _ in range(PAGES):
            body = self._call("GET", path, params={**params, **further}, accept=accept)
            size += len(body)
            if size > LARGEST_LIST:
                break
            page: Page[T] = _decoded(path, body, Page[type])  # type: ignore[valid-type]  # made where it is used
            items += page.found
            if not page.metadata.continued:
                return Listing(items, page.metadata.resource_version)
            further = {"continue": page.metadata.continued}
        message = f"the list has more than {LARGEST_LIST >> 20} MiB or {PAGES} pages"
        raise Unavailable(message, "Error", {"call": f"GET {path}", "message": message})

    def _change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        content: str = "application/json",
        params: Mapping[str, Any] | None = None,
        warnings: Texts | None = None,
    ) -> Json:
        if self._connection.check is not None:
            self._connection.check()
        found: Json = _decoded(path, self._call(method, path, body, content, params, warnings=warnings), dict)
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
        warnings: Texts | None = None,
    ) -> bytes:
        call, route = f"{method} {path}", self._route
        headers = route.headers(accept) | ({} if body is None else {"Content-Type": content})
        transport = route.transport
        with errors(call):
            deadline, asked = time.monotonic() + self.timeout, datetime.now(UTC)
            response = transport.call(method, route.url(path, params), headers, body, self.timeout)
            self.clock.hear(response.headers.get("Date"), asked)
            told = whole(response, call, deadline, "the API server")
        if response.status == 401:
            route.doubt()
        if not 200 <= response.status < 300:
            raise answered(call, response.status, told, response.headers)
        if warnings is not None:
            warnings += _warnings(response.headers)
        return told


def _warnings(headers: HTTPHeaderDict) -> Iterator[str]:
    """The texts of warnings, `299 - "text"` in each header (RFC 7234, 5.5), a quote and a backslash escaped."""
    for header in headers.getlist("Warning")[:_WARNINGS]:
        for text in _WARNING.findall(header):
            yield re.sub(r"\\(.)", r"\1", text)[:_LONGEST_WARNING]


def _decoded(path: str, body: bytes, type: Any) -> Any:
    with errors(f"read {path}"):
        return _decoder(type).decode(body)


@cache
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    with _DECODERS:  # other threads would be shown what msgspec has half made of a type, and crash
        return msgspec.json.Decoder(type)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
