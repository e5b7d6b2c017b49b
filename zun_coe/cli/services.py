"""`zun-coe service`: the gateway's own processes."""

from __future__ import annotations

import click

from zun_coe.cli.client import path_of
from zun_coe.cli.options import Ordered, Verb
from zun_coe.cli.session import Session, output_option


@click.group("service", cls=Ordered)
def service() -> None:
    """The processes of the gateway itself."""


@service.command("list", cls=Verb)
@output_option
@click.pass_obj
def show_all(session: Session) -> None:
    """List the processes that are alive (for admins)."""
    page = session.api.ask("GET", path_of("services")).json()
    session.printer.listing("service", "services", page)
