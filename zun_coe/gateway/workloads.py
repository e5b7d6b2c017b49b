"""Apps and containers: check, write the intent down, return it. No backend is called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from zun_coe.adapters import Adapter, kinds
from zun_coe.adapters.fields import refusals
from zun_coe.errors import ClusterNotReady, Conflict, FieldProblem, Unprocessable, Unsupported, first_of
from zun_coe.gateway import changes, limits, rendering, specs
from zun_coe.gateway.calls import Answer, Call, Query, Settle, check_preconditions, etag
from zun_coe.gateway.listing import PUBLIC
from zun_coe.gateway.resources import Once, Resources, adapter_of, status_for
from zun_coe.gateway.views import Resource
from zun_coe.gateway.writing import Change, Taken, replaced
from zun_coe.model import (
    Cluster,
    ClusterInfo,
    Deletion,
    Event,
    Intent,
    Noun,
    Revision,
    Secret,
    Status,
    Volume,
    VolumeSource,
    Workload,
    assemble,
    revision_of,
    without,
)
from zun_coe.model.evidence import named
from zun_coe.model.spec import larger, storage_of
from zun_coe.store import Put
from zun_coe.store.records import adopted_key, encode, intent_key, new_id, revision_key, utc_now

RESTARTS = 10
"""Of how many restarts of one revision it is known which replicas are theirs."""


class Workloads(Resources):
    """What apps and containers have in common."""

    def create(self, call: Call, body: Mapping[str, Any]) -> Answer:
        """A new one. 202 when it is written down; the same Idempotency-Key gives the same answer."""
        call.principal.must_write()
        return self._once(call, f"{self.noun}.create", body, lambda once: self._create(call, body, once))

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Answer:
        """A JSON merge patch; the merged whole is checked as a new one would be."""
        call.principal.must_write()

        def attempt() -> Answer:
            found = self._find(call, ref)
            merged = specs.merge(specs.as_body(found.intent), body)
            return self._change(call, found, merged)

        return self._attempt(call, attempt)

    def delete(self, call: Call, ref: str, *, force: bool = False, keep: bool = False, volumes: bool = False) -> Answer:
        """Mark for deletion; the engine removes it and then forgets it."""
        call.principal.must_write()
        return self._attempt(call, lambda: self._mark(call, self._find(call, ref), force, keep, volumes))

    def _mark(self, call: Call, found: Resource, force: bool, keep: bool, volumes: bool) -> Answer:
        intent: Intent = found.intent
        check_preconditions(call, intent.generation)
        old = intent.deletion or Deletion(at=utc_now())
        deletion = replaced(
            old,
            request_id=old.request_id or call.request_id,
            force=old.force or force,
            keep=old.keep or keep,
            volumes=old.volumes or volumes,
        )
        if deletion != intent.deletion:
            change = Change()
            marked = replaced(intent, deletion=deletion, **self._written(call, intent, change))
            change.put(self._key(intent), marked, found.revision)
            change.tell(self._event(call, f"{self.noun.title()}Deleting", marked, "Deletion was asked for."))
            self._tools.writer.commit(change)
        return self._leaving(intent)

    def _create(self, call: Call, body: Mapping[str, Any], once: Once, taken: Taken | None = None) -> Answer:
        intent, change = self._prepared(call, body, taken or Taken())
        answer = self._preview(intent, Status())
        once(change, answer)
        self._tools.writer.commit(change)
        return answer

    def _prepared(self, call: Call, body: Mapping[str, Any], taken: Taken) -> tuple[Intent, Change]:
        """What a body asks for, checked, and the change that would write it down."""
        wanted = specs.parse(cast(Noun, self.noun), body)
        self._check_name(call, wanted.name or "")
        if not wanted.name:
            raise Unprocessable("A name is needed.", [FieldProblem("/name", "Give it a name.")])
        cluster = self._cluster(call, wanted.cluster)
        now, change = utc_now(), Change()
        intent = Intent(
            noun=cast(Noun, self.noun),
            id=taken.left.id if taken.left else new_id(),
            project=call.principal.project,
            name=wanted.name,
            cluster=cluster.id,
            template=wanted.template,
            created_at=now,
            updated_at=now,
            adopted=taken.adopted,
            restarts=taken.restarts,
            request_id=call.request_id,
            write_id=change.write_id,
            **self._decided(wanted),
        )
        intent = self._checked(call, intent, wanted, cluster, change)
        change.put(self._key(intent), intent)
        change.name(self.noun, intent.project, intent.name, intent.id)
        if (adopted := taken.adopted) is not None:
            change.take(adopted_key(cluster.id, adopted.namespace, adopted.name), intent.id)
        change.refer("cluster", cluster.intent.project, cluster.id, cluster.revision)
        self._keep_revision(intent, change)
        change.tell(self._created(call, intent))
        return intent, change

    def _created(self, call: Call, intent: Intent) -> Event:
        if intent.adopted is None:
            return self._event(call, f"{self.noun.title()}Created", intent, "Creation was asked for.")
        place = f"{intent.adopted.namespace}/{intent.adopted.name}"
        return self._event(call, "AppAdopted", intent, f"It is to take over {place}.", adopted=place)

    def _rewrite(self, call: Call, found: Resource, intent: Intent, change: Change, once: Once) -> Answer:
        """Write a changed intent down, with what is in the change already."""
        change.put(self._key(intent), intent, found.revision)
        answer = self._preview(intent, found.status)
        once(change, answer)
        self._tools.writer.commit(change)
        return answer

    def _preview(self, intent: Intent, status: Status) -> Answer:
        """The answer to a write, known before it is written, so that it can be part of the write."""
        running = self._views.running(intent.id, status) if intent.noun == "app" else None
        content = rendering.workload(intent, status, self._views.cluster_name(intent.cluster), running)
        body = rendering.finish(rendering.as_bytes(content), self._views.suffix(intent.cluster))
        headers = {"ETag": etag(intent.generation), "Location": f"/v1/{self.noun}s/{intent.id}"}
        return Answer(202, body, headers, Settle(self.noun, intent.project, intent.id, intent.generation))

    def _change(self, call: Call, found: Resource, body: Mapping[str, Any]) -> Answer:
        """Make the intent what the whole body says. Writes nothing where it says so already."""
        old: Intent = found.intent
        check_preconditions(call, old.generation)
        self._must_live(found)
        wanted = specs.parse(cast(Noun, self.noun), body)
        cluster = self._same_place(call, old, wanted)
        change = Change()
        intent = replaced(old, template=wanted.template, **self._decided(wanted))
        self._must_be_changeable(old, intent, found.status)
        intent = self._checked(call, intent, wanted, cluster, change, old)
        if intent == old:
            return self._accepted(old.id)
        intent = replaced(intent, **self._written(call, old, change))
        if intent.template != old.template:
            intent = replaced(intent, revision=old.revision + 1)
            self._keep_revision(intent, change)
        elif (intent.volumes, intent.accept_loss, intent.lost) != (old.volumes, old.accept_loss, old.lost):
            self._revise(intent, change)
        change.put(self._key(old), intent, found.revision)
        change.tell(self._event(call, f"{self.noun.title()}Updated", intent, changes.difference(old, intent)))
        self._tools.writer.commit(change)
        return self._accepted(old.id)

    def _must_be_changeable(self, old: Intent, new: Intent, status: Status) -> None:
        """Raises `Unprocessable` for what can't change, `Conflict` for what can't change now."""

    def _checked(
        self,
        call: Call,
        intent: Intent,
        wanted: specs.Wanted,
        cluster: Resource,
        change: Change,
        old: Intent | None = None,
    ) -> Intent:
        """The intent with its volumes and its losses, if it makes sense, is allowed, and can be carried: of a changed
        one (`old`: what it was) what the change brings."""
        was = specs.as_body(old) if old else {}
        limits.must_fit(specs.as_body(intent), was, intent.template, self._finder(intent), self._tools.vault.open)
        problems = specs.problems_of(wanted, intent.noun, self._secrets(intent, change))
        if old is not None and problems:
            before = specs.problems_of(specs.parse(old.noun, specs.as_body(old)), old.noun, self._finder(old))
            problems = changes.brought(problems, specs.as_body(intent), before, specs.as_body(old))
        if problems:
            raise Unprocessable(first_of(problems), problems)
        if problems := self._forbidden(call, intent, old):
            raise Unprocessable("The operator's policy does not allow this.", problems)
        intent = msgspec.structs.replace(intent, volumes=self._volumes(call, intent, change))
        return self._accounted(call, intent, cluster, old)

    def _forbidden(self, call: Call, intent: Intent, old: Intent | None) -> list[FieldProblem]:
        """What the operator does not allow of it. What members change of what runs is looked at as a whole: what they
        keep of it may be what only an admin could give it."""
        admin, settings = call.principal.admin, self._tools.settings
        bind = settings.allow_bind or (admin and settings.admin_bind)
        rules = {"bind": bind, "host_network": settings.allow_host_network}
        found = specs.forbidden(intent.template, **rules)
        if old is None or not found or (not admin and intent.template != old.template):
            return found
        before = specs.forbidden(old.template, **rules)
        return changes.brought(found, specs.as_body(intent), before, specs.as_body(old), changes.item_at)

    def _accounted(self, call: Call, intent: Intent, cluster: Resource, old: Intent | None) -> Intent:
        """Lossless or refuse. Raises `Unsupported`, saying which of the caller's clusters can."""
        info, fields = cluster.status.info, _adapter(cluster).fields
        refused, lost = changes.unsupported(self._tools.installation, intent, old, fields, info)
        if refused:
            workload = assemble(self._tools.installation, replaced(intent, lost=()))
            able = [c.intent.name for c in self._clusters(call) if self._can(c, workload, intent)]
            told = f"These clusters can: {', '.join(able)}." if able else "None of your clusters can."
            name = cluster.intent.name
            raise Unsupported(f"The cluster {name} cannot carry this. {told}", refused, clusters=able)
        try:
            without(intent.template, intent.update, intent.placement, [loss.pointer for loss in lost])
        except ValueError as error:
            detail = "It can't be left out by itself; accept the loss of the object around it."
            raise Unprocessable(detail, [FieldProblem(loss.pointer, detail) for loss in lost]) from error
        return msgspec.structs.replace(intent, lost=lost)

    def _can(self, cluster: Resource, workload: Workload, intent: Intent) -> bool:
        info: ClusterInfo | None = cluster.status.info
        known = cluster.intent.kind in kinds()
        return info is not None and known and not refusals(workload, _adapter(cluster).fields, info, intent.accept_loss)

    def _cluster(self, call: Call, ref: str | None) -> Resource:
        """The cluster to run on: the one named (own before public), or the only one there is."""
        visible = self._clusters(call)
        if ref is None:
            if len(visible) == 1:
                return _ready(call, visible[0])
            names = ", ".join(c.intent.name for c in visible)
            detail = f"Choose one: {names}." if names else "There is none to run it on; register one first."
            raise Unprocessable("A cluster is needed.", [FieldProblem("/cluster", detail)])
        own = [c for c in visible if ref in (c.id, c.intent.name)]
        if not own:
            detail = f"There is no cluster {named(ref)} that the project {call.principal.project} can use."
            raise Unprocessable(detail, [FieldProblem("/cluster", detail)])
        return _ready(call, own[0])

    def _clusters(self, call: Call) -> Sequence[Resource]:
        project = call.principal.project
        found, _ = self._views.page("cluster", (project, PUBLIC), Query(limit=sys.maxsize - 1))
        usable = [cast(Resource, cluster) for cluster in found]
        return sorted(usable, key=lambda c: c.intent.project != project)

    def _same_place(self, call: Call, old: Intent, wanted: specs.Wanted) -> Resource:
        """The cluster that it is on. Raises `Unprocessable` for a body that would move or rename it."""
        if wanted.name not in (None, old.name):
            raise Unprocessable("A name can't change.", [FieldProblem("/name", f"It is {old.name} for good.")])
        cluster = self._views.get("cluster", old.cluster)
        if cluster is None:
            raise Conflict("Its cluster was removed.")
        if wanted.cluster not in (None, cluster.id, cluster.intent.name):
            detail = f"It is on {cluster.intent.name} for good; create another one elsewhere."
            raise Unprocessable("A cluster can't change.", [FieldProblem("/cluster", detail)])
        return _ready(call, cluster)

    def _volumes(self, call: Call, intent: Intent, change: Change) -> dict[str, str]:
        """The ids of the volumes that the template names; those that are not there yet are part of the change, and so
        is a larger size than one has."""
        ids: dict[str, str] = {}
        storage = storage_of(intent.template)
        for pointer, mount in specs.volumes_of(intent.template):
            source = mount.volume
            assert source is not None  # it is what `volumes_of` gives
            if source.name in ids:
                continue
            if (found := self._views.named("volume", intent.project, source.name)) is None:
                ids[source.name] = self._new_volume(call, intent, storage[source.name], change)
                continue
            volume: Volume = found.intent
            if volume.cluster != intent.cluster or volume.deletion:
                where = self._views.cluster_name(volume.cluster)
                detail = f"The volume {volume.name} is on the cluster {where}" + (
                    " and being deleted." if volume.deletion else ", and volumes do not move."
                )
                raise Unprocessable(detail, [FieldProblem(f"{pointer}/volume/name", detail)])
            ids[source.name] = volume.id
            if (size := larger(volume.size, storage[source.name].size)) == volume.size:
                change.refer("volume", volume.project, volume.id, found.revision)
            else:
                told = {"request_id": call.request_id, "write_id": change.write_id, "updated_at": utc_now()}
                grown = replaced(volume, size=size, generation=volume.generation + 1, **told)
                change.put(intent_key("volume", volume.project, volume.id), grown, found.revision)
        return ids

    def _new_volume(self, call: Call, intent: Intent, source: VolumeSource, change: Change) -> str:
        now = utc_now()
        volume = Volume(
            id=new_id(),
            project=intent.project,
            name=source.name,
            cluster=intent.cluster,
            created_at=now,
            updated_at=now,
            size=source.size,
            class_=source.class_,
            request_id=call.request_id,
            write_id=change.write_id,
        )
        change.put(intent_key("volume", intent.project, volume.id), volume)
        change.name("volume", intent.project, source.name, volume.id)
        return volume.id

    def _finder(self, intent: Intent) -> Callable[[str], Secret | None]:
        """Finds the secrets of a project by name."""

        def secret(name: str) -> Secret | None:
            found = self._views.named("secret", intent.project, name)
            return found.intent if found else None

        return secret

    def _secrets(self, intent: Intent, change: Change) -> Callable[[str], Secret | None]:
        """Finds the secrets that the template names; the change refers to those that are there."""
        found: dict[str, Resource | None] = {}

        def secret(name: str) -> Secret | None:
            if name not in found:
                found[name] = one = self._views.named("secret", intent.project, name)
                if one is not None:
                    change.refer("secret", intent.project, one.id, one.revision)
            known = found[name]
            return known.intent if known else None

        return secret

    def _keep_revision(
        self, intent: Intent, change: Change, restored: int | None = None, digests: Mapping[str, str] | None = None
    ) -> None:
        """Make the revision of what is wanted part of the change. The engine removes those that are too many.
        `digests`: what its images were resolved to before."""
        if intent.noun != "app":
            return
        record = replaced(revision_of(intent), created_at=utc_now(), request_id=intent.request_id, restored=restored)
        if digests:
            record = replaced(record, digests={record.hash: dict(digests)})
        change.operations.append(Put(revision_key(intent.project, intent.id, intent.revision), encode(record)))

    def _revise(self, intent: Intent, change: Change, *, restarted: bool = False) -> None:
        """Have the revision of what is wanted tell what belongs to it now, under the same number."""
        key = revision_key(intent.project, intent.id, intent.revision)
        entry = self._tools.cache.get(key)
        if intent.noun != "app" or entry is None:
            return
        record, now = cast(Revision, entry.value), revision_of(intent)
        hashes = (*record.restarts, now.hash)[-RESTARTS:] if restarted else record.restarts
        own = {"volumes": now.volumes, "accept_loss": now.accept_loss, "lost": now.lost, "restarts": hashes}
        change.put(key, replaced(record, **own), entry.revision)

    def _decided(self, wanted: specs.Wanted) -> dict[str, Any]:
        decided: dict[str, Any] = {
            "labels": dict(wanted.labels),
            "desired_state": wanted.desired_state,
            "accept_loss": wanted.accept_loss,
        }
        if self.noun == "app":
            decided |= {"replicas": wanted.replicas, "update": wanted.update, "placement": wanted.placement}
        return decided

    def _written(self, call: Call, old: Intent, change: Change) -> dict[str, Any]:
        return {
            "generation": old.generation + 1,
            "updated_at": utc_now(),
            "request_id": call.request_id,
            "write_id": change.write_id,
        }

    def _key(self, intent: Intent) -> str:
        return intent_key(intent.noun, intent.project, intent.id)


def _ready(call: Call, cluster: Resource) -> Resource:
    """A cluster of which it is known what it can carry. Raises `Conflict`."""
    record: Cluster = cluster.intent
    if record.deletion is not None:
        raise Conflict(f"The cluster {record.name} is being deleted.")
    if cluster.status.info is None:
        status = status_for(call, cluster)
        why = status.message or status.reason or "it was registered a moment ago"
        raise ClusterNotReady(f"The cluster {record.name} was not reached yet ({why}); try again when it was.")
    return cluster


def _adapter(cluster: Resource) -> type[Adapter]:
    return adapter_of(cluster.intent)
