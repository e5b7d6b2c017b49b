"""Which subnet a new network gets. A runtime's own choice is a /16 or a /20 out of few, so that some thirty networks
exhaust it; here each is as small as the operator says, out of the operator's pool. Pure, apart from the routes of
this machine."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path

ROUTES = Path("/proc/net/route")


@dataclass(frozen=True)
class AddressPool:
    """Where the subnets of networks come from: parts of `network` (such as 10.213.0.0/16) with `prefix` bits."""

    network: IPv4Network
    prefix: int

    @classmethod
    def of(cls, network: str, prefix: int) -> AddressPool | None:
        """The pool that the settings name (which were checked); None for an empty one: the runtime chooses."""
        return cls(IPv4Network(network), prefix) if network else None

    @property
    def size(self) -> int:
        """How many subnets it has."""
        return 1 << (self.prefix - self.network.prefixlen)

    def free(self, used: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
        """Its subnets that overlap with none of these, in order. What is wider than the whole pool says nothing of
        any part of it, such as a route to all of 10.0.0.0/8."""
        taken = [n for n in used if n.overlaps(self.network) and not _wider(n, self.network)]
        return (s for s in self.network.subnets(new_prefix=self.prefix) if not any(s.overlaps(n) for n in taken))


def understood(texts: Iterable[str]) -> list[IPv4Network]:
    """The IPv4 networks and addresses among these."""
    found = []
    for text in texts:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            continue
        if isinstance(network, IPv4Network):
            found.append(network)
    return found


def routes(table: Path = ROUTES) -> list[IPv4Network]:
    """The networks that this machine has routes to, besides the default; none where it does not tell."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    found = [_route(line.split()) for line in lines if line.strip()]
    return [network for network in found if network.prefixlen]


def _route(columns: list[str]) -> IPv4Network:
    """Addresses are in hexadecimal, as the machine has them in memory."""
    address, mask = (IPv4Address(struct.pack("=I", int(columns[n], 16))) for n in (1, 7))
    return IPv4Network(f"{address}/{mask}", strict=False)


def _wider(network: IPv4Network, than: IPv4Network) -> bool:
    return network.prefixlen < than.prefixlen and network.supernet_of(than)
