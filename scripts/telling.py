"""Saying what is done while nothing else is to be seen: a line when a step begins, and one from time to time while it
takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import click

EVERY = 5.0
"""Seconds between two lines of a step that takes long."""


@contextmanager
def step(text: str, every: float = EVERY) -> Iterator[None]:
    """Say `text` now, and while the block takes longer, that it still does."""
    click.echo(f"{text} ...")
    begun, done = time.monotonic(), Event()

    def remind() -> None:
        while not done.wait(every):
            click.echo(f"  ... for {time.monotonic() - begun:.0f} seconds now")

    reminding = Thread(target=remind, daemon=True)
    reminding.start()
    try:
        yield
    finally:
        done.set()
        reminding.join()
