"""Volumes: made by what mounts them, gone when they are marked, told of with the node that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import cast

import msgspec

from zun_coe.adapters import Adapter
from zun_coe.engine import telling
from zun_coe.engine.acting import Conditional, Key, Ledger, Tools
from zun_coe.engine.measuring import MeasuredAdapter
from zun_coe.engine.tenure import Tenure
from zun_coe.model import Deletion, Intent, Status, Volume, VolumeSource, VolumeStatus
from zun_coe.store import At, Put
from zun_coe.store.records import encode, intent_key
from zun_coe.store.references import volume_uses


class Volumes:
    """The volumes of one cluster. Thread-safe as long as no key is worked on twice at once."""

    def __init__(
        self,
        tools: Tools,
        ledger: Ledger,
        adapter: Adapter | MeasuredAdapter,
        tenure: Tenure,
        clock: Callable[[], datetime],
    ) -> None:
        self._tools, self._ledger, self._adapter = tools, ledger, adapter
        self._tenure, self._clock = tenure, clock

    def reconcile(self, key: Key) -> None:
        """Remove a volume that is marked, or tell where one is. Raises `BackendError` where it can't go on,
        `StoreError`, `Fenced`."""
        entry = self._ledger.intent(key)
        if entry is None:
            return
        volume = cast(Volume, entry.value)
        if volume.deletion is None:
            self._tell(key)
            return
        if not volume.deletion.force:
            self._tenure.check()
            self._adapter.remove_volume(volume.name, volume.id, volume.project)
        event = telling.event(volume, "volume", "VolumeDeleted", "It is gone.", self._clock())
        self._ledger.finalise(key, entry, event, tombstone=None)

    def marks(self, intent: Intent, volumes: Iterable[str], now: datetime) -> list[Conditional]:
        """The marks of volumes that go with a workload: of those that nothing else mounts, on condition that nothing
        begins to."""
        marks: list[Conditional] = []
        for id in sorted(volumes):
            entry = self._tools.cache.get(intent_key("volume", intent.project, id))
            if entry is None:
                continue
            volume = cast(Volume, entry.value)
            uses = volume_uses(self._tools.cache, volume)
            if volume.deletion is not None or {user.id for user in uses.users} - {intent.id}:
                continue
            deletion = Deletion(at=now, request_id=cast(Deletion, intent.deletion).request_id)
            marked = msgspec.structs.replace(volume, deletion=deletion, generation=volume.generation + 1)
            conditions = (At(entry.key, entry.revision), uses.unchanged)
            marks.append(Conditional(Put(entry.key, encode(marked)), conditions))
        return marks

    def storage(self, project: str, volumes: Mapping[str, str]) -> Iterator[tuple[str, VolumeSource]]:
        """What the records of the volumes say of their size and class."""
        for name, id in volumes.items():
            if (entry := self._tools.cache.get(intent_key("volume", project, id))) is not None:
                volume = cast(Volume, entry.value)
                yield name, VolumeSource(name=name, size=volume.size, class_=volume.class_)

    def _tell(self, key: Key) -> None:
        before, expected = self._ledger.status(key, VolumeStatus())
        hosts = {
            i.host
            for id in self._users(key.project, key.id)
            for noun in ("app", "container")
            if (entry := self._tools.cache.get(f"status/{noun}/{key.project}/{id}"))
            for i in cast(Status, entry.value).instances
        }
        after = msgspec.structs.replace(before, reason=None, message=None)
        if hosts:
            host = next(iter(hosts)) if len(hosts) == 1 else None
            after = msgspec.structs.replace(after, phase="Ready", host=host)
        if after != before:
            self._ledger.write_status(key, after, expected)

    def _users(self, project: str, volume: str) -> set[str]:
        entries = [e for noun in ("app", "container") for e in self._tools.cache.list(f"intent/{noun}/{project}/")]
        return {cast(Intent, e.value).id for e in entries if volume in cast(Intent, e.value).volumes.values()}
