"""Secrets: each operation of the contract, as a call of its use case."""

from __future__ import annotations

import flask

from zun_coe.api.exchange import body, call, gateway, query, respond


def list() -> flask.Response:
    """GET /v1/secrets."""
    return respond(gateway().secrets.list(call(), query()))


def create() -> flask.Response:
    """POST /v1/secrets."""
    return respond(gateway().secrets.create(call(), body()))


def show(secret: str) -> flask.Response:
    """GET /v1/secrets/{secret}."""
    return respond(gateway().secrets.show(call(), secret))


def delete(secret: str) -> flask.Response:
    """DELETE /v1/secrets/{secret}."""
    return respond(gateway().secrets.delete(call(), secret))
