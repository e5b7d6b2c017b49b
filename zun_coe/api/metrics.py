"""What the REST service counts, and what it knows of its resources, for Prometheus."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from zun_coe.api.exchange import Exchange
from zun_coe.gateway import Gateway
from zun_coe.gateway.views import phase_of

_NOUNS = ("app", "container", "cluster", "volume")


class Metrics:
    """What the process measures of itself (`zun_coe.metrics`), and the resources. Thread-safe."""

    def __init__(self, gateway: Gateway) -> None:
        self._process = gateway.metrics
        self._resources = CollectorRegistry()
        self._resources.register(_Resources(gateway))
        self.streams = gateway.metrics.streams

    def report(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Count one request."""
        operation = exchange.operation or "none"
        self._process.requests.labels(operation, str(status)).inc()
        self._process.request_seconds.labels(operation).observe(seconds)

    def text(self) -> bytes:
        """Everything in the text format of Prometheus."""
        return self._process.text() + generate_latest(self._resources)


class _Resources(Collector):
    """What there is by now, counted when somebody asks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        yield GaugeMetricFamily(
            "zun_coe_store_age_seconds", "Seconds since the store was heard of.", self._gateway.cache.age
        )
        counts = GaugeMetricFamily("zun_coe_resources", "Resources of all projects.", labels=["noun", "phase"])
        reachable = GaugeMetricFamily(
            "zun_coe_cluster_reachable", "Whether a cluster answers.", labels=["project", "cluster"]
        )
        with self._gateway.views.lock:
            for noun in _NOUNS:
                for phase, number in Count(map(phase_of, self._gateway.views.ordered(noun, None))).items():
                    counts.add_metric([noun, phase], number)
            for cluster in self._gateway.views.ordered("cluster", None):
                reachable.add_metric([cluster.intent.project, cluster.intent.name], cluster.status.reachable)
        yield counts
        yield reachable
