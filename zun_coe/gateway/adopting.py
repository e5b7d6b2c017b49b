"""What else runs in a cluster, and taking it over. Both ask the cluster, since nothing is kept of what is not ours.

A cluster that is offered to everybody shows its own project what others run there, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zun_coe.adapters import Adopts, Foreign, Offer
from zun_coe.errors import Absent, Conflict, Denied, FieldProblem, Invalid, Unavailable, Unprocessable
from zun_coe.gateway import rendering
from zun_coe.gateway.backends import Backends
from zun_coe.gateway.calls import Answer, Call, Query, backend_answer
from zun_coe.gateway.resources import Tools, page_answer
from zun_coe.gateway.views import Resource
from zun_coe.gateway.writing import Taken
from zun_coe.model import Adopted, ClusterStatus, plain, template_hash

Valid = Callable[[Mapping[str, Any]], Sequence[FieldProblem]]
"""What is wrong with the body of an app, by the contract."""


Judge = Callable[[Call, Resource, Mapping[str, Any], Taken], None]
"""Raises `Unprocessable` for the body of an app that would take something over and that cannot be."""


class Adopting:
    """The use cases of what is not the gateway's yet."""

    def __init__(self, tools: Tools, backends: Backends) -> None:
        self._tools, self._backends = tools, backends

    def workloads(self, call: Call, cluster: Resource, query: Query, judge: Judge) -> Answer:
        """A page of what runs there, by namespace and name. `judge`: what an app would be refused for that took it
        over. Raises `Conflict` where the cluster's kind cannot tell, `BackendError`."""
        self._must_own(call, cluster)
        adapter = self._backends.adapter(cluster.id)
        if not isinstance(adapter, Adopts):
            raise Conflict("What else runs there can't be had from this cluster.")
        _must_answer(cluster)
        return backend_answer(call, cluster.id, lambda: self._page(call, cluster, adapter, query, judge))

    def _page(self, call: Call, cluster: Resource, adapter: Adopts, query: Query, judge: Judge) -> Answer:
        namespace = query.filters.get("namespace")
        known = {resource.id for resource in self._tools.views.on_cluster(cluster.id)}
        found = sorted((f for f in adapter.foreign(known) if namespace in (None, f.namespace)), key=_marker)
        if query.marker is not None:
            found = [f for f in found if _marker(f) > query.marker]
        page, more = found[: query.limit], len(found) > query.limit
        shown = [rendering.encode(_shown(f, self._problems(call, cluster, f, judge))) for f in page]
        return page_answer("workloads", shown, _marker(page[-1]) if more else None)

    def _problems(self, call: Call, cluster: Resource, found: Foreign, judge: Judge) -> Sequence[FieldProblem]:
        """Why no app of the caller's can take it over."""
        if found.offer is None:
            return [FieldProblem("/adopt", why) for why in found.refused]
        try:
            self._must_be_free(cluster, found.namespace, found.name)
            self._must_be_left(call, found.offer)
            judge(call, cluster, _body(found.offer), _taken(found.namespace, found.name, found.offer))
        except Unprocessable as error:
            return error.problems or [FieldProblem("/adopt", str(error))]
        return ()

    def understood(
        self, call: Call, cluster: Resource, namespace: str, name: str, *, force: bool
    ) -> tuple[dict[str, Any], Taken]:
        """The body of an app that would be the same, and what it takes over. `force`: though something else manages
        it. Raises `Unprocessable` with the reasons where there can be none, `BackendError`."""
        self._must_own(call, cluster)
        adapter = self._backends.adapter(cluster.id)
        if not isinstance(adapter, Adopts):
            raise _refused("", "Apps can't take over what runs on this cluster.")
        self._must_be_free(cluster, namespace, name)
        _must_answer(cluster)
        offer = _asked(adapter, namespace, name)
        if offer.warnings and not force:
            advice = "Take it from there first, or set force to true."
            raise Unprocessable(
                "Something else manages it.", [FieldProblem("/force", f"{why} {advice}") for why in offer.warnings]
            )
        self._must_be_left(call, offer)
        return _body(offer), _taken(namespace, name, offer)

    def _must_own(self, call: Call, cluster: Resource) -> None:
        if cluster.intent.project != call.principal.project:
            call.principal.must_admin(f"What others run on the cluster {cluster.intent.name}")

    def _must_be_left(self, call: Call, offer: Offer) -> None:
        """What an app of this gateway has is not to be had again; what one has left is its project's."""
        if (left := offer.left) is None:
            return
        if self._tools.views.get(left.noun, left.id) is not None:
            raise _refused("", f"It is the app {left.name}.")
        if left.project != call.principal.project:
            raise _refused("", f"It was left by the project {left.project}, which can adopt it again.")

    def _must_be_free(self, cluster: Resource, namespace: str, name: str) -> None:
        """It is ours only from the engine's first step on, and until then only its record tells."""
        for other in self._tools.views.on_cluster(cluster.id):
            adopted = getattr(other.intent, "adopted", None)
            if adopted and (adopted.namespace, adopted.name) == (namespace, name):
                raise _refused("", "An app of this gateway takes it over already.")


