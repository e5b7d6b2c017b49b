"""What the REST service counts, and what it knows of its resources, for Prometheus."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from zun_coe.api.exchange import Exchange
from zun_coe.gateway import Gateway
from zun_coe.gateway.views import phase_of

_NOUNS = ("app", "container", "cluster", "volume")


class Metrics:
    """Counters of one application, in a registry of their own. Thread-safe."""

    def __init__(self, gateway: Gateway) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Resources(gateway))
        self._requests = Counter(
            "zun_coe_http_requests", "Requests that were answered.", ["operation", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "zun_coe_http_request_seconds", "How long answers took.", ["operation"], registry=self.registry
        )
        self.streams = Gauge("zun_coe_http_streams", "Streams that are open.", ["kind"], registry=self.registry)

    def report(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Count one request."""
        operation = exchange.operation or "none"
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self) -> bytes:
        """Everything in the text format of Prometheus."""
        return generate_latest(self.registry)


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
