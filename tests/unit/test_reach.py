"""Connections go where they may: the address counts that is connected to, whatever it is called."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import pytest

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.config import ConfigError, load
from zun_coe.errors import BackendError, Denied, Unavailable
from zun_coe.model import Host
from zun_coe.native.docker import DockerRuntime
from zun_coe.native.hosts import NativeHost
from zun_coe.native.runtime import Runtime

NAME = "evil.example"


class Door:
    """A port of the loopback. `knocked`: what was sent by each who connected."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.knocked: list[bytes] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                came, _ = self._listening.accept()
            except OSError:
                return
            with came:
                came.settimeout(10)
                self.knocked.append(came.recv(100))

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()


@pytest.fixture
def door() -> Iterator[Door]:
    with closing(Door()) as door:
        yield door


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Where names lead: to each address in turn, the last of them for good."""
    places: dict[str, list[str]] = {NAME: ["127.0.0.1"]}
    lookup = socket.getaddrinfo

    def found(host: str, *args: object, **how: object) -> object:
        left = places.get(host, [host])
        return lookup(left.pop(0) if len(left) > 1 else left[0], *args, **how)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return places


def docker(host: str, port: int, reach: Reach = ELSEWHERE) -> None:
    with closing(DockerRuntime(f"tcp://{host}:{port}", timeout=2, reach=reach)) as runtime:
        runtime.info()


def kubernetes(host: str, port: int, reach: Reach = ELSEWHERE) -> None:
    with closing(_client(host, port, reach)) as client:
        client.get("/version")


def kubernetes_stream(host: str, port: int, reach: Reach = ELSEWHERE) -> None:
    with closing(_client(host, port, reach)) as client:
        list(client.stream("/api/v1/pods", {}).lines())


def _client(host: str, port: int, reach: Reach) -> Client:
    credentials = {"token": "t"}
    endpoint = f"https://{host}:{port}"
    return Client(
        Connection("i", "c", "kubernetes", endpoint=endpoint, credentials=credentials, timeout=2, reach=reach)
    )


EVERYWHERE = pytest.mark.parametrize("ask", [docker, kubernetes, kubernetes_stream])
Ask = Callable[..., None]


@EVERYWHERE
def test_a_name_that_leads_to_this_machine(ask: Ask, door: Door, names: dict[str, list[str]]) -> None:
    with pytest.raises(Denied, match=r"evil.example leads to 127.0.0.1: .* for admins"):
        ask(NAME, door.port)
    assert door.knocked == []


@EVERYWHERE
def test_a_name_that_leads_elsewhere_once_it_was_looked_up(ask: Ask, door: Door, names: dict[str, list[str]]) -> None:
    names[NAME] = ["192.0.2.1", "127.0.0.1"]
    with pytest.raises(Denied, match=r"leads to 127\.0\.0\.1"):
        ask(NAME, door.port)
    assert all(sent == b"" for sent in door.knocked)


class Redirecting(BaseHTTPRequestHandler):
    """An engine that leads elsewhere, whatever it is asked."""

    to = ""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to be logged."""


def test_an_engine_that_redirects_elsewhere(door: Door) -> None:
    """A member's own engine may not have the gateway ask what only admins may register."""
    leading = type("Leading", (Redirecting,), {"to": f"http://127.0.0.1:{door.port}/latest/meta-data"})
    with ThreadingHTTPServer(("127.0.0.2", 0), leading) as engine:
        served = threading.Thread(target=engine.serve_forever)
        served.start()
        try:
            with pytest.raises(Unavailable, match="redirects elsewhere"):
                docker("127.0.0.2", engine.server_port, Reach.of("127.0.0.2"))
        finally:
            engine.shutdown()
            served.join()
    assert door.knocked == []


@EVERYWHERE
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_what_admins_register_by_its_address(ask: Ask, host: str, door: Door) -> None:
    with pytest.raises(BackendError) as raised:  # nobody answers at that door
        ask(host, door.port)
    assert "for admins" not in str(raised.value)
    assert door.knocked
    assert all(door.knocked)


@EVERYWHERE
def test_what_the_operator_allows(ask: Ask, door: Door, names: dict[str, list[str]]) -> None:
    with pytest.raises(BackendError) as raised:
        ask(NAME, door.port, Reach.of("127.0.0.0/8"))
    assert "for admins" not in str(raised.value)
    assert door.knocked


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.4", True),
        ("2001:db8::1", True),
        ("127.0.0.5", True),
        ("::ffff:127.0.0.5", True),
        ("127.1.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("::1", False),
        ("::ffff:169.254.169.254", False),
        ("2002:7f01:1::", False),
        ("localhost", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("fd00:ec2::254", False),
        ("fd20:ce::254", False),
        ("::ffff:100.100.100.200", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::7f00:5", True),
        ("64:ff9b::a00:4", True),
        ("fd00:ec3::254", True),
    ],
)
def test_what_is_allowed(address: str, allowed: bool) -> None:
    assert Reach.of("127.0.0.0/16").allows(address) == allowed


def test_networks_that_are_none() -> None:
    for wrong in ("127.0.0.0/40", "here", "127.0.0.1-9"):
        with pytest.raises(ConfigError, match="allowed_networks"):
            load(environment={"ZUN_COE_ALLOWED_NETWORKS": wrong})
    assert load(environment={"ZUN_COE_ALLOWED_NETWORKS": "127.0.0.1, ::1/128"}).allowed_networks


@pytest.mark.parametrize(
    ("endpoint", "address", "admins"),
    [
        ("unix:///run/docker.sock", None, True),
        ("tcp://127.9.9.9:2376", None, True),
        ("tcp://10.0.0.4:2376", "127.9.9.9", True),
        ("tcp://10.0.0.4:2376", "evil.example", False),
        ("tcp://127.0.0.1:2376", "evil.example", False),
        ("tcp://10.0.0.4:2376", "127.0.0.1", False),
    ],
)
def test_who_can_have_registered_a_host(endpoint: str, address: str | None, admins: bool) -> None:
    """A member's host stays a member's where the operator allows it: its address may lead anywhere."""
    host = Host(name="a", endpoint=endpoint, address=address)
    made = NativeHost(host, cast(Runtime, None), 1, reach=Reach.of("127.0.0.0/16"))
    assert made.trusted is admins
