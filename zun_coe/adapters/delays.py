"""Delays that grow with each failure. Pure."""

from __future__ import annotations

# 2**32 times any first delay is longer than any sensible longest one, and a float holds it, which 2**1024 it does not.
_MOST_DOUBLINGS = 32


def doubled(first: float, times: int, longest: float) -> float:
    """A delay that was doubled so many times, up to the longest: what goes on for days is doubled more often than a
    number has room for."""
    return min(longest, first * 2.0 ** min(times, _MOST_DOUBLINGS))
