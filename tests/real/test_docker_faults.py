"""The Docker runtime when the engine is away, hangs, dies, breaks off or is not to be trusted."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.real.certificates import Authority
from tests.real.components import Engine, free_port, wait_until
from tests.real.components import short_folder as short_folder_of
from tests.real.needs import need
from zun_coe.adapters import LogLine, LogOptions
from zun_coe.errors import BackendError, Denied, Invalid, TimedOut, Unavailable
from zun_coe.native.docker import DockerRuntime
from zun_coe.native.runtime import ContainerSpec

VERSION = b'{"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24"}'

Item = TypeVar("Item")


class TlsEngine(Engine):
    """An engine that listens on TCP too, for clients with a certificate of its authority."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.port = free_port()
        self._files = authority.save(folder, "engine", "127.0.0.1")
        super().__init__(folder)
        self.tcp = f"tcp://127.0.0.1:{self.port}"

    def _options(self, number: int) -> list[str]:
        ca, certificate, key = self._files
        tls = ["--tlsverify", f"--tlscacert={ca}", f"--tlscert={certificate}", f"--tlskey={key}"]
        return [*super()._options(number), f"--host=tcp://127.0.0.1:{self.port}", *tls]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def engine(authority: Authority) -> Iterator[TlsEngine]:
    """Of these tests alone: they freeze and kill it."""
    need("dockerd", "docker.io")
    started = TlsEngine(short_folder_of(), authority)
    try:
        started.start()
        started.load()
        yield started
    finally:
        started.close()


