"""The output of containers: of one, or of all replicas of an app together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from zun_coe.api.followed_logs import Followed
from zun_coe.api.kept_logs import kept
from zun_coe.api.lines import Wanted, Writer
from zun_coe.api.tailing import Places
from zun_coe.api.wakeups import Wakeups
from zun_coe.gateway import Call, Gateway


class LogServer:
    """Makes streams of lines."""

    def __init__(self, gateway: Gateway, wakeups: Wakeups, places: Places) -> None:
        self._gateway, self._wakeups, self._places = gateway, wakeups, places

    async def stream(self, call: Call, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """The lines. The first chunk is empty and tells that there is something to read; before it any
        `RequestError` or `BackendError` may be raised."""
        find, options = self._gateway.log_sources, wanted.options
        loop = asyncio.get_running_loop()
        sources = await loop.run_in_executor(None, find, call, wanted.noun, wanted.ref, options.container)
        writer, places = Writer(wanted, sources), self._places.of(sources.ref.project)
        if options.follow:
            followed = Followed(self._gateway, self._wakeups, places, sources, wanted)
            chunks = followed.chunks(writer)
        else:
            chunks = kept(sources, options, writer, places)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
            yield writer.end()
