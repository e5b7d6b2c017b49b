"""Reading a request: its parameters and its JSON body, checked against the contract before any handler runs.

These two classes are what connexion is given instead of its own validators: those build a checker for
each request, stop at the first mistake, and can't read a body that is sent in chunks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from connexion.validators.parameter import ParameterValidator
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.http import parse_options_header

from zun_coe.api.contract import Check, check, parameters_without_body, prepared
from zun_coe.api.exchange import PACKAGE, exchange_of
from zun_coe.api.explaining import MOST, MOST_SUGGESTIONS, pointer, suggestion, summary
from zun_coe.api.parsing import parse
from zun_coe.api.problems import UnsupportedMediaType
from zun_coe.errors import FieldProblem, Malformed
from zun_coe.model.evidence import quoted

SMALL = 16 * 1024
"""Bytes up to which a body is parsed in the event loop: that takes less than to hand it to a thread and back."""
# One at a time: each of several would wait as long, and all the others behind each of them.
_slow = ThreadPoolExecutor(1, thread_name_prefix="bodies")
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", re.ASCII)


class Parameters(ParameterValidator):  # type: ignore[misc]  # connexion has no types
    """Checks the parameters of one operation and keeps their values, with defaults, in the exchange."""

    _checks: dict[int, tuple[Any, Check]] = {}  # noqa: RUF012  # by the identity of a definition, kept with it

    def validate(self, scope: Scope) -> None:
        """Raises `Malformed` with everything that is wrong."""
        query = QueryParams(scope["query_string"])
        known = [p["name"] for p in self.parameters["query"]]
        problems = _unknown([name for name in query if name not in known], known) + _repeated(query, known)
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
        raw = await _read(receive)
        exchange_of(scope).body = await self._value(raw)
        return _after(receive), scope

    async def _value(self, raw: bytes) -> Any:
        """The body. What takes long, a large one and the explanation of one that is wrong, is done by a thread."""
        quick = check(self._name)
        if len(raw) < SMALL and quick.compiled:
            body = parse(raw, self.max_depth)
            if quick.fits(body):
                return body
        return await asyncio.get_running_loop().run_in_executor(_slow, self._checked, raw)

    def _checked(self, raw: bytes) -> Any:
        body = parse(raw, self.max_depth)
        problems = check(self._name).problems(body)
        if problems:
            raise Malformed(summary(problems), problems)
        return body


class NoBody:
    """The layer that refuses a body where an operation takes none: what stands in it was meant, and would be
    ignored. Connexion looks at the bodies of the others only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises `Malformed`, `BodyTooLarge`."""
        if scope["type"] == "http" and _has_body(Headers(scope=scope)):
            routed = scope["extensions"]["connexion_routing"]["operation_id"] or ""
            parameters = parameters_without_body(routed.removeprefix(PACKAGE))
            if parameters is not None:
                if (await _read(receive)).strip() not in (b"", b"{}", b"null"):
                    raise Malformed(_in_the_query(parameters))
                receive = _after(receive)
        await self._app(scope, receive, send)


class AnyJson(dict[str, type[JsonBody]]):
    """What connexion looks a content type up in, once it knows that the operation takes it: always the
    same, however the type is spelt."""

    def __init__(self, max_depth: int) -> None:
        super().__init__()
        self._reader = type("JsonBody", (JsonBody,), {"max_depth": max_depth})

    def __getitem__(self, key: str) -> type[JsonBody]:
        return self._reader


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _in_the_query(parameters: Sequence[str]) -> str:
    """Where to put what stands in a body that is not taken."""
    if not parameters:
        return "This takes no body; leave it out."
    return f"This takes no body; its parameters belong into the query: {', '.join(parameters)}."


def _unknown(names: Sequence[str], known: Sequence[str]) -> list[FieldProblem]:
    """The first of the parameters that there are not; fewer of them come with a suggestion."""
    return [
        FieldProblem(
            pointer([name]),
            f"unknown parameter {quoted(name)}" + (suggestion(name[:60], known) if n < MOST_SUGGESTIONS else ""),
        )
        for n, name in enumerate(names[:MOST])
    ]


def _repeated(query: QueryParams, known: Sequence[str]) -> list[FieldProblem]:
    """Those of which only the last would count."""
    twice = (name for name in known if len(query.getlist(name)) > 1)
    return [FieldProblem(pointer([name]), "is given twice; give it once") for name in twice]


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
