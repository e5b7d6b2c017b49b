"""How soon the death of a container is seen: by somebody who follows the events, and by somebody who looks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
import httpx

from benchmarks.docker_engine import SPEC, engine, gateway_on
from benchmarks.harness import Finding, Goal, Scale, percentile, until
from benchmarks.subject import Subject, fill, subject
from tests.real.engine import Engine

NAME = "news"
GOAL = Goal(250, "at most")
TOLD = frozenset({"InstanceExited", "InstanceRestarted", "InstanceRemoved"})
Deaths = dict[str, float]
"""What died when, or was seen when: seconds of the machine's monotonic clock, by id."""


def run(scale: Scale) -> Sequence[Finding]:
    """On the simulated cluster with many changes a second, on Docker with a few."""
    return [*_simulated(scale), *_docker(scale)]


def _simulated(scale: Scale) -> Sequence[Finding]:
    rate, duration = scale.pick((50, 20.0), (20, 2.0))  # each starts again at once: twice as many changes
    with subject(simulated=True) as running, Watcher(running) as watcher:
        ids = fill(running, int(rate * duration))
        begun = time.monotonic()
        running.begin("die", rate=rate, duration=duration, ids=ids)
        with ThreadPoolExecutor(2) as pool:
            samples = list(enumerate(ids))[:: max(1, rate // 10)]
            looking = pool.map(lambda sample: _look(running, sample[1], begun + sample[0] / rate), samples)
            looked: Deaths = dict(looking)
        deaths = dict(running.end())
        until(lambda: deaths.keys() <= watcher.seen.keys(), 30, "All deaths are told of")
        told = _delays(deaths, watcher.seen)
        seen = _delays({id: deaths[id] for id in looked}, looked)
    case = f"{2 * rate} changes a second (deaths and restarts), simulated cluster"
    return [_finding(f"{case}: on the event stream", told), _finding(f"{case}: through GET", seen)]


def _look(running: Subject, app: str, at: float) -> tuple[str, float]:
    """When a look at the containers of an app first shows that one has ended."""
    with running.client() as api:
        time.sleep(max(0.0, at - time.monotonic()))
        until(lambda: is_dead(api, app), 30, "The death is seen", pause=0.005)
        return app, time.monotonic()


def is_dead(api: httpx.Client, app: str) -> bool:
    """Whether the containers of an app that has one show that it has ended."""
    shown = api.get(f"/v1/apps/{app}/containers").json()["containers"]
    return not shown or any(c["status"]["phase"] != "Running" or c["status"]["restarts"] for c in shown)


def _docker(scale: Scale) -> Sequence[Finding]:
    """Each container is an app of its own; it is killed from outside, at most five a second."""
    count = scale.pick(60, 3)
    with engine() as there, gateway_on(there) as running, Watcher(running) as watcher:
        containers = dict(_deployed(running, n) for n in range(count))
        with EngineWatcher(there) as bare, running.client() as api:
            deaths: Deaths = {}
            looked: Deaths = {}
            for n, (app, container) in enumerate(containers.items()):
                due = time.monotonic() + 0.2
                deaths[app] = time.monotonic()
                there.client().api.kill(container)
                if n % 2:
                    until(lambda app=app: is_dead(api, app) or app in watcher.seen, 30, "It is seen", pause=0.005)  # type: ignore[misc]  # the default binds it
                    looked[app] = time.monotonic()
                time.sleep(max(0.0, due - time.monotonic()))
            until(lambda: deaths.keys() <= watcher.seen.keys(), 30, "All deaths are told of")
            direct = percentile((bare.seen[c] - deaths[a] for a, c in containers.items()), 0.99)
        told, seen = _delays(deaths, watcher.seen), _delays({a: deaths[a] for a in looked}, looked)
    case, bare_told = "5 deaths a second, Docker", "Docker's own events"
    return [
        _finding(f"{case}: on the event stream", told, direct * 1000, bare_told),
        _finding(f"{case}: through GET", seen, direct * 1000, bare_told),
    ]


def _deployed(running: Subject, number: int) -> tuple[str, str]:
    with running.client() as api:
        answer = api.post("/v1/apps", params={"wait": 60}, json=SPEC | {"name": f"app-{number}"})
        answer.raise_for_status()
        app = answer.json()["id"]
        (container,) = api.get(f"/v1/apps/{app}/containers").json()["containers"]
        return app, container["status"]["native_id"]


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
