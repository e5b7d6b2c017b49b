"""What every command of a user has at hand: the service, and how to show results."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import click

from zun_coe.cli.client import Api, open_http
from zun_coe.cli.failures import Misuse
from zun_coe.cli.options import Reading
from zun_coe.cli.output import FORMATS, Printer
from zun_coe.cli.specs import number, within
from zun_coe.config import ConfigError, must_be_meant

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Connection:
    """How to reach the service and as whom. `timeout` in seconds, for one answer."""

    endpoint: str = "http://127.0.0.1:9517"
    token: str | None = None
    project: str | None = None
    roles: str | None = None
    cacert: str | None = None
    insecure: bool = False
    trust_env: bool = False
    timeout: float = 60.0


class Session:
    """One invocation of the program."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.format = "table"

    @cached_property
    def api(self) -> Api:
        """The service. It is not called before something is asked."""
        try:
            must_be_meant(os.environ)
        except ConfigError as error:
            raise Misuse(str(error)) from error
        given = self._connection
        named = {"X-Auth-Token": given.token, "X-Zun-Project": given.project, "X-Zun-Roles": given.roles}
        headers = {k: _header(k, v) for k, v in named.items() if v}
        verify = _verification(given)
        http = open_http(given.endpoint, headers, timeout=given.timeout, verify=verify, trust_env=given.trust_env)
        return Api(http, given.endpoint if given.endpoint.startswith("unix:") else "")

    def close(self) -> None:
        """Let go of connections. Idempotent."""
        if "api" in vars(self):
            self.api.close()

    @property
    def printer(self) -> Printer:
        """Shows results in the format that was chosen."""
        return Printer(self.format)


def _header(name: str, value: str) -> str:
    """A value as a header can have it; a newline at its end is that of the file it came from."""
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        what = {"X-Auth-Token": "The token (ZUN_COE_TOKEN, OS_AUTH_TOKEN)"}.get(name, f"What is sent as {name}")
        raise Misuse(f"{what} has characters that are none of ASCII's visible ones.")
    return value


def _verification(given: Connection) -> Any:
    if given.insecure:
        return False
    if given.cacert is None:
        return True
    try:
        return ssl.create_default_context(cafile=given.cacert)
    except OSError as error:
        raise Misuse(f"{given.cacert} can't be used as CA certificates: {error}.") from error


def connection_options(command: F) -> F:
    """The options of the program itself; each can be set in the environment."""
    options = [
        click.option(
            "--endpoint",
            envvar="ZUN_COE_ENDPOINT",
            default=Connection.endpoint,
            show_default=True,
            metavar="URL",
            help="Where the service is: http://, https:// or unix:/FILE. [ZUN_COE_ENDPOINT]",
        ),
        click.option("--project", envvar="ZUN_COE_PROJECT", help="For development: the project. [ZUN_COE_PROJECT]"),
        click.option("--roles", envvar="ZUN_COE_ROLES", help="For development: the roles. [ZUN_COE_ROLES]"),
        click.option("--cacert", envvar="OS_CACERT", metavar="FILE", help="CA certificates to trust. [OS_CACERT]"),
        click.option("--insecure", is_flag=True, help="Don't check the service's certificate."),
        click.option("--trust-env", is_flag=True, help="Let the environment choose proxies and CA certificates."),
        click.option(
            "--timeout",
            type=Reading(within(number, "a number of seconds", 0.1), "SECONDS"),
            metavar="SECONDS",
            default=Connection.timeout,
            show_default=True,
            help="Seconds to wait for one answer.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def output_option(command: F) -> F:
    """`-o FORMAT`. It counts for failures too, so it is kept in the session."""

    def keep(ctx: click.Context, param: click.Parameter, value: str) -> None:
        session = ctx.find_object(Session)
        if session is not None:
            session.format = value

    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default="table",
        expose_value=False,
        callback=keep,
        help="How to show the result: table, wide (with more columns), json, yaml or name.",
    )(command)
