"""Secrets, volumes, events and services: what is kept and looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from zun_coe.errors import Conflict, FieldProblem, Gone, Malformed, Unprocessable
from zun_coe.gateway import limits, rendering
from zun_coe.gateway.calls import Answer, Call, Query, check_preconditions
from zun_coe.gateway.resources import Once, Resources, Tools, page_answer
from zun_coe.gateway.views import StoredEvent, Views
from zun_coe.gateway.writing import Change, replaced
from zun_coe.model import Deletion, Secret, Volume
from zun_coe.model.evidence import quoted
from zun_coe.store import At, Condition, Delete
from zun_coe.store.records import intent_key, name_key, new_id, use_key, utc_now
from zun_coe.store.references import secret_uses, volume_uses

_EVENT_ID = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,9}))?", re.ASCII)


class Secrets(Resources):
    """Named confidential values: written once, never shown."""

    noun: ClassVar[str] = "secret"
    sorts: ClassVar[frozenset[str]] = frozenset({"created_at", "name", "id"})

    def create(self, call: Call, body: Mapping[str, Any]) -> Answer:
        """Keep the values of `data`, encrypted."""
        call.principal.must_write()

        return self._once(call, "secret.create", body, lambda once: self._create(call, body, once))

    def delete(self, call: Call, ref: str) -> Answer:
        """Forget a secret that nothing uses."""
        call.principal.must_write()

        def attempt() -> Answer:
            found = self._find(call, ref)
            record: Secret = found.intent
            check_preconditions(call, record.generation)
            uses = secret_uses(self._tools.cache, record)
            if uses.users:
                names = ", ".join(map(str, uses.users))
                raise Conflict(f"The secret {record.name} is used by {names}; change or delete what uses it first.")
            change = Change()
            key = intent_key("secret", record.project, record.id)
            change.conditions += [At(key, found.revision), uses.unchanged]
            gone = (key, name_key("secret", record.project, record.name), use_key("secret", record.id))
            change.operations += map(Delete, gone)
            change.tell(self._event(call, "SecretDeleted", record, "It was deleted."))
            self._tools.writer.commit(change)
            return Answer(204)

        return self._attempt(call, attempt)

    def _create(self, call: Call, body: Mapping[str, Any], once: Once) -> Answer:
        change = Change()
        self._check_name(call, body["name"])
        if problems := limits.of_secret(body["data"]):
            raise Unprocessable("The secret is larger than what can be kept.", problems)
        record = Secret(
            id=new_id(),
            project=call.principal.project,
            name=body["name"],
            keys=tuple(sorted(body["data"])),
            data=self._tools.vault.seal(body["data"]),
            created_at=utc_now(),
            request_id=call.request_id,
            write_id=change.write_id,
        )
        change.put(intent_key("secret", record.project, record.id), record)
        change.name("secret", record.project, record.name, record.id)
        change.tell(self._event(call, "SecretCreated", record, "It was created."))
        headers = {"Location": f"/v1/secrets/{record.id}", "ETag": '"1"'}
        answer = Answer(201, rendering.encode(rendering.secret(record)), headers)
        once(change, answer)
        self._tools.writer.commit(change)
        return answer


class Volumes(Resources):
    """Named storage, made by the first mount that names it; it outlives what uses it."""

    noun: ClassVar[str] = "volume"

    def delete(self, call: Call, ref: str, *, force: bool = False) -> Answer:
        """Delete a volume that nothing mounts, with its content; with `force` forget it whatever its
        cluster says."""
        call.principal.must_write()

        def attempt() -> Answer:
            found = self._find(call, ref)
            record: Volume = found.intent
            check_preconditions(call, record.generation)
            unused = self._unused(record)
            mark = record.deletion or Deletion(at=utc_now(), request_id=call.request_id)
            mark = replaced(mark, force=mark.force or force)
            if mark != record.deletion:
                change = Change()
                new = replaced(record, deletion=mark, generation=record.generation + 1, write_id=change.write_id)
                change.put(intent_key("volume", record.project, record.id), new, found.revision)
                change.conditions.append(unused)
                change.tell(self._event(call, "VolumeDeleting", new, "Deletion was asked for."))
                self._tools.writer.commit(change)
            return self._leaving(record)

        return self._attempt(call, attempt)

    def _unused(self, volume: Volume) -> Condition:
        """The condition on which nothing mounts it. Raises `Conflict` where something does."""
        uses = volume_uses(self._tools.cache, volume)
        if uses.users:
            names = ", ".join(map(str, uses.users))
            raise Conflict(f"The volume {volume.name} is mounted by {names}; change or delete what mounts it first.")
        return uses.unchanged


class Events:
    """What happened, in order, none missed."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._views = tools, tools.views

    def list(self, call: Call, query: Query, field: str = "marker") -> Answer:
        """A page of events, the oldest first (`sort=-at`: the newest first). `field`: the parameter that the
        marker was given as. Raises `Malformed` for a marker that names no place, `Gone` where events behind
        it are no longer kept."""
        project = self.project(call, query.all_projects)
        newest_first = query.sort == "-at"
        place = self.place(query.marker, field) if query.marker is not None else None
        with self._views.lock:
            if place is not None and not newest_first:
                self._must_be_kept(project, place)
            page = self._views.events_page(project, query.filters, place, query.limit + 1, newest_first=newest_first)
        more = len(page) > query.limit
        bodies = [self.body(s) for s in page[: query.limit]]
        return page_answer("events", bodies, page[query.limit - 1].id if more else None)

    def project(self, call: Call, all_projects: bool) -> str | None:
        """Whose events the caller sees: of one project, or (None) of all."""
        if all_projects:
            call.principal.must_admin("Seeing the events of all projects")
            return None
        return call.principal.project

    def place(self, id: str, field: str = "marker") -> tuple[int, int]:
        """The place in the order that an event's id names. Blocks where this process has not seen it yet and
        another one may have. Raises `Malformed` for an id that is none, or of an event that is still to come;
        `StoreUnavailable`."""
        order = order_of(id, field)
        if order[0] > self._tools.cache.revision:
            self._tools.refresh()
        if order[0] > self._tools.cache.revision:
            detail = f"{id} is an event that has not happened yet; begin again without it."
            raise Malformed(detail, [FieldProblem(f"/{field}", detail)])
        return order

    def after(
        self, project: str | None, filters: Mapping[str, str], last: tuple[int, int], limit: int
    ) -> tuple[Sequence[StoredEvent], tuple[int, int]]:
        """The first events after a place in the order that fit all filters, and the place up to which none was left
        out. Raises `Gone` when some of them are no longer kept."""
        with self._views.lock:
            self._must_be_kept(project, last)
            page = self._views.events_page(project, filters, last, limit)
            return page, page[-1].order if len(page) == limit else max(last, self.latest(project))

    def _must_be_kept(self, project: str | None, last: tuple[int, int]) -> None:
        floor = self._views.floor(project)
        if last < floor:
            oldest = f"{floor[0]}-{floor[1]}"
            raise Gone(
                f"Some events after this one are no longer kept. Go on behind {oldest}: none is missing from there on.",
                oldest=oldest,
            )

    def latest(self, project: str | None) -> tuple[int, int]:
        """The place of the newest event; (0, 0) where there is none."""
        with self._views.lock:
            events = self._views.events(project)
            return events[-1].order if len(events) else (0, 0)

    @staticmethod
    def body(stored: StoredEvent) -> bytes:
        """An event's JSON."""
        return rendering.encode(rendering.event(stored.event, stored.id))


class Services:
    """The processes of the gateway."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def list(self, call: Call) -> Answer:
        """All that are alive. For admins."""
        call.principal.must_admin("Looking at the gateway's processes")
        return page_answer("services", [rendering.encode(rendering.service(s)) for s in self._views.services()], None)


def order_of(id: str, field: str = "marker") -> tuple[int, int]:
    """The place in the order that an event's id names. Raises `Malformed`."""
    found = _EVENT_ID.fullmatch(id)
    if found is None:
        detail = f"{quoted(id)} is no id of an event, such as 1000-0; it is the id of one that was seen."
        raise Malformed(detail, [FieldProblem(f"/{field}", detail)])
    return int(found[1]), int(found[2] or 0)
