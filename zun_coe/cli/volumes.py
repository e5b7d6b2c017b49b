"""`zun-coe volume`: storage. The first mount that names a volume makes it."""

from __future__ import annotations

import click

from zun_coe.cli.nouns import VOLUME, common
from zun_coe.cli.options import Ordered


@click.group("volume", cls=Ordered)
def volume() -> None:
    """Volumes: storage by name, made by the first mount that names it."""


for command in common(VOLUME):
    volume.add_command(command)
