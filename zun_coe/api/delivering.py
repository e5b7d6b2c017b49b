"""Sending a stream to a client for as long as it is there and listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import structlog
from starlette.types import Receive, Send

from zun_coe.errors import ZunCoeError

PATIENCE = 30.0
"""Seconds after which a client that takes nothing is cut off; it can resume where it was."""

HEADERS = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
"""What keeps proxies from holding a stream back."""

_logger = structlog.get_logger(__name__)


async def departed(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def deliver(chunks: AsyncGenerator[bytes, None], media_type: str, receive: Receive, send: Send) -> None:
    """Send the chunks as they come, until they end or the client goes or no longer reads. An error before
    the first chunk is raised, so that it can be answered with a status; the first may be empty. A later
    one ends the stream, without the mark of a proper end, and is logged."""
    async with aclosing(chunks):
        first = await anext(chunks, None)
        headers = [
            (b"content-type", media_type.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.ensure_future(departed(receive))
        sending = asyncio.ensure_future(_send_all(first, chunks, send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel()
            ended = (await asyncio.gather(sending, gone, return_exceptions=True))[0]
        if isinstance(ended, ZunCoeError | TimeoutError):
            _logger.info("stream.cut", reason=str(ended) or "the client does not read")
        elif isinstance(ended, Exception):
            raise ended


async def _send_all(first: bytes | None, chunks: AsyncIterator[bytes], send: Send) -> None:
    if first:
        await _send(first, send)
    async for chunk in chunks:
        await _send(chunk, send)
    await send({"type": "http.response.body", "body": b""})


async def _send(chunk: bytes, send: Send) -> None:
    async with asyncio.timeout(PATIENCE):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
