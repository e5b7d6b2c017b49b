"""An engine may be anybody's: it can neither fill the memory of the gateway nor keep its threads."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any

import pytest

from zun_coe.adapters import LogLine, LogOptions, bodies
from zun_coe.errors import BackendError, TimedOut, Unavailable
from zun_coe.native.docker import DockerRuntime, streams
from zun_coe.native.docker import runtime as docker_runtime
from zun_coe.native.docker.streams import CUT, Multiplexed, Terminal

Speak = Callable[[BaseHTTPRequestHandler], None]
STAMP = b"2026-05-04T03:02:01.123456789Z "


class Engine(ThreadingHTTPServer):
    """An engine that says what a test says. `over`: nobody listens any more."""

    daemon_threads = True

    def __init__(self, status: int, speak: Speak) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.speak, self.over = status, speak, Event()
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def end(self) -> None:
        self.over.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        engine: Any = self.server
        self.send_response(engine.status)
        self.end_headers()
        try:
            engine.speak(self)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to be logged."""


def without_end(handler: BaseHTTPRequestHandler) -> None:
    while True:
        handler.wfile.write(b" " * 65536)


def drop_by_drop(handler: BaseHTTPRequestHandler) -> None:
    engine: Any = handler.server
    while not engine.over.wait(0.1):
        handler.wfile.write(b" ")


@pytest.fixture(params=[200, 500], ids=["well", "failed"])
def asked(request: pytest.FixtureRequest) -> Iterator[Callable[[Speak], BackendError]]:
    """Ask an engine that speaks like that who it is; what comes of it."""
    engines: list[Engine] = []

    def ask(speak: Speak) -> BackendError:
        engines.append(Engine(request.param, speak))
        endpoint = f"tcp://127.0.0.1:{engines[-1].server_port}"
        with closing(DockerRuntime(endpoint, timeout=0.5)) as runtime, pytest.raises(BackendError) as raised:
            runtime.info()
        return raised.value

    yield ask
    for engine in engines:
        engine.end()


def test_an_answer_without_end(asked: Callable[[Speak], BackendError], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 1 << 20)
    assert "more than 1 MiB" in str(asked(without_end))


def test_an_answer_drop_by_drop(asked: Callable[[Speak], BackendError]) -> None:
    error = asked(drop_by_drop)
    assert isinstance(error, TimedOut)
    assert error.evidence["call"] == "version", "by which it is decided whether the host is reachable"


def test_the_lines_of_a_log_without_end_are_not_counted_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(handler: BaseHTTPRequestHandler) -> None:
        if "/logs" not in handler.path:
            known = {"Config": {"Tty": True}, "ApiVersion": "1.41"}
            handler.wfile.write(json.dumps(known).encode())
            return
        while True:
            handler.wfile.write(b"\n" * 1000)

    monkeypatch.setattr(docker_runtime, "_COUNTING", 0.2)
    engine = Engine(200, speak)
    try:
        runtime = DockerRuntime(f"tcp://127.0.0.1:{engine.server_port}", timeout=5)
        with closing(runtime), pytest.raises(TimedOut, match="told of a log for longer"):
            runtime.logs("c", "i", LogOptions(tail=3, stream="stderr"))
    finally:
        engine.end()


def test_containers_without_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(handler: BaseHTTPRequestHandler) -> None:
        listed = [{"Id": str(n)} for n in range(11)]
        told = listed if "/containers/json" in handler.path else {"ApiVersion": "1.41"}
        handler.wfile.write(json.dumps(told).encode())

    monkeypatch.setattr(docker_runtime, "_MOST", 10)
    engine = Engine(200, speak)
    try:
        runtime = DockerRuntime(f"tcp://127.0.0.1:{engine.server_port}", timeout=5)
        with closing(runtime), pytest.raises(Unavailable, match="tells of 11 containers"):
            runtime.find({"a": "b"})
    finally:
        engine.end()


def test_where_the_last_lines_begin_is_found_without_keeping_the_others() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def lines() -> Iterator[LogLine]:
        for number in range(100_000):
            yield LogLine("i", "stdout", at + timedelta(seconds=number // 10), b"x" * 1000)

    tracemalloc.start()
    try:
        assert streams.tail_start(lines(), 15) == (at + timedelta(seconds=9998), 5)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert streams.tail_start(iter([]), 15) == (None, 0)


def test_a_frame_of_a_log_that_is_larger_than_any() -> None:
    header = bytes([1, 0, 0, 0]) + (1 << 31).to_bytes(4, "big")
    with pytest.raises(Unavailable, match="a frame of a log"):
        list(Multiplexed("i").feed(header))


def test_an_event_without_end() -> None:
    stream: Any = type("Endless", (), {"blocks": lambda self: iter([b"{" * 65536] * 1000), "closed": False})()
    with pytest.raises(Unavailable, match="a line of the engine has more"):
        list(streams.objects(stream))


def printed(*blocks: bytes) -> tuple[list[LogLine], int]:
    """What a terminal comes to, and the most bytes that it kept."""
    terminal, lines, kept = Terminal("i"), list[LogLine](), 0
    for block in blocks:
        lines += terminal.feed(block)
        kept = max(kept, len(terminal._buffer))
    return [*lines, *terminal.end()], kept


@pytest.mark.parametrize("size", [100, 4096, 65536])
def test_of_a_line_that_the_engine_cuts_each_part_comes_when_it_is_there(size: int) -> None:
    whole = (STAMP + b"x" * CUT) * 50 + STAMP + b"end\r\n"
    lines, kept = printed(*(whole[first : first + size] for first in range(0, len(whole), size)))
    assert [len(line.text) for line in lines] == [CUT] * 50 + [3]
    assert [line.partial for line in lines] == [True] * 50 + [False]
    assert kept <= 2 * CUT + size


def test_of_a_line_that_nobody_cuts_no_more_is_kept_than_there_is_room_for() -> None:
    lines, kept = printed(*[b"x" * 65536] * 100)
    assert sum(len(line.text) for line in lines) == 100 * 65536
    assert kept <= streams.LONGEST
