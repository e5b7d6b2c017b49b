"""How long a backend asks to be left alone (RFC 9110, "Retry-After")."""

from __future__ import annotations

LONGEST = 600.0
"""Seconds that a backend is left alone at most: what it asks for is not trusted beyond that."""


def seconds_of(header: str | None) -> float | None:
    """What the header asks for. None where it is not there, or is a date: clocks differ."""
    text = (header or "").strip()
    return min(float(text), LONGEST) if text.isascii() and text.isdigit() else None
