"""The answers that take long, served on the ASGI side so that none of them holds a thread of Flask.

The layer sits behind connexion's routing, security and validation, and takes the operations of streams out
of Flask's hands; `zun_coe.api.waiting` does the same for `?wait`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from prometheus_client import Gauge
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from zun_coe.api import following, lines
from zun_coe.api.delivering import deliver
from zun_coe.api.exchange import PACKAGE, call_of, exchange_of, query_of, resumed_from
from zun_coe.api.following import Follower
from zun_coe.api.logs import LogServer
from zun_coe.api.negotiating import preferred
from zun_coe.api.tailing import Places

Chunks = AsyncGenerator[bytes, None]
_LOGS = {"apps.logs": "app", "containers.logs": "container"}
_STREAM = "text/event-stream"


class Streams:
    """The layer. `open_streams` counts those that are open, by kind."""

    def __init__(
        self, app: ASGIApp, *, follower: Follower, logs: LogServer, places: Places, open_streams: Gauge
    ) -> None:
        self._app, self._follower, self._logs = app, follower, logs
        self._places, self._open = places, open_streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange, accept = exchange_of(scope), Headers(scope=scope).get("accept", "")
        routed = scope["extensions"]["connexion_routing"]["operation_id"]
        if routed is None:  # Flask has a router of its own, and what only that one knows was never authorised
            raise HTTPException(404)
        exchange.operation = routed.removeprefix(PACKAGE)
        if exchange.operation in _LOGS:
            await self._send_logs(_LOGS[exchange.operation], accept, scope, receive, send)
        elif exchange.operation == "events.list" and preferred(accept, ["application/json", _STREAM]) == _STREAM:
            await self._send_events(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _send_logs(self, noun: str, accept: str, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = lines.wanted_of(noun, scope["path_params"][noun], exchange_of(scope).params, accept, datetime.now(UTC))
        chunks = self._logs.stream(call_of(scope), wanted)
        await self._send("logs", chunks, wanted.media_type, scope, receive, send)

    async def _send_events(self, scope: Scope, receive: Receive, send: Send) -> None:
        params = exchange_of(scope).params
        chunks = self._follower.follow(call_of(scope), query_of(params), *resumed_from(params))
        places = self._places.of(call_of(scope).principal.project)
        places.take()
        try:
            await self._send("events", chunks, following.MEDIA_TYPE, scope, receive, send)
        finally:
            places.give()

    async def _send(
        self, kind: str, chunks: Chunks, media_type: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["method"] == "HEAD":
            chunks = _beginning(chunks)
        with self._open.labels(kind).track_inprogress():
            await deliver(chunks, media_type, receive, send)


async def _beginning(chunks: Chunks) -> Chunks:
    """What is needed to know how a stream would begin."""
    async with aclosing(chunks):
        yield await anext(chunks, b"")
