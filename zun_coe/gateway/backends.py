"""The API's own connections to clusters, for what must reach a backend: logs, signals and what else runs there.

Whoever asks a cluster waits for it as long as it takes, so that is done by threads of its own. A cluster that does
not answer keeps few of them, and so does a project; who comes when no more are left is told at once to come later."""

from __future__ import annotations

import contextvars
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock, Thread

import structlog

from zun_coe.adapters import Adapter, Connection, open_adapter
from zun_coe.config import Settings
from zun_coe.errors import BackendError, Busy, NotFound, Unavailable
from zun_coe.gateway.calls import Answer, BackendCall
from zun_coe.gateway.views import Views
from zun_coe.model import Cluster
from zun_coe.store.cache import Update
from zun_coe.vault import Undecryptable, Vault

log = structlog.get_logger()


class Backends:
    """One adapter for each cluster, opened when first needed and again when the cluster's record changed."""

    def __init__(self, views: Views, installation: str, vault: Vault, settings: Settings) -> None:
        self._views, self._installation, self._vault, self._settings = views, installation, vault, settings
        self._lock = Lock()
        self._closing: set[Thread] = set()
        self._open: dict[str, tuple[int, Adapter]] = {}

    def adapter(self, cluster: str) -> Adapter:
        """The connection to a cluster. Calls no backend. Raises `NotFound` where the cluster is gone, and
        `Unavailable` where it can't be opened."""
        found = self._views.get("cluster", cluster)
        if found is None:
            raise NotFound("Its cluster was removed.")
        record: Cluster = found.intent
        old: Adapter | None = None
        with self._lock:
            revision, adapter = self._open.get(cluster, (0, None))
            if adapter is None or revision != found.revision:
                old, adapter = adapter, self._opened(record)
                self._open[cluster] = (found.revision, adapter)
        if old is not None:  # outside of the lock, since all clusters are behind it
            old.close()
        return adapter

    def listener(self, revision: int, updates: Sequence[Update]) -> None:
        """What the cache calls: the connection to a cluster that is gone is closed, in a thread of its own, since
        that may take a while."""
        gone = [update.key.rpartition("/")[2] for update in updates if _is_gone(update)]
        with self._lock:
            adapters = [self._open.pop(id)[1] for id in gone if id in self._open]
            threads = [Thread(target=adapter.close, name="closing", daemon=True) for adapter in adapters]
            self._closing = {thread for thread in self._closing if thread.is_alive()} | set(threads)
            for thread in threads:
                thread.start()

    def close(self) -> None:
        """Let go of all connections. Idempotent."""
        with self._lock:
            opened, self._open = self._open, {}
            closing = list(self._closing)
        for _, adapter in opened.values():
            adapter.close()
        for thread in closing:
            thread.join(self._settings.backend_timeout)

    def _opened(self, record: Cluster) -> Adapter:
        try:
            credentials = self._vault.open(record.credentials) if record.credentials else {}
            key = self._vault.label_key
            connection = Connection.to(
                record, self._installation, credentials, self._settings, label_key=key, owned=False
            )
            return open_adapter(connection)
        except BackendError:
            raise
        except Exception as error:
            log.exception("cluster not opened", cluster=record.name)
            what = str(error) if isinstance(error, Undecryptable) else type(error).__name__
            raise Unavailable(
                f"The gateway can't open its connection to the cluster {record.name} ({what}); its log says why.",
                "Error",
            ) from error


def _is_gone(update: Update) -> bool:
    return update.after is None and update.key.startswith("intent/cluster/")


class BackendCalls:
    """Threads for what asks clusters: `threads` in all, of which one cluster and one project have a share at most."""

    def __init__(self, threads: int, per_cluster: int, per_project: int) -> None:
        self._most = {"": threads, "cluster": per_cluster, "project": per_project}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="backend-call")
        self._running: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    def start(self, call: BackendCall) -> Future[Answer]:
        """Begin with it; never blocks. Raises `Busy` where no thread may be had for it."""
        shares = (("", ""), ("cluster", call.cluster), ("project", call.project))
        with self._lock:
            taken = next((kind for kind, name in shares if self._running[kind, name] >= self._most[kind]), None)
            if taken is not None:
                whose = {"cluster": "of this cluster", "project": "for this project", "": "of clusters"}[taken]
                raise Busy(f"As much is being asked {whose} as may be at once. Try again later.")
            self._running.update(shares)
        return self._threads.submit(contextvars.copy_context().run, self._run, call, shares)

    def close(self) -> None:
        """Begin with nothing more; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, call: BackendCall, shares: tuple[tuple[str, str], ...]) -> Answer:
        try:
            return call.run()
        finally:
            with self._lock:
                self._running -= Counter(shares)
