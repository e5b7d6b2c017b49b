"""Calls to a cluster, measured: an adapter around an adapter, with the calls that the engine makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event as StopEvent
from typing import TypeVar

from zun_coe.adapters import Adapter, Known, Outcome
from zun_coe.errors import BackendError
from zun_coe.metrics import Metrics
from zun_coe.model import ClusterInfo, Observation, Workload, WorkloadRef

T = TypeVar("T")


class MeasuredAdapter:
    """The engine's side of an adapter."""

    def __init__(self, adapter: Adapter, cluster: str, metrics: Metrics) -> None:
        self._adapter, self._cluster, self._metrics = adapter, cluster, metrics

    def recall(self, known: Known) -> None:
        """See `Adapter`. Calls no backend."""
        self._adapter.recall(known)

    def describe(self) -> ClusterInfo:
        """See `Adapter`, as for the others."""
        return self._call("describe", self._adapter.describe)

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        """One workload, or all of them."""
        name = "observe" if ref else "observe_all"
        return self._call(name, lambda: self._adapter.observe(ref))

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        """One step."""
        return self._call("apply", lambda: self._adapter.apply(workload, seen))

    def remove(self, ref: WorkloadRef, seen: Observation | None) -> Outcome:
        """One step of a removal."""
        return self._call("remove", lambda: self._adapter.remove(ref, seen))

    def remove_volume(self, name: str, id: str, project: str) -> None:
        """Delete a volume."""
        self._call("remove_volume", lambda: self._adapter.remove_volume(name, id, project))

    def watch(self, stop: StopEvent) -> Iterator[WorkloadRef | None]:
        """Hints; each time they are asked for is counted."""
        self._metrics.watches.labels(self._cluster).inc()
        return self._adapter.watch(stop)

    def close(self) -> None:
        """Let go of it."""
        self._adapter.close()

    def _call(self, name: str, call: Callable[[], T]) -> T:
        with self._metrics.timed(self._metrics.backend_seconds, self._cluster, name):
            try:
                return call()
            except BackendError as error:
                self._metrics.backend_errors.labels(self._cluster, name, error.reason).inc()
                raise
