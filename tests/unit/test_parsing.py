"""JSON bodies: strict, and never dearer than their length."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.api import explaining, parsing
from zun_coe.api.contract import check
from zun_coe.api.parsing import MAX_VALUES, parse
from zun_coe.errors import Malformed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
APP: dict[str, Any] = {"name": "hello", "image": "web:1"}
# Each has far more entries than there may be.
TOO_LARGE: list[tuple[dict[str, Any], str]] = [
    ({f"k{i}": 1 for i in range(20_000)}, "/k0"),
    (APP | {"env": {f"k {i}": "x" for i in range(20_000)}}, "/env"),
    (APP | {"env": {f"k{i}": "x" for i in range(20_000)}}, "/env"),
    (APP | {"networks": [{"a": 1}] * 20_000}, "/networks"),
    (APP | {"networks": [f"n{i}" for i in range(20_000)]}, "/networks"),
    (APP | {"ports": [{"port": 80}] * 20_000}, "/ports"),
    (APP | {"ports": [{"prt": 80}] * 20_000}, "/ports"),
]


class Counted(str):
    """A text that counts how often any of them is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


@given(JSON)
def test_what_is_json_is_read_as_it_is(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    assert parse(raw, max_depth=100) == json.loads(raw)


def test_a_key_that_is_there_twice_is_found_by_looking_at_each_once() -> None:
    number = 10_000
    pairs: list[tuple[str, Any]] = [(Counted(f"k{i}"), 1) for i in range(number)] + [(Counted(f"k{number - 1}"), 1)]
    Counted.compared = 0
    with pytest.raises(Malformed, match='"k9999" is in one object twice'):
        parsing._object(pairs)
    assert Counted.compared < 10 * number


@pytest.mark.parametrize(
    "raw",
    [
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"[" + b"[]," * (MAX_VALUES // 2) + b"[]]",
        b"{" + b",".join(b'"k%d":1' % i for i in range(MAX_VALUES + 1)) + b"}",
        b"[" + b'"",' * (2 * MAX_VALUES) + b'""]',
        b"[" * (MAX_VALUES + 1) + b"]" * (MAX_VALUES + 1),
    ],
    ids=["numbers", "lists", "keys", "texts", "depth"],
)
def test_too_many_values_are_refused_before_any_is_made(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing.json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(Malformed, match=f"more than {MAX_VALUES} values"):
        parse(raw, max_depth=32)


@pytest.mark.parametrize("text", [",[{" * MAX_VALUES, '\\"],' * MAX_VALUES, "\\", '"'])
def test_what_is_in_a_text_does_not_count(text: str) -> None:
    assert parse(json.dumps({"data": text}).encode(), max_depth=32) == {"data": text}


@pytest.mark.parametrize(("value", "pointer"), TOO_LARGE)
@pytest.mark.parametrize("schema", ["AppCreate", "AppPatch"])
def test_the_cost_of_an_explanation_is_bounded(
    schema: str, value: dict[str, Any], pointer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    monkeypatch.setattr(explaining, "get_close_matches", lambda name, *_, **__: compared.append(name) or [])
    made: list[Any] = []
    original = explaining.FieldProblem
    monkeypatch.setattr(explaining, "FieldProblem", lambda *args: made.append(args) or original(*args))
    problems = check(schema).problems(value)
    assert 0 < len(problems) <= explaining.MOST
    assert any(p.pointer.startswith(pointer) for p in problems)
    assert len(compared) <= 3 * explaining.MOST
    assert len(made) <= 3 * explaining.MOST


def test_a_text_that_is_too_long_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    monkeypatch.setitem(
        explaining.Draft4Validator.VALIDATORS, "pattern", lambda _, __, value, ___: searched.append(value)
    )
    told = check("AppCreate").problems(APP | {"memory": "1" * 100_000 + "!"})
    assert [(p.pointer, p.detail) for p in told] == [("/memory", "must have at most 20 characters")]
    assert max(map(len, searched), default=0) < 100


@pytest.mark.parametrize(("digits", "fits"), [(400, True), (401, False), (4000, False)])
def test_whole_numbers_have_a_longest(digits: int, fits: bool) -> None:
    raw = b"[" + b"1" * digits + b"]"
    if fits:
        assert parse(raw, max_depth=32) == json.loads(raw)
    else:
        with pytest.raises(Malformed, match="too long"):
            parse(raw, max_depth=32)


def test_a_long_key_is_cut_in_what_is_told_of_it() -> None:
    (problem,) = check("AppCreate").problems(APP | {"k" * 100_000: 1})
    assert problem.pointer == "/" + "k" * 298 + "…"
    assert len(problem.detail) < 1000


def test_what_clients_send_has_limits_everywhere() -> None:
    schemas = {
        name: check(name).schema
        for name in (
            "AppCreate",
            "AppPatch",
            "ContainerCreate",
            "ContainerPatch",
            "ClusterCreate",
            "ClusterPatch",
            "SecretCreate",
        )
    }
    unlimited = [f"{name}{where}" for name, schema in schemas.items() for where in _unlimited(schema, "")]
    assert not unlimited


def _unlimited(schema: dict[str, Any], where: str) -> list[str]:
    """Where in a schema lists and maps may have any number of entries."""
    found = []
    if "array" in _types(schema) and "maxItems" not in schema:
        found.append(f"{where}: maxItems")
    is_map = any(isinstance(v, dict) for v in (schema.get("additionalProperties"), schema.get("patternProperties")))
    if "object" in _types(schema) and is_map and "maxProperties" not in schema:
        found.append(f"{where}: maxProperties")
    for name, inner in schema.get("properties", {}).items():
        found += _unlimited(inner, f"{where}/{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            found += _unlimited(schema[keyword], f"{where}/*")
    return found + [f for each in schema.get("oneOf", ()) for f in _unlimited(each, where)]


def _types(schema: dict[str, Any]) -> list[str]:
    given = schema.get("type", [])
    return [given] if isinstance(given, str) else given
