"""The composition of the REST service, and the only place that touches connexion's internals."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, cast

import structlog
import uvicorn
from connexion import FlaskApp
from connexion.middleware import MiddlewarePosition
from connexion.options import SwaggerUIOptions
from connexion.resolver import RelativeResolver
from starlette.types import ASGIApp, Receive, Scope, Send

from zun_coe import systemd
from zun_coe.api import problems
from zun_coe.api.contract import document
from zun_coe.api.envelope import Envelope
from zun_coe.api.exchange import KEY
from zun_coe.api.following import Follower
from zun_coe.api.logs import LogServer
from zun_coe.api.metrics import Metrics
from zun_coe.api.pages import Pages
from zun_coe.api.reaching import Reaching
from zun_coe.api.reading import AnyJson, NoBody, Parameters
from zun_coe.api.responses import JsonResponse
from zun_coe.api.security import token_handler
from zun_coe.api.streams import Streams
from zun_coe.api.tailing import Places
from zun_coe.api.threads import Threads
from zun_coe.api.waiting import Waiting
from zun_coe.api.wakeups import Wakeups
from zun_coe.auth import Authenticator
from zun_coe.config import Settings, without_password
from zun_coe.gateway import Gateway
from zun_coe.listening import bound, is_open, must_be_permitted, url_of
from zun_coe.process import Process, Role

log = structlog.get_logger()

GRACE = 2
"""Seconds that requests have to end when the process stops."""


class App:
    """The REST service as an ASGI application."""

    def __init__(self, asgi: ASGIApp, gateway: Gateway, wakeups: Wakeups) -> None:
        self._asgi, self._gateway, self._wakeups = asgi, gateway, wakeups

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._asgi(scope, receive, send)

    @property
    def waiting(self) -> int:
        """How many requests wait for something to happen: those with `?wait`, and streams."""
        return len(self._wakeups)

    def close(self) -> None:
        """End every stream and every wait. Idempotent; from any thread."""
        self._wakeups.close()
        self._gateway.cache.unlisten(self._wakeups.listener)


def create_app(gateway: Gateway, settings: Settings, *, validate_responses: bool = False) -> App:
    """The REST service over the use cases. Calls neither the store nor a backend. `validate_responses`:
    whether each response is checked against the contract, which is for tests."""
    logging.getLogger("connexion").setLevel(logging.ERROR)  # what it would say, the access log says
    metrics, wakeups = Metrics(gateway), Wakeups()
    gateway.cache.listen(wakeups.listener)
    app = FlaskApp("zun_coe", server_args={"static_folder": None})
    authenticator = Authenticator(settings)
    app.app.extensions |= {KEY: gateway, "zun_coe.metrics": metrics, "zun_coe.authenticator": authenticator}
    _serve_in_threads(app, settings.threads)
    _add_layers(app, gateway, wakeups, metrics, settings)
    for kind, handler in problems.handlers().items():
        app.add_error_handler(kind, handler)
    app.add_api(
        document(),
        resolver=RelativeResolver("zun_coe.api"),
        validator_map=_validators(settings),
        security_map={"apiKey": token_handler(authenticator)},
        swagger_ui_options=SwaggerUIOptions(serve_spec=False, swagger_ui=False),  # `Pages` serves it
        validate_responses=validate_responses,
    )
    return App(Envelope(Pages(cast(ASGIApp, app)), max_body=settings.max_body, report=metrics.report), gateway, wakeups)


def _serve_in_threads(app: FlaskApp, threads: int) -> None:
    """Connexion gives Flask ten threads and no way to say otherwise, so the adapter is put in its place."""
    inner: Any = app._middleware_app
    inner.asgi_app = Threads(app.app.wsgi_app, workers=threads)


def _add_layers(app: FlaskApp, gateway: Gateway, wakeups: Wakeups, metrics: Metrics, settings: Settings) -> None:
    """Behind routing, security and validation, before Flask: first the streams, then `?wait`, then what asks
    clusters."""
    places = Places(settings.max_streams, settings.max_streams_per_project)
    follower, logs = Follower(gateway, wakeups), LogServer(gateway, wakeups, places)
    position = MiddlewarePosition.BEFORE_CONTEXT
    app.add_middleware(cast(Any, NoBody), position)
    streams = partial(Streams, follower=follower, logs=logs, places=places, open_streams=metrics.streams)
    app.add_middleware(cast(Any, streams), position)
    waiting = partial(Waiting, gateway=gateway, wakeups=wakeups, max_wait=settings.max_wait)
    app.add_middleware(cast(Any, waiting), position)
    reaching = partial(Reaching, gateway=gateway, deadline=2 * settings.backend_timeout)
    app.add_middleware(cast(Any, reaching), position)


def _validators(settings: Settings) -> dict[str, Any]:
    json = {"application/json": JsonResponse, problems.MEDIA_TYPE: JsonResponse}
    return {"parameter": Parameters, "body": AnyJson(settings.max_depth), "response": json}


class Server:
    """An HTTP server for an application. `listen`: see `zun_coe.listening`. It listens once it is made, at `url`;
    `ConfigError` says that it can't."""

    def __init__(self, app: App, listen: str) -> None:
        self._socket = bound(listen)
        self.url = url_of(self._socket)
        config = uvicorn.Config(
            cast(Any, app), log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=GRACE
        )
        self._uvicorn = _Uvicorn(config, app)
        self._thread = Thread(target=self.run, name="http", daemon=True)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT (in the main thread), or `stop`. Blocks."""
        self._uvicorn.run(sockets=[self._socket])

    def start(self) -> None:
        """Serve in a thread. Requests are taken at once, and answered when the thread is ready."""
        self._thread.start()

    def stop(self) -> None:
        """End streams, let requests end for a moment, and serve no more. Blocks; idempotent."""
        self._uvicorn.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()


class _Uvicorn(uvicorn.Server):
    """A server that ends its streams before it waits for them to end."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.close()
        await super().shutdown(sockets)


def serve(settings: Settings, role: Role, begun: Callable[[Process], None]) -> None:
    """Run the gateway until SIGTERM or SIGINT. Blocks. `begun` is called when it serves. Raises `ConfigError`,
    `StoreUnavailable`."""
    must_be_permitted(settings)
    process = Process(settings, role)
    app = create_app(process.gateway, settings)
    server = Server(app, settings.listen)
    gc.disable()  # what is read now stays: to look for garbage in it takes as long as to read it
    process.start()
    gc.freeze()
    gc.enable()
    _tell(process, settings, server.url)
    begun(process)
    systemd.notify(systemd.READY, f"STATUS=It serves at {server.url}")
    try:
        server.run()
    finally:
        systemd.notify(systemd.STOPPING)
        process.stop()


def _tell(process: Process, settings: Settings, url: str) -> None:
    """That it serves, where, on which state, and for whom."""
    told = {"role": process.role, "id": process.id, "revision": process.cache.revision}
    told |= {"listen": url, "store": without_password(settings.store), "auth": settings.auth}
    if is_open(settings):
        log.warning("started", **told, warning="Everybody who reaches this address is an admin.")
    else:
        log.info("started", **told)
