"""Answers that are too large, or come too slowly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from zun_coe.adapters import bodies
from zun_coe.adapters.reach import Reach
from zun_coe.errors import BackendError, TimedOut, Unavailable
from zun_coe.native.docker.client import EngineClient
from zun_coe.native.docker.failures import translated

Answering = Callable[[BaseHTTPRequestHandler, threading.Event], None]


@contextmanager
def engine(answering: Answering, status: int | None = 200) -> Iterator[EngineClient]:
    """A client of an engine whose every answer never ends by itself. `status`: that of its head, None where that is
    left to whoever is answering."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status is not None:
                self.send_response(status)
                self.end_headers()
            with suppress(OSError):
                answering(self, over)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    client = EngineClient(f"tcp://127.0.0.1:{server.server_port}", None, 0.3, 1, "1.41", Reach())
    try:
        yield client
    finally:
        over.set()
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()


def flood(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    while not over.is_set():
        handler.wfile.write(b"x" * bodies.BLOCK)


def dribble(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    while not over.wait(0.05):
        handler.wfile.write(b" ")


def dribble_a_head(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Words: ")
    dribble(handler, over)


def dribble_heads(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    """Each of them says that there will be another one."""
    while not over.wait(0.05):
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def asked(client: EngineClient) -> BackendError:
    with pytest.raises(BackendError) as raised, translated("info"):
        client.info()
    return raised.value


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 1 << 20)
    with engine(flood) as client:
        error = asked(client)
    assert isinstance(error, Unavailable)
    assert "more than 1 MiB" in error.message


def test_an_answer_that_dribbles_has_a_deadline() -> None:
    """Each byte comes in time, and the whole never does."""
    with engine(dribble) as client:
        assert isinstance(asked(client), TimedOut)


@pytest.mark.parametrize("dribbling", [dribble_a_head, dribble_heads])
def test_so_has_its_head(dribbling: Answering) -> None:
    with engine(dribbling, None) as client:
        assert isinstance(asked(client), TimedOut)
        with pytest.raises(BackendError), translated("events"):
            client.open_events({})


def test_what_follows_a_head_has_all_the_time() -> None:
    def answer(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        for _ in range(20):  # longer than a head may take
            over.wait(0.05)
            handler.wfile.write(b"{}\n")
        handler.close_connection = True

    with engine(answer) as client:
        assert client.open_events({}).raw.read() == b"{}\n" * 20


def test_the_words_of_a_failure_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 1 << 20)
    with engine(flood, 500) as client:
        assert "more than 1 MiB" in asked(client).message
        with pytest.raises(Unavailable, match="more than 1 MiB"):
            client.open_events({})


def test_what_is_small_and_quick_is_whole() -> None:
    def answer(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        handler.wfile.write(b'{"ID": "one"}')
        handler.close_connection = True

    with engine(answer) as client:
        assert client.info() == {"ID": "one"}
