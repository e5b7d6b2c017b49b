"""What OpenAPI 3.0 has no words for, so that fuzzing needs to be told: the form of a map's keys."""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from schemathesis import Case, HookContext

_MAPS = frozenset({"env", "env_secrets", "data"})


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: Any) -> None:
    """Give the variables and the values of secrets keys that they may have."""
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
