"""The engine: brings clusters to what is wanted. It has those clusters that its lease says it has."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from threading import Event as StopEvent
from threading import Lock, Thread
from typing import Any, cast

import structlog

from zun_coe.adapters import Adapter, Connection, open_adapter
from zun_coe.adapters.unopened import Unopened
from zun_coe.config import Settings
from zun_coe.engine.acting import Key, Tools
from zun_coe.engine.explaining import logged_as, unexpected
from zun_coe.engine.housekeeping import Housekeeping
from zun_coe.engine.measuring import MeasuredAdapter
from zun_coe.engine.ownership import Ownership, balance, living, reaching
from zun_coe.engine.recalling import known
from zun_coe.engine.tenure import Tenure
from zun_coe.engine.watcher import ClusterRunner
from zun_coe.errors import BackendError, StoreError
from zun_coe.metrics import Metrics, QueueState
from zun_coe.model import Cluster, Intent, Secret, Service, Status
from zun_coe.model.references import secret_names
from zun_coe.store import Store
from zun_coe.store.cache import Cache, Entry, Update
from zun_coe.store.records import new_id
from zun_coe.vault import Undecryptable, Vault

log = structlog.get_logger()

_HOUSEKEEPING = 60.0
# After so many seconds a cluster is opened again that could not be opened.
_OPENED_AGAIN = 30.0
_CARRIED = frozenset({"app", "container", "volume"})


class Engine:
    """All clusters that this process has. Make it before the cache is started, so that it hears of
    everything; `start` when the cache has been."""

    def __init__(
        self,
        store: Store,
        cache: Cache,
        settings: Settings,
        vault: Vault,
        installation: str,
        metrics: Metrics | None = None,
        *,
        role: str = "engine",
        service_id: str | None = None,
    ) -> None:
        self.ownership = Ownership(
            store, service_id or new_id(), settings.lease, role=role, host=settings.here, on_lost=self._lost
        )
        self._metrics = metrics or Metrics()
        self._metrics.queues(self._queues)
        self._tools = Tools(store, cache, settings, vault, self.ownership, installation, self._metrics)
        self._housekeeping = Housekeeping(store, cache, settings)
        self._runners: dict[str, ClusterRunner] = {}
        self._leaving: dict[str, Thread] = {}
        self._unopened: dict[str, float] = {}  # when to open a cluster again that could not be
        self._lock = Lock()
        self._stop, self._wake = StopEvent(), StopEvent()
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        cache.listen(self._heard)

    def start(self) -> None:
        """Take a lease and begin. Call once."""
        self.ownership.start()
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Finish what is under way, within `timeout` seconds, and give the clusters back. Idempotent."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        with self._lock:
            runners, self._runners = list(self._runners.values()), {}
            leaving = list(self._leaving.values())
        for runner in runners:
            runner.stop()
        end = time.monotonic() + timeout
        for thread in leaving:
            thread.join(max(0.1, end - time.monotonic()))
        for runner in runners:
            runner.join(max(0.1, end - time.monotonic()))
        self.ownership.stop()

    def runners(self) -> Sequence[ClusterRunner]:
        """The clusters that run now."""
        with self._lock:
            return list(self._runners.values())

    def _queues(self) -> Iterator[QueueState]:
        for runner in self.runners():
            yield QueueState(runner.cluster.name, runner.queue.depth, runner.queue.oldest_age)

    def _run(self) -> None:
        tidied = time.monotonic()
        while not self._stop.is_set():
            try:
                self._rebalance()
                if time.monotonic() - tidied > _HOUSEKEEPING:
                    tidied = time.monotonic()
                    self._housekeeping.tidy()
            except StoreError as error:
                log.warning("store away", error=str(error))
            except Exception:  # the thread that takes clusters must live
                log.exception("engine failed")
            self._wake.wait(1.0)
            self._wake.clear()

    def _rebalance(self) -> None:
        clusters = {cast(Cluster, e.value).id: e for e in self._tools.cache.list("intent/cluster/")}
        owners = {id: self._owner(id) for id in clusters}
        services = [cast(Service, e.value) for e in self._tools.cache.list("service/")]
        only = reaching((cast(Cluster, e.value) for e in clusters.values()), services)
        moves = balance(self.ownership.service_id, owners, living(services), only)
        for id in (*moves.release, *(set(self._running()) - set(clusters))):
            self._end(id)
        for id in moves.acquire:
            self.ownership.acquire(id)
        for id in self.ownership.owned() & set(clusters):
            try:
                self._ensure(clusters[id])
            except Exception:  # one cluster keeps nobody from all the others
                log.exception("cluster not opened", cluster=cast(Cluster, clusters[id].value).name)

    def _owner(self, cluster: str) -> str | None:
        entry = self._tools.cache.get(f"owner/{cluster}")
        return str(entry.value) if entry else None

    def _running(self) -> list[str]:
        with self._lock:
            return list(self._runners)

    def _ensure(self, entry: Entry) -> None:
        """A runner for the cluster, made anew when its registration changed otherwise than by a mark."""
        cluster = cast(Cluster, entry.value)
        with self._lock:
            runner = self._runners.get(cluster.id)
            leaving = cluster.id in self._leaving
        again = time.monotonic() >= self._unopened.get(cluster.id, math.inf)
        if leaving or (runner is not None and not again and self._goes_on(runner, cluster)):
            return
        if runner is not None:  # a new one follows when its last call has ended
            self._end(cluster.id, release=False)
            return
        tenure = Tenure(self.ownership, cluster.id)
        adapter = MeasuredAdapter(self._opened(cluster, tenure), cluster.name, self._metrics)
        adapter.recall(known(self._tools.cache, cluster, self._tools.installation))
        runner = ClusterRunner(self._tools, cluster, adapter, tenure)
        with self._lock:
            if self._stop.is_set():
                return
            self._runners[cluster.id] = runner
        runner.start()
        if not self.ownership.valid(cluster.id):  # lost while it was opened: nobody else would end it
            self._end(cluster.id, release=False)

    def _goes_on(self, runner: ClusterRunner, now: Cluster) -> bool:
        """Whether what is open is what is registered, or becomes it: to encrypt credentials with another key changes
        nothing, and others are used from now on."""
        running = runner.cluster
        fields = ("hosts", "endpoint", "node_endpoint", "namespace", "kind", "machine")
        if any(getattr(running, f) != getattr(now, f) for f in fields):
            return False
        if running.credentials == now.credentials:
            return True
        try:
            old, new = (self._tools.vault.open(c) if c else {} for c in (running.credentials, now.credentials))
            return old == new or runner.renew(now, new)
        except (Undecryptable, BackendError):
            return False

    def _opened(self, cluster: Cluster, tenure: Tenure) -> Adapter:
        """The adapter of a cluster. Where it can't be opened one that says why at every call, so that the cluster's
        status does; it is opened again after a while."""
        self._unopened.pop(cluster.id, None)
        try:
            credentials = self._tools.vault.open(cluster.credentials) if cluster.credentials else {}
            return open_adapter(self._connection(cluster, credentials, tenure))
        except Exception as error:
            log.exception("cluster not opened", cluster=cluster.name, request_id=logged_as(cluster))
            why = error if isinstance(error, BackendError) else unexpected(error, cluster)
            self._unopened[cluster.id] = time.monotonic() + _OPENED_AGAIN
            return Unopened(self._connection(cluster, {}, tenure), lambda: copy(why))

    def _connection(self, cluster: Cluster, credentials: Mapping[str, Any], tenure: Tenure) -> Connection:
        tools = self._tools
        return Connection.to(
            cluster,
            tools.installation,
            credentials,
            tools.settings,
            tenure.check,
            label_key=tools.vault.label_key,
        )

    def _end(self, cluster: str, *, release: bool = True) -> None:
        """Stop a cluster and give it back when its last call has ended, which nobody else waits for."""
        with self._lock:
            if cluster in self._leaving:
                return
            runner = self._runners.pop(cluster, None)
            if runner is not None:
                thread = Thread(target=self._see_off, args=(runner, release), name="leaving", daemon=True)
                self._leaving[cluster] = thread
        if runner is not None:
            runner.stop()
            thread.start()
        elif release:
            self.ownership.release(cluster)

    def _see_off(self, runner: ClusterRunner, release: bool) -> None:
        try:
            runner.join(self._tools.settings.backend_timeout)
            if release:
                self.ownership.release(runner.cluster.id)
        finally:
            with self._lock:
                del self._leaving[runner.cluster.id]
            self._wake.set()

    def _lost(self, clusters: frozenset[str]) -> None:
        """The lease is gone: stop at once. What is in flight is refused by the store, or late by one call."""
        with self._lock:
            lost = [self._runners.pop(id) for id in clusters if id in self._runners]
        for runner in lost:
            runner.stop()
        self._wake.set()

    def _heard(self, revision: int, updates: Sequence[Update]) -> None:
        """What the cache calls: intents make keys due, clusters and services wake the engine."""
        for update in updates:
            try:
                self._heard_one(update)
            except Exception:  # one record's fault keeps nobody from hearing of the others
                log.exception("change not heeded", key=update.key)

    def _heard_one(self, update: Update) -> None:
        family, _, rest = update.key.partition("/")
        if family == "intent":
            self._route(rest.split("/"), update)
        elif family in ("owner", "service"):
            self._wake.set()
        elif family == "status":
            self._route_volumes(rest.split("/")[0], update)
        elif family == "secret" and update.after is not None:
            self._route_users(cast(Secret, update.after.value), update.after.revision)

    def _route(self, parts: Sequence[str], update: Update) -> None:
        noun, project, id = parts
        entry = update.after or update.before
        if noun == "cluster" or entry is None:
            self._wake.set()
            runner = self._runner(id)
            if runner is not None:
                runner.registered()
        elif noun in _CARRIED:
            runner = self._runner(cast(Intent, entry.value).cluster)
            if runner is not None and update.after is not None:
                runner.add(Key(noun, project, id), cast(Intent, update.after.value).generation)
            elif runner is not None and self._leaves_something(cast(Intent, entry.value)):
                runner.look()

    def _route_users(self, secret: Secret, revision: int) -> None:
        """Whoever takes values from a secret may have waited for it."""
        for noun in ("app", "container") if self.runners() else ():
            for entry in self._tools.cache.list(f"intent/{noun}/{secret.project}/"):
                intent = cast(Intent, entry.value)
                runner = self._runner(intent.cluster) if secret.name in secret_names(intent.template) else None
                if runner is not None:
                    runner.add(Key(noun, intent.project, intent.id), ("secret", secret.id, revision))

    def _route_volumes(self, noun: str, update: Update) -> None:
        """A workload whose instances are elsewhere than before may have made its volumes."""
        if noun not in ("app", "container") or update.after is None or _hosts(update.before) == _hosts(update.after):
            return
        entry = self._tools.cache.get("intent/" + update.key.partition("/")[2])
        if entry is None:
            return
        intent = cast(Intent, entry.value)
        runner = self._runner(intent.cluster)
        for id in intent.volumes.values() if runner else ():
            cast(ClusterRunner, runner).queue.add(Key("volume", intent.project, id))

    def _leaves_something(self, intent: Intent) -> bool:
        """Whether what is gone from the records may be in its cluster still, or was all that kept the
        cluster from being forgotten."""
        cluster = next((e for e in self._tools.cache.list("intent/cluster/") if e.key.endswith(intent.cluster)), None)
        leaving = cluster is not None and cast(Cluster, cluster.value).deletion is not None
        return leaving or bool(intent.deletion and intent.deletion.force)

    def _runner(self, cluster: str) -> ClusterRunner | None:
        with self._lock:
            return self._runners.get(cluster)


def _hosts(entry: Entry | None) -> set[str | None]:
    return {i.host for i in cast(Status, entry.value).instances} if entry else set()
