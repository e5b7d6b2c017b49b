"""`?wait`: holding an answer until what it tells of has settled, without holding a thread.

The handler has answered 202 and its thread is free again when the waiting begins."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zun_coe.api.delivering import departed
from zun_coe.api.exchange import Exchange, exchange_of, messages_of
from zun_coe.api.wakeups import Wakeups, resource
from zun_coe.errors import NotFound
from zun_coe.gateway import Answer, Gateway, Settle


class Waiting:
    """The layer that waits. `max_wait` in seconds."""

    def __init__(self, app: ASGIApp, *, gateway: Gateway, wakeups: Wakeups, max_wait: float) -> None:
        self._app, self._gateway, self._wakeups, self._max_wait = app, gateway, wakeups, max_wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not exchange_of(scope).params.get("wait"):
            await self._app(scope, receive, send)
            return
        held = _Held()
        await self._app(scope, receive, held)
        exchange = exchange_of(scope)
        settled = await self._settled(exchange, receive) if held.good else None
        for message in held.messages if settled is None else _messages(settled, held):
            await send(message)

    async def _settled(self, exchange: Exchange, receive: Receive) -> Answer | None:
        """The answer once it has settled, or the state of the moment when time is up. None: nothing is waited for,
        or nobody waits any more."""
        if exchange.settle is None:
            return None
        settle = replace(exchange.settle, grace=exchange.params.get("settle_after", exchange.settle.grace))
        seconds = min(exchange.params["wait"], self._max_wait)
        gone = asyncio.ensure_future(departed(receive))
        waiting = asyncio.ensure_future(self._until(settle, seconds))
        try:
            await asyncio.wait({gone, waiting}, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        finally:
            gone.cancel()
            waiting.cancel()
            await asyncio.gather(gone, waiting, return_exceptions=True)

    async def _until(self, settle: Settle, seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        with self._wakeups.waiting(resource(settle.noun, settle.id)) as waiter:
            while not self._wakeups.closing:
                answer = self._gateway.settled(settle)
                remaining = deadline - time.monotonic()
                if answer is not None or remaining <= 0:
                    return answer or self._gateway.unsettled(settle)
                due = self._gateway.settles_in(settle)
                await waiter.wait(remaining if due is None else min(remaining, due))
        return self._gateway.unsettled(settle)


class _Held:
    """A response that is kept back."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def good(self) -> bool:
        """Whether there may be anything to wait for: what was accepted, or is shown."""
        return bool(self.messages) and self.messages[0]["status"] in (200, 202)

    def header(self, name: bytes) -> bytes | None:
        """A header of the response."""
        found = (value for key, value in self.messages[0]["headers"] if key == name)
        return cast("bytes | None", next(found, None))


def _messages(answer: Answer, held: _Held) -> list[Message]:
    """The response that takes the place of the one that was held."""
    if answer.status == 404:
        raise NotFound("It was deleted while it was waited for.")
    location = held.header(b"location")
    if answer.body is None or location is None:
        return messages_of(replace(answer, headers={k: v for k, v in answer.headers.items() if k != "Location"}))
    return messages_of(replace(answer, headers={"Location": location.decode()} | dict(answer.headers)))
