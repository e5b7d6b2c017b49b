"""The commands that look after a gateway's store: its encryption keys, copies of it, and bringing one back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from zun_coe.cli.failures import Away, Misuse
from zun_coe.config import ConfigError, Settings, load
from zun_coe.errors import StoreError


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which store, and with which keys."""
    options = [
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings in TOML."),
        click.option("--store", metavar="URL", help="Where the state is, as for `serve`."),
        click.option("--encryption-keys", metavar="KEYS", help="The keys, as for `serve`."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def settings_of(config: Path | None, **given: Any) -> Iterator[Settings]:
    """The settings; what an operator got wrong is said in one sentence."""
    try:
        yield load(file=config, command_line=given)
    except ConfigError as error:
        raise Misuse(str(error)) from error
    except StoreError as error:
        raise Away(f"The state store can't be used: {error}.") from error
    except OSError as error:
        if error.filename is None:
            raise
        raise Misuse(f"{error.filename}: {error.strerror}.") from error


@click.group("key", invoke_without_command=True)
@click.pass_context
def key(ctx: click.Context) -> None:
    """Print a new key for encryption_keys, or look after those of a store."""
    if ctx.invoked_subcommand is None:
        from zun_coe.vault import new_key

        click.echo(new_key())


@key.command("list")
@store_options
def list_keys(config: Path | None, **given: Any) -> None:
    """Show the keys at hand, by names that tell nothing of them, and how many values need each."""
    from zun_coe import keys
    from zun_coe.process import opened

    with settings_of(config, **given) as settings, opened(settings.store) as store:
        for name, count in keys.census(settings, store):
            click.echo(f"{name}  {count} values")


@key.command("rotate")
@store_options
def rotate(config: Path | None, **given: Any) -> None:
    """Encrypt all credentials and secrets anew, with the newest key.

    With a key file: stop the gateway; a new key is made, and the old one is taken out when nothing needs it any more.
    With encryption_keys: put a new key in front of the others in every process first, and take the others out
    afterwards; processes may run meanwhile. What was cut off is begun again with the same command."""
    from zun_coe import keys
    from zun_coe.process import opened

    with settings_of(config, **given) as settings, opened(settings.store) as store:
        count = keys.rotate(settings, store)
        click.echo(f"{count} values are encrypted with the newest key now.")
