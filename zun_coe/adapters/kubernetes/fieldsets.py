"""Sets of fields as `metadata.managedFields` has them (`fieldsV1`), walked beside the objects they are about. Pure.

`f:` is a field by its name, `k:` an item of a list by its key, `v:` an item by its value, `.` the value around them.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

FieldSet = Mapping[str, Any]


class Place(NamedTuple):
    """A member of a set: its name there, its pointer in the live object, what is wanted and what is found there (None:
    nothing), and the members below it."""

    name: str
    pointer: str
    wanted: Any
    found: Any
    below: FieldSet

    @property
    def whole(self) -> bool:
        """Whether it is owned as one value, whatever is in it."""
        return not any(name != "." for name in self.below)


def places(fields: FieldSet, wanted: Any, live: Any, pointer: str) -> Iterator[Place]:
    """The members at one level of a set."""
    for name, below in fields.items():
        if name != "." and (step := step_of(name, live)) is not None:
            yield Place(name, f"{pointer}/{token(step)}", at(name, wanted), at(name, live), below)


def at(name: str, value: Any) -> Any:
    """What a member of a set is in a value, None where it is not there."""
    if name.startswith("f:"):
        return value.get(name[2:]) if isinstance(value, Mapping) else None
    index = _index(name, value)
    return None if index is None else value[index]


def step_of(name: str, live: Any) -> str | None:
    """The step of a pointer to a member; None for what has none."""
    sort, _, rest = name.partition(":")
    if sort == "f":
        return rest
    return None if (index := _index(name, live)) is None else str(index)


def identity(item: Mapping[str, Any], key: tuple[str, ...]) -> tuple[Any, ...]:
    """The fields of an item that tell it from others of its list."""
    return tuple(item.get(field, "TCP" if field == "protocol" else None) for field in key)


def token(key: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def steps(pointer: str) -> list[str]:
    """The steps of a JSON pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _index(name: str, value: Any) -> int | None:
    """Where in a list a member of a set is."""
    sort, _, rest = name.partition(":")
    items = value if isinstance(value, list) else []
    if sort == "i":
        return int(rest) if int(rest) < len(items) else None
    if sort not in ("k", "v"):
        return None
    sought = msgspec.json.decode(rest)
    if sort == "v":
        return next((n for n, item in enumerate(items) if item == sought), None)
    key, values = tuple(sought), tuple(sought.values())
    return next((n for n, i in enumerate(items) if isinstance(i, Mapping) and identity(i, key) == values), None)
