"""What the REST service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from zun_coe.api.exchange import Exchange


class Metrics:
    """Counters of one application, in a registry of their own. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
