"""The contract holds together: every field is told of, patches have the same fields, examples are right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from zun_coe.api.contract import METHODS, Check, check, document, methods_at
from zun_coe.api.parsing import parse
from zun_coe.errors import Malformed
from zun_coe.gateway.rendering import encode
from zun_coe.gateway.specs import READ_ONLY
from zun_coe.model import Intent, Template

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
]
# What a merge patch merges key by key; everything else is replaced whole.
MERGED = frozenset({"Env", "EnvSecrets", "Labels", "Health", "HttpGet", "TcpConnect", "Exec"})
MERGED |= {"Update", "Placement", "Credentials", "Constraints"}
PATCHES = sorted(name for name in SCHEMAS if name.endswith("Patch"))
BODIES = ["App", "AppReplacement", "AppPatch", "Container", "ContainerPatch", "Cluster", "ClusterPatch"]
BODIES += ["Secret", "Rollback"]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """What a reference refers to."""
    while "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    return schema


def fields(schema: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property, entry and value of a schema."""
    for name, each in schema.get("properties", {}).items():
        yield f"{where}.{name}", each
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield f"{where}.{keyword}", schema[keyword]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[o[0] for o in OPERATIONS])
def test_every_operation(name: str, operation: dict[str, Any]) -> None:
    module, _, function = operation["operationId"].rpartition(".")
    assert callable(getattr(import_module(f"zun_coe.api.{module}"), function))
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    if operation.get("security") != []:
        assert {"400", "401", "403", "503"} <= set(operation["responses"]), "it lists its errors"
    if "{" in name:
        assert "404" in operation["responses"]
    if "requestBody" in operation:
        assert {"413", "415", "422"} <= set(operation["responses"])


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_and_field_is_told_of(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["title"] == name
    assert schema["description"]
    for where, field in fields(schema, name):
        told = resolved(field)
        assert told["description"], where
        assert "example" in told or told.get("type") in ("object", "array"), where
    if schema.get("type") == "object" and "properties" in schema:
        assert "additionalProperties" in schema


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["parameters"]))
def test_every_parameter_is_told_of(name: str) -> None:
    parameter = DOCUMENT["components"]["parameters"][name]
    assert parameter["description"]
    assert "example" in parameter
    schema = resolved(parameter["schema"])
    assert Check(schema).problems(parameter["example"]) == []


@pytest.mark.parametrize("name", sorted(n for n in SCHEMAS if "example" in SCHEMAS[n]))
def test_examples_are_right(name: str) -> None:
    if not SCHEMAS[name].get("readOnly"):
        assert check(name).problems(SCHEMAS[name]["example"]) == []


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_has_the_same_fields_and_all_nullable(name: str) -> None:
    """Nothing required, no defaults, null everywhere; lists are those of the whole resource."""
    patch, whole = SCHEMAS[name], SCHEMAS[name.removesuffix("Patch")]
    resource = name in ("AppPatch", "ContainerPatch", "ClusterPatch")
    assert "required" not in patch or name.removesuffix("Patch") not in MERGED
    assert "default" not in json.dumps(patch.get("default", ""))
    if resource or name.removesuffix("Patch") in MERGED:
        assert set(patch.get("properties", {})) == set(whole.get("properties", {}))
        for where, field in fields(patch, name):
            told = resolved(field)
            assert told.get("readOnly") or _nullable(told), where
    else:
        assert _without_null(patch) == _plain(whole)


def _nullable(schema: dict[str, Any]) -> bool:
    return bool(schema.get("nullable") or any(each.get("nullable") for each in schema.get("oneOf", ())))


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in schema.items() if k not in ("title", "default", "nullable")}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    plain = _plain(deepcopy(schema))
    if "enum" in plain:
        plain["enum"] = [v for v in plain["enum"] if v is not None]
    for each in plain.get("oneOf", ()):
        each.pop("nullable", None)
    return plain


def test_a_replacement_has_the_fields_of_an_app() -> None:
    assert SCHEMAS["AppReplacement"]["properties"] == SCHEMAS["App"]["properties"]


def test_what_the_server_sets_is_what_the_use_cases_ignore() -> None:
    told = {
        name
        for resource in ("App", "Container", "Cluster")
        for name, field in SCHEMAS[resource]["properties"].items()
        if resolved(field).get("readOnly")
    }
    assert told <= READ_ONLY | {"source"}


def test_every_field_of_the_model_is_in_the_contract() -> None:
    names = set(Template.__struct_encode_fields__) | {"replicas", "update", "placement", "labels", "desired_state"}
    assert names <= set(SCHEMAS["App"]["properties"])
    assert names - {"replicas", "update", "placement", "sidecars"} <= set(SCHEMAS["Container"]["properties"])
    assert {"name", "generation", "created_at", "accept_loss"} <= set(Intent.__struct_fields__)


@pytest.mark.parametrize("name", BODIES)
def test_what_the_server_sets_may_be_anything_in_a_body(name: str) -> None:
    strange = {k: ["anything"] for k, v in SCHEMAS[name]["properties"].items() if resolved(v).get("readOnly")}
    assert all(p.pointer.lstrip("/") not in strange for p in check(name).problems(strange))


@given(st.data())
def test_both_checks_agree(data: st.DataObject) -> None:
    """The compiled check finds something wrong exactly where the explaining one does."""
    name = data.draw(st.sampled_from(BODIES))
    body = deepcopy(SCHEMAS[name]["example"]) if "example" in SCHEMAS[name] else {}
    field = data.draw(st.sampled_from(sorted(SCHEMAS[name]["properties"])))
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["port", "http", "a"]), inner),
        max_leaves=5,
    )
    body[field] = data.draw(values)
    tested = check(name)
    assert bool(tested.problems(body)) == (not Draft4Validator(tested.schema).is_valid(body))


@given(st.text(max_size=70))
def test_names(text: str) -> None:
    good = re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", text, re.ASCII) is not None
    assert (check("Name").problems(text) == []) == good


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_json_that_is_right_is_read(value: Any) -> None:
    assert parse(encode(value), max_depth=1000) == value


@given(st.binary(max_size=40))
def test_bytes_are_json_or_malformed(raw: bytes) -> None:
    with suppress(Malformed):
        parse(raw, max_depth=10)


def test_methods() -> None:
    assert methods_at("/v1/apps/x") == ["DELETE", "GET", "HEAD", "PATCH", "PUT"]
    assert methods_at("/nowhere") == []
