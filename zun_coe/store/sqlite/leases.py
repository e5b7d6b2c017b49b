"""The leases of the SQLite store, on the clock of its process."""

from __future__ import annotations

import time
from collections.abc import Mapping

from zun_coe.errors import Fenced

FAR = 10.0
"""How far away the end of the first lease is said to be where there is none, in seconds."""


class Leases:
    """When each lease runs out, on the monotonic clock. Guarded by the store's writing lock."""

    def __init__(self) -> None:
        self._ttls: dict[int, float] = {}
        self._deadlines: dict[int, float] = {}

    def settle(self, leases: Mapping[int, float | None]) -> None:
        """Take over what was committed: new leases with their times, None for those that are gone."""
        for lease, ttl in leases.items():
            if ttl is None:
                self._ttls.pop(lease, None)
                self._deadlines.pop(lease, None)
            else:
                self._ttls[lease] = ttl
                self.renew(lease)

    def check(self, lease: int) -> None:
        """Raises `Fenced` when the lease is gone."""
        if lease not in self._ttls:
            raise Fenced(f"lease {lease} is gone")

    def renew(self, lease: int) -> None:
        """Its full time again. Raises `Fenced`."""
        self.check(lease)
        self._deadlines[lease] = time.monotonic() + self._ttls[lease]

    def next(self) -> float:
        """When the first one runs out; far away when there is none. Needs no lock."""
        return min(list(self._deadlines.values()), default=time.monotonic() + FAR)

    def expired(self) -> list[int]:
        """Those whose time is over."""
        return [lease for lease, deadline in self._deadlines.items() if deadline <= time.monotonic()]
