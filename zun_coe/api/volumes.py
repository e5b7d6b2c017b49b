"""Volumes: each operation of the contract, as a call of its use case."""

from __future__ import annotations

import flask

from zun_coe.api.exchange import call, gateway, query, respond


def list() -> flask.Response:
    """GET /v1/volumes."""
    return respond(gateway().volumes.list(call(), query()))


def show(volume: str) -> flask.Response:
    """GET /v1/volumes/{volume}."""
    return respond(gateway().volumes.show(call(), volume))


def delete(volume: str, force: bool) -> flask.Response:
    """DELETE /v1/volumes/{volume}."""
    return respond(gateway().volumes.delete(call(), volume, force=force))
