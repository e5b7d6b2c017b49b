"""GET /: which versions of the API there are."""

from __future__ import annotations

import flask
import msgspec

from zun_coe.api import exchange
from zun_coe.gateway import Answer


def list() -> flask.Response:
    """The versions, as OpenStack's services tell them."""
    links = [
        {"rel": "self", "href": f"{flask.request.host_url}v1/"},
        {"rel": "describedby", "href": f"{flask.request.host_url}v1/openapi.json"},
    ]
    version = {"id": "v1.0", "status": "CURRENT", "links": links}
    return exchange.respond(Answer(200, msgspec.json.encode({"versions": [version]})))
