"""Containers: each operation of the contract, as a call of its use case."""

from __future__ import annotations

from typing import Any, NoReturn

import flask

from zun_coe.api.exchange import body, call, gateway, query, respond


def list() -> flask.Response:
    """GET /v1/containers."""
    return respond(gateway().containers.list(call(), query()))


def create() -> flask.Response:
    """POST /v1/containers."""
    return respond(gateway().containers.create(call(), body()))


def show(container: str) -> flask.Response:
    """GET /v1/containers/{container}."""
    return respond(gateway().containers.show(call(), container))


def patch(container: str) -> flask.Response:
    """PATCH /v1/containers/{container}."""
    return respond(gateway().containers.patch(call(), container, body()))


def delete(container: str, force: bool, keep: bool, volumes: bool) -> flask.Response:
    """DELETE /v1/containers/{container}."""
    return respond(gateway().containers.delete(call(), container, force=force, keep=keep, volumes=volumes))


def start(container: str) -> flask.Response:
    """POST /v1/containers/{container}/start."""
    return respond(gateway().containers.act(call(), container, "start"))


def stop(container: str) -> flask.Response:
    """POST /v1/containers/{container}/stop."""
    return respond(gateway().containers.act(call(), container, "stop"))


def restart(container: str) -> flask.Response:
    """POST /v1/containers/{container}/restart."""
    return respond(gateway().containers.act(call(), container, "restart"))


def pause(container: str) -> flask.Response:
    """POST /v1/containers/{container}/pause."""
    return respond(gateway().containers.act(call(), container, "pause"))


def unpause(container: str) -> flask.Response:
    """POST /v1/containers/{container}/unpause."""
    return respond(gateway().containers.act(call(), container, "unpause"))


def kill(container: str, signal: str) -> flask.Response:
    """POST /v1/containers/{container}/kill. Blocks until the signal was sent."""
    return respond(gateway().containers.act(call(), container, "kill", signal=signal))


def logs(**_: Any) -> NoReturn:
    """GET /v1/containers/{container}/logs."""
    raise AssertionError("zun_coe.api.streams answers this before Flask is asked")
