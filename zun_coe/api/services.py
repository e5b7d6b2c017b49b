"""The gateway's own processes."""

from __future__ import annotations

import flask

from zun_coe.api.exchange import call, gateway, respond


def list() -> flask.Response:
    """GET /v1/services."""
    return respond(gateway().services.list(call()))
