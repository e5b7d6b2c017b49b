"""The API's own connections to clusters, for what must reach a backend: logs and signals."""

from __future__ import annotations

from threading import Lock

from zun_coe.adapters import Adapter, Connection, open_adapter
from zun_coe.config import Settings
from zun_coe.errors import NotFound
from zun_coe.gateway.views import Views
from zun_coe.model import Cluster
from zun_coe.vault import Vault


class Backends:
    """One adapter for each cluster, opened when first needed and again when the cluster's record changed."""

    def __init__(self, views: Views, installation: str, vault: Vault, settings: Settings) -> None:
        self._views, self._installation, self._vault, self._settings = views, installation, vault, settings
        self._lock = Lock()
        self._open: dict[str, tuple[int, Adapter]] = {}

    def adapter(self, cluster: str) -> Adapter:
        """The connection to a cluster. Calls no backend. Raises `NotFound` where the cluster is gone."""
        found = self._views.get("cluster", cluster)
        if found is None:
            raise NotFound("Its cluster was removed.")
        record: Cluster = found.intent
        with self._lock:
            revision, adapter = self._open.get(cluster, (0, None))
            if adapter is None or revision != found.revision:
                if adapter is not None:
                    adapter.close()
                credentials = self._vault.open(record.credentials) if record.credentials else {}
                key = self._vault.label_key
                connection = Connection.to(record, self._installation, credentials, self._settings, label_key=key)
                adapter = open_adapter(connection)
                self._open[cluster] = (found.revision, adapter)
            return adapter

    def close(self) -> None:
        """Let go of all connections. Idempotent."""
        with self._lock:
            opened, self._open = self._open, {}
        for _, adapter in opened.values():
            adapter.close()
