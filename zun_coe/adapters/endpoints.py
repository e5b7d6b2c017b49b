"""Addresses that registrations name: which of them only admins may. Pure."""

from __future__ import annotations

import ipaddress
import re

FOR_ADMINS = "Loopback and link-local addresses are for admins."
_SHORT = re.compile(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+))*\.?")


def is_private(host: str) -> bool:
    """Whether an address leads to this machine or its own link. A name is resolved by nobody here, so the
    one that is known to mean this machine is named."""
    if host.rstrip(".").lower() in ("localhost", "localhost.localdomain") or host.lower().endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # Short forms such as 127.1 or 2130706433 mean an address to the system's resolver.
        return bool(_SHORT.fullmatch(host.lower()))
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    return bool(mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast)
