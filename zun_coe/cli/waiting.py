"""`--wait`: following what was asked for until it has settled, with its progress on stderr.

The service decides what settled means, and holds its answer until then. It is asked again every second, so that the
progress can be shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from zun_coe.cli.client import Api, path_of
from zun_coe.cli.failures import Away, Failure, Refusal, TimeUp, Unwell
from zun_coe.cli.output import clean

SLICE = 1.0
"""Seconds that one request waits: how old the progress shown is at most."""
DEFAULT = 300
"""Seconds that `--wait` alone waits."""
_BAD = ("Failed", "Degraded", "Unreachable")
_MOVING = ("Pending", "Creating", "Progressing", "Restarting")
_GONE_WRONG = ("failed", "rolled_back")
_ROLLOUTS = {
    "progressing": "is in progress",
    "paused": "is paused",
    "failed": "has failed",
    "rolled_back": "has failed and was rolled back",
}


@dataclass(frozen=True)
class Target:
    """What to wait for: that a resource has settled, or (`deleted`) that it is gone. `settle_after`: the seconds after
    which a reason that might go away counts as the end, where somebody has said so."""

    noun: str
    plural: str
    id: str
    name: str
    deleted: bool = False
    settle_after: float | None = None

    @property
    def path(self) -> str:
        """By id: a name may be taken by something new meanwhile."""
        return path_of(self.plural, self.id)


class Interrupted(Failure):
    """Somebody would not wait any longer."""

    exit_code = 130


Show = Callable[[str, tuple[int, int] | None], None]
"""Shows a sentence and, where it is known, how many of how many are ready."""


def wait_for(api: Api, target: Target, seconds: float, clock: Callable[[], float] = time.monotonic) -> Any:
    """The resource once it has settled; None once it is gone. Blocks. Raises `TimeUp` with the state in words,
    `Interrupted`, `Refusal`, or `Away` when the service stays away until the time is up."""
    try:
        with _display(target.name) as show:
            return _until(api, target, clock() + seconds, seconds, clock, show)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Not waiting any longer. The work on {target.name} goes on in the service; "
            f"look with: zun-coe {target.noun} show {target.name}"
        ) from None


def check_well(noun: str, resource: Mapping[str, Any], *, rolls_out: bool = True) -> None:
    """Raises `Unwell` for something that has settled in a way that nobody wants. `rolls_out`: a rollout was asked for;
    else one that went back before says nothing about what was."""
    status = resource.get("status", {})
    rollout = status.get("rollout") or {}
    failed = status.get("phase") == "Exited" and status.get("exit_code")
    gone_wrong = rollout.get("state") in _GONE_WRONG
    held_up = status.get("phase") in _MOVING and status.get("reason")
    if status.get("phase") in _BAD or (gone_wrong and (rolls_out or held_up)) or failed:
        raise Unwell(sentence(resource))
    if held_up:
        raise Unwell(f"{sentence(resource)} It is not waited for any longer; the service goes on trying.")


def sentence(resource: Mapping[str, Any]) -> str:
    """The state in a sentence or two: what, how many, why."""
    status = resource.get("status", {})
    told = [f"{resource.get('name')} is {status.get('phase')}"]
    if counts := status.get("replicas"):
        told[0] += f": {counts['ready']} of {counts['desired']} ready"
    rollout = status.get("rollout") or {}
    if rollout.get("state") not in (None, "progressing"):
        told.append(rollout_words(rollout))
    if status.get("exit_code"):
        told.append(f"It ended with exit code {status['exit_code']}")
    if why := ": ".join(str(status[k]) for k in ("reason", "message") if status.get(k)):
        told.append(why.rstrip("."))
    return clean(". ".join(told) + ".")


def rollout_words(rollout: Mapping[str, Any]) -> str:
    """How a rollout goes, as a sentence without its full stop."""
    state = str(rollout["state"])
    return f"The rollout to revision {rollout['to']} {_ROLLOUTS.get(state, f'is {state}')}"


def _until(
    api: Api, target: Target, deadline: float, seconds: float, clock: Callable[[], float], show: Show
) -> Mapping[str, Any] | None:
    state = f"{target.name} has not changed yet."
    while True:
        asked = clock()
        left = deadline - asked
        try:
            answer = _ask(api, target, min(SLICE, max(left, 0.05)))
        except (Away, Refusal) as failure:
            if failure.exit_code != Away.exit_code or left <= 0:
                raise
            show(f"{failure} Trying again.", None)
            time.sleep(min(SLICE, left))
            continue
        if answer is None or answer[0]:
            return None if answer is None else answer[1]
        state = sentence(answer[1])
        show(state, _counts(answer[1]))
        if left <= 0:
            raise TimeUp(f"Time is up after {seconds:g} s. {state} It goes on in the service.")
        if target.deleted:  # the answer may have come at once
            time.sleep(max(0.0, min(SLICE - (clock() - asked), left)))


def _ask(api: Api, target: Target, seconds: float) -> tuple[bool, Mapping[str, Any]] | None:
    """Whether it has settled, and the resource; None when it is gone, as it should be."""
    fresh = {"Cache-Control": "no-cache"}  # whichever process answers, it knows of what was asked for
    try:
        asked = {"wait": round(seconds, 3), "settle_after": target.settle_after}
        answer = api.ask("GET", target.path, params=asked, headers=fresh, attempts=1)
    except Refusal as refusal:
        if target.deleted and refusal.status == 404:
            return None
        raise
    # what is to go has not gone while it is shown, as a replica is until its app has another one
    return None if answer.status_code == 204 else (answer.status_code == 200 and not target.deleted, answer.json())


def _counts(resource: Mapping[str, Any]) -> tuple[int, int] | None:
    counts = resource.get("status", {}).get("replicas")
    return (counts["ready"], counts["desired"]) if counts else None


@contextmanager
def _display(name: str) -> Iterator[Show]:
    """A line that changes on a terminal; elsewhere a line for each change."""
    if not sys.stderr.isatty():
        yield _plainly()
        return
    columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{name}: waiting", total=None)

        def show(told: str, counts: tuple[int, int] | None) -> None:
            ready, wanted = counts or (0, None)
            progress.update(task, description=told, completed=ready, total=wanted)

        yield show


def _plainly() -> Show:
    last = ""

    def show(told: str, counts: tuple[int, int] | None) -> None:
        nonlocal last
        if told != last:
            click.echo(told, err=True)
            last = told

    return show
