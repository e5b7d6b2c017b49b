"""All that there is to see of one thing of which something is wrong, as text for whoever looks for the cause."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.crash import docker_truth
from tests.crash.docker_truth import Name, Place
from zun_coe.model import Event

# How much of the end of the log is shown.
_LINES = 80


def of(name: Name, place: Place, said: str) -> str:
    """Its record, its events, its containers, and what the gateway has `said` of it in its log."""
    told = [e for e in docker_truth.events(place.http) if docker_truth.subject(e) == name]
    containers = [c for c in docker_truth.made(place) if docker_truth.name_of(c) == name]
    parts = {
        "record": [json.dumps(docker_truth.records(place.http).get(name))],
        "containers": map(_container, containers),
        "events": map(_event, told),
        "log": _log(said.splitlines(), {e.subject_id for e in told}),
    }
    return "\n".join(line for title, lines in parts.items() for line in (f"-- {title} of {' '.join(name)}", *lines))


def _container(container: Any) -> str:
    keys = ("Id", "Name", "Created", "State")
    return json.dumps({k: container[k] for k in keys} | {"Labels": container["Config"]["Labels"]})


def _event(event: Event) -> str:
    shown = f"{event.at:%H:%M:%S.%f} {event.subject_id[:8]} {event.generation} {event.type}: {event.message}"
    return f"{shown} {json.dumps(dict(event.data))}"


def _log(lines: list[str], ids: Iterable[str]) -> list[str]:
    """The last lines about something with one of these ids, and those that tell of a process's beginning."""
    about = (*ids, '"started"')
    return [line for line in lines if any(word in line for word in about)][-_LINES:]
