"""One cluster's own threads: hints, resync, workers. Nothing of another cluster can delay them.

A hint only makes a key due; that it is lost costs a delay until the next resync, never a wrong state."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from datetime import timedelta
from threading import Event as StopEvent
from threading import Lock, Thread
from typing import Any, cast

import structlog

from zun_coe.adapters import Again
from zun_coe.engine import telling
from zun_coe.engine.acting import Key, Ledger, Tools
from zun_coe.engine.cluster import ClusterKeeper
from zun_coe.engine.explaining import logged_as, unexpected
from zun_coe.engine.measuring import MeasuredAdapter
from zun_coe.engine.reconciler import Reconciler, Result
from zun_coe.engine.sightings import Records, Sightings
from zun_coe.engine.tenure import Tenure
from zun_coe.engine.workqueue import WorkQueue
from zun_coe.errors import BackendError, Fenced, KeyNotFound, RevisionConflict, StoreError
from zun_coe.model import Cluster, Intent, Observation, Tombstone
from zun_coe.store.cache import Entry
from zun_coe.store.records import intent_key, status_key, tombstone_key, utc_now

log = structlog.get_logger()

# How often a cluster that is away is asked, at least; `Settings.backoff` says how soon at first.
_LAST_PROBE = 15.0
_STORE_PAUSE = 1.0
# The delays before a watch that ended by the gateway's own fault is begun again: the first, and the longest.
_FIRST_BROKEN, _LAST_BROKEN = 1.0, 60.0
# So often in a row somebody else may have written first before a key's attempts get delays.
_OVERTAKEN = 5
# What concerns everything in a cluster.
_OF_THE_CLUSTER = frozenset({"BackendUnreachable", "CredentialsExpired"})
# A time in which nothing could be seen counts against nobody when it is longer than this.
_UNSEEN = timedelta(seconds=30)


class ClusterRunner:
    """Runs one cluster until it is stopped. `stop` returns at once and ends the tenure; the threads end by
    themselves, each after the call that it is in."""

    def __init__(self, tools: Tools, cluster: Cluster, adapter: MeasuredAdapter, tenure: Tenure) -> None:
        self.cluster = cluster
        settings = tools.settings
        self.queue: WorkQueue[Key] = WorkQueue(
            base=settings.backoff,
            maximum=settings.max_backoff,
            group_of=lambda key: key.project,
            share=settings.workers,
        )
        self._tools, self._adapter = tools, adapter
        self._ledger = Ledger(tools, cluster.id)
        self._reconciler = Reconciler(tools, self._ledger, adapter, tenure)
        self._keeper = ClusterKeeper(tools, self._ledger, cluster, adapter)
        self._tenure, self._stop, self._wake = tenure, tenure.over, StopEvent()
        self._sightings = Sightings()
        self._told: set[str] = set()
        self._failing: dict[Key, float] = {}
        self._overtaken: Counter[Key] = Counter()
        self._seen_at, self._unseen = float("-inf"), timedelta()
        self._reachable, self._described = False, float("-inf")
        self._first_probe = tools.settings.backoff
        self._threads: list[Thread] = []
        self._alive, self._alive_lock = 0, Lock()

    def start(self) -> None:
        """Start the threads. Call once."""
        jobs: list[tuple[str, Callable[[], None]]] = [("resync", self._resync), ("watch", self._watch)]
        jobs += [(f"worker-{n}", self._work) for n in range(_threads(self._tools.settings.workers))]
        self._alive = len(jobs)
        for name, job in jobs:
            thread = Thread(target=self._until_the_last, args=(job,), name=f"{self.cluster.name}-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Start nothing new. Idempotent; does not wait."""
        self._stop.set()
        self._wake.set()
        self.queue.close()

    def join(self, timeout: float) -> None:
        """Wait for the threads, at most `timeout` seconds in all."""
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def renew(self, cluster: Cluster, credentials: Mapping[str, Any]) -> bool:
        """Go on with other credentials; False where that takes another runner. Who the cluster is is asked at once."""
        if not self._adapter.renew(credentials):
            return False
        self.cluster = cluster
        self._described = float("-inf")
        self.look()
        return True

    def add(self, key: Key, change: Hashable = None) -> None:
        """Something of this cluster may be due. `change`: what was written that makes another attempt worth while at
        once, as the generation of its intent."""
        self.queue.add(key, change)

    def look(self) -> None:
        """Look at the whole cluster soon."""
        self._wake.set()

    def registered(self) -> None:
        """Ask it soon who it is, and look at all of it: its registration was changed."""
        self._described = float("-inf")
        self.look()

    def _until_the_last(self, job: Callable[[], None]) -> None:
        """The last thread to end closes the adapter, so that nobody's call is cut off."""
        try:
            self._again_and_again(job)
        finally:
            with self._alive_lock:
                self._alive -= 1
                last = not self._alive
            if last:
                self._adapter.close()

    def _again_and_again(self, job: Callable[[], None]) -> None:
        """Each job ends when it is stopped. One that ends before, by whatever nobody foresaw, begins anew."""
        while True:
            try:
                return job()
            except Exception:
                name = threading.current_thread().name
                log.exception("thread failed", cluster=self.cluster.name, thread=name)
                if self._stop.wait(_FIRST_BROKEN):
                    return None

    def _work(self) -> None:
        while not self._stop.is_set():
            key = self.queue.get(timeout=5.0)
            if key is None:
                continue
            began, quiet = time.perf_counter(), False
            try:
                result = self._try(key)
                self._settle(key, result)
                quiet = result.quiet
                taken = time.perf_counter() - began
                word = "failed" if result.failed else "ok"
                self._tools.metrics.reconcile_seconds.labels(self.cluster.name, word).observe(taken)
            finally:
                self._sightings.done(key, quiet=quiet)
                self.queue.done(key)

    def _try(self, key: Key) -> Result:
        """Work on a key; whatever goes wrong, another try follows. A cluster that is away is left alone until
        it was asked who it is: then every key is due again."""
        try:
            if self._keeper.blocked or not self._reachable:
                self._failing.pop(key, None)
                return self._reconciler.forget(key, self._keeper.trouble)
            result = self._reconciler.reconcile(key, self._sightings.take(key))
            self._failing.pop(key, None)
            self._overtaken.pop(key, None)
            return result
        except (RevisionConflict, KeyNotFound):
            return self._late(key)
        except Fenced:  # whoever has the cluster now goes on: where the lease was renewed late, that is this process
            return Result(after=0.0, failed=True)
        except StoreError as error:
            log.warning("store away", cluster=self.cluster.name, error=str(error))
            return Result(after=0.0, failed=True)
        except BackendError as error:
            if error.reason in _OF_THE_CLUSTER:  # anything else says nothing about all the others
                self.look()
            log.info("backend failed", cluster=self.cluster.name, key=key, reason=error.reason, error=str(error))
            return self._failed(key, error)
        except Exception as error:  # one workload's bug must not end the worker of all the others
            entry = self._ledger.intent(key)
            record = entry.value if entry else self.cluster
            log.exception("reconcile failed", cluster=self.cluster.name, key=key, request_id=logged_as(record))
            return self._failed(key, unexpected(error, record))

    def _late(self, key: Key) -> Result:
        """Somebody else wrote first: the copy was behind, and by now it is not. Unless it can't follow, since it has
        kept what it had of a record that this version can't read: then only time helps."""
        self._overtaken[key] += 1
        return Result(after=0.0, failed=self._overtaken[key] > _OVERTAKEN)

    def _failed(self, key: Key, error: BackendError) -> Result:
        """Have the key's status say why, once it is surely its own trouble. What a cluster has is told there: it is
        this key's where all of the cluster could be seen since it began."""
        began = self._failing.setdefault(key, time.monotonic())
        if error.reason not in _OF_THE_CLUSTER or self._seen_at > began:
            try:
                self._reconciler.explain(key, error)
            except StoreError as trouble:
                log.warning("status not written", cluster=self.cluster.name, key=key, error=str(trouble))
        return Result(after=error.retry_after or 0.0, failed=True)

    def _settle(self, key: Key, result: Result) -> None:
        if result.failed:
            self.queue.failed(key, retry=result.after is not None, least=result.after or 0.0)
            return
        self.queue.forget(key)
        if result.after is not None:
            self.queue.add_after(key, result.after)

    def _watch(self) -> None:
        pause, broken = 0.1, 0.0
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                for ref in self._adapter.watch(self._stop):
                    pause = 0.1
                    if ref is None:
                        self._described = float("-inf")  # whatever was missed, or is otherwise, may be its nodes
                        self.look()
                    else:
                        self._hint(Key(ref.noun, ref.project, ref.id))
            except BackendError as error:
                log.info("watch ended", cluster=self.cluster.name, error=str(error))
                pause = max(pause, error.retry_after or 0.0)
            except Exception as error:  # noqa: BLE001  # hints are a help: without them polling goes on
                steady = time.monotonic() - begun > _LAST_BROKEN
                broken = _FIRST_BROKEN if steady else min(max(broken * 2, _FIRST_BROKEN), _LAST_BROKEN)
                pause = max(pause, broken)
                self._watch_failed(error)
            self._stop.wait(pause)
            pause = min(pause * 2, 5.0)

    def _watch_failed(self, error: Exception) -> None:
        """The gateway itself failed over what it heard of the cluster: told in its log and in an event."""
        record = self._keeper.record or self.cluster
        told = unexpected(error, record)
        log.exception("watch failed", cluster=self.cluster.name, request_id=logged_as(record))
        message = f"What happens in the cluster is not heard of for a moment. {told}"
        event = telling.event(record, "cluster", "WatchFailed", message, utc_now(), level="warning", reason=told.reason)
        try:
            self._ledger.tell(event)
        except StoreError as trouble:
            log.warning("event not written", cluster=self.cluster.name, error=str(trouble))

    def _hint(self, key: Key) -> None:
        if self._ledger.intent(key) is None:
            return
        self._sightings.hint(key)
        self.queue.add(key)

    def _resync(self) -> None:
        """Look at everything, now and then and whenever asked; while the cluster is away, ask it with
        growing delays."""
        pause, settings = self._first_probe, self._tools.settings
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._survey()
                pause = self._first_probe
                self._pause(settings.resync)
            except BackendError as error:
                self._away(error)
                self._stop.wait(max(pause, error.retry_after or 0.0))
                pause = min(pause * 2, _LAST_PROBE, settings.max_backoff)
            except StoreError as error:
                log.warning("store away", cluster=self.cluster.name, error=str(error))
                self._stop.wait(_STORE_PAUSE)
            except Exception as error:  # noqa: BLE001  # the thread that finds out that a cluster is well must live
                self._broken(error)
                self._stop.wait(_STORE_PAUSE)

    def _pause(self, seconds: float) -> None:
        """Until the next resync is due, or somebody asks for one; not more often than every 0.2 s."""
        self._stop.wait(0.2)
        self._wake.wait(seconds)

    def _survey(self) -> None:
        """Ask it who it is, where that is due, and look at everything. Raises `BackendError`, `StoreError`."""
        begun = time.monotonic()
        # That it answers who it is tells nothing of what runs there, and yet moves the moment of its last answer.
        self._unseen = max(self._unseen, self._keeper.unseen)
        if begun - self._described >= self._tools.settings.describe or not self._reachable:
            self._described = begun  # before, so that what is heard meanwhile is not lost
            self._keeper.describe()
        self._look()

    def _broken(self, error: Exception) -> None:
        """The gateway itself failed over this cluster. Its keys are worked on as long as they can be."""
        id = logged_as(self._keeper.record or self.cluster)
        log.exception("resync failed", cluster=self.cluster.name, request_id=id)
        try:
            self._keeper.broken(unexpected(error, self._keeper.record or self.cluster))
        except StoreError as trouble:
            log.warning("status not written", cluster=self.cluster.name, error=str(trouble))

    def _away(self, error: BackendError) -> None:
        self._reachable = False
        try:
            self._keeper.failed(error)
            self._keeper.forget()
        except StoreError as trouble:
            log.warning("status not written", cluster=self.cluster.name, error=str(trouble))

    def _look(self) -> None:
        if self._keeper.forget():
            return
        if self._keeper.blocked:
            return
        seen_at = time.monotonic()
        found = self._adapter.observe(None)
        self._keeper.answered()
        if self._unseen > _UNSEEN and not self._reachable:
            self._reconciler.resumed()
        self._reachable, self._seen_at, self._unseen = True, seen_at, timedelta()
        seen = {Key(o.ref.noun, o.ref.project, o.ref.id): o for o in found}
        keys = self._wanted()
        for key in sorted(self._sightings.listed(seen_at, seen, keys)):
            self.queue.add(key)
        for key, observation in seen.items():
            if key not in keys:
                self._stray(key, observation)
        self._tidy()

    def _tidy(self) -> None:
        self._tenure.check()
        try:
            self._adapter.tidy()
        except BackendError as error:  # what is left behind is in nobody's way
            log.info("not tidied", cluster=self.cluster.name, error=str(error))

    def _wanted(self) -> dict[Key, Records]:
        keys = {}
        for noun in ("app", "container", "volume"):
            for entry in self._tools.cache.list(f"intent/{noun}/"):
                record = cast(Intent, entry.value)
                if record.cluster == self.cluster.id:
                    key = Key(noun, record.project, record.id)
                    status = self._tools.cache.get(status_key(*key))
                    keys[key] = entry.revision, status.revision if status else 0
        return keys

    def _stray(self, key: Key, seen: Observation) -> None:
        """Something of ours that no record wants: with a tombstone it is removed, unless it was let go;
        anything else is told of and never touched."""
        stone: Entry | None = self._tools.cache.get(tombstone_key(self.cluster.id, key.noun, key.id))
        if stone is None:
            self._orphan(key, seen)
        elif not cast(Tombstone, stone.value).keep:
            self._tenure.check()
            try:
                if isinstance(self._adapter.remove(seen.ref, seen), Again):
                    self.look()
            except BackendError as error:  # what is left of one says nothing about all the others
                log.info("leftover stays", cluster=self.cluster.name, key=key, error=str(error))
            except StoreError:
                raise
            except Exception:  # neither does what the gateway makes of it
                log.exception("leftover stays", cluster=self.cluster.name, key=key)

    def _orphan(self, key: Key, seen: Observation) -> None:
        if key.id in self._told or self._tools.cache.get(intent_key(*key)) is not None:
            return
        message = f"{key.noun} {seen.ref.name} carries this gateway's labels and no record knows it; it is left alone."
        event = telling.event(self.cluster, "cluster", "OrphanFound", message, utc_now(), level="warning")
        self._ledger.tell_once(event, f"orphan-{key.id}")
        self._told.add(key.id)


def _threads(share: int) -> int:
    """Workers enough for some to be left when one project has its share of them."""
    return share + max(1, share // 2)
