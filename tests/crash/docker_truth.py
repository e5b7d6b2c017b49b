"""What must hold of a gateway over a real Docker engine, asked of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import docker
import httpx
import msgspec

from tests.crash import truth
from tests.real.engine import Engine
from zun_coe.model import Event, Instance
from zun_coe.native import naming

Name = tuple[str, str]
NOUNS = ("app", "container")


@dataclass(frozen=True)
class Asked:
    """What was asked for last, and was acknowledged."""

    id: str = ""
    replicas: int = 1
    version: str = "0"
    state: str = "running"


class Untrue(AssertionError):
    """Something does not hold of `name`."""

    def __init__(self, name: Name, error: AssertionError) -> None:
        super().__init__(f"{' '.join(name)}: {error}")
        self.name = name


@dataclass(frozen=True)
class Place:
    """Where to look: the gateway, the engine, the cluster that the engine is to the gateway."""

    http: httpx.Client
    engine: Engine
    cluster: str


def check(place: Place, wanted: dict[Name, Asked], forgotten: Collection[str]) -> None:
    """Exactly what was acknowledged is recorded and has settled, runs on the engine, and was told of in the
    events. `forgotten`: ids of what nobody saw the end of. Raises `Untrue`."""
    found, containers, told = records(place.http), made(place), events(place.http)
    known = wanted.keys() | found.keys() | {name_of(c) for c in containers} | {subject(e) for e in told}
    for name in sorted(known):
        own = [c for c in containers if name_of(c) == name]
        try:
            _is_recorded(found.get(name), wanted.get(name))
            _runs(own, wanted.get(name))
            _is_told([e for e in told if subject(e) == name], found.get(name), own, forgotten)
        except AssertionError as error:
            raise Untrue(name, error) from error


def holds(place: Place, wanted: dict[Name, Asked], forgotten: Collection[str]) -> bool:
    """Whether `check` finds nothing wrong."""
    try:
        check(place, wanted, forgotten)
    except Untrue:
        return False
    return True


def records(http: httpx.Client) -> dict[Name, Any]:
    """Every app, and every container of its own, as the gateway shows it."""
    shown = {(noun, one["name"]): one for noun in NOUNS for one in listed(http, f"{noun}s")}
    return {name: one for name, one in shown.items() if "app" not in one}


def events(http: httpx.Client) -> list[Event]:
    """All that was told of apps and containers."""
    told = (msgspec.convert(one, Event) for one in listed(http, "events"))
    return [event for event in told if event.subject in NOUNS]


def subject(event: Event) -> Name:
    """What an event is about."""
    return event.subject, event.subject_name


def made(place: Place) -> list[Any]:
    """Every container that carries the label of the cluster, as Docker inspects it."""
    api = place.engine.client().api
    found = api.containers(all=True, filters={"label": f"{naming.CLUSTER}={place.cluster}"})
    containers = []
    for one in found:
        with suppress(docker.errors.NotFound):  # gone since
            containers.append(api.inspect_container(one["Id"]))
    return containers


def name_of(container: Any) -> Name:
    """What a container belongs to, as its labels say."""
    labels = container["Config"]["Labels"]
    return labels[naming.NOUN], labels[naming.NAME]


def listed(http: httpx.Client, plural: str, **filters: Any) -> list[Any]:
    """Everything of a kind, page after page."""
    items: list[Any] = []
    params: dict[str, Any] = {"limit": 1000, **filters}
    while True:
        answer = http.get(f"/v1/{plural}", params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page[plural]
        if "next" not in page:
            return items
        params["marker"] = page["next"]


def _is_recorded(found: dict[str, Any] | None, asked: Asked | None) -> None:
    assert (found is None) == (asked is None), f"asked for: {asked}, recorded: {found}"
    if found is None or asked is None:
        return
    status = found["status"]
    phase = "Stopped" if asked.state == "stopped" or not asked.replicas else "Running"
    assert (status["phase"], status["observed_generation"]) == (phase, found["generation"])
    assert not status.get("rollout")


def _runs(containers: list[Any], asked: Asked | None) -> None:
    slots = Counter(c["Config"]["Labels"].get(naming.SLOT, "1") for c in containers)
    wanted = Counter(str(n + 1) for n in range(asked.replicas if asked else 0))
    # A container that was stopped before it was made is not made.
    assert slots == wanted or (not slots and asked and asked.state == "stopped")
    if asked is None:
        return
    states = {c["State"]["Status"] for c in containers}
    assert states <= ({"running"} if asked.state == "running" else {"exited", "created"})
    versions = {e for c in containers for e in c["Config"]["Env"] if e.startswith("VERSION=")}
    assert versions <= {f"VERSION={asked.version}"}


def _is_told(
    told: list[Event], found: dict[str, Any] | None, containers: list[Any], forgotten: Collection[str]
) -> None:
    there = {found["id"]} if found else set()
    for id in {event.subject_id for event in told}:
        own = [event for event in told if event.subject_id == id]
        truth.are_a_story(own, there, {own[0].subject_name} if id in forgotten else ())
    if found is not None:
        own = [event for event in told if event.subject_id == found["id"]]
        truth.end_in_the_state(own, found["status"]["phase"], [_instance(c) for c in containers])


def _instance(container: Any) -> Instance:
    running = container["State"]["Status"] == "running"
    return Instance(native_id=container["Id"], state="running" if running else "exited", ready=running)
