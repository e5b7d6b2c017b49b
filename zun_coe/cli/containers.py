"""`zun-coe container`: containers of their own, and the replicas of apps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from signal import Signals

import click

from zun_coe.cli import workloads
from zun_coe.cli.logs import logs
from zun_coe.cli.nouns import CONTAINER, common, each
from zun_coe.cli.options import Ordered, Verb, several_names
from zun_coe.cli.session import Session, output_option
from zun_coe.cli.specs import CHANGEABLE, CONTAINER_FLAGS

_ACTIONS = {
    "start": "Start containers that are stopped.",
    "stop": "Ask containers to end, and keep them.",
    "restart": "Stop containers and start them again.",
    "pause": "Freeze the processes of containers.",
    "unpause": "Let the processes of paused containers go on.",
}


@click.group("container", cls=Ordered)
def container() -> None:
    """Containers: single ones, and the replicas of apps."""


@click.command("kill", cls=Verb)
@several_names
@click.option("-s", "--signal", default="SIGKILL", show_default=True, help="Which signal, such as SIGHUP.")
@output_option
@click.pass_obj
def kill(session: Session, names: Sequence[str], signal: str) -> None:
    """Send a signal to the main process of containers, once."""
    name_of_signal = _signal(signal)

    def ask(name: str) -> Callable[[], None]:
        path = CONTAINER.path(name, "kill")
        resource = session.api.ask("POST", path, params={"signal": name_of_signal}).json()
        return lambda: session.printer.row(CONTAINER.name, resource)

    each(session, names, ask)


def _signal(text: str) -> str:
    """ "hup", "HUP", "SIGHUP" and "1" are all SIGHUP."""
    if text.isdecimal() and int(text) in {known.value for known in Signals}:
        return Signals(int(text)).name
    return text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"


def _commands() -> Iterator[click.Command]:
    """In the order of the help text."""
    yield workloads.create(CONTAINER, CONTAINER_FLAGS)
    yield from common(CONTAINER)
    yield workloads.update(CONTAINER, CHANGEABLE, tail=False)
    for verb, help in _ACTIONS.items():
        yield workloads.act(CONTAINER, verb, help)
    yield kill
    yield logs(CONTAINER)


for command in _commands():
    container.add_command(command)
