"""What OpenAPI 3.0 has no words for, so that fuzzing needs to be told: the form of a map's keys, alternatives, and
objects that the service closes and its clients have to leave open."""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from schemathesis import Case, HookContext

_MAPS = frozenset({"env", "env_secrets", "data", "labels", "constraints"})


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Say what the service checks and the document says in descriptions only. Statuses that an operation does not
    list are not expected from it, whatever its `default`."""
    for schema in raw_schema["components"]["schemas"].values():
        if alternatives := schema.get("x-exactly-one"):
            schema["oneOf"] = [{"required": [name]} for name in alternatives]
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                operation["responses"].pop("default", None)


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: Any) -> None:
    """Give maps whose keys have a form keys that they may have."""
    _rename(case.body)


def _rename(value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _MAPS and isinstance(inner, dict):
                value[name] = {"K" + re.sub(r"[^A-Za-z0-9_]", "_", str(k))[:100]: v for k, v in inner.items()}
            else:
                _rename(inner)
    elif isinstance(value, list):
        for inner in value:
            _rename(inner)
