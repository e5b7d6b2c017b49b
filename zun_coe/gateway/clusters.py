"""Clusters: registering them, and what each can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import msgspec

from zun_coe.adapters import Adapter, Policy, kinds
from zun_coe.adapters.reach import Reach
from zun_coe.errors import Conflict, FieldProblem, Malformed, Unprocessable
from zun_coe.gateway import limits, rendering, specs
from zun_coe.gateway.adopting import Adopting, Judge
from zun_coe.gateway.calls import Answer, Call, Query, Settle, check_preconditions, etag
from zun_coe.gateway.entries import Found
from zun_coe.gateway.listing import PUBLIC
from zun_coe.gateway.resources import Once, Resources, Tools, adapter_of, may_see_all
from zun_coe.gateway.views import Resource
from zun_coe.gateway.writing import Change, replaced
from zun_coe.model import Cluster, Deletion, Host, OperationSupport
from zun_coe.store.records import intent_key, new_id, utc_now
from zun_coe.store.references import cluster_uses

_FIELDS = ("labels", "hosts", "endpoint", "node_endpoint", "namespace", "machine", "public")


class Clusters(Resources):
    """The use cases of clusters."""

    noun: ClassVar[str] = "cluster"

    def __init__(self, tools: Tools, adopting: Adopting) -> None:
        super().__init__(tools)
        self._adopting = adopting

    def create(self, call: Call, body: Mapping[str, Any]) -> Answer:
        """Register a cluster. It is reached in the background; until then writes that name it are 409."""
        call.principal.must_write()

        given = {k: v for k, v in body.items() if k not in specs.READ_ONLY | {"source"}}
        return self._once(call, "cluster.create", body, lambda once: self._create(call, given, once))

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Answer:
        """A JSON merge patch of labels, hosts, endpoints, credentials, public."""
        call.principal.must_write()
        return self._attempt(call, lambda: self._patch(call, self._own(call, ref), body))

    def delete(self, call: Call, ref: str, *, force: bool = False) -> Answer:
        """Forget a cluster that carries nothing; with `force` forget what it carries too."""
        call.principal.must_write()
        return self._attempt(call, lambda: self._mark(call, self._own(call, ref), force))

    def accept_identity(self, call: Call, ref: str, host: str | None = None) -> Answer:
        """Take the engines that answer now for the cluster's own: of one host, or all that are others than before."""
        call.principal.must_write()
        operation = f"cluster.accept-identity/{ref}"
        return self._once(
            call, operation, {"host": host}, lambda once: self._accept(call, self._own(call, ref), host, once)
        )

    def capabilities(self, call: Call, ref: str) -> Answer:
        """How this very cluster carries each field and each operation, as it was last described."""
        found = self._find(call, ref)
        status, adapter = found.status, adapter_of(found.intent)
        info = status.info
        shown = {
            "cluster": found.intent.name,
            "kind": found.intent.kind,
            "described": info is not None,
            "versions": info.versions if info else {},
            "fields": [_field(pattern, adapter, info.overrides if info else {}) for pattern in sorted(adapter.fields)],
            "operations": [_operation(*o) for o in (info.operations if info else {}).items()],
        }
        return Answer(200, rendering.encode(shown))

    def workloads(self, call: Call, ref: str, query: Query, judge: Judge) -> Answer:
        """What runs there and is not the gateway's, asked of the cluster itself."""
        return self._adopting.workloads(call, self._find(call, ref), query, judge)

    def _create(self, call: Call, body: Mapping[str, Any], once: Once) -> Answer:
        self._check_name(call, body["name"])
        now, change = utc_now(), Change()
        credentials = body.get("credentials")
        try:
            cluster = Cluster(
                id=new_id(),
                project=call.principal.project,
                name=body["name"],
                kind=body["kind"],
                created_at=now,
                updated_at=now,
                credentials=self._tools.vault.seal(credentials) if credentials else None,
                request_id=call.request_id,
                write_id=change.write_id,
                **_typed(body),
            )
            cluster = self._placed(cluster)
        except msgspec.ValidationError as error:
            raise Malformed(str(error)) from error
        self._check(call, body)
        change.put(intent_key("cluster", cluster.project, cluster.id), cluster)
        change.name("cluster", cluster.project, cluster.name, cluster.id)
        change.tell(self._event(call, "ClusterRegistered", cluster, f"A {cluster.kind} cluster was registered."))
        preview = rendering.encode(rendering.cluster(cluster, self._views.cluster_status(cluster.id)))
        headers = {"ETag": '"1"', "Location": f"/v1/clusters/{cluster.id}"}
        answer = Answer(202, preview, headers, Settle("cluster", cluster.project, cluster.id, 1))
        once(change, answer)
        self._tools.writer.commit(change)
        return answer

    def _patch(self, call: Call, found: Resource, patch: Mapping[str, Any]) -> Answer:
        old: Cluster = found.intent
        check_preconditions(call, old.generation)
        self._must_live(found)
        current = {k: v for k, v in rendering.cluster(old, found.status).items() if k in _FIELDS}
        merged = specs.merge(current, {k: v for k, v in patch.items() if k not in specs.READ_ONLY})
        fixed = [f for f in ("name", "kind") if merged.get(f, getattr(old, f)) != getattr(old, f)]
        if fixed:
            raise Unprocessable("It can't change.", [FieldProblem(f"/{f}", f"{f} can't change.") for f in fixed])
        credentials = merged.pop("credentials", None)
        given = {"credentials": credentials} if credentials else {}
        kept = {"has_credentials": old.credentials is not None and "credentials" not in patch}
        self._check(call, {"name": old.name, "kind": old.kind} | merged | given | kept)
        change = Change()
        new = replaced(old, **{f: d for f, d in _defaults().items() if f not in merged} | _typed(merged))
        new = replaced(new, credentials=self._tools.vault.seal(credentials)) if credentials else new
        if "credentials" in patch and patch["credentials"] is None:
            new = replaced(new, credentials=None)
        _must_be_for(old, new)
        new = self._placed(new)
        if new == old:
            return self._accepted(old.id)
        new = replaced(new, generation=old.generation + 1, updated_at=utc_now(), write_id=change.write_id)
        change.put(intent_key("cluster", old.project, old.id), new, found.revision)
        change.tell(self._event(call, "ClusterUpdated", new, "Its registration was changed."))
        self._tools.writer.commit(change)
        return self._accepted(old.id)

    def _accept(self, call: Call, found: Resource, host: str | None, once: Once) -> Answer:
        old: Cluster = found.intent
        check_preconditions(call, old.generation)
        self._must_live(found)
        others = {n: id for n, id in found.status.others.items() if host in (None, n) and old.accepted.get(n) != id}
        if not others:
            where = f"the host {host} of {old.name}" if host else old.name
            raise Conflict(f"No other engine answers for {where} than before, so that there is nothing to accept.")
        change = Change()
        new = replaced(
            old,
            accepted=old.accepted | others,
            generation=old.generation + 1,
            updated_at=utc_now(),
            write_id=change.write_id,
        )
        change.put(intent_key("cluster", old.project, old.id), new, found.revision)
        told = ", ".join(f"{name} is {id}" for name, id in sorted(others.items()))
        change.tell(self._event(call, "IdentityAccepted", new, f"Accepted from now on: {told}.", identities=others))
        preview = rendering.encode(rendering.cluster(new, found.status))
        headers = {"ETag": etag(new.generation), "Location": f"/v1/clusters/{new.id}"}
        answer = Answer(202, preview, headers, Settle("cluster", new.project, new.id, new.generation))
        once(change, answer)
        self._tools.writer.commit(change)
        return answer

    def _mark(self, call: Call, found: Resource, force: bool) -> Answer:
        old: Cluster = found.intent
        check_preconditions(call, old.generation)
        carried, unchanged = cluster_uses(self._tools.cache, old.id)
        if carried and not force:
            names = ", ".join(sorted(f"{user.noun} {user.name}" for user in carried)[:5])
            detail = f"It still carries {len(carried)} ({names}); delete them first, or use force to forget them."
            raise Conflict(detail)
        change = Change()
        if not force:
            change.conditions.append(unchanged)
        mark = old.deletion or Deletion(at=utc_now(), request_id=call.request_id)
        mark = replaced(mark, force=mark.force or force)
        if mark != old.deletion:
            new = replaced(old, deletion=mark, generation=old.generation + 1, write_id=change.write_id)
            change.put(intent_key("cluster", old.project, old.id), new, found.revision)
            change.tell(self._event(call, "ClusterDeleting", new, "Deletion was asked for."))
            self._tools.writer.commit(change)
        return self._leaving(old)

    def _check(self, call: Call, body: Mapping[str, Any]) -> None:
        kind = kinds().get(body["kind"])
        if kind is None:
            detail = f"There is no kind {body['kind']}; there are {', '.join(sorted(kinds()))}."
            raise Unprocessable(detail, [FieldProblem("/kind", detail)])
        if body.get("public") and not call.principal.admin:
            raise Unprocessable("Not allowed.", [FieldProblem("/public", "Only admins offer a cluster to everybody.")])
        problems = limits.of_specification(body) or kind.check_registration(
            body,
            admin=call.principal.admin,
            reach=Reach.of(self._tools.settings.allowed_networks),
            policy=Policy.of(self._tools.settings),
        )
        if problems:
            raise Unprocessable("This cluster can't be registered so.", problems)

    def _placed(self, cluster: Cluster) -> Cluster:
        """On the machine whose sockets it is reached over: this one, unless it is said which."""
        machine = cluster.machine or self._tools.settings.here
        placed: Cluster = replaced(cluster, machine=machine if cluster.local else None)
        return placed

    def _own(self, call: Call, ref: str) -> Resource:
        found = self._find(call, ref)
        if found.intent.project != call.principal.project and not call.principal.admin:
            call.principal.must_admin(f"Changing the public cluster {found.intent.name}")
        return found

    def _find(self, call: Call, ref: str) -> Resource:
        """Own before public, by id or name."""
        own = self._views.named("cluster", call.principal.project, ref)
        if own is not None:
            return own
        public, _ = self._views.page("cluster", (PUBLIC,), Query(limit=1, filters={"name": ref}))
        return cast(Resource, public[0]) if public else super()._find(call, ref)

    def _body(self, call: Call, found: Found) -> bytes:
        """Only its own project and operators see how a cluster is reached and what its machines are."""
        assert isinstance(found, Resource)
        if may_see_all(call, found):
            return super()._body(call, found)
        return rendering.encode(rendering.public_cluster(found.intent, found.status))

    def _visible(self, call: Call, found: Resource) -> bool:
        return bool(found.intent.public) or super()._visible(call, found)

    def _scopes(self, project: str | None) -> Sequence[str | None]:
        return (project,) if project is None else (project, PUBLIC)


