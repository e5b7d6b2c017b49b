"""`zun-coe secret`: confidential values. They go in and never come out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from zun_coe.cli import documents
from zun_coe.cli.failures import Misuse
from zun_coe.cli.nouns import SECRET, common, with_name
from zun_coe.cli.options import Ordered, Reading, Verb, file_option, optional_name
from zun_coe.cli.session import Session, output_option
from zun_coe.cli.specs import pair


@click.group("secret", cls=Ordered)
def secret() -> None:
    """Secrets: confidential values by name."""


def _key_and_value(text: str) -> tuple[str, str]:
    key, value = pair(text)
    if value is None:
        raise ValueError(f"{text!r} is no KEY=VALUE")
    return key, value


_PAIR = Reading(_key_and_value, "KEY=VALUE")


@secret.command("create", cls=Verb, beyond="A value is given as --from-literal {}, or as --from-file KEY=FILE.")
@optional_name
@file_option
@click.option("--from-file", "from_file", type=_PAIR, multiple=True, metavar="KEY=FILE", help="- is standard input.")
@click.option("--prompt", multiple=True, metavar="KEY", help="Ask for the value, without showing it.")
@click.option("--from-literal", type=_PAIR, multiple=True, metavar="KEY=VALUE", help="Others may see it, by ps.")
@output_option
@click.pass_context
def create(
    ctx: click.Context,
    name: str | None,
    files: Sequence[str],
    from_file: Sequence[tuple[str, str]],
    prompt: Sequence[str],
    from_literal: Sequence[tuple[str, str]],
) -> None:
    """Keep confidential values under a name.

    Values come from files or the standard input, byte by byte with their last newline, from a question
    (--prompt), or from the command line, where others on the machine can see them. Each option may be given
    several times. With -f the whole secret is in a file: {name: ..., data: {KEY: VALUE}}."""
    if [*files, *(path for _, path in from_file)].count("-") > 1:
        raise Misuse("The standard input can be read once: give - for one of the files only.")
    body: dict[str, Any] = documents.one(files)
    given = dict(from_literal) | {key: _content(path) for key, path in from_file} | {key: _asked(key) for key in prompt}
    if given:
        body["data"] = _data(body) | given
    if not body.get("data"):
        raise Misuse("A secret needs a value: --from-file KEY=FILE, --prompt KEY or --from-literal KEY=VALUE.")
    session: Session = ctx.obj
    session.printer.row(SECRET.name, session.api.ask("POST", SECRET.path(), body=with_name(body, name, ctx)).json())


def _data(body: dict[str, Any]) -> dict[str, Any]:
    """The values that a file has."""
    data = body.get("data") or {}
    if not isinstance(data, dict):
        raise Misuse("data in the file has to be an object: {KEY: VALUE}.")
    return data


def _asked(key: str) -> str:
    value: str = click.prompt(key, hide_input=True, confirmation_prompt=sys.stdin.isatty(), err=True)
    return value


def _content(path: str) -> str:
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return content.decode()
    except OSError as error:
        raise Misuse(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Misuse(f"{path} is no text in UTF-8, as secrets are; encode it, for instance in base64.") from error


for command in common(SECRET):
    secret.add_command(command)
