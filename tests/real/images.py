"""Images made on the spot, since tests pull nothing from outside."""

from __future__ import annotations

from functools import cache

from scripts import busybox
from tests.real.needs import missing


@cache
def busybox_root() -> bytes:
    """A root file system with busybox, as a tar archive."""
    found = busybox.find_busybox()
    if found is None:
        missing("a static busybox is not installed (Debian's package busybox-static has it)")
    return busybox.busybox_root(found)
