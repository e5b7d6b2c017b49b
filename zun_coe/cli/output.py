"""Results on stdout: tables for people, what the service said for programs. Problems on stderr.

What comes from outside is shown without its control characters, which could make a terminal lie."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zun_coe.cli.columns import COLUMNS, NOTHING, PROJECT, Column, Resource, endpoint, size, style_of
from zun_coe.cli.failures import Failure, Refusal

FORMATS = ("table", "wide", "json", "yaml", "name")
_ENDLESS = 100_000  # columns: a long line is left to the terminal, which can wrap it without losing any

# What a resource and its status both have a field for.
_LABELS = {"replicas": "counts", "revision": "effective_revision"}


def clean(value: str) -> str:
    """The text in one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in value)


class Printer:
    """Shows resources in one of `FORMATS`. `now` is what ages are counted to."""

    def __init__(self, format: str = "table", now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.format, self._now = format, now

    @property
    def for_people(self) -> bool:
        """Whether it is not for a program."""
        return self.format in ("table", "wide")

    def listing(
        self, noun: str, key: str, page: Mapping[str, Any], columns: str | None = None, *, projects: bool = False
    ) -> None:
        """A list, as the service gave it under `key`. `projects`: it is of all projects, whose names may be alike."""
        if not self.for_people:
            self._for_programs(noun, page, page[key])
        else:
            self.table(columns or noun, page[key], projects=projects)
            if page.get("next") is not None:
                click.echo(f"There are more, from --marker {page['next']} on.", err=True)

    def row(self, noun: str, resource: Resource) -> None:
        """One resource, briefly."""
        if self.for_people:
            self.table(noun, [resource])
        else:
            self._for_programs(noun, resource, [resource])

    def details(self, noun: str, resource: Resource) -> None:
        """One resource, with all that is known."""
        if self.for_people:
            self._emit(lambda console: console.print(_details(resource)))
        else:
            self._for_programs(noun, resource, [resource])

    def document(self, content: Mapping[str, Any]) -> None:
        """What the service said, for programs."""
        if self.format == "json":
            click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        else:
            click.echo(_yaml(content), nl=False)

    def table(self, columns: str, resources: Sequence[Resource], *, projects: bool = False) -> None:
        """Rows, with a head where there are any; a note on stderr where there are none."""
        if not resources:
            click.echo("There are none.", err=True)
            return
        shown = self._columns(columns, projects=projects)
        self._emit(lambda console: console.print(_table(shown, resources, self._now())))

    def line(self, columns: str, resource: Resource, widths: Sequence[int]) -> None:
        """One row by itself, for lists that grow: no head, and columns of a given least width."""
        if self.format == "json":
            click.echo(json.dumps(resource, ensure_ascii=False))
        elif self.format == "yaml":
            click.echo("---\n" + _yaml(resource), nl=False)
        elif self.format == "name":
            click.echo(name_of(columns, resource))
        else:
            cells = [clean(c.value(resource, self._now())) for c in self._columns(columns)]
            padded = [cell.ljust(width) for cell, width in zip(cells, [*widths, *[0] * len(cells)], strict=False)]
            click.echo("  ".join(padded).rstrip())

    def _columns(self, columns: str, *, projects: bool = False) -> list[Column]:
        wide = self.format == "wide"
        return [c for c in COLUMNS[columns] if wide or not c.wide or (projects and c is PROJECT)]

    def _for_programs(self, noun: str, whole: Mapping[str, Any], resources: Iterable[Resource]) -> None:
        if self.format == "name":
            for resource in resources:
                click.echo(name_of(noun, resource))
        else:
            self.document(whole)

    def _emit(self, render: Callable[[Console], None]) -> None:
        """Print without the blanks at the ends of lines that fill a table up."""
        console = Console(file=sys.stdout, width=_ENDLESS, highlight=False)
        with console.capture() as captured:
            render(console)
        for line in captured.get().splitlines():
            click.echo(line.rstrip())


def name_of(noun: str, resource: Resource) -> str:
    """app/hello; what has no name is called by its id, and what is not the gateway's as it is adopted by."""
    if noun == "workload":
        return f"{resource['namespace']}/{resource['name']}"
    name = resource.get("name") or resource.get("id") or resource.get("revision")
    return f"{noun}/{name}"


def say_failure(failure: Failure, format: str = "table", about: str | None = None) -> None:
    """Say on stderr what went wrong: a block for people, the problem itself for programs. `about`: with which of
    several."""
    which = f"{clean(about)}: " if about else ""
    if not isinstance(failure, Refusal):
        click.echo(f"Error: {which}{failure}", err=True)
    elif format in ("json", "yaml"):
        told = json.dumps(failure.problem, indent=2, ensure_ascii=False)
        click.echo(told if format == "json" else _yaml(failure.problem).rstrip(), err=True)
    else:
        first, *more = problem_lines(failure.problem, failure.called)
        click.echo("\n".join([f"Error: {which}{first.removeprefix('Error: ')}", *more]), err=True)


def problem_lines(problem: Mapping[str, Any], called: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """A problem as a person reads it: what, why, and each field with its sentence. `called`: what to call the fields
    that pointers lead to, where that is not the pointer."""
    title, detail = str(problem.get("title") or "Refused"), str(problem.get("detail") or "")
    errors = problem.get("errors") or ()
    said_below = detail == title or any(str(error.get("detail")) in detail for error in errors)
    lines = [f"Error: {clean(title)}" + (f": {clean(detail)}" if detail and not said_below else "")]
    for error in errors:
        pointer = str(error.get("pointer"))
        lines.append(f"  {clean(called.get(pointer, pointer))}: {clean(str(error.get('detail')))}")
    lines += [f"  {clean(_difference(each))}" for each in problem.get("differences") or ()]
    if problem.get("status", 0) >= 500 and (request_id := problem.get("request_id")):
        lines.append(f"  (request {request_id})")
    return lines


def _difference(told: Mapping[str, Any]) -> str:
    """What is there, and what would be there instead; on one line, however much it is."""
    found, wanted = (json.dumps(told.get(key), ensure_ascii=False) for key in ("found", "wanted"))
    return f"{told.get('field') or told.get('pointer')}: there is {found}, an app would have {wanted}"


def _table(columns: Sequence[Column], resources: Sequence[Resource], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for column in columns:
        table.add_column(column.head, no_wrap=True)
    for resource in resources:
        table.add_row(*(_cell(column, resource, now) for column in columns))
    return table


def _cell(column: Column, resource: Resource, now: datetime) -> Text:
    value = clean(column.value(resource, now))
    return Text(value, style=style_of(value.rstrip("?")) if column.head == "PHASE" else "")


def _details(resource: Resource) -> Table:
    """The state first, then what it is, then what the service knows besides."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    status = _for_people(resource.get("status") or {})
    first = {k: resource[k] for k in ("name",) if k in resource} | {_LABELS.get(k, k): v for k, v in status.items()}
    rest = {k: v for k, v in resource.items() if k not in ("name", "status")}
    for key, value in (*first.items(), *rest.items()):
        style = style_of(value) if key == "phase" else ""
        shown = "\n".join(map(endpoint, value)) if key == "endpoints" and value else _block(value)
        grid.add_row(Text(clean(key.replace("_", " ")), style="bold"), Text(shown, style=style))
    return grid


def _for_people(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """A status whose nodes have their memory in a unit that can be read."""
    if not status.get("nodes"):
        return status
    nodes = [n | ({"memory": size(n["memory"])} if n.get("memory") else {}) for n in status["nodes"]]
    return {**status, "nodes": nodes}


def _block(value: Any) -> str:
    if isinstance(value, Mapping | list) and value:
        lines = _yaml(value, flow=None).rstrip().splitlines()
        return "\n".join(clean(line) for line in lines)
    if value in ({}, []) or value is None:
        return NOTHING
    return clean(str(value).lower() if isinstance(value, bool) else str(value))


def _yaml(content: Any, flow: bool | None = False) -> str:
    """With `flow` None, what holds no lists or maps of its own is in one line."""
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=_ENDLESS)
    return text
