"""What must hold of a gateway over a real Docker engine, asked of both once everything has settled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from tests.crash import truth
from tests.real.engine import Engine
from zun_coe.model import Event, Instance
from zun_coe.native import naming

Name = tuple[str, str]


@dataclass(frozen=True)
class Asked:
    """What was asked for last, and was acknowledged."""

    replicas: int = 1
    version: str = "0"
    state: str = "running"


def settled(http: httpx.Client, wanted: dict[Name, Asked]) -> bool:
    """Whether everything has come to its end, and is what was asked for."""
    found = {(noun, one["name"]): one for noun in ("app", "container") for one in listed(http, f"{noun}s")}
    own = {name: one for name, one in found.items() if "app" not in one}
    return own.keys() == wanted.keys() and all(_is_settled(own[name], asked) for name, asked in wanted.items())


def check(http: httpx.Client, engine: Engine, wanted: dict[Name, Asked], cluster: str) -> None:
    """Exactly what was acknowledged runs on the engine, and the events have told it all."""
    containers = made(engine, cluster)
    of: dict[Name, list[Any]] = {name: [] for name in wanted}
    for container in containers:
        labels = container["Config"]["Labels"]
        name = (labels[naming.NOUN], labels[naming.NAME])
        assert name in of, f"{name} is left over: {container['Name']} {container['State']['Status']}"
        of[name].append(container)
    for name, asked in wanted.items():
        _runs(name, of[name], asked)
    _told(http, wanted, of)


def holds(http: httpx.Client, engine: Engine, wanted: dict[Name, Asked], cluster: str) -> bool:
    """Whether `check` finds nothing wrong."""
    try:
        check(http, engine, wanted, cluster)
    except AssertionError:
        return False
    return True


def made(engine: Engine, cluster: str) -> list[Any]:
    """Every container that carries the label of a cluster, as Docker inspects it."""
    api = engine.client().api
    found = api.containers(all=True, filters={"label": f"{naming.CLUSTER}={cluster}"})
    return [api.inspect_container(one["Id"]) for one in found]


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


def _is_settled(one: dict[str, Any], asked: Asked) -> bool:
    phase = "Stopped" if asked.state == "stopped" or not asked.replicas else "Running"
    status = one["status"]
    return status["phase"] == phase and status["observed_generation"] == one["generation"] and not status.get("rollout")


def _runs(name: Name, containers: list[Any], asked: Asked) -> None:
    slots = Counter(c["Config"]["Labels"].get(naming.SLOT, "1") for c in containers)
    assert slots == Counter(str(n + 1) for n in range(asked.replicas)), f"{name}: {slots}"
    states = {c["State"]["Status"] for c in containers}
    expected = {"running"} if asked.state == "running" else {"exited", "created"}
    assert states <= expected, f"{name}: {states}"
    versions = {e for c in containers for e in c["Config"]["Env"] if e.startswith("VERSION=")}
    assert versions <= {f"VERSION={asked.version}"}, f"{name}: {versions}"


def _told(http: httpx.Client, wanted: dict[Name, Asked], of: dict[Name, list[Any]]) -> None:
    told = [msgspec.convert(one, Event) for one in listed(http, "events")]
    ids = {}
    for noun, name in wanted:
        one = http.get(f"/v1/{noun}s/{name}").json()
        ids[one["id"]] = one["name"]
        instances = [_instance(c) for c in of[noun, name]]
        truth.end_in_the_state([e for e in told if e.subject_id == one["id"]], one["status"]["phase"], instances)
    truth.are_a_story(told, ids)


def _instance(container: Any) -> Instance:
    running = container["State"]["Status"] == "running"
    return Instance(native_id=container["Id"], state="running" if running else "exited", ready=running)
