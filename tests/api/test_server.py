"""The process: its threads, its sockets, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import flask
import httpx
import pytest

from tests.real.waiting import wait_until
from zun_coe.api import health
from zun_coe.app import App, Server, create_app
from zun_coe.cli.client import open_http
from zun_coe.config import ConfigError, Settings
from zun_coe.process import Process

THREADS = 24


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=f"sqlite:///{tmp_path / 'state.db'}", threads=THREADS, max_streams=3)


@pytest.fixture
def process(settings: Settings) -> Iterator[Process]:
    process = Process(settings, "api")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def app(process: Process, settings: Settings) -> App:
    return create_app(process.gateway, settings)


@pytest.fixture
def server(app: App) -> Iterator[Server]:
    server = Server(app, "127.0.0.1:0")
    server.start()
    yield server
    server.stop()


def client(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, trust_env=False, timeout=20)


def test_as_many_threads_as_the_settings_say(monkeypatch: pytest.MonkeyPatch, process: Process) -> None:
    """All of them meet at a barrier, which they could not if there were fewer."""
    together = Barrier(THREADS)

    def live() -> flask.Response:
        together.wait(20)
        return flask.Response(b'{"status":"alive"}', content_type="application/json")

    monkeypatch.setattr(health, "live", live)
    server = Server(create_app(process.gateway, process.settings), "127.0.0.1:0")
    server.start()
    try:
        with client(server) as api, ThreadPoolExecutor(THREADS) as pool:
            answers = [pool.submit(api.get, "/healthz") for _ in range(THREADS)]
            assert {a.result().status_code for a in answers} == {200}
    finally:
        server.stop()


def test_it_ends_soon_with_streams_open(server: Server, process: Process) -> None:
    with client(server) as api, ExitStack() as streams:
        request = api.build_request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
        opened = [streams.enter_context(_sent(api, request)) for _ in range(3)]
        server.stop()
        for answer in opened:
            assert b": following" in answer.read(), "the stream has a proper end"
    with pytest.raises(httpx.TransportError), client(server) as api:
        api.get("/healthz")


def test_a_wait_is_answered_when_it_ends(server: Server) -> None:
    with client(server) as api, ThreadPoolExecutor() as pool:
        body = {"name": "x", "kind": "native", "hosts": [{"name": "a", "endpoint": "unix:///nowhere.sock"}]}
        waiting = pool.submit(api.post, "/v1/clusters", params={"wait": 60}, json=body)
        wait_until(lambda: api.get("/v1/clusters/x").status_code == 200)
        server.stop()
        assert waiting.result().status_code == 202


def test_streams_are_counted(server: Server) -> None:
    with client(server) as api, ExitStack() as streams:
        request = api.build_request("GET", "/v1/events", headers={"Accept": "text/event-stream"})
        for _ in range(3):
            streams.enter_context(_sent(api, request))
        answer = api.send(request)
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (429, "too-many-streams")
        assert answer.headers["Retry-After"]
        streams.close()
        wait_until(lambda: 'kind="events"} 0.0' in api.get("/metrics").text)
        streams.enter_context(_sent(api, request))


def test_a_local_socket(app: App, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = Server(app, f"unix:{path}")
    server.start()
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://gateway") as api:
        assert api.get("/healthz").status_code == 200
    with open_http(f"unix:{path}", {}, timeout=30) as api:
        assert api.get("/healthz").status_code == 200
    server.stop()


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:x", "127.0.0.1:99999", "unix:/no/such/folder/s"])
def test_where_it_can_not_listen(app: App, listen: str) -> None:
    with pytest.raises(ConfigError, match="can't listen"):
        Server(app, listen)


def test_a_port_that_is_taken(app: App) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="can't listen"):
        Server(app, f"127.0.0.1:{taken.getsockname()[1]}")


def test_the_store_is_away(server: Server, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(server) as api:
        process.cache.close()
        monkeypatch.setattr(type(process.cache), "age", property(lambda _: 60.0))
        answer = api.get("/readyz")
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert answer.headers["Retry-After"]
        assert api.get("/healthz").status_code == 200


class _sent(ExitStack):  # noqa: N801  # it is used as a function
    """A response whose headers are there and whose body goes on."""

    def __init__(self, api: httpx.Client, request: httpx.Request) -> None:
        super().__init__()
        self._answer = api.send(request, stream=True)
        assert self._answer.status_code == 200
        self.callback(self._answer.close)

    def __enter__(self) -> httpx.Response:  # type: ignore[override]  # the response, not the stack
        super().__enter__()
        return self._answer
