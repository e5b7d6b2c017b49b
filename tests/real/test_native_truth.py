"""What is shown of what runs on a real engine is true now: over restarts of the gateway, and of networks that were
taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import CLUSTER, World, call, shown
from tests.real.components import Engine, wait_until
from zun_coe.gateway import Settle
from zun_coe.native.docker.runtime import DockerRuntime

SERVER = {"command": ["httpd", "-f", "-p", "80", "-h", "/"], "stop_signal": "SIGKILL", "stop_timeout": 0}
PROBE = {"health": {"http": {"port": 80, "path": "/bin/sh"}, "interval": 2}}
CHECKED = SERVER | PROBE | {"image": Engine.image, "cluster": CLUSTER}
SIDECAR = {"name": "side", "image": Engine.image, "command": ["httpd", "-f", "-p", "81", "-h", "/"]}
BAD = ("Failed", "Degraded", "NotReady", "Restarting", "Removed")


@pytest.fixture
def world(tmp_path: Path, docker_engine: Engine) -> Iterator[World]:
    host = {"name": "a", "runtime": "docker", "endpoint": docker_engine.endpoint, "address": "127.0.0.1"}
    world = World(tmp_path, {"kind": "native", "hosts": [host]}, 60.0, resync=0.5)
    world.register()
    yield world
    world.close()


def checked(world: World) -> None:
    """An app with a sidecar, and a container, all probed by the gateway, that are healthy."""
    side = SIDECAR | {"health": {"tcp": {"port": 81}, "interval": 2}}
    world.create("app", CHECKED | {"name": "web", "replicas": 2, "sidecars": [side]})
    world.create("container", CHECKED | {"name": "one"})
    world.settled("app", "web", "Running")
    world.until(lambda: world.show("container", "one")["status"]["phase"] == "Running", "it does not run")
    world.until(lambda: [e for e in world.events("InstanceReady") if e["subject_name"] == "one"], "it is not ready")


def assert_nothing_bad_since(world: World, count: int) -> None:
    """After what was noted has been looked at again, nothing bad was told, and all is well."""
    new = [e["type"] for e in world.events()[count:]]
    assert [type for type in new if type.endswith(BAD)] == []
    status = world.show("app", "web")["status"]
    assert (status["phase"], status["replicas"]["ready"]) == ("Running", 2)
    assert world.show("container", "one")["status"]["phase"] == "Running"


def looked(world: World, name: str = "later") -> None:
    """Wait until the gateway works on the cluster again, which looks at everything first."""
    world.create("app", {"name": name, "cluster": CLUSTER, "image": Engine.image} | SERVER)
    world.settled("app", name, "Running")


def test_a_restart_of_the_gateway_changes_no_verdict(world: World) -> None:
    checked(world)
    count = len(world.events())
    world.restart()
    looked(world)
    assert_nothing_bad_since(world, count)


def test_neither_does_a_change_of_hosts(world: World, docker_engine: Engine) -> None:
    checked(world)
    count = len(world.events())
    host = {"name": "a", "endpoint": docker_engine.endpoint, "address": "127.0.0.1", "labels": {"disk": "ssd"}}
    world.process.gateway.clusters.patch(call(), CLUSTER, {"hosts": [host]})
    world.until(lambda: world.cluster()["status"]["nodes"][0]["labels"], "the host has no labels")
    looked(world)
    assert_nothing_bad_since(world, count)


def test_what_is_unhealthy_stays_so_over_a_restart_and_what_turned_ill_meanwhile_is_noticed(
    world: World, docker_engine: Engine
) -> None:
    health = {"health": {"http": {"port": 80, "path": "/well"}, "interval": 0.5, "retries": 2}}
    world.create("container", CHECKED | health | {"name": "ill"})
    world.create("container", CHECKED | health | {"name": "well"})
    container(docker_engine, "well").exec_run(["touch", "/well"])
    world.until(lambda: reason(world, "ill") == "HealthCheckFailing", "it is not told to be ill")
    world.until(lambda: reason(world, "well") is None, "it is told to be ill")
    count = len(world.events())
    world.process.stop()
    container(docker_engine, "well").exec_run(["rm", "/well"])
    world.restart()
    world.until(lambda: reason(world, "well") == "HealthCheckFailing", "nobody notices")
    new = [e for e in world.events()[count:] if e["subject_name"] == "ill"]
    assert new == [], "it was ill before"
    assert reason(world, "ill") == "HealthCheckFailing"


def test_what_was_started_again_meanwhile_has_to_prove_itself(world: World, docker_engine: Engine) -> None:
    health = {"health": {"http": {"port": 80, "path": "/well"}, "interval": 60}}
    world.create("container", CHECKED | health | {"name": "one"})
    container(docker_engine, "one").exec_run(["touch", "/well"])
    world.until(lambda: world.events("InstanceReady"), "it is not ready")
    world.process.stop()
    container(docker_engine, "one").exec_run(["rm", "/well"])
    container(docker_engine, "one").restart(timeout=0)
    count = len(world.events())
    world.restart()
    world.until(
        lambda: [e for e in world.events("InstanceNotReady")[-1:] if e in world.events()[count:]], "not noticed"
    )


def test_who_only_reads_logs_probes_nothing_and_finds_what_was_made_anew(world: World, docker_engine: Engine) -> None:
    checked(world)
    backends = world.process.gateway.backends
    world.logs("app", "web", "side")
    cluster = world.show("app", "web")["cluster_id"]
    adapter: Any = backends.adapter(cluster)
    assert adapter._prober._thread is None
    for found in docker_engine.client().containers.list(filters={"label": "zun.role=sidecar:side"}):
        found.remove(force=True)
    roles = {"label": ["zun.role=sidecar:side", "zun.name=web"]}
    world.until(lambda: len(docker_engine.client().containers.list(filters=roles)) == 2, "it is not made anew")
    assert world.logs("app", "web", "side") == []


PUBLISHED = {"ports": [{"port": 80, "publish": "auto"}], "networks": ["back"]}


@pytest.mark.parametrize("noun", ["app", "container"])
@pytest.mark.parametrize("network", ["main", "back"])
def test_what_was_taken_off_its_network_is_told_and_put_back(
    world: World, docker_engine: Engine, noun: Any, network: str
) -> None:
    world.create(noun, CHECKED | PUBLISHED | {"name": "web"})
    world.settled(noun, "web", "Running")
    found = container(docker_engine, "web")
    networks = found.attrs["NetworkSettings"]["Networks"]
    lost = [name for name in networks if name.endswith(".back") == (network == "back")]
    assert len(lost) == 1
    docker_engine.client().networks.get(lost[0]).disconnect(found, force=True)

    def connected() -> Any:
        now = container(docker_engine, "web").attrs
        told = now["NetworkSettings"]["Networks"]
        return lost[0] in told and "web" in told[lost[0]]["Aliases"] and now["NetworkSettings"]["Ports"]["80/tcp"]

    (binding, *_) = world.until(connected, "it is not on its network again")
    assert container(docker_engine, "web").id == found.id, "it is the same one"

    def well() -> bool:
        status = world.settled(noun, "web", "Running")["status"]
        return (status["endpoints"][0]["port"], status.get("reason")) == (int(binding["HostPort"]), None)

    world.until(well, "its status tells of another port, or of a trouble that is over")


def test_it_is_not_ready_meanwhile(world: World, docker_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    side = SIDECAR | {"health": {"tcp": {"port": 81}, "interval": 2}}
    world.create("app", CHECKED | PUBLISHED | {"name": "web", "sidecars": [side], "networks": []})
    world.create("container", CHECKED | PUBLISHED | {"name": "one", "networks": []})
    world.settled("app", "web", "Running")
    world.settled("container", "one", "Running")
    monkeypatch.setattr(DockerRuntime, "reconnect", lambda *_: None)
    (infra,) = docker_engine.client().containers.list(filters={"label": ["zun.name=web", "zun.role=infra"]})
    (main, *_) = infra.attrs["NetworkSettings"]["Networks"]
    docker_engine.client().networks.get(main).disconnect(infra, force=True)
    status = world.settled("app", "web", "Failed")["status"]
    assert (status["reason"], status["evidence"]) == ("Error", {"networks": [main], "ports": [80]})
    assert status["message"] == f"It runs, but is not on its network {main} any more and does not publish its port 80."
    docker_engine.client().networks.get(main).disconnect(container(docker_engine, "one"), force=True)
    world.until(lambda: reason(world, "one") == "Error", "nothing is told of the container")
    monkeypatch.undo()
    assert world.settled("app", "web", "Running")["status"]["endpoints"]
    world.until(lambda: reason(world, "one") is None, "something is told of the container")


@pytest.mark.parametrize("noun", ["app", "container"])
@pytest.mark.parametrize(
    ("fields", "reason", "grace"),
    [
        ({"image": "nothing:1", "pull": "never"}, "ImageNotFound", 3600),
        ({"command": ["/nothing"]}, "InvalidSpec", 3600),
        ({"image": "127.0.0.1:1/nothing:1"}, "ImagePullFailed", 2),
        ({"command": ["false"]}, "CrashLoop", 2),
        ({"health": {"http": {"port": 1}, "interval": 0.5, "retries": 2}}, "HealthCheckFailing", 2),
    ],
)
def test_waiting_ends_when_it_is_known_why(world: World, noun: Any, fields: Any, reason: str, grace: float) -> None:
    """Long before the deadline of ten minutes, and with the reason."""
    body = SERVER | {"image": Engine.image, "cluster": CLUSTER, "name": "web"} | fields
    made = world.create(noun, body)
    settle = Settle(noun, "default", made["id"], made["generation"], grace=grace)

    def known() -> Any:
        answer = world.process.gateway.settled(settle)
        told = shown(answer)["status"] if answer is not None else {}
        return told if told.get("reason") == reason else None

    status = world.until(known, f"nobody is told of {reason}")
    if grace > 60 and noun == "app":
        assert status["phase"] == "Failed"


def container(engine: Engine, name: str) -> Any:
    """The real container of a workload."""
    filters = {"label": f"zun.name={name}"}
    return wait_until(lambda: engine.client().containers.list(filters=filters), 60, "it does not run")[0]


def reason(world: World, name: str) -> str | None:
    status = world.show("container", name)["status"]
    return status.get("reason") if status["phase"] == "Running" else status["phase"]


def test_limits_that_were_changed_by_hand_are_put_back(world: World, docker_engine: Engine) -> None:
    """Of replicas with a limit and without, and of a container."""
    limited = {"memory": "64Mi", "cpu": 0.5}
    world.create("app", CHECKED | limited | {"name": "limited", "replicas": 1})
    world.create("app", CHECKED | {"name": "free", "replicas": 1})
    world.create("container", CHECKED | limited | {"name": "own"})
    world.settled("app", "limited", "Running")
    world.settled("app", "free", "Running")
    world.until(lambda: world.show("container", "own")["status"]["phase"] == "Running", "it does not run")
    ids = {name: found(docker_engine, name) for name in ("limited", "free", "own")}
    never = {"Name": "no"}
    for id in ids.values():
        limits = {"mem_limit": 32 << 20, "memswap_limit": 32 << 20}
        docker_engine.client().api.update_container(id, **limits, restart_policy=never)
    world.until(lambda: {memory(docker_engine, ids[name]) for name in ("limited", "own")} == {64 << 20}, "not put back")
    world.until(lambda: memory(docker_engine, ids["free"]) > 1 << 40, "it still has a limit")
    world.until(lambda: {policy(docker_engine, id) for id in ids.values()} == {"unless-stopped"}, "not put back")
    looked(world)
    assert {name: found(docker_engine, name) for name in ids} == ids
    told = world.events("DriftCorrected")
    assert sorted(event["subject_name"] for event in told) == ["free", "limited", "own"]
    pointers = {d["pointer"].rpartition("/")[2] for event in told for d in event["data"]["differences"]}
    assert pointers == {"memory", "restart"}


def found(engine: Engine, name: str) -> str:
    (one,) = engine.client().api.containers(filters={"label": f"zun.name={name}"})
    return str(one["Id"])


def policy(engine: Engine, id: str) -> str:
    return str(engine.client().api.inspect_container(id)["HostConfig"]["RestartPolicy"]["Name"])


def memory(engine: Engine, id: str) -> int:
    return int(engine.client().api.inspect_container(id)["HostConfig"]["Memory"])
