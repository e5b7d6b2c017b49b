"""The outermost layer: what holds for every request, whatever it is and however it ends.

Each has an id, a size that is bounded, and a line in the log. It is plain ASGI around connexion, since
connexion's own error responses must be covered as well."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zun_coe.api.exchange import KEY, Exchange, exchange_of
from zun_coe.api.problems import BodyTooLarge, encode, headers_of, problem_of
from zun_coe.errors import Malformed, RequestError

REQUEST_ID = "X-Openstack-Request-Id"
_VALID_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Report = Callable[[Exchange, int, float], None]
"""Called once for each request, with its status code and how long it took, in seconds."""

_logger = structlog.get_logger("zun_coe.access")


class Envelope:
    """Wraps the application. `max_body` in bytes."""

    def __init__(self, app: ASGIApp, *, max_body: int, report: Report) -> None:
        self._app, self._max_body, self._report = app, max_body, report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(_request_id(scope))
        scope.setdefault("extensions", {})[KEY] = exchange
        outgoing = _Outgoing(send, exchange.request_id)
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
            try:
                await self._inside(scope, receive, outgoing)
            finally:
                self._tell(exchange, scope, outgoing.status, time.monotonic() - started)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _must_fit(scope, self._max_body)
            _normalise(scope)
        except RequestError as error:
            await refuse(error, exchange_of(scope).request_id, send)
            return
        await self._app(scope, _Incoming(receive, self._max_body), send)

    def _tell(self, exchange: Exchange, scope: Scope, status: int, seconds: float) -> None:
        self._report(exchange, status, seconds)
        _logger.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            seconds=round(seconds, 4),
            user=exchange.principal.user if exchange.principal else None,
            project=exchange.principal.project if exchange.principal else None,
        )


class _Incoming:
    """What the client sends, up to a limit. Raises `BodyTooLarge`."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._seen = receive, limit, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            raise _too_large(self._limit)
        return message


class _Outgoing:
    """What goes out, with the request's id on it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._id, self.status = send, request_id, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self._id
        await self._send(message)


async def refuse(error: RequestError, request_id: str, send: Send) -> None:
    """Answer with a problem."""
    body = problem_of(error) | {"request_id": request_id}
    content = encode(body)
    headers = {"content-type": "application/problem+json", "content-length": str(len(content))}
    headers |= headers_of(body["status"])
    raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": body["status"], "headers": raw})
    await send({"type": "http.response.body", "body": content})


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _VALID_ID.fullmatch(given) else f"req-{uuid4()}"


def _must_fit(scope: Scope, limit: int) -> None:
    declared = Headers(scope=scope).get("content-length", "0")
    if not declared.isdigit():
        raise Malformed("Content-Length is no number.")
    if len(declared) > 18 or int(declared) > limit:
        raise _too_large(limit)


def _normalise(scope: Scope) -> None:
    """Content types are the same in any case, and a query is of ASCII; what comes later relies on both."""
    if not scope["query_string"].isascii():
        raise Malformed("The query has bytes that must be percent-encoded.")
    headers = MutableHeaders(scope=scope)
    if kind := headers.get("content-type"):
        media, semicolon, rest = kind.partition(";")
        headers["content-type"] = media.strip().lower() + semicolon + rest


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes.")
