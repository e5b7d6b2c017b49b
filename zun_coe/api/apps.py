"""Apps: each operation of the contract, as a call of its use case."""

from __future__ import annotations

from typing import Any, NoReturn

import flask

from zun_coe.api.contract import check
from zun_coe.api.exchange import body, call, gateway, query, respond


def list() -> flask.Response:
    """GET /v1/apps."""
    return respond(gateway().apps.list(call(), query()))


def create() -> flask.Response:
    """POST /v1/apps."""
    return respond(gateway().apps.create(call(), body()))


def adopt(dry_run: bool = False) -> flask.Response:
    """POST /v1/apps/adopt."""
    return respond(gateway().apps.adopt(call(), body(), check("AppCreate").problems, dry_run=dry_run))


def show(app: str) -> flask.Response:
    """GET /v1/apps/{app}."""
    return respond(gateway().apps.show(call(), app))


def replace(app: str) -> flask.Response:
    """PUT /v1/apps/{app}."""
    return respond(gateway().apps.replace(call(), app, body()))


def patch(app: str) -> flask.Response:
    """PATCH /v1/apps/{app}."""
    return respond(gateway().apps.patch(call(), app, body()))


def delete(app: str, force: bool, keep: bool, volumes: bool) -> flask.Response:
    """DELETE /v1/apps/{app}."""
    return respond(gateway().apps.delete(call(), app, force=force, keep=keep, volumes=volumes))


def containers(app: str) -> flask.Response:
    """GET /v1/apps/{app}/containers."""
    return respond(gateway().apps.containers(call(), app, query()))


def revisions(app: str) -> flask.Response:
    """GET /v1/apps/{app}/revisions."""
    return respond(gateway().apps.revisions(call(), app, query()))


def diagnosis(app: str) -> flask.Response:
    """GET /v1/apps/{app}/diagnosis."""
    return respond(gateway().apps.diagnosis(call(), app))


def rollback(app: str) -> flask.Response:
    """POST /v1/apps/{app}/rollback."""
    return respond(gateway().apps.rollback(call(), app, body()["revision"]))


def restart(app: str) -> flask.Response:
    """POST /v1/apps/{app}/restart."""
    return respond(gateway().apps.restart(call(), app))


def logs(**_: Any) -> NoReturn:
    """GET /v1/apps/{app}/logs."""
    raise AssertionError("zun_coe.api.streams answers this before Flask is asked")
