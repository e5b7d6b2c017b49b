"""What goes into a use case and what comes out of it, without a word of HTTP machinery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zun_coe.auth import Principal
from zun_coe.errors import PreconditionFailed
from zun_coe.model import Instance, Noun, WorkloadRef
from zun_coe.model.evidence import cut
from zun_coe.model.settling import GRACE

PLURALS = {
    "app": "apps",
    "container": "containers",
    "cluster": "clusters",
    "volume": "volumes",
    "secret": "secrets",
    "event": "events",
}


@dataclass(frozen=True)
class Call:
    """Who asks, and under which conditions."""

    principal: Principal
    request_id: str
    if_match: str | None = None
    if_none_match: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Query:
    """A page of a listing. `sort`: a field, with - in front for descending. `filters`: by name, cluster,
    phase, app, and label ("key" or "key=value"; several with commas)."""

    limit: int = 100
    marker: str | None = None
    sort: str = "created_at"
    filters: Mapping[str, str] = field(default_factory=dict)
    all_projects: bool = False


@dataclass(frozen=True)
class Settle:
    """What `?wait` waits for: that this resource has settled at this generation (or is gone). `grace`: seconds
    after which a reason that might go away by itself counts as the end, too. `see`: its JSON as the caller may see
    it (None: all of it). `replica`: the id of one replica of the app, whose end is waited for."""

    noun: str
    project: str
    id: str
    generation: int
    deleted: bool = False
    grace: float = GRACE
    see: Callable[[Any], bytes] | None = field(default=None, compare=False)
    replica: str | None = None


@dataclass(frozen=True)
class BackendCall:
    """The rest of a use case: what has to ask a cluster, and may take long. `project`: whose request it is."""

    project: str
    cluster: str
    run: Callable[[], Answer]


@dataclass(frozen=True)
class Answer:
    """A status code as in HTTP, a JSON body (None: empty) and headers. With `backend` it is no answer yet, but what
    gives it (see `gateway.backends`)."""

    status: int
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    settle: Settle | None = None
    backend: BackendCall | None = None

    def complete(self) -> Answer:
        """The answer itself. Blocks while a cluster is asked; raises what the rest of the use case does."""
        return self.backend.run() if self.backend else self


@dataclass(frozen=True)
class LogSources:
    """Where the output of an app or a container comes from. `instances`: those there are now (asks no
    backend); `open(instance, options)`: a stream of one of them."""

    ref: WorkloadRef
    noun: Noun
    instances: Callable[[], Sequence[Instance]]
    open: Callable[..., Any]


def backend_answer(call: Call, cluster: str, run: Callable[[], Answer]) -> Answer:
    """The answer of a use case whose rest has to ask a cluster."""
    return Answer(202, backend=BackendCall(call.principal.project, cluster, run))


def etag(generation: int) -> str:
    """The ETag of a resource: it changes with its intent and never with its status."""
    return f'"{generation}"'


def check_preconditions(call: Call, generation: int | None) -> None:
    """If-Match and If-None-Match against what is there (None: nothing). Raises `PreconditionFailed`."""
    if call.if_none_match == "*" and generation is not None:
        raise PreconditionFailed("It exists already, and If-None-Match: * asks that it does not.")
    if call.if_match is None:
        return
    wanted = {tag.strip().removeprefix("W/") for tag in call.if_match.split(",")}
    if generation is None or ("*" not in wanted and etag(generation) not in wanted):
        asked = cut(call.if_match, 100)
        raise PreconditionFailed(f"If-Match asks for {asked}, but {_there(call.if_match, generation)}")


def _there(if_match: str, generation: int | None) -> str:
    """What there is instead of what If-Match asks for, and what to do."""
    if generation is None:
        return "nothing is there. Read it again, then decide."
    if '"' not in if_match:
        return f"a precondition has quotation marks; write it as in its ETag: {etag(generation)} now."
    return f"it is at generation {generation}. Read it again, then decide."
