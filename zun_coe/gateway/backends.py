"""The API's own connections to clusters, for what must reach a backend: logs and signals."""

from __future__ import annotations

from threading import Lock

from zun_coe.adapters import Adapter, Connection, open_adapter
from zun_coe.config import Settings
from zun_coe.errors import NotFound
from zun_coe.gateway.views import Views
from zun_coe.model import Cluster
from zun_coe.vault import Vault


def connection_of(cluster: Cluster, installation: str, vault: Vault, settings: Settings) -> Connection:
    """All that an adapter needs to reach this cluster."""
    return Connection(
        installation=installation,
        cluster=cluster.id,
        kind=cluster.kind,
        hosts=cluster.hosts,
        endpoint=cluster.endpoint,
        node_endpoint=cluster.node_endpoint,
        namespace=cluster.namespace,
        credentials=vault.open(cluster.credentials) if cluster.credentials else {},
        timeout=settings.backend_timeout,
        pull_timeout=settings.pull_timeout,
        parallelism=settings.parallelism,
        host_grace=settings.host_grace,
    )


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
                connection = connection_of(record, self._installation, self._vault, self._settings)
                adapter = open_adapter(connection)
                self._open[cluster] = (found.revision, adapter)
            return adapter

    def close(self) -> None:
        """Let go of all connections. Idempotent."""
        with self._lock:
            opened, self._open = self._open, {}
        for _, adapter in opened.values():
            adapter.close()
