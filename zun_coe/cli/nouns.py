"""What all kinds of resources share: list, show, delete, and what happens after a write."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from zun_coe.cli import waiting
from zun_coe.cli.client import path_of
from zun_coe.cli.failures import Failure, Misuse, Refusal
from zun_coe.cli.options import (
    COUNT,
    Verb,
    if_match_option,
    name_fields,
    one_name,
    settle_after,
    several_names,
    wait_option,
)
from zun_coe.cli.output import clean, say_failure
from zun_coe.cli.session import Session, output_option
from zun_coe.cli.waiting import Target


@dataclass(frozen=True)
class Noun:
    """A kind of resource. `filters`: what its list can be narrowed by; `deletion`: the flags of its deletion,
    each with its meaning; `waits`: whether its writes take time."""

    name: str
    filters: tuple[str, ...] = ()
    deletion: tuple[tuple[str, str], ...] = ()
    waits: bool = True

    @property
    def plural(self) -> str:
        """As the service has it in paths and pages."""
        return f"{self.name}s"

    @property
    def one(self) -> str:
        """an app, a cluster."""
        return f"an {self.name}" if self.name[0] in "aeiou" else f"a {self.name}"

    def path(self, *parts: str) -> str:
        """/v1/apps/hello/..."""
        return path_of(self.plural, *parts)


_KEEP = ("keep", "Let go of what runs instead of removing it.")
_VOLUMES = ("volumes", "Delete its volumes too, with their content.")
_FORCE = ("force", "Forget it without asking the cluster.")
APP = Noun("app", ("name", "cluster", "phase", "label"), (_FORCE, _KEEP, _VOLUMES))
CONTAINER = Noun("container", ("name", "cluster", "phase", "app", "label"), (_FORCE, _KEEP, _VOLUMES))
CLUSTER = Noun("cluster", ("name", "phase", "label"), (("force", "Forget what it carries too, and leave it running."),))
SECRET = Noun("secret", ("name",), waits=False)
VOLUME = Noun("volume", ("name", "cluster", "phase"), (("force", "Forget it, whatever its cluster says."),))
_SORTS = ("created_at", "-created_at", "updated_at", "-updated_at", "name", "-name", "id", "-id")


def common(noun: Noun) -> Iterator[click.Command]:
    """Its list, show and delete."""
    for make in (_list, _show, _delete):
        yield make(noun)


def _list(noun: Noun) -> click.Command:
    @output_option
    @click.pass_obj
    def run(session: Session, /, limit: int | None, label: Sequence[str] = (), **params: Any) -> None:
        if label:
            params["label"] = ",".join(label)
        page = session.api.listing(noun.path(), noun.plural, _given(params), limit)
        session.printer.listing(noun.name, noun.plural, page, projects=params.get("all_projects", False))

    command: click.Command = click.command("list", cls=Verb, help=f"List {noun.plural}.")(run)
    command.params = [*_list_options(noun), *command.params]
    return command


def _list_options(noun: Noun) -> Iterable[click.Option]:
    for name in noun.filters:
        several = name == "label"
        help = "Only with this label: KEY or KEY=VALUE.  [several]" if several else f"Only with this {name}."
        yield click.Option([f"--{name}"], multiple=several, help=help)
    sorts = [s for s in _SORTS if noun.name != "secret" or "updated" not in s]
    yield click.Option(["--sort"], type=click.Choice(sorts), help="By what; with a minus sign downwards.")
    yield from page_options()
    yield click.Option(["--all-projects"], is_flag=True, help="Those of all projects (for admins).")


def page_options() -> Iterable[click.Option]:
    """How much of a list."""
    yield click.Option(["--limit"], type=COUNT, metavar="N", help="At most so many; without it, all.")
    yield click.Option(["--marker"], help="Go on behind a page that ended with this.")


def _show(noun: Noun) -> click.Command:
    @click.command("show", cls=Verb, help=f"Show all that is known of {noun.one}.")
    @one_name
    @output_option
    @click.pass_obj
    def show(session: Session, name: str) -> None:
        session.printer.details(noun.name, session.api.ask("GET", noun.path(name)).json())

    return show


def _delete(noun: Noun) -> click.Command:
    @several_names
    @click.option("-y", "--yes", is_flag=True, help="Don't ask.")
    @if_match_option
    @output_option
    @click.pass_obj
    def run(session: Session, /, names: Sequence[str], yes: bool, if_match: str | None, **given: Any) -> None:
        _confirm(noun, names, yes)
        wait, params = given.pop("wait", None), _given(given)
        each(session, names, lambda name: _ask_deletion(session, noun, name, params, if_match, wait))

    command = click.command("delete", cls=Verb, help=f"Delete {noun.plural}, by name or id.")
    made: click.Command = command(wait_option(run) if noun.waits else run)
    made.params += [click.Option([f"--{flag}"], is_flag=True, help=meaning) for flag, meaning in noun.deletion]
    return made


def _confirm(noun: Noun, names: Sequence[str], yes: bool) -> None:
    """Ask a person; a program is believed."""
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        what = noun.name if len(names) == 1 else noun.plural
        click.confirm(f"Delete the {what} {', '.join(names)}?", abort=True, err=True)


def _ask_deletion(
    session: Session, noun: Noun, name: str, params: Mapping[str, Any], if_match: str | None, wait: float | None
) -> Callable[[], None] | None:
    """Ask for it, and give back how to wait for it."""
    headers = {"If-Match": if_match} if if_match else {}
    answer = session.api.ask("DELETE", noun.path(name), params=params, headers=headers)
    if answer.status_code == 204:
        told(session, f"{noun.name} {name} is deleted.")
        return None
    resource = answer.json()
    if wait is None:
        told(session, f"{noun.name} {name} is being deleted.")
        return None
    target = Target(noun.name, noun.plural, resource["id"], resource["name"], deleted=True)

    def finish() -> None:
        waiting.wait_for(session.api, target, wait)
        told(session, f"{noun.name} {name} is deleted.")

    return finish


def each(session: Session, names: Sequence[str], ask: Callable[[str], Callable[[], None] | None]) -> None:
    """Ask for all of it first, then wait for what gave back how. A failure of one stops no other; the worst
    exit code counts in the end. Of several, each failure is told with its name."""
    failures: list[Failure] = []

    def attempt(name: str, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except waiting.Interrupted:
            raise
        except Failure as failure:
            if isinstance(failure, Refusal):
                name_fields(failure, click.get_current_context())
            failures.append(failure)
            say_failure(failure, session.format, name if len(names) > 1 else None)

    pending = [(name, attempt(name, partial(ask, name))) for name in names]
    for name, finish in pending:
        if finish is not None:
            attempt(name, finish)
    if failures:
        raise click.exceptions.Exit(max(failure.exit_code for failure in failures))


def told(session: Session, text: str) -> None:
    """A note for people that something was done."""
    if session.printer.for_people:
        click.echo(clean(text))


def write(
    session: Session,
    noun: Noun,
    method: str,
    *parts: str,
    body: Any = None,
    if_match: str | None = None,
    wait: float | None = None,
    rolls_out: bool = True,
) -> None:
    """Ask for a change of one resource, wait for it where that is wanted, and show it. `rolls_out`: see `finish`."""
    headers = {"If-Match": if_match} if if_match else {}
    answer = session.api.ask(method, noun.path(*parts), body=body, headers=headers)
    finish(session, noun, answer.json(), wait, rolls_out=rolls_out)


def finish(
    session: Session, noun: Noun, resource: Mapping[str, Any], wait: float | None, *, rolls_out: bool = True
) -> None:
    """Show what came of a write. Raises `Unwell` after it was shown, where it was waited for and is not well.
    `rolls_out`: that a rollout went back is not well; of what changes no template it is not asked."""
    if wait is None:
        session.printer.row(noun.name, resource)
        return
    target = Target(noun.name, noun.plural, resource["id"], resource["name"], settle_after=settle_after())
    settled = waiting.wait_for(session.api, target, wait, time.monotonic)
    session.printer.row(noun.name, settled)
    waiting.check_well(noun.name, settled, rolls_out=rolls_out)


def with_name(body: Mapping[str, Any], name: str | None, ctx: click.Context) -> dict[str, Any]:
    """The body of something new, with the name that was typed where one was. Raises `Misuse` where it has none."""
    named = dict(body) | ({"name": name} if name else {})
    if not named.get("name"):
        raise Misuse(f"A name is needed: {ctx.command_path} NAME, or name in a file.")
    return named


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in (None, False, ())}
