"""What each error of the tree is over HTTP: a status, and a body of `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from math import ceil
from typing import Any

import msgspec
import structlog
from connexion.exceptions import ProblemException
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from starlette.exceptions import HTTPException

from zun_coe import errors
from zun_coe.api.contract import media_types_at, methods_at
from zun_coe.api.exchange import exchange_of
from zun_coe.model.evidence import capped, cut, named

BASE = "https://zun-coe.dev/problems/"
"""What the types of problems begin with. They are names; nothing need be there."""
MEDIA_TYPE = "application/problem+json"

_logger = structlog.get_logger(__name__)


class BodyTooLarge(errors.Malformed):
    """The body is larger than `Settings.max_body`."""

    slug, title = "body-too-large", "The body is too large"


class UnsupportedMediaType(errors.Malformed):
    """The body's content type or encoding is not one that the operation takes."""

    slug, title = "unsupported-media-type", "Unsupported content type"


class TooManyStreams(errors.RequestError):
    """As many streams are open as `Settings.max_streams` allows."""

    slug, title = "too-many-streams", "Too many streams"


# The first that an error is an instance of counts, so the special ones come before the general ones.
STATUSES: tuple[tuple[type[errors.ZunCoeError], int], ...] = (
    (BodyTooLarge, 413),
    (UnsupportedMediaType, 415),
    (TooManyStreams, 429),
    (errors.Malformed, 400),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Gone, 410),
    (errors.PreconditionFailed, 412),
    (errors.Unprocessable, 422),
    (errors.RequestError, 400),
    (errors.RevisionConflict, 409),
    (errors.KeyExists, 409),
    (errors.StoreError, 503),
    (errors.TimedOut, 504),
    (errors.Busy, 503),
    (errors.Absent, 409),
    (errors.BackendError, 502),
)
_WORDS: tuple[tuple[type[errors.ZunCoeError], str, str], ...] = (
    (errors.OutcomeUnknown, "outcome-unknown", "It is not known whether it happened"),
    (errors.RevisionConflict, "conflict", "Conflict"),
    (errors.KeyExists, "conflict", "Conflict"),
    (errors.StoreError, "store-unavailable", "The state store is away"),
    (errors.Busy, "cluster-busy", "Too much is asked of the cluster at once"),
    (errors.TimedOut, "cluster-timed-out", "The cluster did not answer in time"),
    (errors.Unavailable, "cluster-unavailable", "The cluster can't be reached"),
    (errors.Denied, "cluster-denied", "The cluster does not allow this"),
    (errors.Absent, "instance-gone", "Nothing of it is there now"),
    (errors.BackendError, "cluster-failed", "The cluster failed"),
)
INTERNAL = ("internal", "Internal error")
_PLAIN: Mapping[int, tuple[str, str]] = {
    400: (errors.RequestError.slug, errors.RequestError.title),
    401: (errors.Unauthenticated.slug, errors.Unauthenticated.title),
    403: (errors.Forbidden.slug, errors.Forbidden.title),
    404: (errors.NotFound.slug, errors.NotFound.title),
    405: ("method-not-allowed", "Method not allowed"),
    413: (BodyTooLarge.slug, BodyTooLarge.title),
    415: (UnsupportedMediaType.slug, UnsupportedMediaType.title),
}
RETRY_AFTER = 2
"""Seconds after which something that is away for now is worth another try."""


