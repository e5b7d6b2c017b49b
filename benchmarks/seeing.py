"""How soon the death of a container is seen: by somebody who follows the events, and by somebody who looks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import docker
import httpx

from benchmarks.docker_engine import SPEC, engine, gateway_on
from benchmarks.dying import Processes
from benchmarks.harness import Finding, Goal, Scale, percentile, until
from benchmarks.subject import Subject, fill, subject
from tests.real.engine import Engine
from zun_coe.native import naming

NAME = "news"
GOAL = Goal(250, "at most")
TOLD = frozenset({"InstanceExited", "InstanceRestarted", "InstanceRemoved"})
Deaths = dict[str, float]
"""What died when, or was seen when: seconds of the machine's monotonic clock, by id."""


RATE = 5
"""Changes in a second, on Docker: a death is one, and a start again another."""
LOOK = 0.005
"""Seconds between two looks."""


@dataclass(frozen=True)
class Case:
    """What has the containers that die, `count` of them, and how many changes each death is: `plural` and `fields` as
    requests have them."""

    named: str
    plural: str
    fields: Mapping[str, Any]
    count: int
    changes: int

    def containers(self, api: httpx.Client, id: str) -> Sequence[Any]:
        """The containers of one of them, as they are shown."""
        if self.plural == "containers":
            return [api.get(f"/v1/containers/{id}").json()]
        shown: list[Any] = api.get(f"/v1/apps/{id}/containers").json()["containers"]
        return shown


APPS = Case("each is started again", "apps", {}, 60, 2)
CASES = (Case("each stays as it ended", "containers", {"restart": "never"}, 150, 1), APPS)


def run(scale: Scale) -> Sequence[Finding]:
    """On the simulated cluster with many changes a second, on Docker with a few."""
    return [*_simulated(scale), *(finding for case in CASES for finding in _docker(scale, case))]


