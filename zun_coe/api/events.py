"""Events, a page at a time; the stream of them is `zun_coe.api.following`."""

from __future__ import annotations

from dataclasses import replace

import flask

from zun_coe.api.exchange import call, gateway, params, query, respond


def list() -> flask.Response:
    """GET /v1/events, but for streams."""
    given, asked = params(), query()
    after = asked.marker or given.get("Last-Event-ID") or given.get("after")
    return respond(gateway().events.list(call(), replace(asked, marker=after)))
