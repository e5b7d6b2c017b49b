"""The contract as checks, prepared once: compiled ones that are quick, and slow ones that can explain.

A body that is right costs the compiled check only. A body that is wrong is looked at again, and every
thing that is wrong with it is told with a JSON pointer and a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import fastjsonschema
import yaml

from zun_coe.api.explaining import explain, explainer
from zun_coe.errors import FieldProblem

Direction = Literal["request", "response"]
Schema = dict[str, Any]

METHODS = frozenset({"get", "put", "post", "patch", "delete"})
_WORDS_ONLY = frozenset({"description", "example", "default", "externalDocs", "deprecated"})
# An unescaped dollar: in Python it also matches before a line's end, and a name is no name with one.
_DOLLAR = re.compile(r"(?<!\\)\$")


def document() -> Schema:
    """The contract, as it is in its file. A copy of the caller's own."""
    return deepcopy(_document())


class Check:
    """Tells what is wrong with a value. Thread-safe; compiled when first used."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._compiled: Callable[[Any], Any] | None = None
        self._explaining = explainer(schema)

    @property
    def compiled(self) -> bool:
        """Whether it was used before: the first use takes about half a second for the largest of schemas."""
        return self._compiled is not None

    def fits(self, value: Any) -> bool:
        """Whether nothing is wrong: quick, since it ends at the first thing that is. Pure."""
        return self._first_error(value) is None

    def problems(self, value: Any) -> list[FieldProblem]:
        """Everything that is wrong, the outermost first and `explaining.MOST` at most; empty where all is
        right. Pure."""
        error = self._first_error(value)
        if error is None:
            return []
        # the two never differ, as far as tests can tell
        return explain(self._explaining, value) or [FieldProblem("", error)]

    def _first_error(self, value: Any) -> str | None:
        if self._compiled is None:
            self._compiled = _compile(self.schema)
        try:
            self._compiled(value)
        except fastjsonschema.JsonSchemaValueException as error:
            return str(error.message)
        return None


@cache
def check(name: str, direction: Direction = "request") -> Check:
    """The check of a schema of the contract, by its name. Raises `KeyError`."""
    schemas = _document()["components"]["schemas"]
    return Check(prepared(schemas[name], schemas, direction))


def methods_at(path: str) -> list[str]:
    """What can be done at a path: the router itself knows of one method at a time."""
    named = {method.upper() for operations in _at(path) for method in operations if method in METHODS}
    return sorted(named | ({"HEAD"} if "GET" in named else set()))


def media_types_at(path: str, method: str) -> list[str]:
    """What a body may be that is sent to a path."""
    bodies = (operations.get(method.lower(), {}).get("requestBody", {}) for operations in _at(path))
    return list(dict.fromkeys(kind for body in bodies for kind in body.get("content", ())))


def _at(path: str) -> list[Schema]:
    return [
        operations
        for template, operations in _document()["paths"].items()
        if re.fullmatch(re.sub(r"{[^}]*}", "[^/]+", template), path)
    ]


@cache
def parameters_without_body(operation: str) -> tuple[str, ...] | None:
    """The query parameters of an operation that takes no body; None for one that does, and for none of ours."""
    paths, shared = _document()["paths"].values(), _document()["components"]["parameters"]
    found = next((o for each in paths for o in each.values() if _is(o, operation)), None)
    if found is None or "requestBody" in found:
        return None
    given = [shared[p["$ref"].rpartition("/")[2]] if "$ref" in p else p for p in found.get("parameters", ())]
    return tuple(p["name"] for p in given if p["in"] == "query")


def _is(operation: Any, id: str) -> bool:
    return isinstance(operation, dict) and operation.get("operationId") == id


def resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """The schema that a reference leads to. `allOf` of one reference is that schema with what stands beside it,
    since OpenAPI 3.0 ignores everything beside a `$ref`. Pure."""
    while "$ref" in schema or "allOf" in schema:
        [target] = schema.get("allOf", [schema])
        beside = {k: v for k, v in schema.items() if k not in ("allOf", "$ref")}
        schema = schemas[target["$ref"].rpartition("/")[2]] | beside
    return schema


def prepared(schema: Schema, schemas: Mapping[str, Schema], direction: Direction) -> Schema:
    """A schema of OpenAPI 3.0 as one of JSON Schema draft 4. What only the server sets is anything at all in a
    request. Objects are closed here where the document leaves it open whether there are other fields: clients have
    to expect new ones in a response, while a request with an unknown one is refused. Pure."""
    schema = resolved(schema, schemas)
    if direction == "request" and schema.get("readOnly"):
        return {}
    out: Schema = {k: v for k, v in schema.items() if k not in _WORDS_ONLY}
    for keyword in ("items", "additionalProperties"):
        if isinstance(out.get(keyword), dict):
            out[keyword] = prepared(out[keyword], schemas, direction)
    if "oneOf" in out:
        out["oneOf"] = [prepared(each, schemas, direction) for each in out["oneOf"]]
    if alternatives := out.get("x-exactly-one"):
        out["oneOf"] = [{"required": [name]} for name in alternatives]
    if "properties" in out:
        _prepare_properties(out, schemas, direction)
    if "pattern" in out:
        out["pattern"] = _DOLLAR.sub(r"\\Z", out["pattern"])
    if keys := out.get("x-key-pattern"):
        keys = out["x-key-pattern"] = _DOLLAR.sub(r"\\Z", keys)
        out |= {"patternProperties": {keys: out["additionalProperties"]}, "additionalProperties": False}
    return _nullable(out)


def _prepare_properties(out: Schema, schemas: Mapping[str, Schema], direction: Direction) -> None:
    out["properties"] = {name: prepared(each, schemas, direction) for name, each in out["properties"].items()}
    out.setdefault("additionalProperties", False)


def _nullable(out: Schema) -> Schema:
    if out.pop("nullable", False):
        if "type" in out:
            out["type"] = [out["type"], "null"]
        if "enum" in out:
            out["enum"] = [*out["enum"], None]
        if "oneOf" in out:
            out["oneOf"] = [*out["oneOf"], {"type": "null"}]
    return out


def _compile(schema: Schema) -> Callable[[Any], Any]:
    compiled: Callable[[Any], Any] = fastjsonschema.compile(
        {"$schema": "http://json-schema.org/draft-04/schema#", **schema},
        use_default=False,
        use_formats=False,
        detailed_exceptions=False,
    )
    return compiled


@cache
def _document() -> Schema:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as quick
    text = files("zun_coe").joinpath("openapi.yaml").read_text("utf-8")
    loaded: Schema = yaml.load(text, Loader=loader)  # noqa: S506  # both are safe loaders
    return loaded
