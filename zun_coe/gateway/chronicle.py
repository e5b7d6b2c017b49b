"""Events in their order, and what they are filtered by.

For each value that a filter may have there is a list of its own, made when somebody first filters by its name: in
a project with a hundred thousand events those of one resource are found without looking at the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sortedcontainers import SortedKeyList

from zun_coe.model import Event

Order = tuple[int, int]
"""The place of an event: the store's revision and n."""
Project = str | None
_FACETS: Mapping[str, Sequence[str]] = {"resource": ("subject_id", "subject_name")}
"""Filters that are not called as the field they are about."""


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the order: the store's revision and n."""

    order: Order
    event: Event

    @property
    def id(self) -> str:
        """What clients resume from. Opaque to them."""
        return f"{self.order[0]}-{self.order[1]}"


def fits(event: Event, filters: Mapping[str, str]) -> bool:
    """Whether an event fits all filters: type, subject, level, reason, cluster, request_id, or the id or
    name of its subject as `resource`."""
    return all(wanted in _values(event, name) for name, wanted in filters.items())


class Chronicle:
    """All events of all projects. Not thread-safe."""

    def __init__(self) -> None:
        self._all: dict[Project, SortedKeyList[Any, Any]] = {}
        self._facets: dict[str, dict[tuple[Project, str], SortedKeyList[Any, Any]]] = {}

    def of(self, project: Project) -> SortedKeyList[Any, Any]:
        """Events of a project (None: of all), the oldest first."""
        return self._all.get(project) or _empty()

    def change(self, gone: Iterable[StoredEvent], new: Sequence[StoredEvent]) -> None:
        """Leave some out and take some in, all at once: at a start there are very many."""
        for stored in gone:
            self._leave_out(stored)
        added: dict[int, tuple[SortedKeyList[Any, Any], list[StoredEvent]]] = {}
        for stored in new:
            for events in self._lists_of(stored):
                added.setdefault(id(events), (events, []))[1].append(stored)
        for events, more in added.values():
            events.update(more)

    def fitting(
        self, project: Project, filters: Mapping[str, str], behind: Order | None = None, *, newest_first: bool = False
    ) -> Iterator[StoredEvent]:
        """Events that fit all filters, behind a place in the order that is asked for. Looks at those only that fit
        the filter that the fewest do."""
        events = min((self._having(project, *item) for item in filters.items()), key=len, default=self.of(project))
        if newest_first:
            ordered = events.irange_key(None, behind, inclusive=(True, False), reverse=True)
        else:
            ordered = events.irange_key(behind, None, inclusive=(False, True))
        return (stored for stored in ordered if fits(stored.event, filters)) if len(filters) > 1 else ordered

    def _having(self, project: Project, name: str, wanted: str) -> SortedKeyList[Any, Any]:
        if name not in self._facets:
            by_value: dict[tuple[Project, str], list[StoredEvent]] = {}
            for stored in self.of(None):
                for key in _keys(stored, name):
                    by_value.setdefault(key, []).append(stored)
            self._facets[name] = {key: SortedKeyList(found, key=_by_order) for key, found in by_value.items()}
        return self._facets[name].get((project, wanted)) or _empty()

    def _leave_out(self, stored: StoredEvent) -> None:
        for events in self._lists_of(stored):
            events.discard(stored)
        for name, by_value in self._facets.items():
            for key in _keys(stored, name):
                if not by_value[key]:
                    del by_value[key]

    def _lists_of(self, stored: StoredEvent) -> Iterator[SortedKeyList[Any, Any]]:
        """All lists that an event is in, or is to be."""
        for project in (stored.event.project, None):
            yield self._all.setdefault(project, _empty())
        for name, by_value in self._facets.items():
            for key in _keys(stored, name):
                yield by_value.setdefault(key, _empty())


def _keys(stored: StoredEvent, name: str) -> set[tuple[Project, str]]:
    values = _values(stored.event, name)
    return {(project, value) for project in (stored.event.project, None) for value in values}


def _values(event: Event, name: str) -> Sequence[str]:
    found = (getattr(event, field, None) for field in _FACETS.get(name, (name,)))
    return [str(value) for value in found if value is not None]


def _by_order(stored: StoredEvent) -> Order:
    return stored.order


def _empty() -> SortedKeyList[Any, Any]:
    return SortedKeyList(key=_by_order)
