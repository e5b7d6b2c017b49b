"""The contract itself, for programs; connexion would serve it with every reference replaced, without names."""

from __future__ import annotations

from functools import cache

import flask
import msgspec

from zun_coe.api import exchange
from zun_coe.api.contract import document
from zun_coe.gateway import Answer


def openapi() -> flask.Response:
    """GET /v1/openapi.json. A gateway that asks for no token says so."""
    return exchange.respond(Answer(200, _encoded(exchange.gateway().settings.auth != "none")))


@cache
def _encoded(secured: bool) -> bytes:
    told = document()
    if not secured:
        told["security"] = []
    return msgspec.json.encode(told)
