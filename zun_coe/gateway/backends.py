"""The API's own connections to clusters, for what must reach a backend: logs and signals."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock, Thread

import structlog

from zun_coe.adapters import Adapter, Connection, open_adapter
from zun_coe.config import Settings
from zun_coe.errors import BackendError, NotFound, Unavailable
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
        with self._lock:
            revision, adapter = self._open.get(cluster, (0, None))
            if adapter is None or revision != found.revision:
                if adapter is not None:
                    adapter.close()
                adapter = self._opened(record)
                self._open[cluster] = (found.revision, adapter)
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
