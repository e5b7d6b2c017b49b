"""Files that describe resources: JSON or YAML, `-` for the standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from zun_coe.cli.failures import Misuse

_DATE = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML of what JSON has: no dates, and no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # it is the library's own table, filtered
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuses a key that is there twice, of which one would be lost in silence."""
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is there twice", node.start_mark)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def read(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Every document of the files, in order. Raises `Misuse`, with the place of the mistake."""
    return [document for path in paths for document in _documents(path)]


def one(paths: Sequence[str]) -> dict[str, Any]:
    """The only document; empty when no file is given."""
    found = read(paths)
    if len(found) > 1:
        raise Misuse(f"There are {len(found)} documents, and this takes one; `app apply` takes several.")
    return found[0] if found else {}


def _documents(path: str) -> list[dict[str, Any]]:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        found = [d for d in _parsed(text, path.endswith(".json")) if d is not None]
    except OSError as error:
        raise Misuse(f"{path}: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError) as error:
        raise Misuse(f"{path}: {error}") from error
    except RecursionError as error:
        raise Misuse(f"{path}: it is nested too deeply.") from error
    if not found:
        raise Misuse(f"{path}: there is nothing in it.")
    for document in found:
        if not isinstance(document, dict):
            raise Misuse(f"{path}: a document must be an object, with the resource's fields.")
        _must_be_json(path, document)
    return found


def _must_be_json(path: str, document: dict[str, Any]) -> None:
    """YAML has more than JSON, in which everything is sent: numbers that are none, bytes, what contains itself."""
    try:
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Misuse(f"{path}: it has half of a surrogate pair, which is no character.") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Misuse(f"{path}: it has what JSON can't say, in which it is sent ({error}).") from error


def _parsed(text: str, is_json: bool) -> list[Any]:
    if is_json:
        return [json.loads(text, object_pairs_hook=_once)]
    return list(yaml.load_all(text, Loader=_Loader))  # it is a safe loader, made stricter


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ValueError(f"the key {twice!r} is there twice")
    return dict(pairs)
