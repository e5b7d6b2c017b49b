"""Clusters: each operation of the contract, as a call of its use case."""

from __future__ import annotations

from functools import partial

import flask

from zun_coe.api.contract import check
from zun_coe.api.exchange import body, call, gateway, query, respond


def list() -> flask.Response:
    """GET /v1/clusters."""
    return respond(gateway().clusters.list(call(), query()))


def create() -> flask.Response:
    """POST /v1/clusters."""
    return respond(gateway().clusters.create(call(), body()))


def show(cluster: str) -> flask.Response:
    """GET /v1/clusters/{cluster}."""
    return respond(gateway().clusters.show(call(), cluster))


def patch(cluster: str) -> flask.Response:
    """PATCH /v1/clusters/{cluster}."""
    return respond(gateway().clusters.patch(call(), cluster, body()))


def accept_identity(cluster: str, host: str | None = None) -> flask.Response:
    """POST /v1/clusters/{cluster}/accept-identity."""
    return respond(gateway().clusters.accept_identity(call(), cluster, host))


def delete(cluster: str, force: bool) -> flask.Response:
    """DELETE /v1/clusters/{cluster}."""
    return respond(gateway().clusters.delete(call(), cluster, force=force))


def workloads(cluster: str) -> flask.Response:
    """GET /v1/clusters/{cluster}/workloads. Blocks until the cluster has told."""
    judge = partial(gateway().apps.judge, valid=check("AppCreate").problems)
    return respond(gateway().clusters.workloads(call(), cluster, query(), judge))


def capabilities(cluster: str) -> flask.Response:
    """GET /v1/clusters/{cluster}/capabilities."""
    return respond(gateway().clusters.capabilities(call(), cluster))
