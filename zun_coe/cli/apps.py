"""`zun-coe app`: containers that are replicated and kept so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from zun_coe.cli import documents, workloads
from zun_coe.cli.diagnosing import show_diagnosis
from zun_coe.cli.failures import Misuse
from zun_coe.cli.logs import logs
from zun_coe.cli.nouns import APP, common, each, finish, page_options, write
from zun_coe.cli.options import (
    COUNT,
    Ordered,
    Reading,
    Verb,
    file_option,
    if_match_option,
    one_name,
    optional_name,
    settling_options,
)
from zun_coe.cli.session import Session, output_option
from zun_coe.cli.specs import APP_FLAGS, whole, within


@click.group("app", cls=Ordered)
def app() -> None:
    """Apps: containers that are replicated and kept so."""


@click.command("apply", cls=Verb)
@optional_name
@file_option
@click.option("--create-only", is_flag=True, help="Refuse to replace what is there.")
@if_match_option
@settling_options
@output_option
@click.pass_obj
def apply(
    session: Session,
    name: str | None,
    files: Sequence[str],
    create_only: bool,
    if_match: str | None,
    wait: float | None,
) -> None:
    """Create apps from files, or make those that are there as the files say.

    A file may hold several YAML documents. What a document leaves out gets its default. NAME is for a single
    document that has no name of its own, or another one."""
    bodies = {_name(body, name): body for body in _documents(files, name)}

    def put(name: str) -> Any:
        headers = {"If-Match": if_match} if if_match else {"If-None-Match": "*"} if create_only else {}
        body = {"name": name} | {k: v for k, v in bodies[name].items() if k != "name"}
        answer = session.api.ask("PUT", APP.path(name), body=body, headers=headers)
        return lambda: finish(session, APP, answer.json(), wait)

    each(session, list(bodies), put)


def _documents(files: Sequence[str], name: str | None) -> list[dict[str, Any]]:
    if not files:
        raise Misuse("A file is needed: -f FILE, or -f - for the standard input.")
    found = documents.read(files)
    if name and len(found) > 1:
        raise Misuse(f"There are {len(found)} documents, and one name.")
    names = [_name(body, name) for body in found]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise Misuse(f"The app {twice} is there twice.")
    return found


def _name(body: Mapping[str, Any], name: str | None) -> str:
    found = name or body.get("name")
    if not isinstance(found, str) or not found:
        raise Misuse("A document has no name; give it one, or name it: app apply NAME -f FILE.")
    return found


@click.command("adopt", cls=Verb)
@click.argument("cluster")
@click.argument("place", metavar="NAMESPACE/NAME")
@click.option("--name", help="What to call the app; without it, as it is called there.")
@click.option("--force", is_flag=True, help="Though something else manages it, as Helm does.")
@click.option("--dry-run", is_flag=True, help="Only show what the app would be.")
@settling_options
@output_option
@click.pass_obj
def adopt(
    session: Session, cluster: str, place: str, name: str | None, force: bool, dry_run: bool, wait: float | None
) -> None:
    """Take over what runs in a cluster already, without restarting it.

    `cluster workloads` tells what can be taken over."""
    namespace, _, native = place.partition("/")
    if not namespace or not native:
        raise Misuse(f"{place} is no NAMESPACE/NAME.")
    body: dict[str, Any] = {"adopt": {"namespace": namespace, "name": native}, "cluster": cluster}
    body |= ({"name": name} if name else {}) | ({"force": True} if force else {})
    if dry_run:
        answer = session.api.ask("POST", APP.path("adopt"), params={"dry_run": True}, body=body)
        session.printer.row(APP.name, answer.json())
        return
    write(session, APP, "POST", "adopt", body=body, wait=wait)


@click.command("scale", cls=Verb)
@one_name
@click.argument("replicas", type=Reading(within(whole, "a whole number of replicas", 0), "REPLICAS"))
@if_match_option
@settling_options
@output_option
@click.pass_obj
def scale(session: Session, name: str, replicas: int, if_match: str | None, wait: float | None) -> None:
    """Keep so many replicas running."""
    body = {"replicas": replicas}
    write(session, APP, "PATCH", name, body=body, if_match=if_match, wait=wait, rolls_out=False)


@click.command("rollback", cls=Verb, beyond="A revision is given as --to {}.")
@one_name
@click.option("--to", "revision", type=COUNT, metavar="REVISION", help="A revision; without it, the one before.")
@if_match_option
@settling_options
@output_option
@click.pass_obj
def rollback(session: Session, name: str, revision: int | None, if_match: str | None, wait: float | None) -> None:
    """Go back to an earlier revision. `app revisions` tells which there are."""
    body = {"revision": revision or _before(session, name)}
    write(session, APP, "POST", name, "rollback", body=body, if_match=if_match, wait=wait)


def _before(session: Session, name: str) -> int:
    """The newest revision that is not the wanted one."""
    page = session.api.ask("GET", APP.path(name, "revisions"), params={"limit": 2}).json()
    earlier = [r["revision"] for r in page["revisions"] if not r["current"]]
    if not earlier:
        raise Misuse(f"The app {name} has no earlier revision.")
    return int(earlier[0])


@click.command("diagnose", cls=Verb)
@one_name
@output_option
@click.pass_obj
def diagnose(session: Session, name: str) -> None:
    """Tell why an app isn't as it should be, and what to do."""
    found = session.api.ask("GET", APP.path(name, "diagnosis")).json()
    if session.printer.for_people:
        show_diagnosis(session.printer, found)
    else:
        session.printer.document(found)


def _part(verb: str, key: str, noun: str, columns: str, help: str) -> click.Command:
    """A list that belongs to an app."""

    @click.command(verb, cls=Verb, help=help)
    @one_name
    @output_option
    @click.pass_obj
    def run(session: Session, name: str, limit: int | None, marker: str | None) -> None:
        params = {"marker": marker} if marker else {}
        page = session.api.listing(APP.path(name, key), key, params, limit)
        session.printer.listing(noun, key, page, columns)

    run.params += page_options()
    return run


def _commands() -> Iterator[click.Command]:
    """In the order of the help text."""
    stopped, running = {"desired_state": "stopped"}, {"desired_state": "running"}
    yield workloads.create(APP, APP_FLAGS)
    yield apply
    yield adopt
    yield from common(APP)
    yield scale
    yield workloads.update(APP, APP_FLAGS)
    yield _part("revisions", "revisions", "revision", "revision", "List what an app was made from.")
    yield rollback
    yield workloads.act(APP, "restart", "Replace every replica of apps, a few at a time.")
    yield workloads.act(APP, "stop", "Stop every replica of apps, and keep the apps.", body=stopped)
    yield workloads.act(APP, "start", "Run apps again that were stopped.", body=running)
    yield _part("containers", "containers", "container", "replica", "List the replicas of an app.")
    yield logs(APP)
    yield diagnose


for command in _commands():
    app.add_command(command)
