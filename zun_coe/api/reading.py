"""Reading a request: its parameters and its JSON body, checked against the contract before any handler runs.

These two classes are what connexion is given instead of its own validators: those build a checker for
each request, stop at the first mistake, and can't read a body that is sent in chunks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from connexion.validators.parameter import ParameterValidator
from starlette.datastructures import Headers, QueryParams
from starlette.types import Message, Receive, Scope
from werkzeug.http import parse_options_header

from zun_coe.api.contract import Check, check, prepared
from zun_coe.api.exchange import exchange_of
from zun_coe.api.explaining import suggestion, summary
from zun_coe.api.problems import UnsupportedMediaType
from zun_coe.errors import FieldProblem, Malformed

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", re.ASCII)


class Parameters(ParameterValidator):  # type: ignore[misc]  # connexion has no types
    """Checks the parameters of one operation and keeps their values, with defaults, in the exchange."""

    _checks: dict[int, tuple[Any, Check]] = {}  # noqa: RUF012  # by the identity of a definition, kept with it

    def validate(self, scope: Scope) -> None:
        """Raises `Malformed` with everything that is wrong."""
        query = QueryParams(scope["query_string"])
        known = [p["name"] for p in self.parameters["query"]]
        problems = [
            FieldProblem(f"/{name}", f'unknown parameter "{name[:60]}"' + suggestion(name, known))
            for name in query
            if name not in known
        ]
        values = exchange_of(scope).params
        given: Mapping[str, Mapping[str, str]] = {
            "query": query,
            "path": scope["path_params"],
            "header": Headers(scope=scope),
        }
        for place, definitions in self.parameters.items():
            kept = values if place != "path" else {}  # a name in the path may be that of a query's parameter too
            for definition in definitions:
                problems += self._take(definition, given[place].get(definition["name"]), kept)
        if problems:
            raise Malformed(summary(problems, "The request"), problems)

    def _take(self, definition: dict[str, Any], text: str | None, values: dict[str, Any]) -> list[FieldProblem]:
        name, schema = definition["name"], definition["schema"]
        if text is None:
            if "default" in schema:
                values[name] = schema["default"]
            return []
        value = _typed(text, schema.get("type"))
        kept = self._checks.get(id(definition))
        if kept is None:
            kept = self._checks[id(definition)] = (definition, Check(prepared(schema, {}, "request")))
        problems = kept[1].problems(value)
        values[name] = value
        return [FieldProblem(f"/{name}", p.detail) for p in problems]


class JsonBody:
    """Checks the JSON body of one operation and keeps it in the exchange. Connexion makes one for each
    request; what is costly is kept by `contract`."""

    max_depth = 32

    def __init__(self, *, schema: Mapping[str, Any], **_: Any) -> None:
        self._name = str(schema["title"])

    async def wrap_receive(self, receive: Receive, *, scope: Scope) -> tuple[Receive, Scope]:
        """Reads the whole body. Raises `Malformed`, `UnsupportedMediaType`, `BodyTooLarge`."""
        encoding = parse_options_header(Headers(scope=scope).get("content-type"))[1].get("charset", "utf-8")
        if encoding.lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(f"The body is in {encoding[:40]}; send UTF-8.")
        body = parse(await _read(receive), self.max_depth)
        problems = check(self._name).problems(body)
        if problems:
            raise Malformed(summary(problems), problems)
        exchange_of(scope).body = body
        return _after(receive), scope


class AnyJson(dict[str, type[JsonBody]]):
    """What connexion looks a content type up in, once it knows that the operation takes it: always the
    same, however the type is spelt."""

    def __init__(self, max_depth: int) -> None:
        super().__init__()
        self._reader = type("JsonBody", (JsonBody,), {"max_depth": max_depth})

    def __getitem__(self, key: str) -> type[JsonBody]:
        return self._reader


def parse(raw: bytes, max_depth: int) -> Any:
    """JSON in UTF-8, strictly. Raises `Malformed` for anything else, for a key that is there twice, for
    numbers that are none, and for nesting deeper than `max_depth`."""
    if not raw:
        raise Malformed("A body is needed; send JSON.")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_number)
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f'The key "{twice[:60]}" is in one object twice; give it once.')
    return made


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


def _typed(text: str, type_: str | None) -> Any:
    """A parameter's text as JSON would have it, or as it is where it can't be read so."""
    if type_ == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if type_ == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if type_ == "number" and _NUMBER.fullmatch(text):
        return float(text)
    return text


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Malformed("The client went away before its request was complete.")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _after(receive: Receive) -> Receive:
    """What is left to receive once the body was read."""
    pending: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def rest() -> Message:
        return pending.pop() if pending else await receive()

    return rest
