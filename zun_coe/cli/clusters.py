"""`zun-coe cluster`: places to run things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from zun_coe.cli import workloads
from zun_coe.cli.failures import Misuse, Refusal
from zun_coe.cli.nouns import CLUSTER, common, finish, page_options, with_name, write
from zun_coe.cli.options import (
    Ordered,
    Verb,
    file_option,
    flag_options,
    if_match_option,
    one_name,
    optional_name,
    wait_option,
)
from zun_coe.cli.session import Session, output_option
from zun_coe.cli.specs import Flag, etag, host, merge, pair

ATTEMPTS = 5
"""How often a list of hosts is read and written that others change meanwhile."""
F = TypeVar("F", bound=Callable[..., Any])
_CHANGEABLE = (
    Flag("--label", ("labels",), "A label to find it by.", pair, "KEY=VALUE", "map"),
    Flag(
        "--host",
        ("hosts",),
        "A host of a native cluster: name=A,endpoint=URL[,runtime=R][,address=IP][,label.K=V][,drained].",
        host,
        "HOST",
        "list",
    ),
    Flag("--cluster-endpoint", ("endpoint",), "Where its engine's API is.", metavar="URL"),
    Flag("--node-endpoint", ("node_endpoint",), "Where each node's engine is, with {address}.", metavar="URL"),
    Flag("--machine", ("machine",), "Of local sockets, the machine of the gateway where they are.", metavar="NAME"),
    Flag("--namespace", ("namespace",), "The part of the engine to keep everything in.", metavar="NAME"),
    Flag("--public", ("public",), "Whether every project may use it.", many="switch"),
    Flag("--context", ("credentials", "context"), "Which context of the kubeconfig.", metavar="NAME"),
    Flag("--username", ("credentials", "username"), "Who to be there.", metavar="NAME"),
)
_NEW = (Flag("--kind", ("kind",), "native, or another kind that the gateway knows.", metavar="KIND"), *_CHANGEABLE)
_CREDENTIALS = ("ca_cert", "client_cert", "client_key", "kubeconfig", "token", "password")
_FILES = tuple(Flag(f"--{name.replace('_', '-')}-file", ("credentials", name), "") for name in _CREDENTIALS)


@click.group("cluster", cls=Ordered)
def cluster() -> None:
    """Clusters: places to run things."""


def _credential_options(command: F) -> F:
    """Credentials come from files: a command line can be seen by everybody on the machine."""
    for flag in reversed(_FILES):
        name = flag.path[-1]
        type, help = click.Path(path_type=Path, dir_okay=False), f"Its {name.replace('_', ' ')}."
        command = click.option(flag.option, name, type=type, metavar="FILE", help=help)(command)
    return command


@cluster.command("register", cls=Verb)
@optional_name
@file_option
@flag_options(_NEW)
@_credential_options
@wait_option
@output_option
@click.pass_context
def register(ctx: click.Context, /, name: str | None, files: Sequence[str], wait: float | None, **values: Any) -> None:
    """Make a cluster known.

    For a machine with Docker: cluster register local --kind native --host
    name=local,endpoint=unix:///var/run/docker.sock,address=127.0.0.1

    For a Kubernetes: cluster register prod --kind kubernetes --kubeconfig-file
    ~/.kube/config --context prod"""
    body = merge(workloads.described(_NEW, values, files, ()), _credentials(values))
    body = with_name(body, name, ctx)
    with workloads.in_words_of((*_NEW, *_FILES), files):
        write(ctx.obj, CLUSTER, "POST", body=body, wait=wait)


@cluster.command("update", cls=Verb)
@one_name
@file_option
@flag_options(_CHANGEABLE)
@_credential_options
@if_match_option
@wait_option
@output_option
@click.pass_obj
def update(
    session: Session, /, name: str, files: Sequence[str], if_match: str | None, wait: float | None, **values: Any
) -> None:
    """Change a cluster's labels, hosts (all of them), endpoints, credentials, or whether it is public."""
    body = merge(workloads.described(_CHANGEABLE, values, files, (), patch=True), _credentials(values))
    if not body:
        raise Misuse("Nothing to change was named.")
    with workloads.in_words_of((*_CHANGEABLE, *_FILES), files):
        write(session, CLUSTER, "PATCH", name, body=body, if_match=if_match, wait=wait)


