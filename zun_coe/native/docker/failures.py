"""What goes wrong with an engine, as our errors: the one place that knows docker-py's, requests' and
urllib3's exceptions, and the engine's sentences.

The engine tells most causes by a sentence alone (a port that is taken and a broken disk are both a
500), so the sentences come first and the status decides for the rest."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import docker.errors
import requests
import urllib3.exceptions

from zun_coe.adapters.retry_after import seconds_of
from zun_coe.adapters.tls import is_distrust
from zun_coe.errors import Absent, BackendError, Denied, Invalid, TimedOut, Unavailable, causes
from zun_coe.model.evidence import cut

Rule = tuple[re.Pattern[str], type[BackendError], str]

LONGEST = 4000
"""So much of a sentence is looked at. An engine may be anybody's, and say anything for as long as it likes."""

_NOT_UNDERSTOOD = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_FOREIGN = (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)

_NO_CONNECTION = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    ConnectionRefusedError,
    FileNotFoundError,
    PermissionError,
    ssl.SSLError,
)


def _rules(*rules: tuple[str, type[BackendError], str]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), kind, reason) for pattern, kind, reason in rules)


# Of the first that matches. The sentences are those of engines 1.12 to 28 and of Podman's service.
_RULES = _rules(
    (r"port is already allocated|address already in use", Unavailable, "PortConflict"),
    (r"no such image|image not known", Absent, "ImageNotFound"),
    (r"exec: \"|executable file .*not found|exec format error", Invalid, "InvalidSpec"),
    (r"unable to find (user|group)|no matching entries in passwd", Invalid, "InvalidSpec"),
    (r"could not select device driver", Invalid, "InvalidSpec"),
    (r"bind source path does not exist", Invalid, "VolumeUnavailable"),
    (r"volume is in use|volume .* is being used", Unavailable, "VolumeUnavailable"),
    (r"error while mounting volume|failed to mount local volume", Unavailable, "VolumeUnavailable"),
    (
        r"non-overlapping IPv4 address pool|address pools have been fully|no available IPv4|pool overlaps"
        r"|networks have overlapping",
        Unavailable,
        "QuotaExceeded",
    ),
    (r"client (version|API version) .* is too (new|old)", Unavailable, "Error"),
    (r"page not found|<html", Unavailable, "BackendUnreachable"),
    (r"name .*is already in use", Unavailable, "Error"),
    (r"is not running|marked for removal", Absent, "Error"),
)

_BY_STATUS: dict[int, tuple[type[BackendError], str]] = {
    401: (Denied, "PermissionDenied"),
    403: (Denied, "PermissionDenied"),
    404: (Absent, "Error"),
    408: (TimedOut, "BackendUnreachable"),
    409: (Unavailable, "Error"),
    429: (Unavailable, "BackendUnreachable"),
    500: (Unavailable, "Error"),
    504: (TimedOut, "BackendUnreachable"),
}

_DENIED = r"unauthorized|authentication required|no basic auth|incorrect username|access (.* )?denied|denied:"
_MISSING = r"manifest unknown|name unknown|manifest for .* not found|no matching manifest|repository .* not found"
_PULL_ANONYMOUS = _rules(
    (_MISSING, Invalid, "ImageNotFound"),
    (r"repository does not exist|does not exist or no pull access", Invalid, "ImageNotFound"),
    (_DENIED, Denied, "ImagePullFailed"),
    (r"invalid reference|invalid tag|repository name must be", Invalid, "InvalidSpec"),
)
_PULL_LOGGED_IN = (*_PULL_ANONYMOUS[:1], *_PULL_ANONYMOUS[2:], *_PULL_ANONYMOUS[1:2])


@contextmanager
def translated(call: str) -> Iterator[None]:
    """Whatever fails inside leaves as a `BackendError`; `call` names the call in its evidence."""
    try:
        yield
    except docker.errors.APIError as error:
        raise _answered(call, error) from error
    except _FOREIGN as error:
        raise _unanswered(call, error) from error
    except _NOT_UNDERSTOOD as error:
        raise _unavailable(call, f"the engine's answer was not understood: {error!r}") from error


