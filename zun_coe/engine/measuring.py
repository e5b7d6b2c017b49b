"""Calls to a cluster, measured: an adapter around an adapter, with the calls that the engine makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from threading import Event as StopEvent
from typing import Any, TypeVar

from zun_coe.adapters import Adapter, Known, Outcome
from zun_coe.errors import BackendError, Denied
from zun_coe.metrics import Metrics
from zun_coe.model import ClusterInfo, Observation, Workload, WorkloadRef
from zun_coe.store.records import utc_now

T = TypeVar("T")


class MeasuredAdapter:
    """The engine's side of an adapter."""

    def __init__(self, adapter: Adapter, cluster: str, metrics: Metrics) -> None:
        self._adapter, self._cluster, self._metrics = adapter, cluster, metrics

    def recall(self, known: Known) -> None:
        """See `Adapter`. Calls no backend."""
        self._adapter.recall(known)

    def renew(self, credentials: Mapping[str, Any]) -> bool:
        """See `Adapter`. Calls no backend."""
        return self._adapter.renew(credentials)

    def expires_at(self) -> datetime | None:
        """See `Adapter`. Calls no backend."""
        return self._adapter.expires_at()

    def describe(self) -> ClusterInfo:
        """See `Adapter`, as for the others."""
        return self._call("describe", self._adapter.describe)

    def distrust(self, hosts: Mapping[str, str]) -> None:
        """See `Adapter`. Calls no backend."""
        self._adapter.distrust(hosts)

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

    def tidy(self) -> None:
        """Remove what nothing uses any more."""
        self._call("tidy", self._adapter.tidy)

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
                told = self._explained(error)
                self._metrics.backend_errors.labels(self._cluster, name, told.reason).inc()
                if told is error:
                    raise
                raise told from error

    def _explained(self, error: BackendError) -> BackendError:
        """Whoever is denied something with credentials that have expired is denied it for that."""
        expires_at = self._adapter.expires_at() if isinstance(error, Denied) else None
        if expires_at is None or expires_at > utc_now():
            return error
        message = f"The cluster's credentials expired at {expires_at:%Y-%m-%d %H:%M} UTC: {error}"
        return Denied(message, "CredentialsExpired", error.evidence)
