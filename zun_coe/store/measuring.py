"""A store around a store that measures its calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event as StopEvent

from zun_coe.errors import StoreError
from zun_coe.metrics import Metrics
from zun_coe.store import Batch, Condition, Lease, Operation, Page, Record, Store


class MeasuredStore(Store):
    """See `Store` for what each call does; watches last for ever and are not measured."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    def get(self, key: str) -> Record | None:
        """Measured."""
        with self._measured("get"):
            return self._store.get(key)

    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        """Measured."""
        with self._measured("list"):
            return self._store.list(prefix, limit=limit, after=after, revision=revision)

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        """Measured."""
        with self._measured("transact"):
            return self._store.transact(conditions, operations)

    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        """Not measured."""
        return self._store.watch(prefix, since, stop)

    def grant(self, ttl: float) -> Lease:
        """Measured."""
        with self._measured("grant"):
            return self._store.grant(ttl)

    def renew(self, lease: Lease) -> None:
        """Measured."""
        with self._measured("renew"):
            self._store.renew(lease)

    def revoke(self, lease: Lease) -> None:
        """Measured."""
        with self._measured("revoke"):
            self._store.revoke(lease)

    def compact(self, before: int) -> None:
        """Measured."""
        with self._measured("compact"):
            self._store.compact(before)

    def close(self) -> None:
        """Close the store itself."""
        self._store.close()

    @contextmanager
    def _measured(self, call: str) -> Iterator[None]:
        with self._metrics.timed(self._metrics.store_seconds, call):
            try:
                yield
            except StoreError as error:
                self._metrics.store_errors.labels(call, type(error).__name__).inc()
                raise