def _taken(namespace: str, name: str, offer: Offer) -> Taken:
    if offer.left is not None:
        return Taken(left=offer.left, restarts=offer.restarts)
    hash_ = template_hash(offer.template)
    adopted = Adopted(namespace=namespace, name=name, place=offer.place, hash=hash_, native=dict(offer.native))
    return Taken(adopted=adopted)


def _must_answer(cluster: Resource) -> None:
    """A cluster that is known to be away is not asked: that would take a thread from others until its deadline."""
    status: ClusterStatus = cluster.status
    if status.phase == "Unreachable":
        reason = status.reason or "BackendUnreachable"
        raise Unavailable(status.message or "The cluster can't be reached.", reason, status.evidence)


def _asked(adapter: Adopts, namespace: str, name: str) -> Offer:
    """What the cluster offers. What stands in the way of it is the caller's to mend, or to leave."""
    try:
        return adapter.offer(namespace, name)
    except Absent as error:
        raise _refused("/name", str(error)) from error
    except Denied as error:
        if "verb" not in error.evidence:
            raise
        raise _refused("/namespace", str(error)) from error
    except Invalid as error:
        problems = [FieldProblem("/adopt", why) for why in error.evidence.get("refused") or [str(error)]]
        differences = error.evidence.get("differences")
        raise Unprocessable("It can't be taken over.", problems, differences=differences) from error


def _refused(field: str, why: str, **extra: Any) -> Unprocessable:
    return Unprocessable("It can't be taken over.", [FieldProblem(f"/adopt{field}", why)], **extra)


def _body(offer: Offer) -> dict[str, Any]:
    template: dict[str, Any] = plain(offer.template)
    settings = {"replicas": offer.replicas, "update": plain(offer.update), "placement": plain(offer.placement)}
    return template | settings | {"labels": dict(offer.labels)}


def _marker(found: Foreign) -> str:
    return f"{found.namespace}/{found.name}/{found.kind}"


def _shown(found: Foreign, problems: Sequence[FieldProblem]) -> dict[str, Any]:
    shown = {
        "kind": found.kind,
        "namespace": found.namespace,
        "name": found.name,
        "images": found.images,
        "replicas": found.replicas,
        "ready": found.ready,
        "created_at": found.created_at,
        "adoptable": not problems,
        "reason": " ".join(problem.detail for problem in problems) or None,
        "refused": [{"pointer": problem.pointer, "detail": problem.detail} for problem in problems] or None,
        "warnings": list(found.warnings) or None,
        "left": True if found.left else None,
    }
    return {name: plain(value) for name, value in shown.items() if value is not None}
