"""`zun-coe`: runs the gateway, and does with it what its users want."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from zun_coe import __version__
from zun_coe.cli import serving
from zun_coe.cli.failures import EXIT_CODES, Failure

COMPLETION = """Shell completion: run eval "$(_ZUN_COE_COMPLETE=bash_source zun-coe)", or the same with zsh_source;
for fish, _ZUN_COE_COMPLETE=fish_source zun-coe | source."""


class Program(click.Group):
    """All commands, in the order in which they were added, and what holds for each: how failures end."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order of the help text."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ends the process by an exit code, never by a traceback for a user's mistake."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            click.echo(f"Error: {failure}", err=True)
            ctx.exit(failure.exit_code)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(130)
        except BrokenPipeError:
            _let_go_of_stdout()
            ctx.exit(0)


@click.group(cls=Program, epilog=f"{EXIT_CODES}\n\n{COMPLETION}")
@click.version_option(__version__, message="zun-coe %(version)s")
def main() -> None:
    """Run containers and apps anywhere, through one gateway."""


@click.command("version")
def version() -> None:
    """Print the version."""
    click.echo(f"zun-coe {__version__}")


def _let_go_of_stdout() -> None:
    """Whoever read it has gone: nothing that is still buffered shall fail at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


for command in (*serving.commands(), serving.key, version):
    main.add_command(command)
