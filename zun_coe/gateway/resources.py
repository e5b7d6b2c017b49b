"""What all nouns have in common: finding, showing, listing and marking for deletion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import msgspec

from zun_coe.adapters import Adapter, kinds
from zun_coe.config import Settings
from zun_coe.errors import (
    ClusterNotReady,
    Conflict,
    FieldProblem,
    Malformed,
    NotFound,
    PreconditionFailed,
    RevisionConflict,
    Unprocessable,
)
from zun_coe.gateway.calls import PLURALS, Answer, Call, Query, Settle, check_preconditions, etag
from zun_coe.gateway.entries import Found, Resource
from zun_coe.gateway.indexes import Condition
from zun_coe.gateway.listing import SORTS
from zun_coe.gateway.views import Views
from zun_coe.gateway.writing import Change, Writer
from zun_coe.model import Cluster, ClusterStatus, Event
from zun_coe.model.evidence import named
from zun_coe.store import Store
from zun_coe.store.cache import Cache
from zun_coe.store.records import utc_now
from zun_coe.vault import Vault

T = TypeVar("T")
# `list` is a use case below, so the type of a list needs another name
Listing = list[Found]
Once = Callable[[Change, Answer], None]
ATTEMPTS = 10


@dataclass(frozen=True)
class Tools:
    """What every use case works with."""

    store: Store
    cache: Cache
    views: Views
    writer: Writer
    vault: Vault
    settings: Settings
    installation: str

    def refresh(self) -> None:
        """Wait until the copy has seen everything that the store has now."""
        self.cache.wait_for(self.store.list("meta/", limit=1).revision)


class Resources:
    """One noun's use cases."""

    noun: ClassVar[str]
    sorts: ClassVar[frozenset[str]] = frozenset(SORTS)

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._views = tools.views

    def list(self, call: Call, query: Query) -> Answer:
        """A page of the caller's project (all projects, for admins who ask)."""
        if query.all_projects:
            call.principal.must_admin("Listing all projects")
        project = None if query.all_projects else call.principal.project
        found, marker = self._page(self._scopes(project), query)
        return page_answer(PLURALS[self.noun], [self._body(call, r) for r in found], marker)

    def show(self, call: Call, ref: str) -> Answer:
        """One resource, by id or name. Who waits does so until it has settled, or until it is gone where it is
        being deleted."""
        found = self._find(call, ref)
        return replace(self._shown(found, 200, self._watched(call, found)), body=self._body(call, found))

    def _body(self, call: Call, found: Found) -> bytes:
        """The JSON of a resource as the caller may see it."""
        return self._views.body(found)

    def _scopes(self, project: str | None) -> Sequence[str | None]:
        """What a list of a project (None: of all) is made of."""
        return (project,)

    def _page(
        self, scopes: Sequence[str | None], query: Query, noun: str | None = None, extra: Sequence[Condition] = ()
    ) -> tuple[Listing, str | None]:
        """A page of this noun's list, or of another's, and the marker of the next."""
        if query.sort.removeprefix("-") not in self.sorts:
            told = ", ".join(sorted(self.sorts))
            detail = f"sort takes {told}, with - in front for descending"
            raise Malformed(f"/sort: {detail}.", [FieldProblem("/sort", detail)])
        return self._views.page(noun or self.noun, scopes, query, extra)

    def _find(self, call: Call, ref: str) -> Resource:
        found = self._views.get(self.noun, ref) if is_id(ref) else None
        found = found or self._views.named(self.noun, call.principal.project, ref)
        if found is None or not self._visible(call, found):
            raise NotFound(f"There is no {self.noun} {named(ref)} in the project {call.principal.project}.")
        return found

    def _check_name(self, call: Call, name: str) -> Resource | None:
        """For something new: what has its name already. Raises `PreconditionFailed` where the request expects
        otherwise, and `Unprocessable` for a name that would be taken for an id."""
        if is_id(name):
            detail = f"{name} looks like an id, by which something else may be found; choose another name."
            raise Unprocessable(detail, [FieldProblem("/name", detail)])
        existing = self._views.named(self.noun, call.principal.project, name)
        check_preconditions(call, existing.intent.generation if existing else None)
        return existing

    def _visible(self, call: Call, found: Resource) -> bool:
        return bool(found.intent.project == call.principal.project)

    def _shown(self, found: Found, status: int, settle: Settle | None = None) -> Answer:
        headers: dict[str, str] = {}
        if isinstance(found, Resource):
            headers["ETag"] = etag(found.intent.generation)
        if status == 202:
            headers["Location"] = f"/v1/{PLURALS[self.noun]}/{found.id}"
        return Answer(status, self._views.body(found), headers, settle)

    def _watched(self, call: Call, found: Resource) -> Settle:
        """What somebody who only looks may wait for."""
        deleted = getattr(found.intent, "deletion", None) is not None
        return replace(self._settle(found), deleted=deleted, see=partial(self._body, call))

    def _settle(self, found: Resource) -> Settle:
        return Settle(self.noun, found.intent.project, found.id, found.intent.generation)

    def _accepted(self, id: str) -> Answer:
        """202 with the resource as it is in the copy, which has seen the write."""
        found = self._views.get(self.noun, id)
        if found is None:  # somebody removed it between the write and now
            raise NotFound(f"The {self.noun} {id} was deleted meanwhile.")
        return self._shown(found, 202, self._settle(found))

    def _leaving(self, intent: Any) -> Answer:
        """202 with what is to be deleted, or 204 where it has gone already."""
        found = self._views.get(self.noun, intent.id)
        if found is None:
            return Answer(204)
        return self._shown(found, 202, Settle(self.noun, intent.project, intent.id, intent.generation, deleted=True))

    def _must_live(self, found: Resource) -> None:
        if found.intent.deletion is not None:
            raise Conflict(f"The {self.noun} {found.intent.name} is being deleted; wait until it is gone.")

    def _event(self, call: Call, type: str, intent: Any, message: str, **data: Any) -> Event:
        return Event(
            project=intent.project,
            type=type,
            subject=self.noun,
            subject_id=intent.id,
            subject_name=intent.name,
            at=utc_now(),
            message=message,
            cluster=getattr(intent, "cluster", None),
            generation=intent.generation,
            request_id=call.request_id,
            data=data,
        )

    def _once(self, call: Call, operation: str, body: Any, attempt: Callable[[Once], Answer]) -> Answer:
        """As `_attempt`, for a POST: the same Idempotency-Key and body get the answer they got before. The
        attempt calls what it is given with its change and its answer, before it commits."""

        def remember(change: Change, answer: Answer) -> None:
            self._tools.writer.remember(change, call, operation, body, answer)

        return self._attempt(call, lambda: self._tools.writer.before(call, operation, body) or attempt(remember))

    def _attempt(self, call: Call, attempt: Callable[[], T]) -> T:
        """Do it, and again when somebody else wrote in between, on what is there then. A caller who
        gave If-Match decided on what was there before, and is told instead."""
        for _ in range(ATTEMPTS):
            try:
                return attempt()
            except RevisionConflict as error:
                self._tools.refresh()
                if call.if_match:
                    raise PreconditionFailed("It was changed meanwhile. Read it again, then decide.") from error
        raise Conflict("Others keep changing it at the same time; try again.")


