"""Which versions of the API there are, as OpenStack's services tell them."""

from __future__ import annotations

from typing import Any

import flask
import msgspec

from zun_coe.api import exchange
from zun_coe.gateway import Answer


def list() -> flask.Response:
    """GET /."""
    return exchange.respond(Answer(200, msgspec.json.encode({"versions": [_version()]})))


def show() -> flask.Response:
    """GET /v1/."""
    return exchange.respond(Answer(200, msgspec.json.encode({"version": _version()})))


def _version() -> dict[str, Any]:
    links = [
        {"rel": "self", "href": f"{flask.request.host_url}v1/"},
        {"rel": "describedby", "href": f"{flask.request.host_url}v1/openapi.json"},
    ]
    return {"id": "v1.0", "status": "CURRENT", "links": links}
