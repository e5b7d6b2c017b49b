"""The contract holds together: every field is told of, patches have the same fields, examples are right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from zun_coe.api import contract, problems
from zun_coe.api.contract import METHODS, check, document, methods_at
from zun_coe.api.parsing import parse
from zun_coe.errors import Malformed
from zun_coe.gateway import specs
from zun_coe.gateway.rendering import encode
from zun_coe.gateway.specs import READ_ONLY
from zun_coe.model import Health, Host, HttpGet, Intent, Template, Update
from zun_coe.model.reasons import MEANINGS

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
BODIES = ["AppCreate", "AppReplace", "AppPatch", "AppAdopt", "ContainerCreate", "ContainerPatch", "ClusterCreate"]
BODIES += ["ClusterPatch", "SecretCreate", "Rollback"]
WHOLE = {"AppCreate": "App", "AppReplace": "App", "ContainerCreate": "Container", "ClusterCreate": "Cluster"}
"""The requests that hold a whole resource, and what is shown of it."""


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """What a reference refers to."""
    return contract.resolved(schema, SCHEMAS)


def target(schema: dict[str, Any]) -> str | None:
    """The name of the schema that a reference leads to, whatever stands beside it."""
    [reference] = schema.get("allOf", [schema])
    return str(reference["$ref"]).rpartition("/")[2] if "$ref" in reference else None


def below(schema: Any) -> Iterator[dict[str, Any]]:
    """Everything in a document that looks like a schema, itself included."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from below(inner)


def reachable(names: Iterable[str]) -> set[str]:
    """The schemas that are part of these."""
    found, new = set[str](), set(names)
    while new:
        found |= new
        told = [s["$ref"] for name in new for s in below(SCHEMAS[name]) if isinstance(s.get("$ref"), str)]
        new = {ref.rpartition("/")[2] for ref in told} - found
    return found


