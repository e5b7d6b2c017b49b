"""Where the service listens, and that it is open to other machines only where somebody has said so."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from zun_coe.config import ConfigError, Settings
from zun_coe.listening import bound, is_open, must_be_permitted, url_of

MACHINES = {"inside": ["127.0.0.1", "::1"], "outside": ["10.0.0.4"], "both": ["127.0.0.1", "10.0.0.4"]}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of machines, without a name server."""
    real = socket.getaddrinfo

    def found(host: str, port: int, *args: Any, **options: Any) -> Any:
        return [answer for address in MACHINES.get(host, [host]) for answer in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


PRIVATE = ["9618", ":9618", "127.0.0.1:9618", "127.8.8.8:0", "[::1]:9618", "localhost:9618", "inside:1", "unix:/run/s"]
PRIVATE += ["[::ffff:127.0.0.1]:9618"]
OPEN = ["0.0.0.0:9618", "[::]:9618", "10.0.0.4:9618", "[fe80::1]:9618", "[2001:db8::1]:0", "outside:80", "both:80"]
OPEN += ["[::ffff:10.0.0.4]:9618"]


@pytest.mark.parametrize("listen", PRIVATE)
def test_on_this_machine_nothing_needs_to_be_said(listen: str) -> None:
    assert not is_open(Settings(listen=listen))
    must_be_permitted(Settings(listen=listen))


@pytest.mark.parametrize("listen", OPEN)
def test_elsewhere_somebody_has_to_say_so(listen: str) -> None:
    with pytest.raises(ConfigError, match="everybody who reaches it is an admin") as refused:
        must_be_permitted(Settings(listen=listen))
    assert "--allow-unauthenticated" in str(refused.value)
    must_be_permitted(Settings(listen=listen, allow_unauthenticated=True))
    assert is_open(Settings(listen=listen, allow_unauthenticated=True))
    assert not is_open(Settings(listen=listen, auth="keystone"))


def test_a_bare_port_is_of_the_loopback_interface() -> None:
    with bound("0") as made:
        assert made.getsockname()[0] == "127.0.0.1"
        assert url_of(made) == f"http://127.0.0.1:{made.getsockname()[1]}"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    with bound("[::]:0") as made, socket.create_connection(("127.0.0.1", made.getsockname()[1])):
        assert url_of(made).startswith("http://[::]:")


def test_a_path(tmp_path: Path) -> None:
    with bound(f"unix:{tmp_path / 's'}") as made:
        assert url_of(made) == f"unix:{tmp_path / 's'}"
        with pytest.raises(ConfigError, match="somebody listens there"):
            bound(f"unix:{tmp_path / 's'}")
    with bound(f"unix:{tmp_path / 's'}"):
        pass


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    """It refuses a connection as well, and may be the database."""
    file = tmp_path / "state.db"
    file.write_text("everything")
    with pytest.raises(ConfigError, match="no socket"):
        bound(f"unix:{file}")
    assert file.read_text() == "everything"


WRONG = {
    "nowhere": "no ADDRESS:PORT",
    "unix:": "no path",
    "": "no ADDRESS:PORT",
    "x:99999": "no ADDRESS:PORT",
    "::1:80": r"\[::1\]:80",
}
WRONG |= {
    "127.0.0.1:٣": "no ADDRESS:PORT",
    "no.such.invalid:1": "can't listen at no.such",
    "192.0.2.1:1": "can't listen",
}


@pytest.mark.parametrize("listen", sorted(WRONG))
def test_what_is_no_place(listen: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[listen]):
        bound(listen)
