"""What reads are answered from: every resource by id, by name and in order, serialised once.

Kept up to date by the cache's listener, in the watch thread; read from any thread. A resource's JSON is
made when it is first read after a change, and kept: everybody's writes wait for the watch thread. Replicas
of apps are made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, cast

import msgspec
from sortedcontainers import SortedKeyList

from zun_coe.gateway import rendering
from zun_coe.model import (
    Cluster,
    ClusterStatus,
    Event,
    Instance,
    Intent,
    Secret,
    Service,
    Status,
    Tombstone,
    Value,
    Volume,
    VolumeStatus,
)
from zun_coe.store.cache import Entry, Update

NEVER_SEEN = ClusterStatus()
NOT_YET = Status()
DEFAULTS: Mapping[str, Value] = {
    "app": NOT_YET,
    "container": NOT_YET,
    "cluster": NEVER_SEEN,
    "volume": VolumeStatus(),
}


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: its intent (or record), its status, and, once it was read, its JSON without what its
    cluster adds."""

    noun: str
    intent: Any
    status: Any
    revision: int
    json: list[bytes] = field(default_factory=list, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Its id."""
        return cast(str, self.intent.id)


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of an app, seen as a container."""

    app: Resource
    instance: Instance

    @property
    def id(self) -> str:
        """Its id, which follows from the app's and the native one."""
        return rendering.replica_id(self.app.id, self.instance)


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the order: the store's revision and n."""

    order: tuple[int, int]
    event: Event

    @property
    def id(self) -> str:
        """What clients resume from. Opaque to them."""
        return f"{self.order[0]}-{self.order[1]}"


def _by_creation(resource: Resource) -> tuple[Any, str]:
    return (resource.intent.created_at, resource.intent.id)


def _by_order(stored: StoredEvent) -> tuple[int, int]:
    return stored.order


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
        self._events: dict[str | None, SortedKeyList[Any, Any]] = {}
        self._floors: dict[str, tuple[int, int]] = {}
        self._services: dict[str, Service] = {}
        self._tombstones: dict[tuple[str, str], Tombstone] = {}

    def listener(self, revision: int, updates: Sequence[Update]) -> None:
        """What the cache calls: clusters first, since others are rendered with their names."""
        with self.lock:
            events = [u for u in updates if u.key.startswith("event/")]
            self._take_events(events)
            others = updates if not events else [u for u in updates if not u.key.startswith("event/")]
            for update in sorted(others, key=lambda u: not u.key.startswith("intent/cluster/")):
                self._take(update)

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
        """The whole JSON of a resource, as it is now."""
        if isinstance(found, Replica):
            app = found.app
            name = self.cluster_name(app.intent.cluster)
            content = rendering.replica(app.intent, app.status, found.instance, name)
            return rendering.finish(rendering.as_bytes(content), self.suffix(app.intent.cluster))
        if found.noun == "volume":
            return self._volume(found)
        if not found.json:
            found.json[:] = [self._rendered(found)]
        if found.noun in ("app", "container"):
            return rendering.finish(found.json[0], self.suffix(found.intent.cluster))
        return found.json[0]

    def users_of(self, volume: Volume) -> list[str]:
        """The names of the apps and containers that mount a volume."""
        return sorted(
            r.intent.name
            for r in self.on_cluster(volume.cluster)
            if volume.id in getattr(r.intent, "volumes", {}).values()
        )

    def events(self, project: str | None) -> SortedKeyList[Any, Any]:
        """Events of a project (None: of all) in their order. To be read under `lock`."""
        return self._events.get(project) or SortedKeyList(key=_by_order)

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
        return rendering.as_bytes(rendering.workload(cast(Intent, intent), cast(Status, status), name))

    def _volume(self, found: Resource) -> bytes:
        record = cast(Volume, found.intent)
        name = self.cluster_name(record.cluster)
        content = rendering.volume(record, cast(VolumeStatus, found.status), name, self.users_of(record))
        return rendering.encode(content)

    def _replace(self, noun: str, id: str, before: Resource | None, after: Resource | None) -> None:
        self._index(noun, before, after)
        if before is not None and noun == "app":
            for replica in self.replicas(before):
                self._replicas.pop(replica.id, None)
        if after is None:
            self._resources.pop((noun, id), None)
            self._suffixes.pop(id, None)
            return
        self._resources[noun, id] = after
        if noun == "app":
            self._replicas |= {r.id: (id, r.instance) for r in self.replicas(after)}

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

    def _take_events(self, updates: Sequence[Update]) -> None:
        """All of them at once: at a start there are very many."""
        for gone in (_stored(u.before) for u in updates if u.before is not None):
            for project in (gone.event.project, None):
                self._events_of(project).discard(gone)
        new: dict[str | None, list[StoredEvent]] = {}
        for stored in (_stored(u.after) for u in updates if u.after is not None):
            for project in (stored.event.project, None):
                new.setdefault(project, []).append(stored)
        for project, events in new.items():
            self._events_of(project).update(events)

    def _events_of(self, project: str | None) -> SortedKeyList[Any, Any]:
        found = self._events.get(project)
        if found is None:
            found = self._events[project] = SortedKeyList(key=_by_order)
        return found

    def _take_floor(self, project: str, entry: Entry | None) -> None:
        if entry is not None:
            revision, _, n = str(entry.value).partition("-")
            self._floors[project] = (int(revision), int(n))

    @staticmethod
    def _keep(kept: dict[Any, Any], key: Any, entry: Entry | None) -> None:
        if entry is None:
            kept.pop(key, None)
        else:
            kept[key] = entry.value


def matching(
    resources: Iterator[Resource | Replica], filters: Mapping[str, str], views: Views
) -> Iterator[Resource | Replica]:
    """Those of the resources that all filters fit."""
    for found in resources:
        if all(_fits(found, name, wanted, views) for name, wanted in filters.items()):
            yield found


def _fits(found: Resource | Replica, name: str, wanted: str, views: Views) -> bool:
    intent = found.app.intent if isinstance(found, Replica) else found.intent
    match name:
        case "name":
            own = f"{intent.name}-{found.instance.slot}" if isinstance(found, Replica) else intent.name
            return bool(own == wanted)
        case "cluster":
            cluster = getattr(intent, "cluster", None)
            return cluster is not None and wanted in (cluster, views.cluster_name(cluster))
        case "phase":
            return phase_of(found) == wanted
        case "app":
            return isinstance(found, Replica) and wanted in (intent.name, intent.id)
        case "label":
            return _labelled(getattr(intent, "labels", {}), wanted)
        case _:
            return str(getattr(intent, name, "")) == wanted


def phase_of(found: Resource | Replica) -> str:
    """The phase that is shown."""
    if isinstance(found, Replica):
        return str(rendering.replica_phase(found.app.intent, found.instance))
    if getattr(found.intent, "deletion", None):
        return "Deleting"
    return str(getattr(found.status, "phase", ""))


def _labelled(labels: Mapping[str, str], wanted: str) -> bool:
    for part in wanted.split(","):
        key, equals, value = part.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