def shown() -> set[str]:
    """The schemas that are part of a response."""
    answers = [*DOCUMENT["components"]["responses"].values(), *(o["responses"] for _, o in OPERATIONS)]
    told = [s["$ref"] for s in below(answers) if "/schemas/" in str(s.get("$ref"))]
    return reachable(ref.rpartition("/")[2] for ref in told)


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
    assert operation["responses"]["default"] == {"$ref": "#/components/responses/Failed"}
    if "requestBody" in operation:
        assert {"413", "415", "422"} <= set(operation["responses"])
        for media in operation["requestBody"]["content"].values():
            assert target(media["schema"]) in BODIES


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_and_field_is_told_of(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["title"] == name
    assert schema["description"]
    for where, field in fields(schema, name):
        told = resolved(field)
        assert told["description"], where
        assert "example" in told or "enum" in told or told.get("type") in ("object", "array"), where


@pytest.mark.parametrize("name", BODIES)
def test_requests_are_closed_and_have_schemas_of_their_own(name: str) -> None:
    assert name not in shown()
    for part in reachable([name]) - shown():
        assert SCHEMAS[part].get("additionalProperties") is False or "properties" not in SCHEMAS[part], part


@pytest.mark.parametrize("name", sorted(shown()))
def test_responses_are_open_to_new_fields_and_hold_nothing_confidential(name: str) -> None:
    assert SCHEMAS[name].get("additionalProperties") is not False
    assert not any(s.get("writeOnly") for s in below(SCHEMAS[name]))


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_is_shown_can_be_sent_back(name: str) -> None:
    """Get, edit, put: a request has all fields of what is shown, and of the same types."""
    request, whole = SCHEMAS[name], SCHEMAS[WHOLE[name]]
    properties = {field: each for field, each in request["properties"].items() if field in whole["properties"]}
    assert {f: target(each) for f, each in properties.items()} == {f: target(e) for f, e in whole["properties"].items()}
    only_sent = set(request["properties"]) - set(whole["properties"])
    assert all(resolved(request["properties"][field])["writeOnly"] for field in only_sent)
    assert not any(resolved(request["properties"][field]).get("readOnly") for field in request["required"])


def test_generators_can_cope() -> None:
    """What generated clients lose fields or fail at is nowhere in the document."""
    for schema in below(SCHEMAS):
        assert not any(set(each) == {"required"} for each in schema.get("oneOf", ()) if isinstance(each, dict))
        assert not (isinstance(schema.get("enum"), list) and None in schema["enum"])
        assert "anyOf" not in schema
        if isinstance(parts := schema.get("allOf"), list):
            assert len(parts) == 1
            assert "$ref" in parts[0]


def inline(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a schema for which a generator has to make up a name."""
    return [s for s in below(schema) if s is not schema and ("enum" in s or isinstance(s.get("properties"), dict))]


def test_few_schemas_are_made_up_or_trivial() -> None:
    made_up = {name: inline(schema) for name, schema in SCHEMAS.items() if "example" not in name}
    assert {name for name, found in made_up.items() if found} == set()
    parameters = DOCUMENT["components"]["parameters"]
    assert [name for name, p in parameters.items() if "enum" in p["schema"]] == ["IfNoneMatch"]
    assert len(PATCHES) <= 12
    uses = Counter(str(s["$ref"]).rpartition("/")[2] for s in below(DOCUMENT) if "$ref" in s)
    assert [name for name in SCHEMAS if not uses[name]] == [], "nobody uses them"
    trivial = {name for name, schema in SCHEMAS.items() if set(schema) <= {"title", "type", "description", "example"}}
    assert {name for name in trivial if uses[name] < 2} == set(), "they are better said where they are used"


def test_reasons_are_those_that_are_told() -> None:
    told = SCHEMAS["ReasonText"]["description"].partition(":")[2]
    assert set(re.findall(r"\w+", told)) == set(MEANINGS)


def test_problems_are_of_types_that_are_told() -> None:
    assert set(SCHEMAS["ProblemType"]["enum"]) == problems.types()


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["parameters"]))
def test_every_parameter_is_told_of(name: str) -> None:
    parameter = DOCUMENT["components"]["parameters"][name]
    assert parameter["description"]
    # The page for people fills examples in, and sends them with the first click.
    assert "example" not in parameter
    assert "example" not in resolved(parameter["schema"])


@pytest.mark.parametrize("name", sorted(n for n in SCHEMAS if "example" in SCHEMAS[n]))
def test_examples_are_right(name: str) -> None:
    if not SCHEMAS[name].get("readOnly"):
        assert check(name).problems(SCHEMAS[name]["example"]) == []


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_has_the_same_fields_and_all_nullable(name: str) -> None:
    """Nothing required, no defaults, null everywhere; lists are those of the whole resource."""
    patch, whole = SCHEMAS[name], SCHEMAS[name.removesuffix("Patch")]
    resource = name in ("AppPatch", "ContainerPatch", "ClusterPatch")
    whole = SCHEMAS[f"{name.removesuffix('Patch')}Create"] if resource else whole
    assert "required" not in patch or name.removesuffix("Patch") not in MERGED
    assert resource or name.removesuffix("Patch") in MERGED
    wholes = dict(fields(whole, name))
    for where, field in fields(patch, name):
        told = resolved(field)
        assert told.get("readOnly") or told.get("nullable"), where
        assert "default" not in told, where
        of_whole = wholes.pop(where)
        expected = target(of_whole)
        if target(field) == f"{expected}Patch":
            continue
        assert target(field) == expected, where
        assert _plain(field) == _plain(of_whole), where
    assert wholes == {}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in schema.items() if k not in ("title", "default", "nullable", "allOf", "$ref")}


def test_a_replacement_has_the_fields_of_a_new_app() -> None:
    assert SCHEMAS["AppReplace"]["properties"] == SCHEMAS["AppCreate"]["properties"]


def test_defaults_are_those_of_the_model() -> None:
    """What the contract says of a field that is left out is what becomes of it."""
    app = specs.parse("app", {"name": "x", "image": "x"})
    update, health, http = Update(), Health(http=HttpGet(port=1)), HttpGet(port=1)
    found = {"AppCreate": app, "Update": update, "Health": health, "HttpGet": http, "Host": Host(name="x")}
    for name, value in found.items():
        for field, schema in SCHEMAS[name]["properties"].items():
            if "default" in resolved(schema):
                holder = value if hasattr(value, field) else app.template
                assert getattr(holder, field) == resolved(schema)["default"], (name, field)


def test_what_the_server_sets_is_what_the_use_cases_ignore() -> None:
    told = {
        name
        for resource in ("AppCreate", "ContainerCreate", "ClusterCreate")
        for name, field in SCHEMAS[resource]["properties"].items()
        if resolved(field).get("readOnly")
    }
    assert told <= READ_ONLY | {"source"}


def test_every_field_of_the_model_is_in_the_contract() -> None:
    names = set(Template.__struct_encode_fields__) | {"replicas", "update", "placement", "labels", "desired_state"}
    assert names <= set(SCHEMAS["AppCreate"]["properties"])
    assert names - {"replicas", "update", "placement", "sidecars"} <= set(SCHEMAS["ContainerCreate"]["properties"])
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