def _field(pattern: str, adapter: type[Adapter], overrides: Mapping[str, OperationSupport]) -> dict[str, Any]:
    carried = overrides.get(pattern) or adapter.fields[pattern]
    shown: dict[str, Any] = {"pointer": pattern, "support": carried.support}
    if carried.note:
        shown["note"] = carried.note
    return shown | {"values": "some" if adapter.fields[pattern].accepts else "all"}


def _operation(name: str, carried: OperationSupport) -> dict[str, Any]:
    return {"name": name, "support": carried.support, "note": carried.note}


def _must_be_for(old: Cluster, new: Cluster) -> None:
    """Raises `Unprocessable` where credentials that nobody is shown would be sent to where they were not given for."""
    moved = [f for f in ("endpoint", "node_endpoint") if getattr(new, f) not in (None, getattr(old, f))]
    if moved and old.credentials is not None and new.credentials == old.credentials:
        detail = f"The credentials were given for another {moved[0]}; give them again with the new one."
        raise Unprocessable("Credentials do not move to another address.", [FieldProblem("/credentials", detail)])


def _typed(body: Mapping[str, Any]) -> dict[str, Any]:
    given = {k: v for k, v in body.items() if k in _FIELDS}
    if "hosts" in given:
        given["hosts"] = msgspec.convert(given["hosts"], tuple[Host, ...])
    return given


def _defaults() -> dict[str, Any]:
    absent = dict.fromkeys(("endpoint", "node_endpoint", "namespace", "machine"))
    return absent | {"labels": {}, "hosts": (), "public": False}
