"""What systemd is told, and the unit that is told to it."""

from __future__ import annotations

import configparser
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from zun_coe import systemd
from zun_coe.cli import main

UNIT = Path(__file__).parents[2] / "contrib" / "zun-coe.service"


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@zun-test-{tmp_path.name}-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def test_it_is_told_in_lines(manager: socket.socket) -> None:
    systemd.notify(systemd.READY, "STATUS=It serves")
    assert manager.recv(1000) == b"READY=1\nSTATUS=It serves"
    systemd.reloading()
    first, second = manager.recv(1000).decode().splitlines()
    assert (first, second.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    assert int(second.partition("=")[2]) > 0


@pytest.mark.parametrize("where", [None, "", "/nowhere/notify", "vsock:2:1234", "@nobody-listens-here"])
def test_nobody_is_told_where_nobody_listens(monkeypatch: pytest.MonkeyPatch, where: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if where is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", where)
    systemd.notify(systemd.READY)


def test_the_unit_starts_what_there_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[method-assign,assignment]  # names of systemd have capitals
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "zun-coe"
    help = CliRunner().invoke(main, [arguments[0], "--help"]).output
    assert all(option in help for option in arguments if option.startswith("--"))
