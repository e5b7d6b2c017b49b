"""What stands in the place of an adapter that can't be had, so that a cluster's trouble is told as any other's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar

from zun_coe.adapters import (
    NOTHING_ALLOWED,
    Adapter,
    Connection,
    Foreign,
    LogOptions,
    LogStream,
    Offer,
    Outcome,
    Policy,
    kinds,
)
from zun_coe.adapters.fields import Accounting
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import BackendError, FieldProblem
from zun_coe.model import ClusterInfo, Observation, Workload, WorkloadRef


class Unopened(Adapter):
    """In the place of an adapter that can't be had: nothing is ever called, and every call says why. `why` makes
    the error that is raised."""

    fields: ClassVar[Accounting] = {}

    def __init__(self, connection: Connection, why: Callable[[], BackendError]) -> None:
        super().__init__(connection)
        self._why = why

    @classmethod
    def check_registration(
        cls,
        cluster: Mapping[str, Any],
        *,
        admin: bool,
        reach: Reach = ELSEWHERE,
        policy: Policy = NOTHING_ALLOWED,
    ) -> Sequence[FieldProblem]:
        """See `Adapter`. Nothing is registered as such."""
        return []

    def describe(self) -> ClusterInfo:
        """Raises what `why` gives, as all the others do that would reach it."""
        raise self._why()

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        """See `describe`."""
        raise self._why()

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        """See `describe`."""
        raise self._why()

    def remove(self, ref: WorkloadRef, seen: Observation | None) -> Outcome:
        """See `describe`."""
        raise self._why()

    def remove_volume(self, name: str, id: str, project: str) -> None:
        """See `describe`."""
        raise self._why()

    def logs(self, ref: WorkloadRef, native_id: str, options: LogOptions) -> LogStream:
        """See `describe`."""
        raise self._why()

    def kill(self, ref: WorkloadRef, native_id: str, signal: str) -> None:
        """See `describe`."""
        raise self._why()

    def delete_instance(self, ref: WorkloadRef, native_id: str) -> None:
        """See `describe`."""
        raise self._why()

    def foreign(self, known: Collection[str] = ()) -> Sequence[Foreign]:
        """See `describe`."""
        raise self._why()

    def offer(self, namespace: str, name: str) -> Offer:
        """See `describe`."""
        raise self._why()

    def render(self, workload: Workload) -> list[dict[str, Any]]:
        """See `Adapter`. Raises what `why` gives where the kind is unknown."""
        kind = kinds().get(self.connection.kind)
        if kind is None:
            raise self._why()
        with closing(kind(self.connection)) as adapter:
            return adapter.render(workload)

    def close(self) -> None:
        """See `Adapter`. Nothing is open."""
