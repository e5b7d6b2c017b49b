"""Answers for which a cluster has to be asked: the thread of Flask that began with one is free again meanwhile.

The handler has checked what can be checked without the cluster; the rest of the use case is run by the threads of
`zun_coe.gateway.backends`, and the answer is what comes of it."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zun_coe.api.exchange import exchange_of, messages_of
from zun_coe.errors import TimedOut
from zun_coe.gateway import Answer, BackendCall, Gateway


class Reaching:
    """The layer. `deadline`: the seconds after which an answer is given whatever the cluster does."""

    def __init__(self, app: ASGIApp, *, gateway: Gateway, deadline: float) -> None:
        self._app, self._gateway, self.deadline = app, gateway, deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises what the use case does, `Busy`, `TimedOut`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)

        async def unless_more_is_to_be_done(message: Message) -> None:
            if exchange.backend is None:
                await send(message)

        await self._app(scope, receive, unless_more_is_to_be_done)
        if exchange.backend is not None:
            answer = await self._answer(exchange.backend)
            exchange.settle = answer.settle
            for message in messages_of(answer):
                await send(message)

    async def _answer(self, call: BackendCall) -> Answer:
        running = asyncio.wrap_future(self._gateway.backend_calls.start(call))
        running.add_done_callback(_heed)
        try:
            async with asyncio.timeout(self.deadline):
                return await asyncio.shield(running)
        except TimeoutError as error:
            raise TimedOut(
                f"The cluster did not answer within {self.deadline:g} seconds; what was asked of it may still be done."
            ) from error


def _heed(ended: asyncio.Future[Answer]) -> None:
    """An error that comes after the deadline is of no use to anybody."""
    if not ended.cancelled():
        ended.exception()
