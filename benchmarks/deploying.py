"""From a request until all replicas run, on a real Docker engine, next to docker-py doing the same."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import closing
from time import perf_counter

import httpx

from benchmarks.docker_engine import SPEC, Direct, engine, gateway_on
from benchmarks.harness import Finding, Goal, Scale, beside, in_turns

NAME = "starts"
_numbers = itertools.count(1)


def run(scale: Scale) -> Sequence[Finding]:
    """For 1, 10 and 50 replicas. One app stays throughout, so that the project's network does."""
    with engine() as there, gateway_on(there) as running, running.client() as api:
        _deploy(api, "keeper", 1)
        model = api.get("/v1/apps/keeper/containers").json()["containers"][0]["status"]["native_id"]
        with closing(Direct(there, model)) as direct:
            sizes = scale.pick([(1, 7), (10, 5), (50, 3)], [(1, 1), (3, 1)])
            return [_compared(api, direct, replicas, rounds) for replicas, rounds in sizes]


def _compared(api: httpx.Client, direct: Direct, replicas: int, rounds: int) -> Finding:
    found = in_turns(rounds, {"gateway": lambda: _through(api, replicas), "direct": lambda: _past(direct, replicas)})
    goal = Goal(1.15, "at most", "ratio") if replicas >= 10 else None
    case = f"request to {replicas} replicas running"
    return beside(NAME, case, "s", found["gateway"], found["direct"], "docker-py", goal)


def _through(api: httpx.Client, replicas: int) -> float:
    name = f"app-{next(_numbers)}"
    started = perf_counter()
    _deploy(api, name, replicas)
    took = perf_counter() - started
    api.delete(f"/v1/apps/{name}", params={"wait": 120}).raise_for_status()
    return took


def _past(direct: Direct, replicas: int) -> float:
    started = perf_counter()
    ids = direct.start(replicas)
    took = perf_counter() - started
    direct.remove(ids)
    return took


def _deploy(api: httpx.Client, name: str, replicas: int) -> None:
    answer = api.post("/v1/apps", params={"wait": 120}, json=SPEC | {"name": name, "replicas": replicas})
    phase = answer.json().get("status", {}).get("phase")
    if answer.status_code != httpx.codes.OK or phase != "Running":
        raise RuntimeError(f"{name}: {answer.status_code} {answer.text[:500]}")
