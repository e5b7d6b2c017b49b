"""Flask's threads: where the handlers run, which block while the store writes.

Streams are served elsewhere, so that every answer of Flask is whole when its thread is free again. It goes out
from the event loop at once: a2wsgi by itself would have the thread hand over each part of it and wait for that."""

from __future__ import annotations

import contextvars
from typing import Any

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi import Body, WSGIResponder, build_environ


class Threads(WSGIMiddleware):
    """A WSGI application as an ASGI one, each of whose answers is sent as a whole."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            await _Whole(self.app, self.executor, self.send_queue_size)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Whole(WSGIResponder):
    """One request. What the application says is kept until it has said all of it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._said: list[Any] = []
        environ, context = build_environ(scope, Body(self.loop, receive)), contextvars.copy_context()
        await self.loop.run_in_executor(self.executor, lambda: context.run(self.wsgi, environ, self.start_response))
        if self.exc_info is not None:
            raise self.exc_info[0].with_traceback(self.exc_info[1], self.exc_info[2])
        for message in self._said:
            await send(message)

    def send(self, message: Any) -> None:
        self._said.append(message)
