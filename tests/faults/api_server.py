"""An API server that answers what it is told to: for what a real one does too seldom to wait for."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.real.certificates import Authority
from zun_coe.adapters import Connection

Then = Callable[["Handler"], None]
# Questions that are put as objects, and change nothing.
_REVIEWS = "/apis/authorization.k8s.io/"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Rule:
    """What becomes of the requests that match. `left`: of how many (None: of all)."""

    pattern: re.Pattern[str]
    then: Then
    left: int | None


@dataclass
class ApiServer:
    """Listens on the loopback with a certificate of `authority`. `asked`: what was asked, in order. What no rule is
    for is 404; `released` ends what hangs."""

    folder: Path
    authority: Authority = field(default_factory=Authority)
    asked: list[Asked] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        ca, certificate, key = self.authority.save(self.folder, "api", "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.endpoint = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def connection(self, **fields: Any) -> Connection:
        """What an adapter needs to reach it, with the token `abc`."""
        credentials = {"ca_cert": self.authority.certificate, "token": "abc"}
        given: dict[str, Any] = {"endpoint": self.endpoint, "credentials": credentials, "timeout": 5.0}
        return Connection(installation="i", cluster="c", kind="kubernetes", **(given | fields))

    def on(self, pattern: str, then: Then, times: int | None = None) -> None:
        """From now on this becomes of requests whose method and URL match, of the next `times` of them."""
        with self._lock:
            self._rules.insert(0, Rule(re.compile(pattern), then, times))

    def take(self, asked: Asked, line: str) -> Then:
        """What becomes of a request; counts."""
        with self._lock:
            self.asked.append(asked)
            for rule in self._rules:
                if rule.left != 0 and rule.pattern.search(line):
                    rule.left = None if rule.left is None else rule.left - 1
                    return rule.then
        return failing(404)

    def urls(self, pattern: str) -> list[Asked]:
        """What was asked of the paths that match."""
        return [asked for asked in list(self.asked) if re.search(pattern, asked.path)]

    def close(self) -> None:
        """End it, with all that hangs."""
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def writes(asked: list[Asked]) -> list[str]:
    """Those of some requests that change something."""
    found = [a for a in asked if a.method != "GET" and not a.path.startswith(_REVIEWS) and "dryRun" not in a.params]
    return [f"{a.method} {a.path}" for a in found]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: ApiServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what is tested."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as Go's servers do: else a body waits for the acknowledgement of its headers
    server: _Server
    asked: Asked
    """What is being answered."""

    def answer(self) -> None:
        """Do what there is a rule for."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), dict(self.headers.items()), body)
        self.server.owner.take(self.asked, f"{self.command} {self.path}")(self)

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  # http.server looks for these names

    def log_message(self, format: str, *args: Any) -> None:
        """Nowhere."""


def sending(body: Any, code: int = 200, **headers: str) -> Then:
    """An answer: bytes, or what becomes JSON."""

    def then(handler: Handler) -> None:
        told = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(code)
        for name, value in {"Content-Length": str(len(told)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(told)

    return then


def failing(code: int, message: str = "broken", **headers: str) -> Then:
    """A failure as API servers tell of it."""
    return sending({"kind": "Status", "message": message, "code": code}, code, **headers)


def hanging(handler: Handler) -> None:
    """Nothing, until it is released."""
    handler.server.owner.released.wait()
    handler.close_connection = True


def cutting(handler: Handler) -> None:
    """Half of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"kind":')
    with suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def garbling(handler: Handler) -> None:
    """What is no HTTP."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    handler.close_connection = True


def trickling(handler: Handler) -> None:
    """A byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.server.owner.released.wait(0.05):
        handler.wfile.write(b" ")


def streaming(*lines: Any, stay: bool = False) -> Then:
    """Lines of a watch, each what becomes JSON; with `stay` the end comes when it is released."""

    def then(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in _chunks(lines):
            handler.wfile.write(chunk)
        if stay:
            handler.server.owner.released.wait()
        handler.wfile.write(b"0\r\n\r\n")

    return then


def _chunks(lines: tuple[Any, ...]) -> Iterator[bytes]:
    for line in lines:
        told = json.dumps(line).encode() + b"\n"
        for part in (told[:5], told[5:]):  # what belongs together need not come together
            yield b"%x\r\n%b\r\n" % (len(part), part)
