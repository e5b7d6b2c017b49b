"""A gateway whose cluster is a real Kubernetes behind a way that fails."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.away import assert_as_it_was, assert_away, assert_back, events_of_cluster, events_told
from tests.contract.world import CLUSTER, World, call
from tests.faults.api_server import cutting, failing, garbling, hanging, sending
from zun_coe.adapters.kubernetes import naming

if TYPE_CHECKING:
    from tests.faults.api_proxy import ApiProxy
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node

TIMEOUT = 3.0
PATIENCE = 90.0
WAYS: dict[str, Callable[[ApiProxy], Any]] = {
    "busy": lambda proxy: failing(429, Retry_After="1", Connection="close"),
    "broken": lambda proxy: failing(500, Connection="close"),
    "hanging": lambda proxy: hanging,
    "cut": lambda proxy: cutting,
    "garbled": lambda proxy: garbling,
    "truncated": lambda proxy: proxy.halving,
    "somebody else": lambda proxy: sending(b"<html>It works!</html>", Connection="close"),
}
SLEEPS = {"cluster": CLUSTER, "command": ["sleep", "3600"], "pull": "never", "stop_timeout": 1}
# What tells who a cluster is, and the hints of what changed: who else would ask a cluster that is away?
PROBES = re.compile(r"GET (/version|/apis?)$")
WATCHES = re.compile(r"GET /(api/v1|apis/apps/v1)/(pods|services|persistentvolumeclaims|events|deployments)$")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, api_proxy: ApiProxy, kubernetes_node: Node) -> Iterator[World]:
    """A gateway with an app and a container that run."""
    folder = tmp_path_factory.mktemp("faults")
    world = World(folder, api_proxy.body(), PATIENCE, backend_timeout=TIMEOUT, resync=0.5)
    world.register()
    world.create("app", {"name": "web", "replicas": 1, "image": kubernetes_node.image, **SLEEPS})
    world.create("container", {"name": "job", "image": kubernetes_node.image, **SLEEPS})
    world.settled("app", "web", "Running")
    world.settled("container", "job", "Running")
    yield world
    healed(world, api_proxy)
    world.close()


def broken(world: World, proxy: ApiProxy, way: str) -> None:
    """Break it, with all that is open, and wait until that is seen."""
    proxy.on("", WAYS[way](proxy))
    proxy.cut()
    world.away()


def healed(world: World, proxy: ApiProxy) -> None:
    """Heal it, and wait until that is seen."""
    proxy.heal()
    world.back()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_shown_and_done(world: World, api_proxy: ApiProxy, way: str) -> None:
    world.settled("app", "web", "Running")
    told = events_told(world)
    broken_at = datetime.now(UTC)
    broken(world, api_proxy, way)
    as_of = assert_away(world, broken_at, TIMEOUT)["as_of"]
    wanted = 3 - world.show("app", "web")["replicas"]  # from 1 to 2 and back
    world.patch("app", "web", {"replicas": wanted})
    asked = len(api_proxy.asked)
    world.until(lambda: len(api_proxy.asked) > asked + 2, "it is not asked again")
    assert_as_it_was(world, as_of)
    api_proxy.heal()
    assert_back(world, as_of)
    app = world.settled("app", "web", "Running")
    assert app["status"]["replicas"]["ready"] == wanted
    assert events_of_cluster(world, told) == ["ClusterUnreachable", "ClusterReady"]


def test_an_api_server_that_is_away_is_not_asked_by_everybody(world: World, api_proxy: ApiProxy) -> None:
    """Workers leave it to one thread to find out that it is back, at growing intervals; and the watches slow down."""
    broken(world, api_proxy, "broken")
    for n in range(3):
        world.create("app", {"name": f"idle-{n}", "image": "none:1", **SLEEPS, "replicas": 0})
    since = len(api_proxy.asked)

    def lines() -> list[str]:
        return [f"{a.method} {a.path}" for a in api_proxy.asked[since:]]

    def probes() -> int:
        return sum(bool(PROBES.match(line)) for line in lines())

    world.until(lambda: probes() > 5, "it is not asked again")
    asked = lines()
    assert [line for line in asked if not PROBES.match(line) and not WATCHES.match(line)] == []
    # Each of five watches is tried less often than the one who finds out.
    assert len(asked) <= 6 * probes() + 10
    healed(world, api_proxy)
    for n in range(3):
        world.settled("app", f"idle-{n}", "Stopped")
        world.deleted("app", f"idle-{n}")


@pytest.mark.parametrize("code", [410, 429, 500])
def test_watches_that_fail_cost_hints_alone(world: World, api_proxy: ApiProxy, code: int) -> None:
    told = events_told(world)
    api_proxy.on("watch=1", failing(code, Connection="close"))
    api_proxy.cut("watch=1")
    wanted = 3 - world.show("app", "web")["replicas"]
    world.patch("app", "web", {"replicas": wanted})
    world.until(lambda: world.show("app", "web")["status"]["replicas"]["ready"] == wanted, "nobody looks")
    world.settled("app", "web", "Running")
    assert world.cluster()["status"]["reachable"]
    api_proxy.heal()
    world.until(lambda: all_watched(api_proxy), "not all is watched again")
    assert events_of_cluster(world, told) == []


def all_watched(proxy: ApiProxy) -> bool:
    return len({line.partition("?")[0] for line in proxy.passed("watch=1")}) == 5


def test_answers_that_are_lost_double_nothing(world: World, api_proxy: ApiProxy, kubernetes: ControlPlane) -> None:
    """What was asked for is done, and the answer never arrives; for each kind of object once."""
    from kubernetes import client

    for kind in ("deployments", "services", "secrets"):
        api_proxy.on(rf"PATCH .*/{kind}/", api_proxy.deaf, times=1)
    api_proxy.on(r"POST .*/namespaces\?", api_proxy.deaf, times=1)
    world.process.gateway.secrets.create(call("lost"), {"name": "db", "data": {"password": "hunter2"}})
    more = {"env_secrets": {"P": "db/password"}, "ports": [{"port": 80}], "image": "none:1"}
    world.create("app", {"name": "once", **SLEEPS, **more}, "lost")
    namespace = naming.namespace(world.installation, "lost")
    apps, core = client.AppsV1Api(kubernetes.client()), client.CoreV1Api(kubernetes.client())
    world.until(lambda: core.list_namespaced_service(namespace).items, "its service is not made")
    world.until(lambda: world.show("app", "once", "lost")["status"]["replicas"]["current"] == 1, "it has no pod")
    (deployment,) = apps.list_namespaced_deployment(namespace).items
    assert deployment.metadata.generation == 1
    assert len(core.list_namespaced_service(namespace).items) == 1
    assert len(core.list_namespaced_pod(namespace).items) == 1
    assert world.events("DriftCorrected") == []
    world.deleted("app", "once", "lost")
    healed(world, api_proxy)


def test_a_token_that_has_expired_is_replaced(
    tmp_path: Path, api_proxy: ApiProxy, kubernetes: ControlPlane, kubernetes_node: Node
) -> None:
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    old, new = (kubernetes.token_for(f"{age}-{os.getpid()}", everything) for age in ("old", "new"))
    world = World(tmp_path / "expiring", api_proxy.body(old), PATIENCE, backend_timeout=TIMEOUT, resync=0.5)
    try:
        world.register()
        world.create("app", {"name": "web", "replicas": 1, "image": kubernetes_node.image, **SLEEPS})
        world.settled("app", "web", "Running")
        api_proxy.on("", api_proxy.unless(f"Bearer {old}"))
        api_proxy.cut()
        status = world.away()
        assert status["reason"] == "PermissionDenied"
        assert "expired" in status["message"]
        shown = world.show("app", "web")["status"]
        assert (shown["phase"], shown["reachable"]) == ("Running", False)
        credentials = api_proxy.body(new)["credentials"]
        world.process.gateway.clusters.patch(call(), CLUSTER, {"credentials": credentials})
        world.back()
        world.patch("app", "web", {"replicas": 2})
        world.settled("app", "web", "Running")
        told = [e for e in world.events("ClusterUnreachable") if e["reason"] == "PermissionDenied"]
        assert len(told) == 1
    finally:
        api_proxy.heal()
        world.close()


def test_rounds_of_trouble_leak_nothing(world: World, api_proxy: ApiProxy) -> None:
    ways = ("cut", "broken", "truncated", "garbled")

    def round_of(way: str) -> None:
        broken(world, api_proxy, way)
        healed(world, api_proxy)

    for way in (*ways, "hanging"):
        round_of(way)
    world.until(lambda: all_watched(api_proxy), "not all is watched again")
    threads, descriptors = counted(api_proxy)
    for way in (*ways, *ways, "hanging"):
        round_of(way)
    # One that is lost in each round would be nine; the connections that are kept for the next call vary.
    room = 4
    world.until(lambda: counted(api_proxy)[0] <= threads + room, "threads are left behind")
    world.until(lambda: counted(api_proxy)[1] <= descriptors + room, "descriptors are left behind")


def counted(proxy: ApiProxy) -> tuple[int, int]:
    """The gateway's threads and descriptors: those of this process but for the proxy's, which has two connections
    for each request that it passes on."""
    threads = sum("process_request" not in thread.name for thread in threading.enumerate())
    return threads, len(os.listdir("/proc/self/fd")) - 2 * len(proxy.passed())