class TestTls:
    def test_with_certificates(self, engine: TlsEngine, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        # What the environment says of proxies and authorities is not heeded.
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        runtime = DockerRuntime(str(engine.tcp), credentials=authority.credentials("us"))
        assert runtime.info().identity == engine.client().api.info()["ID"]
        id = runtime.create(ContainerSpec("tls", engine.image, {"t": "tls"}, args=["sh", "-c", "echo a; sleep 60"]))
        runtime.start(id)
        stream = runtime.logs(id, "i", LogOptions(follow=True))
        lines: list[LogLine] = []
        reader = threading.Thread(target=lambda: lines.extend(_noted(stream, lines)))
        reader.start()
        wait_until(lambda: lines, 10)
        stream.close()
        reader.join(5)
        assert not reader.is_alive()
        runtime.remove(id)
        runtime.close()

    def test_keys_are_in_no_files(
        self, engine: TlsEngine, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", "/nonexistent")  # whoever makes a file there fails
        runtime = DockerRuntime(str(engine.tcp), credentials=authority.credentials("us"))
        assert runtime.info().identity
        runtime.close()

    def test_other_certificates_are_used_while_what_is_open_goes_on(
        self, engine: TlsEngine, authority: Authority
    ) -> None:
        runtime = DockerRuntime(str(engine.tcp), credentials=authority.credentials("us"))
        identity = runtime.info().identity
        id = runtime.create(ContainerSpec("renewed", engine.image, {"t": "renewed"}, args=["sh", "-c", "sleep 600"]))
        stop, heard = threading.Event(), list[Any]()
        following = runtime.events({"t": "renewed"}, stop)
        events = threading.Thread(target=lambda: [heard.append(event) for event in following], daemon=True)
        events.start()
        runtime.start(id)
        wait_until(lambda: heard or runtime.restart(id, 0), 20)
        assert runtime.renew(Authority().credentials("them"))
        with pytest.raises(Denied):
            runtime.info()
        assert runtime.renew(authority.credentials("us too"))
        assert runtime.info().identity == identity
        assert not runtime.renew({})
        before = len(heard)
        runtime.remove(id)
        wait_until(lambda: len(heard) > before, 20)
        stop.set()
        events.join(20)
        assert not events.is_alive()
        runtime.close()

    def test_strangers_are_denied(self, engine: TlsEngine, authority: Authority) -> None:
        ours, theirs = authority.credentials("us"), Authority().credentials("them")
        only_ca = {"ca_cert": ours["ca_cert"]}
        for credentials in (theirs, ours | {"ca_cert": theirs["ca_cert"]}, theirs | only_ca, only_ca):
            runtime = DockerRuntime(str(engine.tcp), credentials=credentials)
            with pytest.raises(Denied) as denied:
                runtime.info()
            assert denied.value.reason == "PermissionDenied"
            runtime.close()

    def test_a_plain_connection_is_refused(self, engine: TlsEngine) -> None:
        runtime = DockerRuntime(str(engine.tcp))
        with pytest.raises(BackendError):
            runtime.info()
        runtime.close()

    def test_half_a_key_pair_is_refused(self, authority: Authority) -> None:
        credentials = {k: v for k, v in authority.credentials("us").items() if k != "client_key"}
        with pytest.raises(Denied):
            DockerRuntime("tcp://127.0.0.1:1", credentials=credentials)


@pytest.mark.parametrize("endpoint", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
def test_nobody_there(endpoint: str) -> None:
    runtime = DockerRuntime(endpoint, timeout=2)
    with pytest.raises(Unavailable) as away:
        runtime.info()
    assert type(away.value) is Unavailable
    assert away.value.reason == "BackendUnreachable"
    assert away.value.evidence["call"] == "version"
    runtime.close()


def test_after_it_was_closed(engine: TlsEngine) -> None:
    runtime = DockerRuntime(engine.endpoint)
    id = runtime.create(ContainerSpec("closed", engine.image, {"t": "closed"}))
    runtime.close()
    with pytest.raises(Unavailable):
        runtime.find({"t": "closed"})
    engine.client().api.remove_container(id)


class Listening(threading.Thread):
    """Reads events of a container in a thread; it is open once the first has come."""

    def __init__(self, runtime: DockerRuntime, id: str) -> None:
        super().__init__()
        self.stop, self.seen = threading.Event(), list[Mapping[str, str]]()
        self._runtime = runtime
        self._labels = next(f.labels for f in runtime.find({}) if f.id == id)
        self.start()
        wait_until(lambda: self._changed(id), 10)

    def run(self) -> None:
        self.seen.extend(_noted(self._runtime.events(self._labels, self.stop), self.seen))

    def _changed(self, id: str) -> bool:
        self._runtime.resize(id, 0.5, None)
        return bool(self.seen)


class TestHang:
    def test_a_frozen_engine_times_out(self, engine: TlsEngine) -> None:
        calm = DockerRuntime(engine.endpoint)
        spec = ContainerSpec("frozen", engine.image, {"t": "frozen"})
        id = calm.create(spec)
        listening = Listening(calm, id)
        runtime = DockerRuntime(engine.endpoint, timeout=0.5, pull_timeout=0.5)
        runtime.info()
        engine.freeze()
        try:
            calls: list[Callable[[], object]] = [
                runtime.info,
                lambda: runtime.find({"t": "frozen"}),
                lambda: runtime.create(spec),
                lambda: runtime.start(id),
                lambda: runtime.logs(id, "i", LogOptions(follow=True)),
                lambda: runtime.pull("127.0.0.1:1/x:1", None),
            ]
            for call in calls:
                with pytest.raises(TimedOut):
                    call()
            listening.stop.set()
            listening.join(1.5)
            assert not listening.is_alive()
        finally:
            engine.thaw()
        calm.remove(id)
        calm.close()
        runtime.close()


class TestDeath:
    def test_an_engine_that_dies_and_returns(self, engine: TlsEngine) -> None:
        runtime = DockerRuntime(engine.endpoint, timeout=10)
        script = "trap 'exit' TERM; echo ready; while :; do sleep 0.1; done"
        id = runtime.create(ContainerSpec("dying", engine.image, {"t": "dying"}, args=["sh", "-c", script]))
        runtime.start(id)
        stream = runtime.logs(id, "i", LogOptions(follow=True))
        failures: list[Unavailable] = []
        lines: list[LogLine] = []

        def follow() -> None:
            try:
                _noted(stream, lines)
            except Unavailable as error:
                failures.append(error)

        reader = threading.Thread(target=follow)
        reader.start()
        wait_until(lambda: lines, 10)
        listening = Listening(runtime, id)
        engine.kill()
        for thread in (reader, listening):
            thread.join(5)
            assert not thread.is_alive()
        assert len(failures) == 1
        with pytest.raises(Unavailable) as away:
            runtime.find({"t": "dying"})
        assert away.value.reason == "BackendUnreachable"
        engine.start()
        assert [f.id for f in runtime.find({"t": "dying"})] == [id]
        runtime.remove(id)
        runtime.close()


class Faulty:
    """A server that answers GET …/version as an engine does and everything else with the same few bytes."""

    def __init__(self, answer: bytes, then: str) -> None:
        self._answer, self._then = answer, then
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += connection.recv(65536)
            if b"/version" in request.split(b"\r\n", 1)[0]:
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(VERSION)
                connection.sendall(head + VERSION)
                connection.close()
                continue
            connection.sendall(self._answer)
            if self._then == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            if self._then == "hang":
                self._open.append(connection)
            else:
                connection.close()


def _http(status: str, body: bytes, length: int | None = None) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length or len(body)}\r\n\r\n".encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "then", "kind"),
    [
        (b"", "close", Unavailable),
        (b"", "reset", Unavailable),
        (b"", "hang", TimedOut),
        (b"nonsense\r\n\r\n", "close", Unavailable),
        (_http("200 OK", b"[", 100), "close", Unavailable),
        (_http("200 OK", b"[", 100), "hang", TimedOut),
        (_http("200 OK", b"[{"), "close", Unavailable),
        (_http("200 OK", b"[{}]"), "close", Unavailable),
        (_http("200 OK", b"null"), "close", Unavailable),
        (CHUNKED + b"5\r\n[", "close", Unavailable),
        (_http("500 Internal Server Error", b'{"message": "disk broken"}'), "close", Unavailable),
        (_http("502 Bad Gateway", b"<html>"), "close", Unavailable),
        (_http("500 Internal Server Error", b"[]"), "close", Unavailable),
        (_http("404 Not Found", b"<html>not here</html>"), "close", Unavailable),
        (_http("400 Bad Request", b'{"message": "no"}'), "close", Invalid),
        (_http("401 Unauthorized", b'{"message": "no"}'), "close", Denied),
    ],
)
def test_broken_answers(answer: bytes, then: str, kind: type[BackendError]) -> None:
    server = Faulty(answer, then)
    runtime = DockerRuntime(server.endpoint, timeout=0.5)
    try:
        with pytest.raises(BackendError) as broken:
            runtime.find({"a": "b"})
        assert type(broken.value) is kind
        assert set(broken.value.evidence) == {"call", "status", "message"}
    finally:
        runtime.close()
        server.close()


def test_a_pull_has_a_deadline_however_lively_it_is() -> None:
    lively = CHUNKED + b'17\r\n{"status":"Waiting..."}\n'.replace(b"17", b"18") + b"\r\n"
    server = Faulty(lively, "hang")
    runtime = DockerRuntime(server.endpoint, timeout=5, pull_timeout=0.5)
    try:
        with pytest.raises(TimedOut) as late:
            runtime.pull("x:1", None)
        assert late.value.reason == "ImagePullFailed"
    finally:
        runtime.close()
        server.close()


@pytest.mark.parametrize(
    "engine_speaks", [b'{"ApiVersion": "1.23"}', b'{"ApiVersion": "1.99", "MinAPIVersion": "1.50"}']
)
def test_versions_that_do_not_meet(engine_speaks: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "VERSION", engine_speaks)
    server = Faulty(b"", "close")
    runtime = DockerRuntime(server.endpoint)
    try:
        with pytest.raises(Unavailable, match="supported"):
            runtime.find({})
    finally:
        runtime.close()
        server.close()


def test_a_socket_that_we_may_not_open(short_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give itself up and take itself back")
    path = short_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        short_path.chmod(0o755)
        os.seteuid(65534)
        try:
            runtime = DockerRuntime(f"unix://{path}", timeout=2)
            with pytest.raises(Denied):
                runtime.info()
            runtime.close()
        finally:
            os.seteuid(0)


def _noted(stream: Iterable[Item], seen: list[Item]) -> list[Item]:
    """Put what comes into `seen` as it comes; nothing is left."""
    for item in stream:
        seen.append(item)
    return []
