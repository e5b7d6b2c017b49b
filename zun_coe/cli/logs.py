"""`logs`: output, as it comes. Not a byte of it is changed."""

from __future__ import annotations

import sys
from typing import Any

import click

from zun_coe.cli.failures import Misuse
from zun_coe.cli.nouns import Noun
from zun_coe.cli.options import Reading, Verb, one_name
from zun_coe.cli.session import Session, output_option
from zun_coe.cli.specs import whole, within

_LINES = "application/x-ndjson"
_TAIL = Reading(within(whole, "a whole number", 0, 100_000), "N")


def logs(noun: Noun) -> click.Command:
    """`logs NAME`. Ends with 130 when it is interrupted, and quietly when nobody reads any longer."""

    @click.command("logs", cls=Verb)
    @one_name
    @click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
    @click.option("-n", "--tail", type=_TAIL, metavar="N", help="Only the last so many lines of each.")
    @click.option("--since", metavar="WHEN", help="Only from then on: 10m, or a time such as 2026-03-01T12:00:00Z.")
    @click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
    @click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only what was written there.")
    @click.option("--container", metavar="NAME", help="The sidecar of this name.")
    @output_option
    @click.pass_obj
    def run(session: Session, /, name: str, **params: Any) -> None:
        if session.format in ("yaml", "name"):
            raise Misuse("Logs are shown as they are, or with -o json, in which each line is an object.")
        headers = {"Accept": "text/plain" if session.printer.for_people else _LINES}
        with session.api.stream(noun.path(name, "logs"), params=params, headers=headers) as answer:
            for chunk in answer.iter_bytes():
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()

    run.help = f"""Show what {noun.one} has written.

    With -o json, one JSON object for each line: container, stream, time and text."""
    return run
