"""The engine with nothing to do: how quickly it sees that, and how soon it knows everything after a start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import httpx

from benchmarks.harness import Finding, Goal, Scale, beside, in_turns, rate, until
from benchmarks.subject import folder
from tests.real.isolation import dying_with_us
from tests.real.needs import free_port
from tests.simulated import CLUSTERS, KIND, SCHEME, Outside, Pace, SimulatedAdapter, SimulatedCluster
from tests.simulated.group import Group
from zun_coe import adapters
from zun_coe.adapters import Adapter, Connection, open_adapter
from zun_coe.app import Server, create_app
from zun_coe.auth import Principal
from zun_coe.config import Settings
from zun_coe.engine.acting import Key, Ledger, Tools
from zun_coe.engine.reconciler import Reconciler
from zun_coe.engine.tenure import Tenure
from zun_coe.engine.watcher import ClusterRunner
from zun_coe.gateway import Call, Settle
from zun_coe.gateway.views import Resource
from zun_coe.model import Cluster, Intent, assemble
from zun_coe.process import Process
from zun_coe.store.cache import Entry

NAME = "engine"
ENDPOINT = f"{SCHEME}{NAME}"


def run(scale: Scale) -> Sequence[Finding]:
    """Reconciles that change nothing, then a start with much to look at."""
    with folder() as place, _cluster() as cluster:
        settings = Settings(store=f"sqlite:///{place}/state.db")
        apps, replicas = scale.pick(1000, 20), 10
        with _process(settings) as process:
            _fill(process, apps, replicas)
            steps = _idle_steps(scale, process)
        starts = [_start(settings, cluster) for _ in range(scale.pick(3, 1))]
    bare = [_empty_start() for _ in range(scale.pick(3, 1))]
    whole = [a + b for a, b in zip(starts, bare, strict=True)]
    case = f"a start with {apps:,} apps and {apps * replicas:,} containers until all is watched"
    return [*steps, beside(NAME, case, "s", whole, bare, "a start with nothing", Goal(5, "at most"))]


def _idle_steps(scale: Scale, process: Process) -> Sequence[Finding]:
    """What one thread can do, next to what it can ask of the adapter."""
    adapter = _adapter(process)
    reconciler = _reconciler(process, adapter)
    intents = [cast(Intent, e.value) for e in process.cache.list("intent/app/")]
    keys = cycle([Key("app", i.project, i.id) for i in intents])
    workloads = cycle([assemble(adapter.connection.installation, i) for i in intents])

    def direct() -> None:
        workload = next(workloads)
        adapter.apply(workload, adapter.observe(workload.ref)[0])

    lasting = scale.pick(3.0, 0.2)
    found = in_turns(
        scale.pick(5, 1),
        {
            "reconcile": lambda: rate(lambda: reconciler.reconcile(next(keys)), lasting),
            "direct": lambda: rate(direct, lasting),
        },
    )
    adapter.close()
    case = "reconciles of an app of 10 that change nothing, one worker"
    return [beside(NAME, case, "/s", found["reconcile"], found["direct"], "observe and apply alone")]


def _start(settings: Settings, cluster: SimulatedCluster) -> float:
    """From nothing in memory until a change of while it was away is seen in what it looks at last, nothing
    is left to look at, and a change of now is heard of."""
    outside = Outside(cluster)
    last = max(cluster.groups(), key=lambda group: group.ref.id)
    first = min(cluster.groups(), key=lambda group: group.ref.id)
    missed = _die(outside, last)
    started = time.monotonic()
    with _process(settings) as process:
        until(lambda: _seen(process, *missed), 60, "What happened meanwhile is seen", pause=0.005)
        until(lambda: not any(r.queue.depth for r in _runners(process)), 60, "Nothing is due", pause=0.005)
        fresh = _die(outside, first)
        until(lambda: _seen(process, *fresh), 60, "What happens is heard of", pause=0.005)
        return time.monotonic() - started


def _die(outside: Outside, group: Group) -> tuple[str, str, int]:
    """A container of it ends: the app, the container, and how often that was restarted before."""
    container = next(iter(group.containers.values()))
    before = container.restarts
    outside.die(container.native_id)
    return group.ref.id, container.native_id, before


def _seen(process: Process, app: str, container: str, restarts: int) -> bool:
    found = process.gateway.views.get("app", app)
    instances = found.status.instances if found else ()
    return any(i.native_id == container and (i.restarts > restarts or i.state != "running") for i in instances)


def _empty_start() -> float:
    """A gateway as it is started by hand, with nothing to look at, until it says that it is ready."""
    with folder() as place:
        listen = f"127.0.0.1:{free_port()}"
        command = [str(Path(sys.executable).with_name("zun-coe")), "serve", "--listen", listen]
        command += ["--store", f"sqlite:///{place}/state.db"]
        started = time.monotonic()
        with (place / "gateway.log").open("ab") as log:
            running = subprocess.Popen(dying_with_us(command), stdout=log, stderr=log)
        try:
            until(lambda: _ready(f"http://{listen}"), 60, "It is ready")
            return time.monotonic() - started
        finally:
            running.terminate()
            running.wait()


def _ready(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    return False


@contextmanager
def _cluster() -> Iterator[SimulatedCluster]:
    """A cluster that outlives the gateway's starts."""
    cluster = SimulatedCluster(pace=Pace(restart=0.2))
    cast(dict[str, Any], adapters.kinds())[KIND], CLUSTERS[NAME] = SimulatedAdapter, cluster
    try:
        yield cluster
    finally:
        del CLUSTERS[NAME]


@contextmanager
def _process(settings: Settings) -> Iterator[Process]:
    """A gateway in this process, serving."""
    process = Process(settings)
    server = Server(create_app(process.gateway, settings), "127.0.0.1:0")
    process.start()
    server.start()
    try:
        yield process
    finally:
        server.stop()
        process.stop()


def _fill(process: Process, apps: int, replicas: int) -> None:
    """A cluster with apps on it, all of them running."""
    call, gateway = Call(Principal(), ""), process.gateway
    settle = gateway.clusters.create(call, {"name": NAME, "kind": KIND, "endpoint": ENDPOINT}).settle
    until(lambda: gateway.settled(cast(Settle, settle)), 60, "The cluster is ready")
    for n in range(apps):
        gateway.apps.create(call, {"name": f"app-{n}", "image": "web:1", "replicas": replicas})
    with gateway.views.lock:
        pending = [cast(Resource, app).id for app in gateway.views.ordered("app", None)]
    until(lambda: all(_phase(process, id) == "Running" for id in pending), 300, "All apps run", pause=0.2)


def _phase(process: Process, id: str) -> str | None:
    found = process.gateway.views.get("app", id)
    return found.status.phase if found else None


def _runners(process: Process) -> Sequence[ClusterRunner]:
    return process.engine.runners() if process.engine else ()


def _reconciler(process: Process, adapter: Adapter) -> Reconciler:
    """One beside those of the engine, with the same parts."""
    assert process.engine is not None
    installation = adapter.connection.installation
    tools = Tools(process.store, process.cache, process.settings, process.vault, process.engine.ownership, installation)
    cluster = adapter.connection.cluster
    return Reconciler(tools, Ledger(tools, cluster), adapter, Tenure(process.engine.ownership, cluster))


def _adapter(process: Process) -> Adapter:
    (entry,) = process.cache.list("intent/cluster/")
    installation = cast(Entry, process.cache.get("meta/installation")).value
    whose, key = str(installation), process.vault.label_key
    return open_adapter(Connection.to(cast(Cluster, entry.value), whose, {}, process.settings, label_key=key))
