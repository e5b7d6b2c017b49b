"""What goes wrong with an API server, as our errors: the one place that knows urllib3's exceptions and the
server's `Status` objects (API conventions, "Response Status Kind").

An answer of 403 tells of many things. Only one of them is a right that is missing; the others are admission:
quotas, limits, policies, and namespaces on their way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import msgspec
import urllib3.exceptions

from zun_coe.adapters.retry_after import seconds_of
from zun_coe.adapters.tls import is_distrust
from zun_coe.errors import Absent, BackendError, Denied, Invalid, TimedOut, Unavailable, causes
from zun_coe.model.evidence import cut

LONGEST = 4000
"""So much of a sentence is looked at. A server may be anybody's, and say anything for as long as it likes."""

_MISSING_RIGHT = re.compile(
    r'cannot (?P<verb>\S+) (?:resource "(?P<resource>[^"]+)"(?: in API group "(?P<group>[^"]*)")?'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?|path "(?P<path>[^"]+)")'
)
_QUOTA = re.compile(r"exceeded quota")
_ENDING = re.compile(r"is being terminated|NamespaceTerminating")
_TAKEN = re.compile(r"provided port is already allocated")
# The caller's doing, whatever code a webhook or an old server gives it.
_REFUSED = re.compile(r"admission webhook \S+ denied the request|failed to create typed patch object")


class Expired(Unavailable):
    """The version or the page that was to go on from is no longer kept: begin anew."""


class Cause(msgspec.Struct, frozen=True):
    """One of several things that are wrong, with its place in the object."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(msgspec.Struct, frozen=True, rename="camel"):
    """What a failure is about."""

    name: str = ""
    kind: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after_seconds: int = 0


class Status(msgspec.Struct, frozen=True):
    """How an API server tells of a failure."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: Details | None = None


@dataclass(frozen=True)
class Answer:
    """A failure that an API server told of. `call` is what was asked, as `GET /api/v1/pods`."""

    call: str
    code: int
    status: Status
    retry_after: float | None = None

    @property
    def evidence(self) -> dict[str, Any]:
        """What to keep of it."""
        told: dict[str, Any] = {"call": self.call, "status": self.code, "message": self.message}
        if self.status.reason:
            told["reason"] = self.status.reason
        if self.status.details and self.status.details.causes:
            told["causes"] = [{"field": c.field, "message": c.message} for c in self.status.details.causes]
        return told if self.retry_after is None else told | {"retry_after": self.retry_after}

    @property
    def message(self) -> str:
        """The server's own sentence."""
        return cut(self.status.message, LONGEST) or f"the API server answered {self.code}"


@contextmanager
def errors(call: str) -> Iterator[None]:
    """Whatever fails inside leaves as a `BackendError`; `call` names the call in its evidence."""
    try:
        yield
    except (urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
        raise _unanswered(call, error) from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _unavailable(call, f"the API server's answer was not understood: {error}") from error


def answered(call: str, code: int, body: bytes, headers: Mapping[str, str]) -> BackendError:
    """The error for an answer that is not a success."""
    status = _status(body)
    told = Answer(call, code, status, _retry_after(headers, status))
    if 300 <= code < 400:
        return Unavailable("the endpoint redirects elsewhere, which is not followed", "Error", told.evidence)
    return _failure(told)


def failure_of(call: str, status: Status) -> BackendError:
    """The error for a failure that is told in the middle of an answer, as in watches."""
    return _failure(Answer(call, status.code, status, _retry_after({}, status)))


def _failure(told: Answer) -> BackendError:
    error = _BY_CODE.get(told.code, _other)(told)
    error.retry_after = told.retry_after
    return error


def _forbidden(told: Answer) -> BackendError:
    if right := _MISSING_RIGHT.search(told.message):
        lacking = {name: value for name, value in right.groupdict().items() if value}
        return Denied(_lacking(**lacking), evidence=told.evidence | lacking)
    if _ENDING.search(told.message):
        return Unavailable(told.message, "Error", told.evidence)
    if _QUOTA.search(told.message):
        return Invalid(told.message, "QuotaExceeded", told.evidence)
    if told.status.kind == "Status":
        return Invalid(told.message, evidence=told.evidence)
    return Denied(told.message, evidence=told.evidence)


def _lacking(verb: str, resource: str = "", group: str = "", namespace: str = "", path: str = "", **others: str) -> str:
    what = path or (f"{resource}.{group}" if group else resource)
    where = f" in the namespace {namespace}" if namespace else ""
    return f"The cluster's credentials lack the right to {verb} {what}{where}."


def _unauthenticated(told: Answer) -> BackendError:
    message = "The API server does not accept the cluster's credentials: they are wrong, or have expired."
    return Denied(message, evidence=told.evidence)


def _unprocessable(told: Answer) -> BackendError:
    if _TAKEN.search(told.message):
        return Unavailable(told.message, "PortConflict", told.evidence)
    return Invalid(told.message, evidence=told.evidence)


def _other(told: Answer) -> BackendError:
    if _REFUSED.search(told.message) or 400 <= told.code < 500:
        return Invalid(told.message, evidence=told.evidence)
    return Unavailable(told.message, "BackendUnreachable" if told.code in (502, 503) else "Error", told.evidence)


_BY_CODE: Mapping[int, Callable[[Answer], BackendError]] = {
    401: _unauthenticated,
    403: _forbidden,
    404: lambda told: Absent(told.message, evidence=told.evidence),
    408: lambda told: TimedOut(told.message, evidence=told.evidence),
    409: lambda told: Unavailable(told.message, "Error", told.evidence),
    410: lambda told: Expired(told.message, "Error", told.evidence),
    422: _unprocessable,
    429: lambda told: Unavailable(told.message, evidence=told.evidence),
    504: lambda told: TimedOut(told.message, evidence=told.evidence),
}


_STATUS = msgspec.json.Decoder(Status)


def _status(body: bytes) -> Status:
    try:
        return _STATUS.decode(body)
    except msgspec.MsgspecError:
        return Status(message=" ".join(body[:500].decode(errors="replace").split()))


def _retry_after(headers: Mapping[str, str], status: Status) -> float | None:
    """In how many seconds to come back; a date in the header is of no use, since clocks differ."""
    told = seconds_of(headers.get("Retry-After"))
    if told is not None or status.details is None or not status.details.retry_after_seconds:
        return told
    return seconds_of(str(status.details.retry_after_seconds))


def _unanswered(call: str, error: Exception) -> BackendError:
    chain = list(causes(error))
    evidence = {"call": call, "status": None, "message": _short(chain[-1])}
    # A connection that was refused is a timeout for urllib3.
    refused = any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in chain)
    if not refused and any(isinstance(c, urllib3.exceptions.TimeoutError | TimeoutError) for c in chain):
        return TimedOut("the API server did not answer in time", evidence=evidence)
    if is_distrust(error):
        message = f"the API server cannot be trusted or does not trust us: {evidence['message']}"
        return Denied(message, evidence=evidence)
    return Unavailable(f"the API server cannot be reached: {evidence['message']}", evidence=evidence)


def _unavailable(call: str, message: str) -> Unavailable:
    return Unavailable(message, evidence={"call": call, "status": None, "message": message})


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
