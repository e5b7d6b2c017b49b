"""Addresses that registrations name: which of them only admins may. Pure."""

from __future__ import annotations

import ipaddress
import re

FOR_ADMINS = "Loopback and link-local addresses, and those of clouds' metadata services, are for admins."
_SHORT = re.compile(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+))*\.?")
_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle Cloud
        "fd00:42::42/128",  # Scaleway
        "fd00:a9fe:a9fe::1/128",  # Linode
        "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google Cloud
    )
)
"""Where clouds tell a machine who it is, with its credentials, besides link-local addresses."""
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that stand for those of IPv4 (RFC 6052)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_private(host: str) -> bool:
    """Whether an address leads to this machine, its own link, or what its cloud tells it alone. A name is resolved by
    nobody here, so the one that is known to mean this machine is named."""
    if host.rstrip(".").lower() in ("localhost", "localhost.localdomain") or host.lower().endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # Short forms such as 127.1 or 2130706433 mean an address to the system's resolver.
        return bool(_SHORT.fullmatch(host.lower()))
    there = meant(address)
    own = there.is_loopback or there.is_link_local or there.is_unspecified or there.is_multicast
    return own or any(there in network for network in _METADATA)


def meant(address: Address) -> Address:
    """The address of IPv4 that one of IPv6 stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
