"""One request and its response, as the parts of the ASGI stack hand it to each other and to the handlers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import flask
from starlette.datastructures import Headers
from starlette.types import Message, Scope

from zun_coe.auth import Principal
from zun_coe.errors import Unauthenticated
from zun_coe.gateway import Answer, BackendCall, Call, Gateway, Query, Settle

KEY = "zun_coe"
"""Where the exchange is among the scope's extensions, and the gateway among Flask's."""
PACKAGE = "zun_coe.api."
"""What connexion puts before the contract's short names of operations."""
BEHIND = 2.0
"""Seconds after which the copy of the store has fallen behind: while the store is there it is heard of more often."""
_PAGING = frozenset({"limit", "marker", "sort", "all_projects"})
_FILTERS = frozenset(
    {"name", "cluster", "phase", "app", "label", "subject", "resource", "type", "level", "reason", "request_id"}
    | {"namespace"}
)


@dataclass
class Exchange:
    """What is known of a request by now. `params`: the parameters of query and headers by name, checked, with
    defaults; `body`: the JSON, checked; `settle`: what there is to wait for once the handler has answered; `backend`:
    what is left to do before there is an answer."""

    request_id: str
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    settle: Settle | None = None
    backend: BackendCall | None = None
    principal: Principal | None = None
    operation: str = ""


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that the outermost layer began."""
    return cast(Exchange, scope["extensions"][KEY])


def call_of(scope: Scope) -> Call:
    """Who asks, and under which conditions. Raises `Unauthenticated` where no security was checked."""
    exchange, headers = exchange_of(scope), Headers(scope=scope)
    if exchange.principal is None:
        raise Unauthenticated("Nobody is known to have asked.")
    return Call(
        principal=exchange.principal,
        request_id=exchange.request_id,
        if_match=headers.get("if-match"),
        if_none_match=headers.get("if-none-match"),
        idempotency_key=headers.get("idempotency-key"),
    )


def query_of(params: dict[str, Any]) -> Query:
    """The page that the parameters ask for."""
    paging = {k: v for k, v in params.items() if k in _PAGING}
    if "marker" in paging:
        paging["marker"] = str(paging["marker"])
    filters = {k: str(v) for k, v in params.items() if k in _FILTERS}
    return Query(**paging, filters=filters)


def resumed_from(params: dict[str, Any]) -> tuple[str, str | None]:
    """The event behind which to go on, and the parameter that names it. Browsers that reconnect send the header
    along with the parameters that the stream began with; the next page has a marker along with those of the first."""
    given = ((name, params[name]) for name in ("Last-Event-ID", "marker", "after") if params.get(name))
    return next(given, ("after", None))


def messages_of(answer: Answer) -> list[Message]:
    """An answer as a response of ASGI."""
    headers = {name.lower().encode(): value.encode() for name, value in answer.headers.items()}
    if answer.body is not None:
        headers |= {b"content-type": b"application/json", b"content-length": str(len(answer.body)).encode()}
    return [
        {"type": "http.response.start", "status": answer.status, "headers": list(headers.items())},
        {"type": "http.response.body", "body": answer.body or b""},
    ]


# For handlers, which run in a thread of their own inside Flask:


def gateway() -> Gateway:
    """The use cases."""
    return cast(Gateway, flask.current_app.extensions[KEY])


def call() -> Call:
    """Who asks, and under which conditions. Blocks until the copy is as new as the store, where the caller
    wants nothing older. Raises `StoreUnavailable`."""
    if "no-cache" in flask.request.headers.get("Cache-Control", ""):
        gateway().refresh()
    return call_of(_scope())


def query() -> Query:
    """The page that is asked for."""
    return query_of(params())


def params() -> dict[str, Any]:
    """The parameters by name, checked, with defaults."""
    return exchange_of(_scope()).params


def body() -> Any:
    """The JSON body, checked."""
    return exchange_of(_scope()).body


def respond(answer: Answer) -> flask.Response:
    """An answer as a response; what there is to do or to wait for is left in the exchange."""
    exchange = exchange_of(_scope())
    exchange.settle, exchange.backend = answer.settle, answer.backend
    kind = None if answer.body is None else "application/json"
    response = flask.Response(answer.body or b"", answer.status, dict(answer.headers) | _age(), content_type=kind)
    if answer.body is None:
        response.headers.pop("Content-Type", None)
    return response


def _age() -> dict[str, str]:
    """How old the copy is that a read was answered from, where it has fallen behind."""
    age = gateway().cache.age
    read = flask.request.method in ("GET", "HEAD") and flask.request.path.startswith("/v1/")
    return {"Age": str(int(age))} if read and age > BEHIND else {}


def _scope() -> Scope:
    return cast(Scope, flask.request.environ["asgi.scope"])
