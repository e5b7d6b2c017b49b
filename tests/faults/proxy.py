"""A way to an engine that fails on command: a unix socket in front of the engine's own.

It understands as much of HTTP as it takes to tell requests apart. What is not to fail is passed on byte by
byte, streams that never end among it."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Fate = Literal["pass", "delay", "cut", "truncate", "error", "hang", "late"]
"""What becomes of a request. `delay`: it is passed on late; `cut`: the connection breaks in the middle of the
answer; `truncate`: half of the answer comes as if it were whole; `error`: the answer is 500, and the engine is
not asked; `hang`: it is taken, and nothing follows until `heal`; `late`: the same, but it is passed on then."""

ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
BLOCK = 1 << 16


@dataclass
class Rule:
    """What becomes of requests whose first line matches. `left`: of how many (None: all). `met` counts."""

    fate: Fate
    pattern: re.Pattern[str]
    left: int | None
    seconds: float
    met: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Listens at `folder`/proxy.sock (`endpoint`) for the engine at `target`, both unix:///path.

    `asked`: which process asked what, as (pid, the request's first line)."""

    def __init__(self, folder: Path, target: str) -> None:
        self._path, self._target = folder / "proxy.sock", target.removeprefix("unix://")
        self.endpoint = f"unix://{self._path}"
        self.asked: list[tuple[int, str]] = []
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.accept()

    @property
    def sockets(self) -> int:
        """How many of its own are open."""
        with self._lock:
            return len(self._open) + (self._listener is not None)

    def fail(self, fate: Fate, on: str = "", times: int | None = None, seconds: float = 0.0) -> Rule:
        """From now on this becomes of requests with `on` (a regular expression) in their first line, of the
        next `times` of them (None: of all); `seconds` is how long a delay takes."""
        rule = Rule(fate, re.compile(on), times, seconds)
        with self._lock:
            self._rules.insert(0, rule)
        return rule

    def refuse(self) -> None:
        """Take no more connections, and break those that are there."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
        self.cut()

    def accept(self) -> None:
        """Take connections (again). No-op while it does."""
        if self._listener is None:
            self._path.unlink(missing_ok=True)
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self._path))
            self._listener.listen(128)
            _start(self._accept, self._listener)

    def cut(self) -> None:
        """Break all connections that are there."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Fail no more. What hangs is broken; what is late is passed on."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            rule.over.set()
        self.accept()

    def close(self) -> None:
        """End it."""
        self.refuse()
        self.heal()
        self.refuse()

    @property
    def requests(self) -> list[str]:
        """What was asked."""
        return [line for _, line in self.asked]

    def rule_for(self, pid: int, line: str) -> Rule | None:
        """What becomes of a request of a process; counts."""
        with self._lock:
            self.asked.append((pid, line))
            for rule in self._rules:
                if rule.pattern.search(line) and rule.left != 0:
                    rule.left = None if rule.left is None else rule.left - 1
                    rule.met += 1
                    return rule
        return None

    def connect(self) -> socket.socket:
        """A connection to the engine."""
        upstream = socket.socket(socket.AF_UNIX)
        try:
            upstream.connect(self._target)
        except OSError:
            upstream.close()
            raise
        return self._keep(upstream)

    def drop(self, *sockets: socket.socket) -> None:
        """Close connections."""
        for one in sockets:
            with self._lock:
                self._open.discard(one)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError), listener:
            while True:
                client = self._keep(listener.accept()[0])
                _start(lambda taken: _Exchange(self, taken).run(), client)

    def _keep(self, one: socket.socket) -> socket.socket:
        with self._lock:
            self._open.add(one)
        return one


class _Exchange:
    """One connection of a client, and the one to the engine that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy, self._client = proxy, client
        self._upstream: socket.socket | None = None
        self._rule: Rule | None = None
        # struct ucred: the process, its user, its group
        (self._pid,) = struct.unpack("i8x", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))

    def run(self) -> None:
        """Until one of the two ends it."""
        try:
            with suppress(OSError):
                self._upstream = self._proxy.connect()
                while self._turn(self._upstream):
                    pass
        finally:
            self._proxy.drop(*(one for one in (self._client, self._upstream) if one))

    def _turn(self, upstream: socket.socket) -> bool:
        ready, _, _ = select.select([self._client, upstream], [], [])
        if upstream in ready:
            return self._answer(upstream.recv(BLOCK))
        request = _request(self._client)
        return bool(request) and self._pass_on(request, upstream)

    def _pass_on(self, request: bytes, upstream: socket.socket) -> bool:
        rule = self._rule = self._proxy.rule_for(self._pid, request.partition(b"\r\n")[0].decode())
        match rule.fate if rule else "pass":
            case "error":
                self._client.sendall(ERROR + b'{"message":"broken"}')
                return False
            case "hang":
                assert rule is not None
                rule.over.wait()
                return False
            case "delay" | "late":
                assert rule is not None
                rule.over.wait(rule.seconds or None)
        upstream.sendall(request)
        return True

    def _answer(self, data: bytes) -> bool:
        fate = self._rule.fate if self._rule else "pass"
        if not data:
            return False
        if fate == "cut":
            self._client.sendall(data[: len(data) // 2])
            return False
        if fate == "truncate":
            self._client.sendall(_halved(data))
            return False
        self._client.sendall(data)
        return True


def _request(client: socket.socket) -> bytes:
    """A whole request; nothing when the client has gone. All that clients here send tells its length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(BLOCK)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        more = client.recv(BLOCK)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body


def _halved(data: bytes) -> bytes:
    """The first half of an answer, in a frame that says that this is all."""
    head, _, body = data.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body = body.partition(b"\r\n")[2]
    half = body[: len(body) // 2]
    status = head.partition(b"\r\n")[0]
    return b"%b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(half), half)


def _start(run: Callable[[socket.socket], None], connection: socket.socket) -> None:
    threading.Thread(target=run, args=(connection,), name="proxy", daemon=True).start()
