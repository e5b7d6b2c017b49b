"""For those who look after the process: is it alive, can it serve, how is it doing."""

from __future__ import annotations

import flask
import msgspec

from zun_coe import __version__
from zun_coe.api import exchange
from zun_coe.api.metrics import Metrics
from zun_coe.auth import TOKEN_HEADER, Authenticator
from zun_coe.gateway import Answer


def live() -> flask.Response:
    """The process runs; nothing else is asked."""
    return exchange.respond(Answer(200, msgspec.json.encode({"status": "alive", "version": __version__})))


def ready() -> flask.Response:
    """Requests can be served."""
    return exchange.respond(exchange.gateway().ready())


def metrics() -> flask.Response:
    """Everything that is counted, for Prometheus. Who calls is asked only where a token is sent: without one, or
    with that of somebody who is no operator, nothing tells of projects. Raises `Unauthenticated`."""
    counted: Metrics = flask.current_app.extensions["zun_coe.metrics"]
    authenticator: Authenticator = flask.current_app.extensions["zun_coe.authenticator"]
    headers = {name.lower(): value for name, value in flask.request.headers.items()}
    named = TOKEN_HEADER in headers and authenticator.authenticate(headers).admin
    return flask.Response(counted.text(named=named), 200, content_type="text/plain; charset=utf-8")
