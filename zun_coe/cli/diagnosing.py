"""`app diagnose` for people: the state, the cause, what to do, each replica, and the last events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from zun_coe.cli.output import Printer, clean
from zun_coe.cli.waiting import rollout_words


def show_diagnosis(printer: Printer, found: Mapping[str, Any]) -> None:
    """On stdout, the most important first."""
    click.echo(clean(found["summary"]))
    if advice := found.get("advice"):
        click.echo(clean(advice))
    cluster = found["cluster"]
    if not cluster["reachable"]:
        why = ": ".join(str(cluster[k]) for k in ("reason", "message") if cluster.get(k))
        since = f" This is how it was at {cluster['as_of']}." if cluster.get("as_of") else ""
        click.echo(clean(f"The cluster {cluster['name']} can't be reached. {why}{since}"))
    if rollout := found.get("rollout"):
        click.echo(clean(f"{rollout_words(rollout)}."))
    _evidence(found.get("evidence"))
    for columns, rows in (("instance", found["containers"]), ("event", found["events"])):
        if rows:
            click.echo()
            printer.table(columns, rows)


def _evidence(evidence: Mapping[str, Any] | None) -> None:
    for key, value in (evidence or {}).items():
        click.echo(clean(f"  {key}: {value}"))
