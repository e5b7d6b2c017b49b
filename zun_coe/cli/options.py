"""Options and arguments that commands share, and how a command line is read that has a command of its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from zun_coe.cli.failures import Refusal
from zun_coe.cli.specs import Flag, etag, number, whole, within
from zun_coe.cli.waiting import DEFAULT

F = TypeVar("F", bound=Callable[..., Any])
_TAIL = "zun_coe.cli.tail"
_SETTLE_AFTER = "zun_coe.cli.settle_after"


class Ordered(click.Group):
    """Commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of the help text."""
        return list(self.commands)


class Reading(click.ParamType[Any]):
    """A value that a function reads; its `ValueError` is what the user is told."""

    def __init__(self, read: Callable[[str], Any], metavar: str) -> None:
        self.name, self._read = metavar, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the text means."""
        try:
            return self._read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


SECONDS = Reading(within(number, "a number of seconds", 0), "SECONDS")
COUNT = Reading(within(whole, "a whole number", 1), "N")


class Named(click.ParamType[str]):
    """A resource by its name or id, with its kind in front or not: `-o name` and events show it as app/hello."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name alone. No name has a slash, and the commands of one kind are for no other."""
        kind = (ctx.parent.info_name if ctx and ctx.parent else None) or ""
        bare = value.removeprefix(f"{kind}/")
        if "/" in bare:
            self.fail(f"{value!r} is no name; write NAME or {kind}/NAME", param, ctx)
        return bare


class Verb(click.Command):
    """A command with `--wait[=SECONDS]`, whose value needs its equals sign: `--wait NAME` is no number of
    seconds. What stands behind `--` is left alone, for `tail_of`, where `takes_tail`. `beyond`: what to say to whoever
    gives more arguments than there are, with {} for the first of them."""

    takes_tail = False

    def __init__(self, *args: Any, beyond: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self._beyond, self.allow_extra_args = beyond, bool(beyond)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the line in two parts."""
        here = args.index("--") if "--" in args else len(args)
        own, rest = args[:here], args[here + 1 :]
        own = [f"--wait={DEFAULT}" if arg == "--wait" else arg for arg in own]
        if self.takes_tail:
            ctx.meta[_TAIL] = tuple(rest)
            return self._checked(ctx, super().parse_args(ctx, own))
        return self._checked(ctx, super().parse_args(ctx, own + args[here:]))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. What is refused is told in the words of its options."""
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            name_fields(refusal, ctx)
            raise

    def _checked(self, ctx: click.Context, more: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return more
        if more:
            raise click.UsageError(f"{more[0]!r} is too much. {self._beyond.format(shlex.quote(more[0]))}", ctx)
        if ctx.meta.get(_SETTLE_AFTER) is not None and ctx.params.get("wait") is None:
            raise click.UsageError("--settle-after says how to wait; add --wait.", ctx)
        return more


def name_fields(refusal: Refusal, ctx: click.Context) -> None:
    """Have a refusal tell of what was typed as the command calls it, and not as the service does. What a file says is
    found by the service's names."""
    if not ctx.params.get("files"):
        called = {f"/{param.name}": _called(param) for param in ctx.command.params}
        refusal.called = {p: called[p] for p in refusal.pointers if p in called} | dict(refusal.called)


def _called(param: click.Parameter) -> str:
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name.rstrip(".")


class VerbWithTail(Verb):
    """A command that takes another command behind `--`."""

    takes_tail = True

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What the help's first line says."""
        return [*super().collect_usage_pieces(ctx), "[-- CMD [ARG]...]"]


def tail_of(ctx: click.Context) -> tuple[str, ...]:
    """What stood behind `--`."""
    return tuple(ctx.meta.get(_TAIL, ()))


def flag_options(flags: Iterable[Flag]) -> Callable[[F], F]:
    """An option for each flag."""

    def add(command: F) -> F:
        for flag in reversed(tuple(flags)):
            command = _option(flag)(command)
        return command

    return add


def _option(flag: Flag) -> Callable[[F], F]:
    if flag.many == "switch":
        off = f"--no-{flag.option.removeprefix('--')}"
        return click.option(f"{flag.option}/{off}", default=None, help=flag.meaning)
    several = flag.many in ("list", "map")
    meaning = f"{flag.meaning}  [several]" if several else flag.meaning
    type = click.Choice(flag.choices) if flag.choices else Reading(flag.read, flag.metavar)
    metavar = None if flag.choices else flag.metavar
    return click.option(flag.option, type=type, multiple=several, metavar=metavar, help=meaning)


def wait_option(command: F) -> F:
    """`--wait[=SECONDS]`: None where it is not given."""
    help = f"Wait until it has settled, or it is known why not, at most so long (--wait alone: {DEFAULT} s)."
    return click.option("--wait", type=SECONDS, metavar="[=SECONDS]", help=help)(command)


def settling_options(command: F) -> F:
    """`--wait[=SECONDS]` and `--settle-after`, which `settle_after` gives."""

    def keep(ctx: click.Context, param: click.Parameter, value: float | None) -> None:
        ctx.meta[_SETTLE_AFTER] = value

    help = "With --wait: how long a reason that might go away by itself is waited out.  [default: 10]"
    settle = click.option(
        "--settle-after", type=SECONDS, metavar="SECONDS", help=help, callback=keep, expose_value=False
    )
    return wait_option(settle(command))


def settle_after() -> float | None:
    """What `--settle-after` says in the command that runs; None where it is not given."""
    found: float | None = click.get_current_context().meta.get(_SETTLE_AFTER)
    return found


def if_match_option(command: F) -> F:
    """`--if-match`."""
    help = "Only if it is at this generation still."
    return click.option("--if-match", type=Reading(etag, "GENERATION"), metavar="GENERATION", help=help)(command)


def file_option(command: F) -> F:
    """`-f FILE`, several."""
    help = "A description in JSON or YAML, - for the standard input."
    return click.option("-f", "--file", "files", multiple=True, metavar="FILE", help=help)(command)


def optional_name(command: F) -> F:
    """A name that a file may have instead."""
    return click.argument("name", type=Named(), required=False)(command)


def one_name(command: F) -> F:
    """A name or an id."""
    return click.argument("name", type=Named())(command)


def several_names(command: F) -> F:
    """Names or ids, one at least."""
    return click.argument("names", type=Named(), nargs=-1, required=True, metavar="NAME...")(command)