def _simulated(scale: Scale) -> Sequence[Finding]:
    rate, duration = scale.pick((50, 20.0), (20, 2.0))  # each starts again at once: twice as many changes
    with subject(simulated=True) as running, Watcher(running) as watcher:
        ids = fill(running, int(rate * duration))
        begun = time.monotonic()
        running.begin("die", rate=rate, duration=duration, ids=ids)
        with ThreadPoolExecutor(2) as pool:
            samples = list(enumerate(ids))[:: max(1, rate // 10)]
            looking = pool.map(lambda sample: _look(running, APPS, sample[1], begun + sample[0] / rate), samples)
            looked: Deaths = dict(looking)
        deaths = dict(running.end())
        until(lambda: deaths.keys() <= watcher.seen.keys(), 30, "All deaths are told of")
        told = _delays(deaths, watcher.seen)
        seen = _delays({id: deaths[id] for id in looked}, looked)
    case = f"{2 * rate} changes a second (deaths and restarts), simulated cluster"
    return [_finding(f"{case}: on the event stream", told), _finding(f"{case}: through GET", seen)]


def _look(running: Subject, case: Case, id: str, at: float) -> tuple[str, float]:
    """When a look at the containers of something first shows that one has ended."""
    with running.client() as api:
        time.sleep(max(0.0, at - time.monotonic()))
        until(lambda: _any_ended(case.containers(api, id)), 30, "The death is seen", pause=LOOK)
        return id, time.monotonic()


def is_dead(api: httpx.Client, app: str) -> bool:
    """Whether a look at the containers of an app shows that one has ended."""
    return _any_ended(APPS.containers(api, app))


def _any_ended(shown: Sequence[Any]) -> bool:
    return not shown or any(c["status"]["phase"] != "Running" or c["status"].get("restarts") for c in shown)


def _docker(scale: Scale, case: Case) -> Sequence[Finding]:
    """The processes of containers are killed from outside, at a steady rate. The clock starts when a process has
    ended, for Docker's own events too."""
    rate = RATE / case.changes
    count = scale.pick(case.count, 3)
    with engine() as there, gateway_on(there) as running:
        containers = _deployed(running, there, case, count)
        with Watcher(running) as watcher, EngineWatcher(there) as bare, Processes(there) as processes:
            for id, native_id in containers.items():
                processes.follow(id, native_id)
            with ThreadPoolExecutor(4) as pool:
                begun = time.monotonic() + 0.5
                looking = [pool.submit(_look, running, case, id, begun + n / rate) for n, id in enumerate(containers)]
                for n, id in enumerate(containers):
                    time.sleep(max(0.0, begun + n / rate - time.monotonic()))
                    processes.kill(id)
                looked: Deaths = dict(one.result() for one in looking)
            until(lambda: processes.ended.keys() <= watcher.seen.keys(), 30, "All deaths are told of")
            until(lambda: set(containers.values()) <= bare.seen.keys(), 30, "The engine has told of all deaths")
    deaths = processes.ended
    direct = percentile(((bare.seen[native] - deaths[id]) * 1000 for id, native in containers.items()), 0.99)
    told, seen = _delays(deaths, watcher.seen), _delays({id: deaths[id] for id in looked}, looked)
    named = f"{RATE} changes a second, Docker, {case.named}"
    return [
        _finding(f"{named}: on the event stream", told, direct, "Docker's own events"),
        _finding(f"{named}: through GET", seen, direct, "Docker's own events"),
    ]


def _deployed(running: Subject, there: Engine, case: Case, count: int) -> Mapping[str, str]:
    """The ids of what was made, each with that of its container on the engine."""
    with running.client() as api:
        for number in range(count):
            body = {**SPEC, "name": f"one-{number}", **case.fields}
            api.post(f"/v1/{case.plural}", params={"wait": 60}, json=body).raise_for_status()
    return {found["Labels"][naming.ID]: found["Id"] for found in there.client().api.containers()}


def _delays(deaths: Deaths, seen: Deaths) -> list[float]:
    return [(seen[id] - at) * 1000 for id, at in deaths.items()]


def _finding(case: str, delays: Sequence[float], direct: float | None = None, named: str = "") -> Finding:
    p99 = percentile(delays, 0.99)
    pair = p99 / direct if direct else None
    note = f"p50 {percentile(delays, 0.5):.0f} ms"
    return Finding(NAME, f"p99 of {case}", p99, "ms", direct, named, pair, GOAL, note)


class Watcher:
    """Follows the events of all projects in a thread. `seen`: when an end of a container of an app was first told."""

    def __init__(self, running: Subject) -> None:
        self.seen: Deaths = {}
        self._running = running
        self._following = threading.Event()

    def __enter__(self) -> Watcher:
        threading.Thread(target=self._follow, daemon=True).start()
        if not self._following.wait(30):
            raise TimeoutError("no stream of events was opened")
        return self

    def __exit__(self, *_: object) -> None:
        """The thread ends with the gateway."""

    def _follow(self) -> None:
        headers = {"Accept": "text/event-stream"}
        with self._running.client() as api, api.stream("GET", "/v1/events", headers=headers) as answer:
            try:
                for line in answer.iter_lines():
                    self._following.set()
                    if line.startswith("data: "):
                        self._take(json.loads(line.removeprefix("data: ")))
            except httpx.HTTPError:
                return  # the gateway has ended

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] in TOLD:
            self.seen.setdefault(event["subject_id"], time.monotonic())


class EngineWatcher:
    """Follows Docker's own events. `seen`: when a container's death was told."""

    def __init__(self, there: Engine) -> None:
        self.seen: Deaths = {}
        self._api = docker.APIClient(base_url=there.endpoint, timeout=60)
        self._api.trust_env = False

    def __enter__(self) -> EngineWatcher:
        self._events = self._api.events(decode=True, filters={"event": "die"})
        threading.Thread(target=self._follow, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._api.close()

    def _follow(self) -> None:
        for event in self._events:
            self.seen.setdefault(event["id"], time.monotonic())
