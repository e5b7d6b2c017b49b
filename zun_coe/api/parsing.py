"""JSON bodies as values, strictly, in time that grows with their length only.

What a body costs is mostly how many values it has, so these are counted before any is made: a body of a
megabyte can hold half a million of them, and no resource needs a tenth of that."""

from __future__ import annotations

import json
import re
from typing import Any

from zun_coe.errors import Malformed
from zun_coe.model.evidence import quoted

MAX_VALUES = 30_000
"""The most values, those inside of others included, that a body may have."""
MAX_DIGITS = 400
"""The longest whole number: all that fit into a double have fewer digits."""
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def parse(raw: bytes, max_depth: int) -> Any:
    """JSON in UTF-8, strictly. Raises `Malformed` for anything else, for a key that is there twice, for
    numbers that are none, for more than `MAX_VALUES` values and for nesting deeper than `max_depth`."""
    if not raw:
        raise Malformed("A body is needed; send JSON.")
    _must_be_few(raw)
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_number, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        told = f"The body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise Malformed(told) from error
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not in UTF-8 (byte {error.start}).") from error
    except (RecursionError, ValueError) as error:
        what = "is nested too deeply" if isinstance(error, RecursionError) else "has a number that is too long"
        raise Malformed(f"The body {what}.") from error
    _must_be_flat(value, max_depth)
    if b"\\u" in raw:
        _must_be_text(value)
    return value


def _must_be_few(raw: bytes) -> None:
    """Each value but the first follows a comma or an opening bracket; those in texts are left out where that
    matters. A text is a key or a value, so that twice as many texts as values are too many as well."""
    if _separators(raw) < MAX_VALUES:
        return
    rest, texts = _TEXT.subn(b"", raw, 2 * MAX_VALUES + 1)
    if texts > 2 * MAX_VALUES or _separators(rest) >= MAX_VALUES:
        raise Malformed(f"The body has more than {MAX_VALUES} values.")


def _separators(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed(f"The key {quoted(_repeated(pairs))} is in one object twice; give it once.")
    return made


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    """The first key that was there before. Looks at each once."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("no key is repeated")


def _integer(text: str) -> int:
    """To read and to write such a number takes time that grows with the square of its length."""
    if len(text) > MAX_DIGITS:
        raise ValueError("too long")
    return int(text)


def _no_number(text: str) -> Any:
    raise Malformed(f"The body has {text}, which is no number in JSON.")


def _must_be_flat(value: Any, max_depth: int) -> None:
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level, depth = inner, depth + 1
        if depth > max_depth + 1:
            raise Malformed(f"The body is nested deeper than {max_depth} levels.")


def _must_be_text(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Malformed("The body has half of a surrogate pair, which is no character.") from error
