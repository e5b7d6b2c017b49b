"""The service over HTTP: what is asked, what is asked again, and which failure an answer is."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from zun_coe.cli.failures import Away, Failure, Misuse, Refusal

ATTEMPTS = 5
PAGE = 500
"""How many a page has when all are wanted."""
_MERGE = "application/merge-patch+json"
_BUSY = (429, 503)
_ELSEWHERE = "--endpoint (ZUN_COE_ENDPOINT) names another"
_wait = wait_random_exponential(multiplier=0.2, max=3)


class _Again(Exception):
    """It is worth another try, and safe. `failure`: what to say when it was the last one."""

    def __init__(self, failure: Failure, after: float | None = None) -> None:
        super().__init__(str(failure))
        self.failure, self.after = failure, after


def open_http(
    endpoint: str, headers: Mapping[str, str], *, timeout: float, verify: Any = True, trust_env: bool = False
) -> httpx.Client:
    """A client for the service. The environment's proxies count only where it is asked for. Raises `Misuse`."""
    alive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]  # a stream that is silent for long may be cut unnoticed
    try:
        url, socket_file = _located(endpoint)
    except httpx.InvalidURL as error:
        raise Misuse(f"{endpoint!r} is no endpoint: {error}.") from error
    if socket_file:
        direct: httpx.HTTPTransport | None = httpx.HTTPTransport(uds=socket_file)
    else:
        direct = None if trust_env else httpx.HTTPTransport(verify=verify, socket_options=alive)
    return httpx.Client(
        base_url=url,
        headers=headers,
        timeout=httpx.Timeout(timeout, connect=min(timeout, 10)),
        verify=verify,
        trust_env=trust_env,
        transport=direct,
    )


def _located(endpoint: str) -> tuple[httpx.URL, str | None]:
    """The URL of a service, without the version that paths begin with, and its socket file where it has one. Raises
    `Misuse`."""
    if endpoint.startswith("unix:/"):
        return httpx.URL("http://localhost"), "/" + endpoint.removeprefix("unix:").lstrip("/")
    url = httpx.URL(endpoint)
    if url.scheme not in ("http", "https") or not url.host:
        raise Misuse(f"{endpoint!r} is no endpoint: use http://HOST:PORT, https://HOST:PORT or unix:/FILE.")
    return url.copy_with(path=url.path.rstrip("/").removesuffix("/v1") or "/"), None


def path_of(*parts: str) -> str:
    """/v1/apps/hello/logs, with each part quoted."""
    return "/v1/" + "/".join(quote(part, safe="", errors="replace") for part in parts)