@cluster.command("drain", cls=Verb)
@one_name
@click.argument("host")
@wait_option
@output_option
@click.pass_obj
def drain(session: Session, /, name: str, host: str, wait: float | None) -> None:
    """Empty a host: it takes nothing new, and what it carries of apps moves to other hosts, little by little.

    Containers of their own stay, and so do replicas that no other host can take; apps say which."""
    _schedule(session, name, host, wait, schedulable=False)


@cluster.command("undrain", cls=Verb)
@one_name
@click.argument("host")
@wait_option
@output_option
@click.pass_obj
def undrain(session: Session, /, name: str, host: str, wait: float | None) -> None:
    """Let a host take new replicas again. What has moved away stays where it is."""
    _schedule(session, name, host, wait, schedulable=True)


@cluster.command("accept-identity", cls=Verb)
@one_name
@click.option("--host", help="Only the engine of this host.")
@wait_option
@output_option
@click.pass_obj
def accept_identity(session: Session, name: str, host: str | None, wait: float | None) -> None:
    """Take the engines that answer now for the cluster's own, although they are others than before.

    What ran on those that were there before is taken for lost and is made again."""
    params = {"host": host} if host else None
    answer = session.api.ask("POST", CLUSTER.path(name, "accept-identity"), params=params)
    finish(session, CLUSTER, answer.json(), wait)


@cluster.command("capabilities", cls=Verb)
@one_name
@output_option
@click.pass_obj
def capabilities(session: Session, name: str) -> None:
    """Tell what a cluster can carry: each field and each operation."""
    found = session.api.ask("GET", CLUSTER.path(name, "capabilities")).json()
    if not session.printer.for_people:
        session.printer.document(found)
        return
    if not found["described"]:
        click.echo("It was not reached yet: this is what its kind can carry.", err=True)
    session.printer.table("field", found["fields"])
    if found["operations"]:
        click.echo()
        session.printer.table("operation", found["operations"])


@cluster.command("workloads", cls=Verb)
@one_name
@click.option("--namespace", help="Only in this namespace of the cluster.")
@output_option
@click.pass_obj
def foreign(session: Session, name: str, namespace: str | None, limit: int | None, marker: str | None) -> None:
    """Tell what runs in a cluster and is not the gateway's, and what of it an app can take over."""
    params = {key: value for key, value in (("namespace", namespace), ("marker", marker)) if value}
    page = session.api.listing(CLUSTER.path(name, "workloads"), "workloads", params, limit)
    session.printer.listing("workload", "workloads", page)


foreign.params += page_options()


def _schedule(session: Session, name: str, host: str, wait: float | None, *, schedulable: bool) -> None:
    """The list of hosts is replaced whole, so it must still be the one that was read; else it is read again."""
    for left in reversed(range(ATTEMPTS)):
        found = session.api.ask("GET", CLUSTER.path(name)).json()
        body = {"hosts": _hosts(found, host, schedulable)}
        try:
            answer = session.api.ask("PATCH", CLUSTER.path(name), body=body, headers=_at(found["generation"]))
        except Refusal as refusal:
            if refusal.status != httpx.codes.PRECONDITION_FAILED or not left:
                raise
        else:
            finish(session, CLUSTER, answer.json(), wait)
            return


def _at(generation: int) -> dict[str, str]:
    return {"If-Match": etag(str(generation))}


def _hosts(cluster: Mapping[str, Any], host: str, schedulable: bool) -> list[Any]:
    hosts = cluster.get("hosts") or []
    names = [entry["name"] for entry in hosts]
    if host not in names:
        raise Misuse(f"The cluster {cluster['name']} has no host {host}; it has {', '.join(names) or 'none'}.")
    return [entry | {"schedulable": schedulable} if entry["name"] == host else entry for entry in hosts]


def _credentials(values: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: _content(values[name]) for name in _CREDENTIALS if values.get(name)}
    return {"credentials": given} if given else {}


def _content(path: Path) -> str:
    """What is in the file; a newline at its end is an editor's."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"{path} can't be read: {error}.") from error
    return text if text.startswith("-----BEGIN") else text.rstrip("\n")


for command in common(CLUSTER):
    cluster.add_command(command)