def may_see_all(call: Call, cluster: Resource) -> bool:
    """Whether the caller may see how a cluster is reached and what its machines are: of a public one its own project
    and operators may."""
    return call.principal.admin or bool(cluster.intent.project == call.principal.project)


def status_for(call: Call, cluster: Resource) -> ClusterStatus:
    """The status of a cluster without the words of its engine, which name addresses, for whoever only uses it."""
    status: ClusterStatus = cluster.status
    return status if may_see_all(call, cluster) else msgspec.structs.replace(status, message=None, evidence={})


def adapter_of(cluster: Cluster) -> type[Adapter]:
    """What carries out the work on a cluster. Raises `ClusterNotReady` for a kind that this process does not know."""
    kind = kinds().get(cluster.kind)
    if kind is None:
        known = ", ".join(sorted(kinds()))
        raise ClusterNotReady(
            f"The cluster {cluster.name} is of the kind {cluster.kind}, and this process of the gateway knows {known}:"
            " it is older than the one that registered it. Try again when it was upgraded."
        )
    return kind


def page_answer(plural: str, bodies: list[bytes], marker: str | None) -> Answer:
    """{"apps": [...], "next": "..."}; no `next` on the last page."""
    following = b"" if marker is None else b',"next":"' + marker.encode() + b'"'
    body = b'{"' + plural.encode() + b'":[' + b",".join(bodies) + b"]" + following + b"}"
    return Answer(200, body)


def is_id(ref: str) -> bool:
    """Whether it may be the id of something."""
    try:
        return str(UUID(ref)) == ref
    except ValueError:
        return False
