"""Which addresses may be connected to, checked where a connection is made.

Loopback and link-local addresses lead to the gateway's own machine and to its cloud's metadata service, which has some
other addresses besides. Only admins may register them, or networks that the operator allows. A name that somebody else
registers may lead to them as well, to another address each time it is looked up: so it is the address of each
connection that is checked, and nothing is sent before."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from zun_coe.adapters.endpoints import is_private, meant
from zun_coe.adapters.heads import Response
from zun_coe.errors import Denied

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Reach:
    """What may be reached besides all that is elsewhere: `allowed` networks."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: str) -> Reach:
        """With networks such as 127.0.0.0/8, separated by commas. Raises `ValueError`."""
        names = (name.strip() for name in networks.split(","))
        return cls(tuple(ipaddress.ip_network(name, strict=False) for name in names if name))

    def allows(self, address: str) -> bool:
        """Whether everybody's clusters may be at an address, or (as far as it tells) be called by a name."""
        if not is_private(address):
            return True
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(meant(found) in network for network in self.allowed)

    def check(self, named: str, address: str) -> None:
        """Raises `Denied` for an address that may not be connected to. `named`: what the registration says; one
        that only admins may register says enough by itself."""
        if is_private(named) or self.allows(address):
            return
        message = f"{named} leads to {address}: loopback, link-local and metadata addresses are for admins"
        raise Denied(message, evidence={"address": address})

    def check_name(self, named: str, port: int) -> None:
        """`check` of all addresses that a name has now. That it has none is left to whoever connects."""
        try:
            found = socket.getaddrinfo(named, port, type=socket.SOCK_STREAM)
        except OSError:
            return
        for *_, place in found:
            self.check(named, str(place[0]))

    @cached_property
    def https(self) -> type[HTTPSConnection]:
        """urllib3's connections with TLS, checked."""
        return type("CheckedHTTPS", (_Https,), {"reach": self})

    @cached_property
    def pools(self) -> Mapping[str, type[HTTPConnectionPool]]:
        """urllib3's pools of checked connections, by scheme."""
        http = type("CheckedHTTP", (_Http,), {"reach": self})
        return {
            "http": type("CheckedHTTPPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("CheckedHTTPSPool", (HTTPSConnectionPool,), {"ConnectionCls": self.https}),
        }


ELSEWHERE = Reach()
"""Whatever is neither this machine nor its own link."""


class _Checked(HTTPConnection):
    reach: ClassVar[Reach]
    response_class = Response

    def _new_conn(self) -> socket.socket:
        self.reach.check_name(self._dns_host, self.port)  # before anybody hears of it
        connected = super()._new_conn()
        try:
            self.reach.check(self._dns_host, connected.getpeername()[0])  # the name may lead elsewhere by now
        except BaseException:
            connected.close()
            raise
        return connected


class _Http(_Checked):
    pass


class _Https(_Checked, HTTPSConnection):
    pass
