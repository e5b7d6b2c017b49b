"""Every leaf of the specification, by two roads that must meet: the types of the model, and the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import msgspec
import yaml
from msgspec import inspect

from zun_coe.adapters.fields import MAPS
from zun_coe.model import Placement, Template, Update

# Of an app, but no part of what a cluster is asked to carry.
_ABOUT = {"name", "cluster", "accept_loss"}


def of_the_model() -> set[str]:
    """The patterns of all leaves, from the types."""
    own = {"/labels", "/desired_state", "/replicas"}
    walked = [*_walk(Template, ""), *_walk(Update, "/update"), *_walk(Placement, "/placement")]
    return own | set(walked)


def of_the_contract() -> set[str]:
    """The patterns of all leaves, from the OpenAPI document's schema of an app."""
    document = yaml.safe_load(files("zun_coe").joinpath("openapi.yaml").read_text())
    schemas = document["components"]["schemas"]
    found = set(_schema(schemas, schemas["AppCreate"], ""))
    return {p for p in found if p.split("/")[1] not in _ABOUT}


def _walk(type_: Any, pointer: str) -> Iterator[str]:
    fields = msgspec.structs.fields(type_)
    if all(not f.required and f.default is None for f in fields):
        yield pointer  # nothing of it need be said: that it is there is a leaf by itself
    for field in fields:
        yield from _type(inspect.type_info(field.type), f"{pointer}/{field.encode_name}")


def _type(info: Any, pointer: str) -> Iterator[str]:
    types = info.types if isinstance(info, inspect.UnionType) else (info,)
    structs = [t for t in types if isinstance(t, inspect.StructType)]
    lists = [t for t in types if isinstance(t, inspect.VarTupleType) and isinstance(t.item_type, inspect.StructType)]
    for struct in structs:
        yield from _walk(struct.cls, pointer)
    for one in lists:
        yield from _walk(one.item_type.cls, f"{pointer}/*")
    if not structs and not lists:
        yield pointer


def _schema(schemas: Mapping[str, Any], schema: Mapping[str, Any], pointer: str) -> Iterator[str]:
    schema = _resolved(schemas, schema)
    if schema.get("readOnly"):
        return
    parts = [_resolved(schemas, s) for s in (*schema.get("allOf", ()), *schema.get("oneOf", ()))]
    properties = {k: v for part in (schema, *parts) for k, v in part.get("properties", {}).items()}
    item = _resolved(schemas, schema.get("items", {}))
    if properties and pointer.rsplit("/", 1)[-1] not in MAPS:
        if not any(part.get("required") for part in (schema, *parts)) and pointer.endswith("/tmpfs"):
            yield pointer
        for name, inner in properties.items():
            yield from _schema(schemas, inner, f"{pointer}/{name}")
    elif item.get("properties"):
        yield from _schema(schemas, item, f"{pointer}/*")
    else:
        yield pointer


def _resolved(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[-1]]
    return schema
