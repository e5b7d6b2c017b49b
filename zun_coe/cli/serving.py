"""The commands that run the gateway. Each setting is an option; nobody has to write it down twice."""

from __future__ import annotations

import ast
import inspect
import signal
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any, Literal
from warnings import catch_warnings, simplefilter

import click

from zun_coe.cli.failures import Away, Misuse
from zun_coe.cli.recording import record
from zun_coe.cli.reloading import Reloading
from zun_coe.config import ConfigError, Settings, load, without_password
from zun_coe.errors import StoreError

Role = Literal["serve", "api", "engine"]
_TYPES: dict[str, click.ParamType[Any]] = {"str": click.STRING, "int": click.INT, "float": click.FLOAT}
_ROLES: dict[Role, str] = {
    "serve": "Run the whole gateway in one process: the API and the engine.",
    "api": "Run the REST service alone, beside engines elsewhere. Needs a store that processes can share.",
    "engine": "Run the engine alone, beside REST services elsewhere. Needs a store that processes can share.",
}


def commands() -> Iterator[click.Command]:
    """`serve`, `api` and `engine`. Each blocks until SIGINT or SIGTERM."""
    for role, text in _ROLES.items():
        yield _command(role, text)


def meanings() -> dict[str, str]:
    """What each setting means: the text under its line in the source. Empty where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(Settings)).body[0]
    except OSError:
        return {}
    assert isinstance(tree, ast.ClassDef)
    pairs = zip(tree.body, tree.body[1:], strict=False)
    return {
        line.target.id: " ".join(ast.literal_eval(text.value).split())
        for line, text in pairs
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(text, ast.Expr)
    }


def _command(role: Role, text: str) -> click.Command:
    def run(config: Path | None, **given: Any) -> None:
        _serve(role, config, given)

    help = f"{text}\n\nA setting given here wins over ZUN_COE_NAME in the environment, that over the file."
    config = click.Option(["--config"], type=click.Path(path_type=Path), metavar="FILE", help="Settings in TOML.")
    return click.Command(role, callback=run, help=help, params=[config, *_options()])


def _options() -> Iterator[click.Option]:
    texts = meanings()
    for field in fields(Settings):
        name = field.name.replace("_", "-")
        flag = field.type == "bool"
        yield click.Option(
            [f"--{name}/--no-{name}" if flag else f"--{name}"],
            type=None if flag else _TYPES[str(field.type)],
            default=None,
            help=f"{texts.get(field.name, '')}  [default: {_shown(field.default)}]",
        )


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


def _serve(role: Role, config: Path | None, given: dict[str, Any]) -> None:
    """Serve until told to stop. What an operator got wrong is said in one sentence."""

    def read() -> Settings:
        return load(file=config, command_line=given)

    reloading = Reloading(read)
    with catch_warnings():
        simplefilter("ignore", DeprecationWarning)  # of connexion's imports, which an operator can't change
        simplefilter("ignore", UserWarning)
        from zun_coe.app import serve  # only here: the user's commands start faster without a web framework

    try:
        settings = read()
        record(settings)
        _end_in_order()
        serve(settings, role, lambda process: reloading.begin(settings, process.renew))
    except ConfigError as error:
        raise Misuse(str(error)) from error
    except StoreError as error:
        raise Away(f"The state store can't be used (store = {without_password(settings.store)}): {error}.") from error
    except OSError as error:
        if error.filename is None:
            raise
        raise Misuse(f"{error.filename}: {error.strerror}.") from error


def _end_in_order() -> None:
    """Let the signals that ask a process to end unwind it. The HTTP server handles them first, and then
    sends itself the same one again, which would kill the process before it has given anything back."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
