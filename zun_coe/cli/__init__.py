"""`zun-coe`: runs the gateway, and does with it what its users want."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from zun_coe import __version__
from zun_coe.cli import serving
from zun_coe.cli.apps import app
from zun_coe.cli.clusters import cluster
from zun_coe.cli.containers import container
from zun_coe.cli.events import events_command
from zun_coe.cli.failures import EXIT_CODES, Failure
from zun_coe.cli.keeping import backup, key, restore
from zun_coe.cli.options import Ordered
from zun_coe.cli.output import say_failure
from zun_coe.cli.secrets import secret
from zun_coe.cli.services import service
from zun_coe.cli.session import Connection, Session, connection_options
from zun_coe.cli.volumes import volume

COMPLETION = """Shell completion: run eval "$(_ZUN_COE_COMPLETE=bash_source zun-coe)", or the same with zsh_source;
for fish, _ZUN_COE_COMPLETE=fish_source zun-coe | source."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
COMMANDS = (app, container, cluster, secret, volume, events_command, service)


class Program(Ordered):
    """All commands, and what holds for each: how failures end."""

    def main(self, *args: Any, **more: Any) -> Any:
        """Run the program. That its output has no room is told, and not traced."""
        try:
            return super().main(*args, **more)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            _let_go_of_stdout()
            say_failure(Failure(f"The output can't be written: {error.strerror}."))
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ends the process by an exit code, never by a traceback for a user's mistake."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            session = ctx.find_object(Session)
            say_failure(failure, session.format if session else "table")
            ctx.exit(failure.exit_code)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(130)
        except BrokenPipeError:
            _let_go_of_stdout()
            ctx.exit(0)


@click.group(cls=Program, epilog=f"{EXIT_CODES}\n\n{COMPLETION}")
@connection_options
@click.version_option(__version__, message="zun-coe %(version)s")
@click.pass_context
def main(ctx: click.Context, /, **connection: Any) -> None:
    """Run containers and apps anywhere, through one gateway.

    A token is taken from ZUN_COE_TOKEN or OS_AUTH_TOKEN."""
    token = os.environ.get("ZUN_COE_TOKEN") or os.environ.get("OS_AUTH_TOKEN")
    ctx.obj = Session(Connection(token=token, **connection))
    ctx.call_on_close(ctx.obj.close)


@click.command("version")
def version() -> None:
    """Print the version."""
    click.echo(f"zun-coe {__version__}")


def _let_go_of_stdout() -> None:
    """Whoever read it has gone: nothing that is still buffered shall fail at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


for command in (*COMMANDS, *serving.commands(), key, backup, restore, version):
    main.add_command(command)
