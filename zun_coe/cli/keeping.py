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


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Put the encryption keys into the file, too: whoever has it has all.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@store_options
def backup(file: Path, with_keys: bool, force: bool, config: Path | None, **given: Any) -> None:
    """Copy everything that a gateway keeps into FILE.

    The gateway may run meanwhile: the copy is of one moment. Without its encryption keys nobody can read the
    credentials and secrets in it, not even you: keep the key file, or encryption_keys, in another safe place."""
    from zun_coe.backup import save

    with settings_of(config, **given) as settings:
        try:
            count = save(settings, file, with_keys=with_keys, replace=force)
        except FileExistsError as error:
            raise Misuse(f"{file} is there already; use --force to replace it.") from error
        kept = "with its encryption keys: keep it safe" if with_keys else "without its encryption keys: keep them, too"
        click.echo(f"{count} records are in {file}, {kept}.")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace what is in the store, and the key file by the keys in FILE.")
@store_options
def restore(file: Path, force: bool, config: Path | None, **given: Any) -> None:
    """Make a store of the copy in FILE. The gateway must not run.

    What was made since the copy is told of as OrphanFound and left alone. The key file has to be in its place,
    unless it is in FILE. Events have other ids afterwards."""
    from zun_coe.backup import load as read
    from zun_coe.backup import restore as write
    from zun_coe.process import opened

    with settings_of(config, **given) as settings:
        copy = read(file)
        with opened(settings.store) as store:
            count = write(settings, store, copy, replace=force)
        click.echo(f"{count} records of {copy.head.at:%Y-%m-%d %H:%M:%S} UTC are restored.")


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
    afterwards; processes may run meanwhile. What was cut off is begun again with the same command.

    Backups that were made before need the old key: keep a copy of it for as long as you keep them."""
    from zun_coe import keys
    from zun_coe.process import opened

    with settings_of(config, **given) as settings, opened(settings.store) as store:
        count = keys.rotate(settings, store)
        click.echo(f"{count} values are encrypted with the newest key now.")
        click.echo("Backups that were made before need the key of that time; make a new one.", err=True)
