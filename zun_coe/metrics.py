"""What a process measures of itself, for Prometheus: one registry for each process, nothing global.

Times are seconds. `cluster` is the cluster's name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class QueueState:
    """How busy one cluster is: keys that are due, and for how long the oldest has been."""

    cluster: str
    depth: int
    oldest: float


class Metrics:
    """All metrics of a process. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("http_requests", "Requests that were answered.", "operation", "status")
        self.request_seconds = self._histogram("http_request_seconds", "How long answers took.", "operation")
        self.streams = Gauge("zun_coe_http_streams", "Streams that are open.", ["kind"], registry=self.registry)
        self.reconcile_seconds = self._histogram("reconcile_seconds", "How long reconciles took.", "cluster", "result")
        self.backend_seconds = self._histogram("backend_seconds", "How long calls to clusters took.", "cluster", "call")
        self.backend_errors = self._counter("backend_errors", "Calls that failed.", "cluster", "call", "reason")
        self.watches = self._counter("watches", "How often a cluster's hints were asked for anew.", "cluster")
        self.store_seconds = self._histogram("store_seconds", "How long calls to the store took.", "call")
        self.store_errors = self._counter("store_errors", "Calls to the store that failed.", "call", "kind")

    def queues(self, read: Callable[[], Iterable[QueueState]]) -> None:
        """The queues of the clusters that this process has, read when somebody asks."""
        self.registry.register(_Queues(read))

    @contextmanager
    def timed(self, histogram: Histogram, *labels: str) -> Iterator[None]:
        """Measure a block, however it ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            histogram.labels(*labels).observe(time.perf_counter() - began)

    def text(self) -> bytes:
        """Everything in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"zun_coe_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"zun_coe_{name}", text, labels, buckets=_SHORT, registry=self.registry)


class _Queues(Collector):
    def __init__(self, read: Callable[[], Iterable[QueueState]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        states = list(self._read())
        depth = GaugeMetricFamily("zun_coe_queue_depth", "Keys that are due.", labels=["cluster"])
        oldest = GaugeMetricFamily("zun_coe_queue_oldest_seconds", "Age of the oldest due key.", labels=["cluster"])
        for state in states:
            depth.add_metric([state.cluster], state.depth)
            oldest.add_metric([state.cluster], state.oldest)
        yield depth
        yield oldest
        yield GaugeMetricFamily("zun_coe_owned_clusters", "Clusters that this process runs.", value=len(states))
