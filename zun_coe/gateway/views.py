"""What reads are answered from: every resource by id, by name and in order, serialised once.

Kept up to date by the cache's listener, in the watch thread; read from any thread. A resource's JSON is
made when it is first read after a change, and kept: everybody's writes wait for the watch thread. Replicas
of apps are made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import chain, islice
from threading import RLock
from typing import Any, cast

import structlog
from sortedcontainers import SortedKeyList

from zun_coe.gateway import rendering
from zun_coe.gateway.calls import Query
from zun_coe.gateway.chronicle import Chronicle, StoredEvent
from zun_coe.gateway.entries import Found, Replica, Resource, phase_of, same_replicas, volumes_of
from zun_coe.gateway.indexes import Condition, Index, Selection
from zun_coe.gateway.listing import PUBLIC, conditions_of, key_of, marker_of, place_of, traits
from zun_coe.model import (
    Cluster,
    ClusterStatus,
    Event,
    Instance,
    Intent,
    Revision,
    Secret,
    Service,
    Status,
    Tombstone,
    Value,
    Volume,
    VolumeStatus,
    revision_with,
)
from zun_coe.model.status import running_hash
from zun_coe.store.cache import Entry, Update
from zun_coe.store.records import floor_of

__all__ = ["NEVER_SEEN", "Found", "Replica", "Resource", "StoredEvent", "Views", "phase_of"]

log = structlog.get_logger()

NEVER_SEEN = ClusterStatus()
NOT_YET = Status()
DEFAULTS: Mapping[str, Value] = {
    "app": NOT_YET,
    "container": NOT_YET,
    "cluster": NEVER_SEEN,
    "volume": VolumeStatus(),
}


def _by_creation(resource: Resource) -> tuple[Any, str]:
    return (resource.intent.created_at, resource.intent.id)


def _stored(entry: Entry) -> StoredEvent:
    event = cast(Event, entry.value)
    return StoredEvent((entry.created, event.n), event)


class Views:
    """The indexes. Every method is quick and calls neither the store nor a backend."""

    def __init__(self) -> None:
        self.lock = RLock()
        self._resources: dict[tuple[str, str], Resource] = {}
        self._statuses: dict[tuple[str, str], Value] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        self._ordered: dict[tuple[str, str | None], SortedKeyList[Any, Any]] = {}
        self._on_cluster: dict[str, set[tuple[str, str]]] = {}
        self._replicas: dict[str, tuple[str, Instance]] = {}
        self._suffixes: dict[str, bytes] = {}
        self._lists: dict[str, Index[Found]] = {
            noun: Index(traits(noun == "cluster"), partial(self._listed, noun), partial(self._found, noun))
            for noun in ("app", "container", "cluster", "volume", "secret")
        }
        self._mounting: dict[str, set[tuple[str, str]]] = {}
        self._chronicle = Chronicle()
        self._floors: dict[str, tuple[int, int]] = {}
        self._services: dict[str, Service] = {}
        self._revisions: dict[str, dict[int, Revision]] = {}
        self._tombstones: dict[tuple[str, str], Tombstone] = {}

    def listener(self, revision: int, updates: Sequence[Update]) -> None:
        """What the cache calls: clusters first, since others are rendered with their names."""
        with self.lock:
            events = [u for u in updates if u.key.startswith("event/")]
            self._take_events(events)
            others = updates if not events else [u for u in updates if not u.key.startswith("event/")]
            for update in sorted(others, key=lambda u: not u.key.startswith("intent/cluster/")):
                try:
                    self._take(update)
                except Exception:  # one record's fault keeps nobody from seeing the others
                    log.exception("record not shown", key=update.key)

    def get(self, noun: str, id: str) -> Resource | None:
        """A resource by its id."""
        return self._resources.get((noun, id))

    def named(self, noun: str, project: str, name: str) -> Resource | None:
        """A resource by its name in a project."""
        id = self._names.get((noun, project, name))
        return self._resources.get((noun, id)) if id else None

    def replica(self, id: str) -> Replica | None:
        """A replica of an app by its id as a container."""
        found = self._replicas.get(id)
        app = self._resources.get(("app", found[0])) if found else None
        return Replica(app, found[1]) if app and found else None

    def replicas(self, app: Resource) -> list[Replica]:
        """All replicas of an app, by slot."""
        instances = sorted(app.status.instances, key=lambda i: (i.slot, i.native_id))
        return [Replica(app, i) for i in instances]

    def page(
        self, noun: str, scopes: Sequence[str | None], query: Query, extra: Sequence[Condition] = ()
    ) -> tuple[list[Found], str | None]:
        """A page of a list, and the marker of the next one where there is one. `scopes`: a project (None: all), and
        `listing.PUBLIC` for what everybody sees. Raises `Malformed` for a marker that is none."""
        field, descending = query.sort.removeprefix("-"), query.sort.startswith("-")
        with self.lock:
            find = partial(self._found, noun)
            behind = None if query.marker is None else place_of(query.marker, field, find)
            conditions = [*extra, *conditions_of(query.filters, self._clusters_named)]
            wanted = Selection(scopes, field, descending, conditions, behind)
            found, more = self._lists[noun].select(wanted, query.limit)
        return found, marker_of(field, (key_of(found[-1], field), found[-1].id)) if more else None

    def ordered(self, noun: str, project: str | None) -> SortedKeyList[Any, Any]:
        """Resources of a project (None: of all), the oldest first. To be read under `lock`."""
        return self._ordered.get((noun, project)) or SortedKeyList(key=_by_creation)

    def on_cluster(self, cluster: str) -> list[Resource]:
        """The apps, containers and volumes of a cluster."""
        with self.lock:
            return [self._resources[k] for k in self._on_cluster.get(cluster, ()) if k in self._resources]

    def cluster_status(self, id: str) -> ClusterStatus:
        """A cluster's status, or that of one that was never seen."""
        resource = self._resources.get(("cluster", id))
        return cast(ClusterStatus, resource.status) if resource else NEVER_SEEN

    def cluster_name(self, id: str) -> str:
        """A cluster's name, or its id where it is gone."""
        resource = self._resources.get(("cluster", id))
        return cast(str, resource.intent.name) if resource else id

    def suffix(self, cluster: str) -> bytes:
        """What a cluster adds to the status of everything on it."""
        return self._suffixes.get(cluster) or rendering.suffix_of(NEVER_SEEN)

    def body(self, found: Resource | Replica) -> bytes:
        """The whole JSON of a resource, as it is now. The lock is held for each by itself, so that the watch is not
        held up by a page of a thousand."""
        with self.lock:
            if isinstance(found, Replica):
                return rendering.finish(self._replica(found), self.suffix(found.app.intent.cluster))
            if found.noun == "volume":
                return self._volume(found)
            if not found.json:
                found.json[:] = [self._rendered(found)]
            if found.noun in ("app", "container"):
                return rendering.finish(found.json[0], self.suffix(found.intent.cluster))
            return found.json[0]

    def made_from(self, found: Replica) -> Revision | None:
        """The revision that a replica is made from; None where no record tells."""
        return self._revision(found.app.id, found.app.status, found.instance.hash)

    def running(self, app: str, status: Status) -> Revision | None:
        """The revision that most of an app's replicas run; None where there are none, or no record tells."""
        hash_ = running_hash(status)
        return self._revision(app, status, hash_) if hash_ else None

    def users_of(self, volume: Volume) -> list[str]:
        """The names of the apps and containers that mount a volume."""
        with self.lock:
            return sorted(self._resources[key].intent.name for key in self._mounting.get(volume.id, ()))

    def events(self, project: str | None) -> SortedKeyList[Any, Any]:
        """Events of a project (None: of all) in their order. To be read under `lock`."""
        return self._chronicle.of(project)

    def events_page(
        self,
        project: str | None,
        filters: Mapping[str, str],
        behind: tuple[int, int] | None,
        limit: int,
        *,
        newest_first: bool = False,
    ) -> list[StoredEvent]:
        """The first events of a project (None: of all) that fit all filters, behind a place in the order."""
        with self.lock:
            return list(islice(self._chronicle.fitting(project, filters, behind, newest_first=newest_first), limit))

    def floor(self, project: str | None) -> tuple[int, int]:
        """The last event of a project that is no longer kept; (0, 0) when all are."""
        floors = self._floors.values() if project is None else [self._floors.get(project, (0, 0))]
        return max(floors, default=(0, 0))

    def services(self) -> list[Service]:
        """The processes of the gateway that are alive."""
        return sorted(self._services.values(), key=lambda s: (s.started_at, s.id))

    def tombstone(self, cluster: str, id: str) -> Tombstone | None:
        """What tells that something of a cluster is gone on purpose."""
        return self._tombstones.get((cluster, id))

    def _take(self, update: Update) -> None:
        family, *rest = update.key.split("/")
        match family, rest:
            case "intent", [noun, _, id]:
                self._take_intent(noun, id, update.after)
            case "status", [noun, _, id]:
                self._take_status(noun, id, update.after)
            case "revision", [_, app, number]:
                self._take_revision(app, int(number), update.after)
            case "secret", [_, id]:
                self._take_intent("secret", id, update.after)
            case "meta", ["floor", project]:
                self._take_floor(project, update.after)
            case "service", [id]:
                self._keep(self._services, id, update.after)
            case "tombstone", [cluster, _, id]:
                self._keep(self._tombstones, (cluster, id), update.after)

    def _take_intent(self, noun: str, id: str, entry: Entry | None) -> None:
        before = self._resources.get((noun, id))
        if entry is None:
            self._statuses.pop((noun, id), None)
        self._replace(noun, id, before, self._made(noun, id, entry) if entry else None)

    def _take_status(self, noun: str, id: str, entry: Entry | None) -> None:
        before = self._resources.get((noun, id))
        if entry is None:
            self._statuses.pop((noun, id), None)
        else:
            self._statuses[noun, id] = cast(Value, entry.value)
        if before is not None:
            self._replace(noun, id, before, self._remade(before))

    def _take_revision(self, app: str, number: int, entry: Entry | None) -> None:
        kept = self._revisions.setdefault(app, {})
        self._keep(kept, number, entry)
        if not kept:
            del self._revisions[app]
        found = self._resources.get(("app", app))
        if found is not None:
            found.json.clear()
            found.replicas.clear()

    def _revision(self, app: str, status: Status, hash_: str) -> Revision | None:
        """The revision that replicas with this hash are made from."""
        kept = self._revisions.get(app, {})
        return revision_with(hash_, status, [kept[number] for number in sorted(kept)])

    def _made(self, noun: str, id: str, entry: Entry) -> Resource:
        return self._kept(Resource(noun, entry.value, self._status(noun, id), entry.revision))

    def _remade(self, before: Resource) -> Resource:
        status = self._status(before.noun, before.id)
        return self._kept(Resource(before.noun, before.intent, status, before.revision))

    def _status(self, noun: str, id: str) -> Value | None:
        return self._statuses.get((noun, id)) or DEFAULTS.get(noun)

    def _kept(self, made: Resource) -> Resource:
        if made.noun == "cluster":
            self._suffixes[made.id] = rendering.suffix_of(cast(ClusterStatus, made.status))
        return made

    def _rendered(self, found: Resource) -> bytes:
        intent, status = found.intent, found.status
        if found.noun == "cluster":
            return rendering.encode(rendering.cluster(cast(Cluster, intent), cast(ClusterStatus, status)))
        if found.noun == "secret":
            return rendering.encode(rendering.secret(cast(Secret, intent)))
        name = self.cluster_name(intent.cluster)
        running = self.running(found.id, cast(Status, status)) if found.noun == "app" else None
        return rendering.as_bytes(rendering.workload(cast(Intent, intent), cast(Status, status), name, running))

    def _volume(self, found: Resource) -> bytes:
        record = cast(Volume, found.intent)
        name = self.cluster_name(record.cluster)
        content = rendering.volume(record, cast(VolumeStatus, found.status), name, self.users_of(record))
        return rendering.encode(content)

    def _replica(self, found: Replica) -> bytes:
        """The JSON of a replica, made when it is first read after a change of its app."""
        app, kept = found.app, found.app.replicas
        native = found.instance.native_id
        if native not in kept:
            name = self.cluster_name(app.intent.cluster)
            content = rendering.replica(app.intent, app.status, found.instance, name, self.made_from(found))
            kept[native] = rendering.as_bytes(content)
        return kept[native]

    def _replace(self, noun: str, id: str, before: Resource | None, after: Resource | None) -> None:
        self._index(noun, before, after)
        self._mount((noun, id), volumes_of(before), volumes_of(after))
        if after is None:
            self._resources.pop((noun, id), None)
            self._suffixes.pop(id, None)
        else:
            self._resources[noun, id] = after
        if self._lists[noun].in_use:
            self._lists[noun].change(before, after)
        if noun == "app":
            self._replace_replicas(before, after)

    def _replace_replicas(self, before: Resource | None, after: Resource | None) -> None:
        if before is not None and after is not None and same_replicas(before, after):
            return
        old = {r.id: r for r in self.replicas(before)} if before is not None else {}
        new = {r.id: r for r in self.replicas(after)} if after is not None else {}
        for id in old.keys() - new.keys():
            self._replicas.pop(id, None)
        self._replicas |= {id: (r.app.id, r.instance) for id, r in new.items()}
        index = self._lists["container"]
        if not index.in_use:
            return
        same = before is not None and after is not None and before.intent is after.intent
        for id in old.keys() | new.keys():
            was, now = old.get(id), new.get(id)
            if not (same and was is not None and now is not None and was.instance == now.instance):
                index.change(was, now)

    def _listed(self, noun: str, scope: str | None) -> Iterator[Found]:
        """All items of a list that are in a scope."""
        if scope == PUBLIC:
            yield from (one for one in self.ordered(noun, None) if one.intent.public)
            return
        yield from self.ordered(noun, scope)
        if noun == "container":
            yield from chain.from_iterable(self.replicas(app) for app in self.ordered("app", scope))

    def _found(self, noun: str, id: str) -> Found | None:
        """An item of a list by its id."""
        return self.get(noun, id) or (self.replica(id) if noun == "container" else None)

    def _clusters_named(self, name: str) -> Sequence[str]:
        return list(self._lists["cluster"].having("name", (name,)))

    def _index(self, noun: str, before: Resource | None, after: Resource | None) -> None:
        if before is not None and after is not None and before.intent.created_at == after.intent.created_at:
            for project in (before.intent.project, None):
                ordered = self._ordered[noun, project]
                ordered.remove(before)
                ordered.add(after)
            return
        if before is not None:
            self._unindex(noun, before)
        if after is not None:
            self._names[noun, after.intent.project, after.intent.name] = after.id
            for project in (after.intent.project, None):
                self._ordered.setdefault((noun, project), SortedKeyList(key=_by_creation)).add(after)
            if cluster := getattr(after.intent, "cluster", None):
                self._on_cluster.setdefault(cluster, set()).add((noun, after.id))

    def _unindex(self, noun: str, before: Resource) -> None:
        name = (noun, before.intent.project, before.intent.name)
        if self._names.get(name) == before.id:
            self._names.pop(name)
        for project in (before.intent.project, None):
            self._ordered[noun, project].remove(before)
        if cluster := getattr(before.intent, "cluster", None):
            self._on_cluster.get(cluster, set()).discard((noun, before.id))

    def _mount(self, user: tuple[str, str], before: Set[str], after: Set[str]) -> None:
        """Keep in mind who mounts which volume."""
        for volume in before - after:
            self._mounting[volume].discard(user)
            if not self._mounting[volume]:
                del self._mounting[volume]
        for volume in after - before:
            self._mounting.setdefault(volume, set()).add(user)

    def _take_events(self, updates: Sequence[Update]) -> None:
        gone = [_stored(u.before) for u in updates if u.before is not None]
        self._chronicle.change(gone, [_stored(u.after) for u in updates if u.after is not None])

    def _take_floor(self, project: str, entry: Entry | None) -> None:
        if entry is not None:
            self._floors[project] = floor_of(str(entry.value))

    @staticmethod
    def _keep(kept: dict[Any, Any], key: Any, entry: Entry | None) -> None:
        if entry is None:
            kept.pop(key, None)
        else:
            kept[key] = entry.value
