"""What the REST service counts, and what it knows of its resources, for Prometheus."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from zun_coe.api.exchange import Exchange
from zun_coe.gateway import Gateway
from zun_coe.gateway.views import Resource, phase_of

_NOUNS = ("app", "container", "cluster", "volume")


class Metrics:
    """What the process measures of itself (`zun_coe.metrics`), and the resources. Thread-safe."""

    def __init__(self, gateway: Gateway) -> None:
        self._process = gateway.metrics
        self._resources = {named: CollectorRegistry() for named in (False, True)}
        for named, registry in self._resources.items():
            registry.register(_Resources(gateway, named=named))
        self.streams = gateway.metrics.streams

    def report(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Count one request."""
        operation = exchange.operation or "none"
        self._process.requests.labels(operation, str(status)).inc()
        self._process.request_seconds.labels(operation).observe(seconds)

    def text(self, *, named: bool) -> bytes:
        """Everything in the text format of Prometheus. `named`: clusters with their names and projects, and not by
        their ids."""
        return self._process.text() + generate_latest(self._resources[named])


class _Resources(Collector):
    """What there is by now, counted when somebody asks."""

    def __init__(self, gateway: Gateway, *, named: bool) -> None:
        self._gateway, self._named = gateway, named

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        yield GaugeMetricFamily(
            "zun_coe_store_age_seconds", "Seconds since the store was heard of.", self._gateway.cache.age
        )
        counts = GaugeMetricFamily("zun_coe_resources", "Resources of all projects.", labels=["noun", "phase"])
        for noun in _NOUNS:
            for phase, number in Count(map(phase_of, self._all(noun))).items():
                counts.add_metric([noun, phase], number)
        yield counts
        labels = ["project", "cluster"] if self._named else ["cluster"]
        reachable = GaugeMetricFamily("zun_coe_cluster_reachable", "Whether a cluster answers.", labels=labels)
        for cluster in self._all("cluster"):
            told = [cluster.intent.project, cluster.intent.name] if self._named else [cluster.id]
            reachable.add_metric(told, cluster.status.reachable)
        yield reachable

    def _all(self, noun: str) -> list[Resource]:
        """All there are; they are counted without the lock, which the store's watch waits for."""
        with self._gateway.views.lock:
            return list(self._gateway.views.ordered(noun, None))
