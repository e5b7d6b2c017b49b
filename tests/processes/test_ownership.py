"""Clusters go where engines are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from tests.processes.fleet import LEASE, Fleet, Member, got, register, services, shares, until
from tests.real.engine import Engine
from zun_coe import __version__

RECORD = "seconds until a killed engine's clusters were served again"
SLEEPS = {"image": Engine.image, "command": ["sleep", "3600"], "pull": "never", "stop_timeout": 0}


def test_clusters_are_spread_over_the_engines_there_are(
    fleet: Fleet, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    api, one, two = fleet.start("api", "engine", "engine")
    for n in range(7):
        register(api, f"nowhere-{n}", f"unix://{tmp_path}/{n}.sock")
    until(lambda: sorted(shares(api).values()) == [3, 4], "two engines share evenly")

    (three,) = fleet.start("engine")
    until(lambda: sorted(shares(api).values()) == [2, 2, 3], "three engines share evenly")
    assert_told_of_all(api, fleet)

    one.stop()
    until(lambda: shares(api).keys() == {two.pid, three.pid}, "the one that ended is gone")
    until(lambda: sorted(shares(api).values()) == [3, 4], "those left share evenly")

    killed_at = time.monotonic()
    two.kill()
    until(lambda: shares(api) == {three.pid: 7}, "the last one has all")
    record_property(RECORD, round(time.monotonic() - killed_at, 2))


def assert_told_of_all(api: Member, fleet: Fleet) -> None:
    """Every process tells that it is there, since when and what it does; and again and again."""
    first = services(api)
    assert {pid: one["role"] for pid, one in first.items()} == {m.pid: m.role for m in fleet.members}
    assert {one["version"] for one in first.values()} == {__version__}
    assert first[api.pid]["clusters"] == []
    owned = [cluster for one in first.values() for cluster in one["clusters"]]
    assert sorted(owned) == sorted(c["id"] for c in got(api, "/v1/clusters")["clusters"])
    until(
        lambda: all(one["heartbeat_at"] > first[pid]["heartbeat_at"] for pid, one in services(api).items()),
        "every heart goes on beating",
    )
    assert {pid: one["started_at"] for pid, one in services(api).items()} == {
        pid: one["started_at"] for pid, one in first.items()
    }


@pytest.fixture
def proxy(short_path: Path, docker_engine: Engine) -> Iterator[Proxy]:
    proxy = Proxy(short_path, docker_engine.endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def cluster(fleet: Fleet, proxy: Proxy, docker_engine: Engine) -> Iterator[tuple[Member, str]]:
    """A process to ask, and the id of a cluster with an app of one replica that runs."""
    api, _ = fleet.start("api", "engine")
    id = register(api, "here", proxy.endpoint)
    until(lambda: got(api, "/v1/clusters/here")["status"]["phase"] == "Ready", "the cluster is ready")
    body = {"name": "web", "cluster": "here", "replicas": 1, **SLEEPS}
    answer = api.http.post("/v1/apps", json=body, params={"wait": 30}, timeout=60)
    assert answer.status_code == 200, answer.text
    yield api, id
    fleet.close()
    for native in made(docker_engine, id):
        docker_engine.client().api.remove_container(native, force=True)


def made(engine: Engine, cluster: str) -> set[str]:
    """The containers of a cluster, asked of its engine."""
    return {one["Id"] for one in engine.client().api.containers(all=True) if cluster in (one["Labels"] or {}).values()}


def scale(api: Member, replicas: int) -> None:
    answer = api.http.patch("/v1/apps/web", json={"replicas": replicas})
    assert answer.status_code == 202, answer.text


def runs(api: Member, replicas: int) -> Any:
    status = got(api, "/v1/apps/web")["status"]
    return status if status["phase"] == "Running" and status["replicas"]["ready"] == replicas else None


def test_a_killed_engine_is_followed(
    fleet: Fleet,
    cluster: tuple[Member, str],
    docker_engine: Engine,
    record_property: pytest.RecordProperty,
) -> None:
    api, id = cluster
    (second,) = fleet.start("engine")
    first = fleet.members[1]
    before = made(docker_engine, id)
    scale(api, 2)
    killed_at = time.monotonic()
    first.kill()
    until(lambda: services(api).get(second.pid, {"clusters": []})["clusters"] == [id], "the other one has it")
    record_property(RECORD, round(time.monotonic() - killed_at, 2))
    until(lambda: runs(api, 2), "what was asked for is done")
    assert len(made(docker_engine, id)) == 2
    assert before < made(docker_engine, id)


def test_a_frozen_engine_changes_nothing_when_it_goes_on(
    fleet: Fleet, cluster: tuple[Member, str], proxy: Proxy, docker_engine: Engine
) -> None:
    """It is frozen in the middle of a step, longer than its lease, and goes on when the step was done by
    another: the one call that it had sent arrives late, and it makes no further one."""
    api, id = cluster
    frozen = fleet.members[1]
    (second,) = fleet.start("engine")
    held = proxy.fail("late", on="POST .*/containers/create", times=1)
    scale(api, 2)
    until(lambda: held.met, "it is about to create")
    frozen.freeze()
    until(lambda: services(api).get(second.pid, {"clusters": []})["clusters"] == [id], "the other one has it")
    until(lambda: runs(api, 2), "what was asked for is done")
    done = made(docker_engine, id)

    asked = len(proxy.asked)
    proxy.heal()
    frozen.thaw()
    until(lambda: frozen.told("lease lost"), "it knows that it has lost the cluster")
    until(lambda: services(api).keys() == {m.pid for m in fleet.members}, "it takes part again")
    changes = [line for pid, line in proxy.asked[asked:] if pid == frozen.pid and not line.startswith("GET ")]
    assert changes == []
    assert made(docker_engine, id) == done
    assert runs(api, 2)
    scale(api, 1)
    until(lambda: runs(api, 1), "the other one goes on")


def test_a_frozen_engine_is_followed_within_its_lease(fleet: Fleet, tmp_path: Path) -> None:
    """It has neither the time to say so nor to notice; the store counts for itself."""
    api, one, two = fleet.start("api", "engine", "engine")
    for n in range(2):
        register(api, f"nowhere-{n}", f"unix://{tmp_path}/{n}.sock")
    until(lambda: sorted(shares(api).values()) == [1, 1], "they share evenly")
    one.freeze()
    until(lambda: shares(api) == {two.pid: 2}, f"the other one has all, {LEASE} s after")
    one.thaw()
    until(lambda: sorted(shares(api).values()) == [1, 1], "they share evenly again")
    until(lambda: one.told("lease lost"), "it says what happened")


def test_local_sockets_are_for_the_engines_of_their_machine(fleet: Fleet, docker_engine: Engine) -> None:
    """Engines elsewhere have the same path, and something else may listen there: here it is even the same."""
    api, first = fleet.start("api", "engine", machine="one")
    (second,) = fleet.start("engine", machine="two")
    until(lambda: {m["host"] for m in services(api).values()} == {"one", "two"}, "both have told of themselves")
    id = register(api, "here", docker_engine.endpoint)
    assert got(api, "/v1/clusters/here")["machine"] == "one"
    until(lambda: got(api, "/v1/clusters/here")["status"]["phase"] == "Ready", "it is reached")
    register(api, "there", "tcp://127.0.0.1:1")
    until(lambda: shares(api) == {first.pid: 1, second.pid: 1}, "what anybody can reach goes to the other one")
    assert services(api)[first.pid]["clusters"] == [id]

    first.stop()
    until(lambda: shares(api) == {second.pid: 2}, "the other one has it, to tell that it can't be reached")
    away = until(lambda: unreachable(api), "its status says so")
    assert "machine one" in away["message"]
    first.start()
    until(lambda: got(api, "/v1/clusters/here")["status"]["phase"] == "Ready", "it is reached again")

    first.stop()
    until(lambda: unreachable(api), "it is away again")
    answer = api.http.patch("/v1/clusters/here", json={"machine": "two"})
    assert answer.status_code == 202, answer.text
    until(lambda: got(api, "/v1/clusters/here")["status"]["phase"] == "Ready", "the machine has another name now")
    until(lambda: id in services(api)[second.pid]["clusters"], "the other one has it")


def unreachable(api: Member) -> Any:
    status = got(api, "/v1/clusters/here")["status"]
    return status if status["phase"] == "Unreachable" else None
