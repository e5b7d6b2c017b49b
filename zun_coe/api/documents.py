"""The contract itself, for programs; connexion would serve it with every reference replaced, without names."""

from __future__ import annotations

from functools import cache

import flask
import msgspec

from zun_coe.api import exchange
from zun_coe.api.contract import document
from zun_coe.gateway import Answer


def openapi() -> flask.Response:
    """GET /v1/openapi.json."""
    return exchange.respond(Answer(200, _encoded()))


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())
