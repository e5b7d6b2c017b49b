"""What can go wrong, as one tree. No HTTP here: `api/problems.py` gives each its status.

ZunCoeError
├── RequestError             the caller's doing
│   ├── Malformed            not understood
│   ├── Unauthenticated
│   ├── Forbidden
│   ├── NotFound             not there, or another project's
│   ├── Conflict             the state or a name is in the way
│   │   └── ClusterNotReady  the cluster was not described yet
│   ├── PreconditionFailed   If-Match, If-None-Match
│   ├── Unprocessable        understood, but it can't be done
│   │   └── Unsupported      the cluster can't carry it
│   └── Gone                 the events asked for are no longer kept
├── StoreError               the state store (see `zun_coe.store`)
│   ├── KeyExists
│   ├── RevisionConflict
│   ├── KeyNotFound
│   ├── Compacted
│   ├── Fenced               the lease that the write depended on is lost
│   ├── StoreUnavailable     nothing happened
│   └── OutcomeUnknown       a write was sent and its answer was lost
└── BackendError             a cluster's engine (see `zun_coe.adapters`)
    ├── Unavailable          try again
    │   ├── TimedOut
    │   └── Busy             this process already asks the engine as much as it may
    ├── Invalid              give up until the intent changes
    ├── Denied               credentials, permissions
    └── Absent               what was asked for is not there
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class ZunCoeError(Exception):
    """The root of everything that this package raises on purpose."""


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong with a request: where (a JSON pointer), and a sentence that says what to do."""

    pointer: str
    detail: str


def first_of(problems: Sequence[FieldProblem]) -> str:
    """Several problems in a sentence or two: the first, and how many more there are."""
    return problems[0].detail + (f" And {len(problems) - 1} more." if len(problems) > 1 else "")


class RequestError(ZunCoeError):
    """The caller's doing. `slug` names the problem type for good; `detail` is a sentence for a person."""

    slug = "bad-request"
    title = "Bad request"

    def __init__(self, detail: str, problems: Sequence[FieldProblem] = (), **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = tuple(problems)
        self.extra: Mapping[str, Any] = extra


class Malformed(RequestError):
    """The request could not be read."""

    slug, title = "malformed", "Malformed request"


class Unauthenticated(RequestError):
    """Nobody, or somebody unknown."""

    slug, title = "unauthenticated", "Not authenticated"


class Forbidden(RequestError):
    """Known, and not allowed."""

    slug, title = "forbidden", "Not allowed"


class NotFound(RequestError):
    """Not there, or another project's: the two look the same from outside."""

    slug, title = "not-found", "Not found"


class Conflict(RequestError):
    """The state of the thing, or a name that is taken, is in the way."""

    slug, title = "conflict", "Conflict"


class NameTaken(Conflict):
    """The name belongs to something else of the same kind in this project."""

    slug, title = "name-taken", "The name is taken"


class ClusterNotReady(Conflict):
    """The cluster was not described yet, so nobody can say what it can carry."""

    slug, title = "cluster-not-ready", "The cluster is not ready"


class PreconditionFailed(RequestError):
    """If-Match or If-None-Match did not hold."""

    slug, title = "precondition-failed", "Precondition failed"


class Unprocessable(RequestError):
    """Understood, but it can't be done."""

    slug, title = "unprocessable", "Cannot be done"


class Unsupported(Unprocessable):
    """The cluster can't carry what was asked for; `extra` tells which clusters can."""

    slug, title = "unsupported-by-cluster", "The cluster cannot carry this"


class Gone(RequestError):
    """The events asked for are no longer kept."""

    slug, title = "gone", "No longer kept"


class StoreError(ZunCoeError):
    """The state store."""


class KeyExists(StoreError):
    """A create, or a condition that a key is absent, found it there."""


class RevisionConflict(StoreError):
    """A key has another revision than the one expected."""


class KeyNotFound(StoreError):
    """A key is not there."""


class Compacted(StoreError):
    """The revision asked for is no longer kept; `oldest` is the first that can still be watched from."""

    def __init__(self, message: str, oldest: int = 0) -> None:
        super().__init__(message)
        self.oldest = oldest


class Fenced(StoreError):
    """The lease on which a write depended is lost: somebody else may own the thing by now."""


class StoreUnavailable(StoreError):
    """The store is away, and nothing happened."""


class OutcomeUnknown(StoreError):
    """A write was sent and its answer was lost: read again and compare the write's id."""


@dataclass(eq=False)
class BackendError(ZunCoeError):
    """A cluster's engine failed. `reason` is of the vocabulary of `model.Reason`, `evidence` what it said,
    `retry_after` the seconds for which it asks to be left alone."""

    message: str
    reason: str = "Error"
    evidence: Mapping[str, Any] = field(default_factory=dict)
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class Unavailable(BackendError):
    """The engine can't be reached or is overloaded: try again later."""

    reason: str = "BackendUnreachable"


@dataclass(eq=False)
class TimedOut(Unavailable):
    """The engine took the call and did not answer in time."""


@dataclass(eq=False)
class Busy(Unavailable):
    """As much is being asked of the engine, or for the project, as may be at once; it was not asked."""


@dataclass(eq=False)
class Invalid(BackendError):
    """The engine refuses it, and will until the intent changes."""

    reason: str = "InvalidSpec"


@dataclass(eq=False)
class Denied(BackendError):
    """The engine does not trust these credentials, or they may not do this."""

    reason: str = "PermissionDenied"


@dataclass(eq=False)
class Absent(BackendError):
    """What was asked for is not there."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came of; the outer ones repeat the innermost with the addresses of objects."""
    seen: set[int] = set()
    current: Any = error
    while isinstance(current, BaseException) and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = [a for a in (getattr(current, "reason", None), *current.args) if isinstance(a, BaseException)]
        current = inner[0] if inner else current.__cause__ or current.__context__
