"""The base of every value in the model: frozen, typed, and JSON on the outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A frozen value. Its JSON is its fields; unknown ones are ignored when read, so that an older
    gateway can read what a newer one wrote.

    The garbage collector leaves values out: what is frozen makes no cycles, and there are very many."""


def prepare(base: type[msgspec.Struct]) -> None:
    """Have everything made that is needed to read the types below a base. Called when their module is imported:
    msgspec makes it when a type is first used, and threads that do that at once bring the process down."""
    for type_ in base.__subclasses__():
        msgspec.json.Decoder(type_)
        prepare(type_)


def plain(value: Any) -> Any:
    """The JSON form that users see: what is not set (None) is left out, defaults are shown."""
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return {out: plain(v) for name, out in names if (v := getattr(value, name)) is not None}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, datetime):
        return timestamp(value)
    return value


def canonical(value: Any) -> Any:
    """The JSON form that hashes are made of: without what equals its default, so that a field that is
    new and not used changes no hash that was made before it existed."""
    if isinstance(value, msgspec.Struct):
        fields = _fields(type(value))
        return {f.encode_name: canonical(v) for f in fields if (v := getattr(value, f.name)) != _default(f)}
    if isinstance(value, Mapping):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    return value


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, always the same length, so that text sorts as time does."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


@cache
def _fields(type_: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a type: msgspec looks at the annotations each time that it is asked, for milliseconds."""
    return msgspec.structs.fields(type_)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
