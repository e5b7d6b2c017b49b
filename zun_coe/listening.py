"""Where the REST service listens: ADDRESS:PORT, a bare PORT of the loopback interface, or unix:PATH.

Without authentication whoever reaches that place is an admin of everything, so the gateway serves beyond this machine
only where the operator says so."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from ipaddress import ip_address

from zun_coe.config import ConfigError, Settings

BACKLOG = 2048
"""Connections that may wait to be taken."""
LOOPBACK = "127.0.0.1"
_Address = tuple[socket.AddressFamily, str]


def is_open(settings: Settings) -> bool:
    """Whether others than this machine's users reach the service without authentication. Raises `ConfigError` for a
    place that can't be listened at."""
    if settings.auth != "none" or settings.listen.startswith("unix:"):
        return False
    return not all(_is_loopback(address) for _, address in _resolved(settings.listen)[0])


def must_be_permitted(settings: Settings) -> None:
    """Raises `ConfigError` where the service would be open to other machines, and nobody has said that it may."""
    if is_open(settings) and not settings.allow_unauthenticated:
        port = settings.listen.rpartition(":")[2]
        raise ConfigError(
            f"listen = {settings.listen} can be reached from other machines, and with auth = none everybody who "
            f"reaches it is an admin. Use listen = {LOOPBACK}:{port}, or set allow_unauthenticated "
            "(--allow-unauthenticated) where something in front of the gateway decides who may call it."
        )


def bound(listen: str) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises `ConfigError`."""
    try:
        if listen.startswith("unix:"):
            return _bound_locally(listen.removeprefix("unix:"))
        (found, *_), port = _resolved(listen)
        family, address = found
        both = address == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except (OSError, ValueError) as error:
        raise _refused(listen, error) from error


def url_of(bound: socket.socket) -> str:
    """Where a socket is reached."""
    if bound.family == socket.AF_UNIX:
        return f"unix:{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _resolved(listen: str) -> tuple[list[_Address], int]:
    """The addresses that are meant, those of IPv4 first, and the port."""
    try:
        host, _, port = listen.rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("it is no ADDRESS:PORT, no PORT and no unix:PATH")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError(f"an address of IPv6 is written in brackets, such as [::1]:{port}")
        found = socket.getaddrinfo(host.strip("[]") or LOOPBACK, int(port), type=socket.SOCK_STREAM)
        addresses = dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found)
        return sorted(addresses, key=lambda each: each[0] != socket.AF_INET), int(port)
    except (OSError, ValueError) as error:
        raise _refused(listen, error) from error


def _refused(listen: str, error: Exception) -> ConfigError:
    return ConfigError(f"The gateway can't listen at {listen} (the setting listen): {error}")


def _is_loopback(address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _bound_locally(path: str) -> socket.socket:
    """Bind to a path. The socket that a process that is gone left there is removed first, and nothing else is: a file
    refuses a connection just as such a socket does."""
    if not path:
        raise ValueError("it names no path")
    if os.path.exists(path):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise ValueError("what is there is no socket")
        with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError):
            probe.connect(path)
            raise ValueError("somebody listens there")
        os.unlink(path)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(path)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