@contextmanager
def ignoring_absent() -> Iterator[None]:
    """What is gone already is as it should be."""
    try:
        yield
    except Absent:
        return


@contextmanager
def pull_answered(*, logged_in: bool) -> Iterator[None]:
    """A pull that the engine refused inside leaves as the error of a pull."""
    try:
        yield
    except docker.errors.APIError as error:
        if error.response is None or error.response.status_code == 401:
            raise
        raise pull_failure(said(error), logged_in=logged_in, status=error.response.status_code) from error


def said(error: docker.errors.APIError) -> str:
    """The engine's own sentence."""
    return str(error.explanation or error).strip()


def _answered(call: str, error: docker.errors.APIError) -> BackendError:
    if error.response is None:
        return answered(call, 0, said(error))
    told = answered(call, error.response.status_code, said(error))
    told.retry_after = seconds_of(error.response.headers.get("Retry-After"))
    return told


def answered(call: str, status: int, message: str) -> BackendError:
    """The error for an answer of the engine that tells of a failure."""
    message = cut(message, LONGEST)
    evidence = {"call": call, "status": status, "message": message}
    for pattern, kind, reason in _RULES:
        if pattern.search(message):
            return kind(message, reason, evidence)
    fallback = (Invalid, "InvalidSpec") if 400 <= status < 500 else (Unavailable, "BackendUnreachable")
    kind, reason = _BY_STATUS.get(status, fallback)
    return kind(message, reason, evidence)


def pull_failure(message: str, *, logged_in: bool, status: int = 200) -> BackendError:
    """The error for a pull that failed. A repository that may be missing or private is called missing
    when nobody logged in, and a wrong login when somebody did."""
    message = cut(message, LONGEST)
    evidence = {"call": "pull", "status": status, "message": message}
    for pattern, kind, reason in _PULL_LOGGED_IN if logged_in else _PULL_ANONYMOUS:
        if pattern.search(message):
            return kind(message, reason, evidence)
    return Unavailable(message, "ImagePullFailed", evidence)


def _unanswered(call: str, error: Exception) -> BackendError:
    chain = list(causes(error))
    if any(_is_timeout(cause) for cause in chain):
        message = "the engine did not answer in time"
        return TimedOut(message, evidence=_evidence(call, _short(error), chain))
    if any(isinstance(c, PermissionError) for c in chain):
        message = (
            f"the user that runs the gateway may not connect to the engine ({_short(error)}); of a local socket, that"
            " user has to be in the group that owns it, such as docker"
        )
        return Denied(message, evidence=_evidence(call, _short(error), chain))
    if is_distrust(error):
        message = f"the engine cannot be trusted or does not trust us: {_short(error)}"
        return Denied(message, evidence=_evidence(call, _short(error), chain))
    message = f"the engine cannot be reached: {_short(error)}"
    return Unavailable(message, evidence=_evidence(call, message, chain))


def _evidence(call: str, message: str, chain: Sequence[BaseException]) -> dict[str, Any]:
    """`connecting`: no connection could be made, so that the failure has nothing to do with the call."""
    evidence: dict[str, Any] = {"call": call, "status": None, "message": message}
    return evidence | ({"connecting": True} if any(isinstance(cause, _NO_CONNECTION) for cause in chain) else {})


def _is_timeout(cause: BaseException) -> bool:
    # A connection that was refused is a timeout for urllib3.
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return False
    return isinstance(cause, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError)


def _unavailable(call: str, message: str) -> Unavailable:
    return Unavailable(message, evidence={"call": call, "status": None, "message": message})


def _short(error: Exception) -> str:
    """What the innermost cause says: the outer ones repeat it with the addresses of objects."""
    innermost = list(causes(error))[-1]
    return f"{type(innermost).__name__}: {innermost}"[:500]
