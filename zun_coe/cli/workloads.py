"""What apps and containers share: creating and changing them by flags or files, and their output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from zun_coe.cli import documents
from zun_coe.cli.failures import Misuse, Refusal
from zun_coe.cli.nouns import Noun, each, finish, with_name, write
from zun_coe.cli.options import (
    Verb,
    VerbWithTail,
    file_option,
    flag_options,
    if_match_option,
    one_name,
    optional_name,
    settling_options,
    several_names,
    tail_of,
)
from zun_coe.cli.session import Session, output_option
from zun_coe.cli.specs import Flag, body_of, merge, option_of, unset

_BEYOND = "An image is given as --image {}, and a command with its arguments behind --."


def described(
    flags: Iterable[Flag], values: Mapping[str, Any], files: Sequence[str], tail: Sequence[str], *, patch: bool = False
) -> dict[str, Any]:
    """The body that a command line asks for: the file's, with the flags over it. Raises `Misuse`."""
    try:
        return merge(documents.one(files), body_of(flags, values, tail, patch=patch))
    except ValueError as error:
        raise Misuse(f"{error}.") from error


@contextmanager
def in_words_of(flags: Iterable[Flag], files: Sequence[str]) -> Iterator[None]:
    """A refusal tells of fields by the options that set them, unless a file did that."""
    try:
        yield
    except Refusal as refusal:
        if not files:
            refusal.called = {pointer: option for pointer in refusal.pointers if (option := option_of(flags, pointer))}
        raise


def create(noun: Noun, flags: Sequence[Flag]) -> click.Command:
    """`create NAME`, by flags, by a file, or both."""

    @click.command("create", cls=VerbWithTail, beyond=_BEYOND)
    @optional_name
    @file_option
    @flag_options(flags)
    @settling_options
    @output_option
    @click.pass_context
    def run(ctx: click.Context, /, name: str | None, files: Sequence[str], wait: float | None, **values: Any) -> None:
        body = with_name(described(flags, values, files, tail_of(ctx)), name, ctx)
        with in_words_of(flags, files):
            write(ctx.obj, noun, "POST", body=body, wait=wait)

    run.help = f"""Create {noun.one}.

    Its description comes from flags, from a file (-f), or from both; flags win. What stands behind -- is the
    command to run, with its arguments."""
    return run


def update(noun: Noun, flags: Sequence[Flag], tail: bool = True) -> click.Command:
    """`update NAME`: a merge patch."""

    @click.command("update", cls=VerbWithTail if tail else Verb)
    @one_name
    @file_option
    @flag_options(flags)
    @click.option("--unset", multiple=True, metavar="FIELD", help="Back to the default, such as health.  [several]")
    @if_match_option
    @settling_options
    @output_option
    @click.pass_context
    def run(
        ctx: click.Context,
        /,
        name: str,
        files: Sequence[str],
        unset: Sequence[str],
        if_match: str | None,
        wait: float | None,
        **values: Any,
    ) -> None:
        body = merge(described(flags, values, files, tail_of(ctx), patch=True), _unset(unset))
        if not body:
            raise Misuse("Nothing to change was named.")
        with in_words_of(flags, files):
            write(ctx.obj, noun, "PATCH", name, body=body, if_match=if_match, wait=wait)

    run.help = f"""Change fields of {noun.one}; the others stay.

    Maps such as --env and --label are added to (KEY- takes one away); lists such as --port are replaced whole."""
    return run


def act(noun: Noun, verb: str, help: str, *, body: Mapping[str, Any] | None = None) -> click.Command:
    """A command that changes what is wanted of each resource named: POST .../VERB, or (with `body`) a patch."""

    @click.command(verb, cls=Verb, help=help)
    @several_names
    @if_match_option
    @settling_options
    @output_option
    @click.pass_obj
    def run(session: Session, names: Sequence[str], if_match: str | None, wait: float | None) -> None:
        headers = {"If-Match": if_match} if if_match else {}

        def ask(name: str) -> Callable[[], None]:
            method, path = ("POST", noun.path(name, verb)) if body is None else ("PATCH", noun.path(name))
            resource = session.api.ask(method, path, body=body, headers=headers).json()
            return lambda: finish(session, noun, resource, wait, rolls_out=body is None)

        each(session, names, ask)

    return run


def _unset(fields: Sequence[str]) -> dict[str, Any]:
    try:
        return unset(fields)
    except ValueError as error:
        raise Misuse(f"{error}.") from error
