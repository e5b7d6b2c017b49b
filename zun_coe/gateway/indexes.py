"""Lists in every order and by every filter, without looking at everything that there is.

An index holds the ids of one list: in an order for each field they can be sorted by, and in a set for each value
they can be filtered by. Both are made when they are first asked for and kept up to date from then on, so that
what nobody asks for costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice, pairwise
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedList

Item = TypeVar("Item")
Scope = str | None
"""A project; None for all of them; or another group that a list is made of."""
Place = tuple[Any, Any]
"""A position in an order: the sort key and the id of the last one before it."""
Condition = tuple[str, Sequence[str]]
"""A facet, and the values of which one has to be there."""
FEW = 1000
"""Up to so many ids are sorted when they are asked for; among more, an order is followed."""


@dataclass(frozen=True)
class Traits(Generic[Item]):
    """How an index sees its items. `key`: what they are sorted by, by the field's name; `values`: of a facet; `scopes`:
    the groups that an item belongs to; `fields`: all that can be sorted by."""

    id: Callable[[Item], Any]
    key: Callable[[Item, str], Any]
    values: Callable[[Item, str], Iterable[str]]
    scopes: Callable[[Item], Sequence[Scope]]
    fields: Sequence[str]


@dataclass(frozen=True)
class Selection:
    """Which items, in which order, from where on. An item that is in any of the scopes is chosen, if it meets all
    of the conditions."""

    scopes: Sequence[Scope]
    field: str
    descending: bool = False
    conditions: Sequence[Condition] = ()
    behind: Place | None = None


class Index(Generic[Item]):
    """The index of one list. `items`: all that are in a scope now; `find`: one by its id. Not thread-safe: whoever
    has it holds the lock that guards the items."""

    def __init__(
        self, traits: Traits[Item], items: Callable[[Scope], Iterable[Item]], find: Callable[[Any], Item | None]
    ) -> None:
        self._traits, self._items, self._find = traits, items, find
        self._orders: dict[tuple[Scope, str], SortedList[Place]] = {}
        self._facets: dict[str, dict[str, set[Any]]] = {}

    @property
    def in_use(self) -> bool:
        """Whether it has to hear of changes."""
        return bool(self._orders or self._facets)

    def change(self, before: Item | None, after: Item | None) -> None:
        """An item is new, other than before, or gone. To be called once the items themselves have changed."""
        self._reorder(before, after)
        self._regroup(before, after)

    def select(self, wanted: Selection, limit: int) -> tuple[list[Item], bool]:
        """The first items that are wanted, `limit` at most, and whether there are more."""
        ids = (id for _, id in self._places(wanted))
        found = [item for id in islice(ids, limit + 1) if (item := self._find(id)) is not None]
        return found[:limit], len(found) > limit

    def having(self, facet: str, values: Iterable[str]) -> set[Any]:
        """The ids of all items that have one of the values. Not to be changed."""
        by_value = self._facet(facet)
        sets = [found for value in values if (found := by_value.get(value))]
        return sets[0] if len(sets) == 1 else set().union(*sets)

    def _places(self, wanted: Selection) -> Iterable[Place]:
        sets = sorted((self.having(*condition) for condition in wanted.conditions), key=len)
        if sets and len(sets[0]) <= FEW:
            return self._sorted(set.intersection(*sets), wanted)
        walked = _distinct([self._walk(scope, wanted) for scope in wanted.scopes], wanted.descending)
        if not sets:
            return walked
        if any(one.isdisjoint(other) for one, other in pairwise(sets)):  # it ends at the first that both have
            return ()
        return _in_all(walked, sets)

    def _walk(self, scope: Scope, wanted: Selection) -> Iterator[Place]:
        order = self._order(scope, wanted.field)
        if wanted.descending:
            return order.irange(None, wanted.behind, inclusive=(True, False), reverse=True)
        return order.irange(wanted.behind, None, inclusive=(False, True))

    def _sorted(self, ids: set[Any], wanted: Selection) -> list[Place]:
        items = (item for id in ids if (item := self._find(id)) is not None)
        there = (item for item in items if any(scope in wanted.scopes for scope in self._traits.scopes(item)))
        places = sorted((self._place(item, wanted.field) for item in there), reverse=wanted.descending)
        behind = wanted.behind
        if behind is None:
            return places
        return [place for place in places if (place < behind if wanted.descending else place > behind)]

    def _place(self, item: Item, field: str) -> Place:
        return (self._traits.key(item, field), self._traits.id(item))

    def _order(self, scope: Scope, field: str) -> SortedList[Place]:
        order = self._orders.get((scope, field))
        if order is None:
            order = SortedList(self._place(item, field) for item in self._items(scope))
            self._orders[scope, field] = order
        return order

    def _facet(self, facet: str) -> Mapping[str, set[Any]]:
        by_value = self._facets.get(facet)
        if by_value is None:
            by_value = self._facets[facet] = {}
            for item in self._items(None):
                for value in self._traits.values(item, facet):
                    by_value.setdefault(value, set()).add(self._traits.id(item))
        return by_value

    def _reorder(self, before: Item | None, after: Item | None) -> None:
        old, new = self._kept_places(before), self._kept_places(after)
        if old == new:
            return
        for order, place in old:
            self._orders[order].discard(place)
        for order, place in new:
            self._orders[order].add(place)

    def _kept_places(self, item: Item | None) -> list[tuple[tuple[Scope, str], Place]]:
        if item is None:
            return []
        orders = ((scope, field) for scope in self._traits.scopes(item) for field in self._traits.fields)
        return [(order, self._place(item, order[1])) for order in orders if order in self._orders]

    def _regroup(self, before: Item | None, after: Item | None) -> None:
        for facet, by_value in self._facets.items():
            old = set(self._traits.values(before, facet)) if before is not None else set()
            new = set(self._traits.values(after, facet)) if after is not None else set()
            for value in old - new if before is not None else ():
                ids = by_value.get(value, set())
                ids.discard(self._traits.id(before))  # type: ignore[arg-type]  # it is not None where there are values
                if not ids:
                    by_value.pop(value, None)
            for value in new - old if after is not None else ():
                by_value.setdefault(value, set()).add(self._traits.id(after))  # type: ignore[arg-type]  # as above


def _in_all(places: Iterable[Place], sets: Sequence[set[Any]]) -> Iterator[Place]:
    """Those whose ids are in all sets. These are large, so that it takes less to look on the way than to intersect
    them."""
    if len(sets) == 1:
        (ids,) = sets
        yield from (place for place in places if place[1] in ids)
        return
    for place in places:
        id = place[1]
        for ids in sets:
            if id not in ids:
                break
        else:
            yield place


def _distinct(walks: Sequence[Iterator[Place]], descending: bool) -> Iterator[Place]:
    """The places of several orders as one; what is in more than one of them comes once."""
    if len(walks) == 1:
        return walks[0]
    return _without_repetition(merge(*walks, reverse=descending))


def _without_repetition(places: Iterable[Place]) -> Iterator[Place]:
    last: Place | None = None
    for place in places:
        if place != last:
            yield place
        last = place
