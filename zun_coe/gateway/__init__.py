"""The use cases: check, write the intent down, return it. Nothing here calls a backend to write, list or show."""

from __future__ import annotations

from zun_coe.adapters import Logs
from zun_coe.config import Settings
from zun_coe.errors import Conflict, NotFound, StoreUnavailable
from zun_coe.gateway import rendering
from zun_coe.gateway.adopting import Adopting
from zun_coe.gateway.apps import Apps
from zun_coe.gateway.backends import BackendCalls, Backends
from zun_coe.gateway.calls import PLURALS, Answer, BackendCall, Call, LogSources, Query, Settle, etag
from zun_coe.gateway.clusters import Clusters
from zun_coe.gateway.containers import Containers
from zun_coe.gateway.keeping import Events, Secrets, Services, Volumes, order_of
from zun_coe.gateway.resources import Tools
from zun_coe.gateway.views import Replica, Resource, StoredEvent, Views
from zun_coe.gateway.writing import Writer
from zun_coe.metrics import Metrics
from zun_coe.model import Instance, ref_of, settles_in
from zun_coe.model.evidence import named
from zun_coe.store import Store
from zun_coe.store.cache import Cache
from zun_coe.store.records import utc_now
from zun_coe.vault import Vault

__all__ = [
    "PLURALS",
    "Answer",
    "BackendCall",
    "Backends",
    "Call",
    "Gateway",
    "LogSources",
    "Query",
    "Settle",
    "StoredEvent",
    "Views",
    "etag",
    "order_of",
]


class Gateway:
    """Everything that users can do, for one process. Make it before the cache is started."""

    def __init__(
        self,
        store: Store,
        cache: Cache,
        settings: Settings,
        vault: Vault,
        installation: str,
        metrics: Metrics | None = None,
    ) -> None:
        self.cache, self.settings, self.views, self.metrics = cache, settings, Views(), metrics or Metrics()
        cache.listen(self.views.listener)
        writer = Writer(store, cache, settings, vault)
        tools = Tools(store, cache, self.views, writer, vault, settings, installation)
        self._tools = tools
        self.backends = Backends(self.views, installation, vault, settings)
        cache.listen(self.backends.listener)
        self.backend_calls = BackendCalls(
            settings.backend_threads, settings.backend_threads_per_cluster, settings.backend_threads_per_project
        )
        adopting = Adopting(tools, self.backends)
        self.apps = Apps(tools, adopting)
        self.containers = Containers(tools, self.backends)
        self.clusters = Clusters(tools, adopting)
        self.secrets = Secrets(tools)
        self.volumes = Volumes(tools)
        self.events = Events(tools)
        self.services = Services(self.views)

    def settled(self, settle: Settle) -> Answer | None:
        """The answer to give to somebody who waits, or None while there is more to wait for."""
        if settle.deleted:
            return Answer(204) if self._awaited(settle) is None else None
        found = self.views.get(settle.noun, settle.id)
        if found is None:
            return Answer(404)
        if self._settles_in(found, settle) != 0:
            return None
        return Answer(200, self._seen(found, settle), {"ETag": etag(found.intent.generation)})

    def settles_in(self, settle: Settle) -> float | None:
        """In how many seconds it will have settled if nothing changes (None: not by the passing of time)."""
        found = self.views.get(settle.noun, settle.id)
        return None if found is None or settle.deleted else self._settles_in(found, settle)

    def unsettled(self, settle: Settle) -> Answer:
        """The answer to somebody who has waited long enough: the state of now."""
        found = self._awaited(settle)
        if found is None:
            return Answer(204 if settle.deleted else 404)
        if isinstance(found, Replica):
            return Answer(202, self.views.body(found))
        return Answer(202, self._seen(found, settle), {"ETag": etag(found.intent.generation)})

    def _awaited(self, settle: Settle) -> Resource | Replica | None:
        """What is waited for, as long as it is there."""
        if settle.replica is not None:
            return self.views.replica(settle.replica)
        return self.views.get(settle.noun, settle.id)

    def _seen(self, found: Resource, settle: Settle) -> bytes:
        return settle.see(found) if settle.see else self.views.body(found)

    def refresh(self) -> None:
        """Wait until the copy has seen everything that the store has now. Raises `StoreUnavailable`."""
        self._tools.refresh()

    def ready(self) -> Answer:
        """200 while the store is heard of, else 503."""
        age = self.cache.age
        if age > 10:
            raise StoreUnavailable(f"The state store was last heard of {age:.0f} seconds ago.")
        return Answer(200, rendering.encode({"status": "ready"}))

    def _containers(self, found: Resource | Replica) -> list[str]:
        """The names of the containers of a replica, or of all of an app's, whichever revisions they are made from."""
        replicas = [found] if isinstance(found, Replica) else self.views.replicas(found)
        records = {record.number: record for each in replicas if (record := self.views.made_from(each))}
        templates = [record.template for record in records.values()]
        if not templates or not isinstance(found, Replica):
            templates.append((found.app if isinstance(found, Replica) else found).intent.template)
        return list(dict.fromkeys(["main", *(s.name for template in templates for s in template.sidecars)]))

    def log_sources(self, call: Call, noun: str, ref: str, container: str | None = None) -> LogSources:
        """Where the output of an app or a container comes from. Raises `Conflict` where nothing of it
        was ever made, `NotFound` for a sidecar that it doesn't have."""
        found = self.apps._find(call, ref) if noun == "app" else self.containers.find_any(call, ref)
        resource = found.app if isinstance(found, Replica) else found
        names = self._containers(found)
        if container is not None and container not in names:
            raise NotFound(f"There is no container {named(container)} in it; there are {', '.join(names)}.")
        adapter = self.backends.adapter(resource.intent.cluster)
        if not isinstance(adapter, Logs):
            raise Conflict("Logs can't be had from this cluster.")
        reference = ref_of(self._tools.installation, resource.intent)

        def instances() -> tuple[Instance, ...]:
            now = self.views.get(resource.noun, resource.id)
            there: tuple[Instance, ...] = now.status.instances if now else ()
            if isinstance(found, Replica):
                return tuple(i for i in there if i.native_id == found.instance.native_id)
            return there

        return LogSources(
            reference, resource.intent.noun, instances, lambda i, options: adapter.logs(reference, i.native_id, options)
        )

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        self.backend_calls.close()
        self.backends.close()

    def _settles_in(self, found: Resource, settle: Settle) -> float | None:
        if settle.noun == "cluster":
            return 0.0 if found.status.observed_generation >= settle.generation else None
        if settle.noun not in ("app", "container"):
            return 0.0
        if found.intent.generation < settle.generation:
            return None
        return settles_in(found.intent, found.status, utc_now(), settle.grace)