class Api:
    """One service. Every method blocks, and raises `Refusal` or `Away`. `endpoint`: what its user calls it, where that
    is not the URL of `http`."""

    def __init__(self, http: httpx.Client, endpoint: str = "") -> None:
        self._http, self._endpoint = http, endpoint

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return self._endpoint or str(self._http.base_url).rstrip("/")

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = ATTEMPTS,
    ) -> httpx.Response:
        """One request, tried again under the same Idempotency-Key where its outcome is lost or the service is
        busy. What must not happen twice is asked once."""
        sent = dict(headers or {})
        if method == "POST":
            sent["Idempotency-Key"] = str(uuid4())
        if method == "PATCH":
            sent["Content-Type"] = _MERGE
        repeatable = "If-Match" not in sent and "If-None-Match" not in sent
        with _sendable():
            asked = self._http.build_request(method, path, params=_query(params), json=body, headers=sent)
        if params and "wait" in params:
            asked.extensions["timeout"] = self._patience(float(params["wait"]))
        return self._repeated(asked, attempts if repeatable else 1)

    def listing(self, path: str, key: str, params: Mapping[str, Any], limit: int | None = None) -> dict[str, Any]:
        """A list with all its pages, or the first `limit` of it (then with `next`, if there is more)."""
        found: list[Any] = []
        asked = dict(params)
        while True:
            left = PAGE if limit is None else min(limit - len(found), PAGE)
            page = self.ask("GET", path, params={"limit": left} | asked).json()
            if key not in page:
                raise self._stranger("its answer has no such list")
            found += page[key]
            behind = page.get("next")
            if behind is None or (limit is not None and len(found) >= limit):
                return {key: found} | ({"next": behind} if behind is not None else {})
            asked["marker"] = behind

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        silence: float | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer that is read as it comes. `silence`: for how many seconds it may say nothing (None: for ever)."""
        timeout = httpx.Timeout(self._http.timeout.connect, read=silence)
        with _sendable():
            asked = self._http.build_request("GET", path, params=_query(params), headers=dict(headers), timeout=timeout)
        with (
            self._lost("The connection was lost before the end."),
            closing(self._http.send(asked, stream=True)) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise self._refusal(answer)
            if not answer.headers.get("Content-Type", "").startswith(headers["Accept"]):
                raise self._stranger(f"it did not send {headers['Accept']}")
            yield answer

    def close(self) -> None:
        """Let go of the connections. Idempotent."""
        self._http.close()

    def _repeated(self, asked: httpx.Request, attempts: int) -> httpx.Response:
        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(attempts),
            wait=_pause,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    return self._once(asked, attempt.retry_state.attempt_number > 1)
        except _Again as last:
            raise last.failure from last
        raise AssertionError("the loop returns or raises")

    def _once(self, asked: httpx.Request, again: bool) -> httpx.Response:
        try:
            with self._lost("It is not known whether it happened."):
                answer = self._http.send(asked)
        except Away as away:
            if isinstance(away.__cause__, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
                raise _Again(away) from away
            raise
        if answer.is_success:
            return self._known(answer)
        if again and asked.method == "DELETE" and answer.status_code == 404:
            return httpx.Response(204, request=asked)  # the first try, whose answer was lost, did it
        refusal = self._refusal(answer)
        if answer.status_code in _BUSY and "Retry-After" in answer.headers:
            raise _Again(refusal, _seconds(answer.headers["Retry-After"]))
        raise refusal

    @contextmanager
    def _lost(self, consequence: str) -> Iterator[None]:
        """Failures of the connection, in words."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            told = f"No service can be reached at {self.endpoint}: {error or 'no answer'}."
            raise Away(f"{told} {_ELSEWHERE}; `zun-coe serve` starts one.") from error
        except httpx.TimeoutException as error:
            raise Away(f"The service at {self.endpoint} did not answer in time. {consequence}") from error
        except httpx.LocalProtocolError as error:
            raise Misuse(f"The request can't be sent: {error}.") from error
        except httpx.HTTPError as error:
            told = str(error) or type(error).__name__
            raise Away(f"The connection to {self.endpoint} was lost: {told}. {consequence}") from error

    def _known(self, answer: httpx.Response) -> httpx.Response:
        """The answer, where it is one of a gateway: anything may be at an address that was mistyped."""
        if answer.content and not _is_json(answer):
            raise self._stranger(f"it sent {answer.headers.get('Content-Type') or 'something'} instead of JSON")
        return answer

    def _stranger(self, why: str) -> Away:
        return Away(f"What answers at {self.endpoint} is no gateway of zun-coe ({why}). {_ELSEWHERE}.")

    def _refusal(self, answer: httpx.Response) -> Refusal:
        problem = _problem(answer)
        if problem is None:
            told = " ".join(answer.text[:300].split())
            detail = f"{self.endpoint} did not answer as a gateway of zun-coe does: {told}"
            problem = {"title": answer.reason_phrase, "detail": detail}
        problem.setdefault("status", answer.status_code)
        if request_id := answer.headers.get("X-Openstack-Request-Id"):
            problem.setdefault("request_id", request_id)
        return Refusal(problem)

    def _patience(self, wait: float) -> dict[str, float | None]:
        timeout = self._http.timeout.as_dict()
        return timeout | {"read": (timeout["read"] or 0) + wait}


def _query(params: Mapping[str, Any] | None) -> dict[str, str]:
    given = {k: v for k, v in (params or {}).items() if v is not None and v is not False}
    return {k: "true" if v is True else str(v) for k, v in given.items()}


def _is_json(answer: httpx.Response) -> bool:
    return "json" in answer.headers.get("Content-Type", "")


def _problem(answer: httpx.Response) -> dict[str, Any] | None:
    """What an answer tells of a problem, where it is told as the service does."""
    try:
        problem = answer.json() if _is_json(answer) else None
    except ValueError:
        return None
    return problem if isinstance(problem, dict) else None


@contextmanager
def _sendable() -> Iterator[None]:
    """What was typed may be bytes that are no text."""
    try:
        yield
    except UnicodeError as error:
        raise Misuse("What was given has bytes that are no text in UTF-8, so that it can't be sent.") from error


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _Again) and error.after is not None:
        return error.after
    return _wait(state)


def _seconds(retry_after: str) -> float:
    """What a Retry-After says, within reason; a date is not waited for."""
    return min(float(retry_after), 10.0) if retry_after.isdigit() else 1.0
