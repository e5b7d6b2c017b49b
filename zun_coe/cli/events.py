"""`zun-coe events`: what happened, and what happens, with none missed over lost connections."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click
from httpx_sse import EventSource

from zun_coe.cli.client import Api, path_of
from zun_coe.cli.failures import Away, Failure, Misuse, Refusal
from zun_coe.cli.options import COUNT, Verb
from zun_coe.cli.session import Session, output_option

LATEST = 100
SILENCE = 45.0
"""Seconds without even a heartbeat after which a connection counts as lost."""
PATIENCE = 120.0
"""Seconds for which a service that is away is asked again."""
PAUSE = 1.0
"""Seconds before a connection is made anew."""
_WIDTHS = (5, 5, 7, 18, 28)


@dataclass(frozen=True)
class _Place:
    """The last id, and when it was heard of (None: not from the service)."""

    last: str | None
    heard: float | None = None


@click.command("events", cls=Verb)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--after", metavar="ID", help="Only events behind this one.")
@click.option("--subject", help="Only of this kind: app, container, cluster, volume, secret.")
@click.option("--resource", metavar="NAME", help="Only of the resource with this name or id, or KIND/NAME.")
@click.option("--type", "type", help="Only of this type, such as AppRunning.")
@click.option("--level", type=click.Choice(["info", "warning"]), help="Only of this level.")
@click.option("--all-projects", is_flag=True, help="Those of all projects (for admins).")
@click.option("--limit", type=COUNT, metavar="N", help=f"At most so many.  [default: the latest {LATEST}]")
@output_option
@click.pass_obj
def events_command(session: Session, /, follow: bool, after: str | None, limit: int | None, **filters: Any) -> None:
    """Show what happened.

    What happens over and over is one event: its count grows, and it is shown anew each time with --follow.

    With --follow each event is shown as it happens, over lost connections too; with -o json, one in a line.
    --after takes an id that was seen before (-o wide shows them) and goes on behind it."""
    given = _subject({k: v for k, v in filters.items() if v})
    if follow:
        for event in followed(session.api, given, after):
            session.printer.line("event", event, _WIDTHS)
        return
    newest = after is None
    params = given | ({"sort": "-at"} if newest else {"after": after})
    page = session.api.listing(path_of("events"), "events", params, limit or (LATEST if newest else None))
    if session.printer.for_people:
        found = page["events"][::-1] if newest else page["events"]
        session.printer.table("event", found, projects="all_projects" in given)
    else:
        session.printer.listing("event", "events", page)


def _subject(filters: dict[str, Any]) -> dict[str, Any]:
    """The filters, with the kind that stands before a name as one of its own. Raises `Misuse`."""
    kind, slash, name = filters.get("resource", "").partition("/")
    if not slash:
        return filters
    if filters.get("subject", kind) != kind:
        raise Misuse(f"--resource {kind}/{name} is of another kind than --subject {filters['subject']}.")
    return filters | {"subject": kind, "resource": name}


def followed(api: Api, filters: Mapping[str, Any], after: str | None) -> Iterator[dict[str, Any]]:
    """Events from now on, or behind `after`; a lost connection is taken up where it was. Blocks. Raises `Away`
    when the service stays away, and `Refusal`."""
    place, told = _Place(after), False
    while True:
        try:
            for id, event in _stream(api, filters, place.last):
                place, told = _Place(id, heard=time.monotonic()), False
                if event is not None:
                    yield event
        except (Away, Refusal) as failure:
            place = _resumed(place, failure)
        if not told:  # once for each time that it is away, however often it is asked meanwhile
            click.echo("The connection was lost; going on where it was as soon as it is back.", err=True)
            told = True
        time.sleep(PAUSE)


def _stream(api: Api, filters: Mapping[str, Any], last: str | None) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Ids, with the event where there is one. Ends when the service ends it."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    with api.stream(path_of("events"), params=filters, headers=headers, silence=SILENCE) as answer:
        for event in EventSource(answer).iter_sse():
            if event.id:
                yield event.id, event.json() if event.data else None


def _resumed(place: _Place, failure: Failure) -> _Place:
    """Where to go on. Being away for too long costs events, which is said. Raises the failure when there is no
    point in going on: nothing was heard yet, or nothing for too long."""
    if place.heard is None:
        raise failure
    if isinstance(failure, Refusal) and failure.status == 410:
        click.echo(f"Events were missed: {failure}", err=True)
        return replace(place, last=failure.problem.get("oldest"))
    if failure.exit_code != Away.exit_code or time.monotonic() - place.heard > PATIENCE:
        raise failure
    return place
