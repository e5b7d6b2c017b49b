"""Real etcd servers, and a wire to cut."""

from __future__ import annotations

import signal
import socket
import threading
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import urllib3

from tests.real.certificates import Authority
from tests.real.needs import free_port, need
from tests.real.process import Process
from tests.real.waiting import wait_until


class Member(Process):
    """One etcd server. `endpoint` is its host:port. What it stored is kept while it is not running."""

    def __init__(
        self, program: str, folder: Path, name: str, port: int, peers: dict[str, int], tls: Authority | None
    ) -> None:
        client, peer = f"{'https' if tls else 'http'}://127.0.0.1:{port}", f"http://127.0.0.1:{peers[name]}"
        cluster = ",".join(f"{other}=http://127.0.0.1:{number}" for other, number in peers.items())
        options = {
            "name": name,
            "data-dir": folder / name,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
        }
        trusted: dict[str, Any] = {}
        if tls:
            ca, cert, key = map(str, tls.save(folder, name, "127.0.0.1"))
            options |= {"cert-file": cert, "key-file": key, "trusted-ca-file": ca, "client-cert-auth": "true"}
            trusted = {"ca_certs": ca, "cert_file": cert, "key_file": key}
        command = [program, *(f"--{option}={value}" for option, value in options.items())]
        super().__init__(command, folder / f"{name}.log")
        self.endpoint = f"127.0.0.1:{port}"
        self._http = urllib3.PoolManager(retries=False, timeout=2, **trusted)
        self._url = client

    @property
    def healthy(self) -> bool:
        """Whether it serves, with a majority behind it."""
        return b"true" in self._get("/health")

    def _end(self, how: signal.Signals, timeout: float = 10.0) -> None:
        super()._end(how, timeout)
        self._http.clear()

    @property
    def leads(self) -> bool:
        """Whether it is the leader."""
        return b"etcd_server_is_leader 1" in self._get("/metrics")

    def _get(self, path: str) -> bytes:
        with suppress(urllib3.exceptions.HTTPError):
            return self._http.request("GET", self._url + path).data
        return b""


class Etcd:
    """An etcd of one or three members, which is ready when this returns. To be closed. With `tls` clients
    need a certificate of that authority."""

    def __init__(self, folder: Path, members: int = 1, tls: Authority | None = None) -> None:
        program = need("etcd", "etcd-server")
        peers = {f"m{n}": free_port() for n in range(members)}
        self.members = [Member(program, folder, name, free_port(), peers, tls) for name in peers]
        for member in self.members:
            member.start()
        self.ready()

    @property
    def endpoints(self) -> list[str]:
        """Where its members are."""
        return [member.endpoint for member in self.members]

    def url(self, namespace: str) -> str:
        """The URL of a store in it."""
        return f"etcd://{','.join(self.endpoints)}/{namespace}"

    def authenticate(self, namespace: str, user: str, password: str) -> None:
        """Have it want a user and a password from now on, and know one who may use what is in a namespace."""
        prefix = f"{namespace}/".encode()
        span = {"key": _text(prefix), "range_end": _text(prefix[:-1] + b"0")}
        for path, body in (
            ("user/add", {"name": "root", "password": "of root"}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/add", {"name": user, "password": password}),
            ("role/add", {"name": "gateway"}),
            ("role/grant", {"name": "gateway", "perm": {"permType": "READWRITE"} | span}),
            ("user/grant", {"user": user, "role": "gateway"}),
            ("enable", {}),
        ):
            answer = urllib3.request("POST", f"http://{self.endpoints[0]}/v3/auth/{path}", json=body)
            assert answer.status == 200, answer.data

    def ready(self) -> None:
        """Wait until all members that run serve."""
        running = [member for member in self.members if member.running]
        wait_until(lambda: all(member.healthy for member in running), 30, "etcd is healthy")

    def close(self) -> None:
        """End all of them."""
        for member in self.members:
            member.kill()


def _text(key: bytes) -> str:
    return b64encode(key).decode()


class Wire:
    """A TCP proxy before a server. With `swallow` it passes requests on and, when the answer comes, cuts
    the connection instead. `cut` breaks all connections that are there."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.swallow = threading.Event()
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections that are there; new ones are taken."""
        _shut(self._open)

    def close(self) -> None:
        """Take no more connections, and break those that are there."""
        _shut([self._listener, *self._open])
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._lay(self._listener.accept()[0])

    def _lay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        self._open += [client, server]
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pass, args=(source, target, source is server), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError), source, target:
            while (data := source.recv(1 << 16)) and not (answers and self.swallow.is_set()):
                target.sendall(data)
            _shut([source, target])


def _shut(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
