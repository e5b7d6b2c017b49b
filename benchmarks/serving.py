"""The process that is measured: `zun-coe serve` with a simulated cluster, and somebody who pulls its strings.

It takes commands as JSON, one a line, on its standard input, and ends when that does."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import flask

from tests.simulated import CLUSTERS, KIND, SCHEME, Image, Outside, Pace, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.api import secrets
from zun_coe.app import App, Server, create_app
from zun_coe.auth import Principal
from zun_coe.cli.recording import record
from zun_coe.config import Settings
from zun_coe.gateway import Call
from zun_coe.gateway.views import Resource
from zun_coe.model import Template, Workload, WorkloadRef, template_hash
from zun_coe.process import Process
from zun_coe.store.records import new_id

NAME = "bench"
NEVER = "never:1"
"""An image from which nothing ever gets ready."""


class Controls:
    """What the benchmarks have the process do, by name."""

    def __init__(self, process: Process, app: App, cluster: SimulatedCluster) -> None:
        self._process, self._app, self._cluster, self._outside = process, app, cluster, Outside(cluster)

    def create(
        self, count: int, replicas: int = 1, projects: int = 1, prefix: str = "app", image: str = "web:1"
    ) -> list[str]:
        """Apps, as POST makes them; their ids. With more than one project they go to p0, p1 and so on in turn."""
        ids = []
        for n in range(count):
            call = Call(Principal(f"p{n % projects}" if projects > 1 else "default"), "")
            body = {"name": f"{prefix}-{n}", "cluster": NAME, "image": image, "replicas": replicas}
            answer = self._process.gateway.apps.create(call, body)
            ids.append(json.loads(answer.body or b"")["id"])
        return ids

    def phases(self) -> dict[str, int]:
        """How many apps there are in each phase."""
        views = self._process.gateway.views
        with views.lock:
            return dict(Counter(cast(Resource, a).status.phase for a in views.ordered("app", None)))

    def waiting(self) -> int:
        """How many requests wait for something to happen."""
        return self._app.waiting

    def die(self, rate: float, duration: float, ids: list[str]) -> list[tuple[str, float]]:
        """A container of each of these apps in turn ends, `rate` a second; which did, and when (on the
        machine's monotonic clock). A container ends at most once."""
        groups = {g.ref.id: g for g in self._cluster.groups()}
        started, deaths = time.monotonic(), []
        for n, id in enumerate(ids[: int(rate * duration)]):
            time.sleep(max(0.0, started + n / rate - time.monotonic()))
            container = next(iter(groups[id].containers.values()))
            deaths.append((id, time.monotonic()))
            self._outside.die(container.native_id)
        return deaths

    def simulate(self, count: int, replicas: int) -> float:
        """The memory, in MB, that the simulated cluster takes for so many apps by itself, without the gateway."""
        gc.collect()
        before, workloads = _memory(), []
        for _ in range(count):
            id = new_id()
            ref = WorkloadRef(installation="alone", cluster="alone", project="default", noun="app", id=id, name="app")
            template = Template(image="web:1")
            hash = template_hash(template)
            workloads.append(Workload(ref=ref, template=template, hash=hash, replicas=replicas))
        for workload in workloads:
            self._cluster.declare(workload)
            self._cluster.read(workload.ref)
        del workloads
        gc.collect()
        return _memory() - before

    def rest(self) -> None:
        """Wait until the engine has nothing to do, and give back memory that is not used."""
        assert self._process.engine is not None
        quiet = 0
        while quiet < 10:
            busy = any(runner.queue.depth for runner in self._process.engine.runners())
            quiet = 0 if busy else quiet + 1
            time.sleep(0.02)
        gc.collect()


def main(given: dict[str, Any]) -> None:
    """Serve until the standard input ends."""
    simulated = given.pop("simulated", False)
    known = {f.name for f in fields(Settings)}
    settings = Settings(**{k: v for k, v in given.items() if k in known})
    record(settings)
    logging.captureWarnings(True)
    cluster = SimulatedCluster(pace=Pace(restart=0.5))
    cluster.images[NEVER] = Image(ready=False)
    cast(dict[str, Any], adapters.kinds())[KIND], CLUSTERS[NAME] = SimulatedAdapter, cluster
    secrets.show = _nothing
    process = Process(settings)
    app = create_app(process.gateway, settings)
    server = Server(app, "127.0.0.1:0")
    process.start()
    server.start()
    if simulated:
        _register(process)
    _say({"url": server.url})
    controls = Controls(process, app, cluster)
    for line in sys.stdin:
        command = json.loads(line)
        _say({"result": getattr(controls, command.pop("do"))(**command)})
    server.stop()
    process.stop()


def _register(process: Process) -> None:
    body = {"name": NAME, "kind": KIND, "endpoint": f"{SCHEME}{NAME}", "public": True}
    answer = process.gateway.clusters.create(Call(Principal(), ""), body)
    assert answer.settle is not None
    while process.gateway.settled(answer.settle) is None:
        time.sleep(0.01)


def _nothing(secret: str) -> flask.Response:
    """An operation with all that the REST service puts around it and nothing in it."""
    return flask.Response(b"{}", 200, content_type="application/json")


def _memory() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
