"""Apps: a container replicated and kept so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from zun_coe.errors import Conflict, FieldProblem, NotFound, Unprocessable
from zun_coe.gateway import rendering, specs
from zun_coe.gateway.adopting import Adopting, Valid
from zun_coe.gateway.calls import Answer, Call, Query, backend_answer, check_preconditions
from zun_coe.gateway.diagnosing import diagnose
from zun_coe.gateway.resources import Once, Tools, is_id, page_answer, status_for
from zun_coe.gateway.views import NEVER_SEEN, Resource
from zun_coe.gateway.workloads import Workloads
from zun_coe.gateway.writing import Change, Taken, name_taken, replaced
from zun_coe.model import Intent, Revision, Status, effective_hash, wanted_hash, whole
from zun_coe.model.evidence import named
from zun_coe.store.records import revision_key


class Apps(Workloads):
    """The use cases of apps."""

    noun: ClassVar[str] = "app"

    def __init__(self, tools: Tools, adopting: Adopting) -> None:
        super().__init__(tools)
        self._adopting = adopting

    def adopt(self, call: Call, body: Mapping[str, Any], valid: Valid, *, dry_run: bool = False) -> Answer:
        """A new one that takes over what runs in a cluster, which is asked for it. `valid`: what the contract says of
        the whole body that would have created it. `dry_run`: only what it would be; nothing is written."""
        call.principal.must_write()
        cluster = self._cluster(call, body.get("cluster"))

        def run() -> Answer:
            if dry_run:
                intent, _ = self._prepared(call, *self._adoption(call, body, cluster, valid))
                return Answer(200, self._preview(intent, Status()).body)
            return self._once(call, "app.adopt", body, lambda once: self._adopt(call, body, cluster, once, valid))

        return backend_answer(call, cluster.id, run)

    def replace(self, call: Call, ref: str, body: Mapping[str, Any]) -> Answer:
        """Create the app with this name, or make the one there is what the body says."""
        call.principal.must_write()

        def attempt() -> Answer:
            try:
                found = self._find(call, ref)
            except NotFound:
                return self._create_named(call, ref, body)
            return self._change(call, found, {"name": found.intent.name} | dict(body))

        return self._attempt(call, attempt)

    def rollback(self, call: Call, ref: str, revision: int) -> Answer:
        """Restore the template of a revision, as a new revision."""
        call.principal.must_write()

        def attempt(once: Once) -> Answer:
            found = self._find(call, ref)
            return self._restore(call, found, self._revision(found.intent, revision), once)

        return self._once(call, f"app.rollback/{ref}", {"revision": revision}, attempt)

    def restart(self, call: Call, ref: str) -> Answer:
        """Replace every replica in turn, as a change of the template would."""
        call.principal.must_write()

        def attempt(once: Once) -> Answer:
            found = self._find(call, ref)
            intent: Intent = found.intent
            check_preconditions(call, intent.generation)
            self._must_live(found)
            if intent.desired_state != "running":
                raise Conflict(f"The app {intent.name} is stopped; set desired_state to running to start it.")
            if effective_hash(intent, found.status) != wanted_hash(intent):
                return self._restart_effective(call, found, once)
            change = Change()
            new = replaced(intent, restarts=intent.restarts + 1, **self._written(call, intent, change))
            self._revise(new, change, restarted=True)
            change.tell(self._event(call, "AppRestarting", new, "A rolling restart was asked for."))
            return self._rewrite(call, found, new, change, once)

        return self._once(call, f"app.restart/{ref}", {}, attempt)

    def containers(self, call: Call, ref: str, query: Query) -> Answer:
        """The replicas of an app, as containers."""
        app = self._find(call, ref)
        found, marker = self._page((app.intent.project,), query, "container", [("app", (app.id,))])
        return page_answer("containers", [self._views.body(r) for r in found], marker)

    def revisions(self, call: Call, ref: str, query: Query) -> Answer:
        """The templates that an app has and had, the newest first."""
        found = self._find(call, ref)
        intent: Intent = found.intent
        entries = self._tools.cache.list(f"revision/{intent.project}/{intent.id}/")
        records = [cast(Revision, e.value) for e in reversed(entries)]
        if query.marker is not None:
            records = [r for r in records if r.number < int(query.marker)]
        page, more = records[: query.limit], len(records) > query.limit
        shown = [rendering.encode(rendering.revision(r, intent.revision, found.status.revision)) for r in page]
        return page_answer("revisions", shown, str(page[-1].number) if more else None)

    def diagnosis(self, call: Call, ref: str) -> Answer:
        """Why it is in the state it is in, with the evidence, and what to do. Asks no backend."""
        found = self._find(call, ref)
        cluster = self._views.get("cluster", found.intent.cluster)
        status = status_for(call, cluster) if cluster else NEVER_SEEN
        return Answer(200, rendering.encode(diagnose(found, self._views, status)))

    def judge(self, call: Call, cluster: Resource, body: Mapping[str, Any], taken: Taken, *, valid: Valid) -> None:
        """Raises `Unprocessable` for what an app that takes something over cannot be, whatever its name is to be."""
        whole = {**body, "name": "adopted", "cluster": cluster.id}
        if problems := valid({**body, "name": "adopted"}):
            raise Unprocessable("An app cannot be as it is.", problems)
        self._prepared(call, whole, taken)

    def _adopt(self, call: Call, body: Mapping[str, Any], cluster: Resource, once: Once, valid: Valid) -> Answer:
        whole, taken = self._adoption(call, body, cluster, valid)
        return self._create(call, whole, once, taken)

    def _adoption(
        self, call: Call, body: Mapping[str, Any], cluster: Resource, valid: Valid
    ) -> tuple[dict[str, Any], Taken]:
        """The whole body of the app that takes something over, and what it takes over."""
        wanted = body["adopt"]
        name = body.get("name", wanted["name"])
        if not specs.is_name(name):
            detail = f"No app can be named {named(name)}; give one."
            raise Unprocessable("A name is needed.", [FieldProblem("/name", detail)])
        if self._check_name(call, name) is not None:
            raise name_taken("app", name)
        force = body.get("force", False)
        told, taken = self._adopting.understood(call, cluster, wanted["namespace"], wanted["name"], force=force)
        if taken.left is not None:
            name = self._own_name(call, taken.left.name, body.get("name"))
        if problems := valid(told | {"name": name}):
            raise Unprocessable("An app cannot be as it is.", problems)
        return told | {"name": name, "cluster": cluster.id}, taken

    def _own_name(self, call: Call, own: str, asked: str | None) -> str:
        """The name of an app that is to be again what it was."""
        if asked not in (None, own):
            raise Unprocessable("A name can't change.", [FieldProblem("/name", f"It was the app {own}, and is again.")])
        if self._check_name(call, own) is not None:
            raise name_taken("app", own)
        return own

    def _must_be_changeable(self, old: Intent, new: Intent, status: Status) -> None:
        if new.replicas != old.replicas and status.scaled_by:
            raise Conflict(
                f"{status.scaled_by} decides about the number of replicas of the app {old.name}; "
                f"change its limits, or remove it first. Leave replicas at {old.replicas} to change anything else."
            )

    def _create_named(self, call: Call, ref: str, body: Mapping[str, Any]) -> Answer:
        if body.get("name", ref) != ref:
            detail = f"The path names {named(ref)}, the body {body['name']}; leave the name out of the body."
            raise Unprocessable(detail, [FieldProblem("/name", detail)])
        if not specs.is_name(ref) or is_id(ref):
            raise NotFound(f"There is no app {named(ref)} in the project {call.principal.project}.")
        return self._create(call, {"name": ref} | dict(body), _not_remembered)

    def _restart_effective(self, call: Call, found: Resource, once: Once) -> Answer:
        """Restart what is in effect after a rollout that failed went back: its revision is restored and restarted.
        Nothing that runs is changed by that, so nothing is refused."""
        intent: Intent = found.intent
        record = whole(self._revision(intent, found.status.rollout.from_), intent)
        running = _as_in(intent, record)
        change = Change()
        restarted = replaced(running, restarts=intent.restarts + 1)
        new = self._restored(call, found, restarted, change, old=running)
        self._keep_revision(new, change, restored=record.number)
        message = f"A rolling restart of revision {record.number}, which is in effect, was asked for."
        change.tell(self._event(call, "AppRestarting", new, f"{message} It is revision {new.revision} now."))
        return self._rewrite(call, found, new, change, once)

    def _restore(self, call: Call, found: Resource, record: Revision, once: Once) -> Answer:
        intent: Intent = found.intent
        check_preconditions(call, intent.generation)
        self._must_live(found)
        record = whole(record, intent)
        change = Change()
        new = self._restored(call, found, _as_in(intent, record), change, old=intent)
        digests = record.digests.get((record.hash, *record.restarts)[-1])
        self._keep_revision(new, change, restored=record.number, digests=digests)
        message = f"Going back to revision {record.number} was asked for; it is revision {new.revision} now."
        change.tell(self._event(call, "AppRollback", new, message, revision=record.number))
        return self._rewrite(call, found, new, change, once)

    def _restored(self, call: Call, found: Resource, new: Intent, change: Change, *, old: Intent) -> Intent:
        """The intent that goes back to a former revision, checked against an `old` one, as a new revision."""
        intent: Intent = found.intent
        wanted = specs.parse("app", specs.as_body(new))
        new = replaced(new, revision=intent.revision + 1)
        new = self._checked(call, new, wanted, self._same_place(call, intent, wanted), change, old)
        return cast(Intent, replaced(new, **self._written(call, intent, change)))

    def _revision(self, intent: Intent, number: int) -> Revision:
        entry = self._tools.cache.get(revision_key(intent.project, intent.id, number))
        if entry is None:
            kept = self._tools.cache.list(f"revision/{intent.project}/{intent.id}/")
            told = ", ".join(str(cast(Revision, e.value).number) for e in kept)
            detail = f"There is no revision {number}; these are kept: {told}."
            raise Unprocessable(detail, [FieldProblem("/revision", detail)])
        return cast(Revision, entry.value)


def _as_in(intent: Intent, record: Revision) -> Intent:
    """The intent with the template of a revision, and the losses that were accepted with it."""
    beyond = (p for p in intent.accept_loss if p.strip("/").split("/")[0] not in specs.TEMPLATE_FIELDS)
    accepted = tuple(dict.fromkeys((*(record.accept_loss or ()), *beyond)))
    lost = record.lost or ()
    return cast(Intent, replaced(intent, template=record.template, accept_loss=accepted, lost=lost))


def _not_remembered(change: Change, answer: Answer) -> None:
    """PUT is idempotent by itself."""