def types() -> set[str]:
    """Every type that a problem may have."""
    kinds: list[type[errors.RequestError]] = [errors.RequestError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    slugs = {kind.slug for kind in kinds} | {slug for _, slug, _ in _WORDS} | {slug for slug, _ in _PLAIN.values()}
    return {BASE + slug for slug in slugs | {INTERNAL[0]}}


def status_of(error: errors.ZunCoeError) -> int:
    """The status code that an error gets."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def problem_of(error: errors.ZunCoeError) -> dict[str, Any]:
    """The body that tells of an error. What a backend said is part of it; where the store is, is not."""
    if isinstance(error, errors.RequestError):
        body = _body(error.slug, error.title, status_of(error), error.detail)
        if error.problems:
            body["errors"] = [{"pointer": p.pointer, "detail": p.detail} for p in error.problems]
        return body | {k: v for k, v in error.extra.items() if v is not None}
    slug, title = next(((s, t) for kind, s, t in _WORDS if isinstance(error, kind)), INTERNAL)
    if isinstance(error, errors.BackendError):
        body = _body(slug, title, status_of(error), cut(error.message)) | {"reason": error.reason}
        return body | ({"evidence": _evidence(error)} if error.evidence else {})
    return _body(slug, title, status_of(error), _store_words(error))


def _evidence(error: errors.BackendError) -> dict[str, Any]:
    """What a backend said, as far as it is of use: anybody may answer at the address that is called a backend."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(error.evidence), enc_hook=str))
    return capped(plain)


def headers_of(status: int) -> dict[str, str]:
    """The headers that belong to a status besides those that every response has."""
    return {"Retry-After": str(RETRY_AFTER)} if status in (429, 503) else {}


def encode(body: Mapping[str, Any]) -> bytes:
    """A problem as it goes out. Evidence may hold what JSON can't say; it is told as text, and halves of surrogate
    pairs as they are escaped: a problem that can't be told would leave the caller without an answer."""
    try:
        return msgspec.json.encode(body, enc_hook=str)
    except UnicodeEncodeError:
        return json.dumps(body, default=str).encode()


def handlers() -> Mapping[type[Exception], Any]:
    """Connexion's error handlers for everything that may be raised."""
    return {
        errors.ZunCoeError: _ours,
        ProblemException: _connexions,
        HTTPException: _starlettes,
        Exception: _unexpected,
    }


def _response(request: ConnexionRequest, body: dict[str, Any], headers: Mapping[str, str]) -> ConnexionResponse:
    told = body | {"request_id": exchange_of(request.scope).request_id}
    return ConnexionResponse(status_code=body["status"], mimetype=MEDIA_TYPE, body=encode(told), headers=dict(headers))


async def _ours(request: ConnexionRequest, error: errors.ZunCoeError) -> ConnexionResponse:
    if status_of(error) >= 500:
        _logger.warning("request.failed", error=str(error), kind=type(error).__name__)
    body = problem_of(error)
    return _response(request, body, headers_of(body["status"]) | _left_alone(error))


def _left_alone(error: errors.ZunCoeError) -> dict[str, str]:
    """What a backend asks of us is asked of our callers."""
    seconds = error.retry_after if isinstance(error, errors.BackendError) else None
    return {} if seconds is None else {"Retry-After": str(ceil(seconds))}


async def _connexions(request: ConnexionRequest, error: ProblemException) -> ConnexionResponse:
    told = _not_taken(request) if error.status == 415 else error.detail
    return _response(request, _plain(error.status, told), error.headers or {})


def _not_taken(request: ConnexionRequest) -> str:
    """What connexion says in words of Python: that a body is of no type that its operation takes."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    taken = " or ".join(media_types_at(request.scope["path"], request.method))
    sent = f"sent as {kind[:60]}, which is not taken here" if kind else "sent without a content type"
    return f"The body is {sent}; send JSON, with the header Content-Type: {taken}."


async def _starlettes(request: ConnexionRequest, error: HTTPException) -> ConnexionResponse:
    path, headers = request.scope["path"], dict(error.headers or {})
    told = {404: f"There is nothing at {named(path)}; {_instead_of(path)}"}
    if error.status_code == 405:
        headers["Allow"] = ", ".join(methods_at(path))
        told[405] = f"{request.scope['method']} does not apply to {named(path)}; {headers['Allow']} do."
    return _response(request, _plain(error.status_code, told.get(error.status_code, error.detail)), headers)


def _instead_of(path: str) -> str:
    """Where to look instead: below the version, which is easily left out."""
    meant = f"/v1{path}"
    return f"did you mean {named(meant)}?" if methods_at(meant) else "/v1/openapi.json tells what there is."


async def _unexpected(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    # without the values of variables, which a logger may print with a traceback: there are secrets among them
    _logger.error("request.crashed", error=repr(error), traceback="".join(traceback.format_exception(error)))
    return _response(request, _body(*INTERNAL, 500, "The gateway failed; its log tells more."), {})


def _plain(status: int, detail: str) -> dict[str, Any]:
    """What connexion and Starlette refuse, under the same types as our own refusals."""
    slug, title = _PLAIN.get(status, _PLAIN[400] if status < 500 else INTERNAL)
    return _body(slug, title, status, detail)


def _body(slug: str, title: str, status: int, detail: str) -> dict[str, Any]:
    return {"type": BASE + slug, "title": title, "status": status, "detail": detail}


def _store_words(error: errors.ZunCoeError) -> str:
    if isinstance(error, errors.OutcomeUnknown):
        return "The state store did not confirm the change. Read again to see whether it happened."
    if isinstance(error, errors.RevisionConflict | errors.KeyExists):
        return "Somebody else changed it at the same time. Try again."
    return "The state store can't be reached right now; nothing happened. Try again."
