"""Events, a page at a time; the stream of them is `zun_coe.api.following`."""

from __future__ import annotations

from dataclasses import replace

import flask

from zun_coe.api.exchange import call, gateway, params, query, respond, resumed_from


def list() -> flask.Response:
    """GET /v1/events, but for streams."""
    field, place = resumed_from(params())
    return respond(gateway().events.list(call(), replace(query(), marker=place), field))
