"""Whatever keeps a container from starting, it is tried with growing delays and not with each event of the engine;
a network that is gone keeps none from starting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import CLUSTER, World
from tests.real.components import Engine, free_port
from zun_coe.native.docker.runtime import DockerRuntime

BODY = {"cluster": CLUSTER, "image": Engine.image, "command": ["sleep", "100000"], "stop_timeout": 0, "name": "web"}
NOUNS = pytest.mark.parametrize("noun", ["app", "container"])


@pytest.fixture
def world(tmp_path: Path, docker_engine: Engine) -> Iterator[World]:
    """One real host, and the delays of a failure that operators have by default."""
    hosts = [{"name": "a", "endpoint": docker_engine.endpoint, "address": "127.0.0.1"}]
    made = World(tmp_path, {"kind": "native", "hosts": hosts}, 60.0, backoff=1.0, max_backoff=60.0)
    made.register()
    yield made
    made.close()


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each start was asked of the engine."""
    asked: list[float] = []
    start = DockerRuntime.start

    def noted(runtime: DockerRuntime, id: str) -> None:
        asked.append(time.monotonic())
        start(runtime, id)

    monkeypatch.setattr(DockerRuntime, "start", noted)
    return asked


def only(engine: Engine) -> Any:
    """The only container of ours."""
    (found,) = engine.client().containers.list(all=True, filters={"label": "zun.name=web"})
    return found


@NOUNS
def test_container_whose_port_somebody_else_has_is_started_with_growing_delays(
    world: World, docker_engine: Engine, starts: list[float], noun: Any
) -> None:
    port = free_port()
    world.create(noun, BODY | {"ports": [{"port": 80, "publish": port}]})
    world.settled(noun, "web", "Running")
    client = docker_engine.client().containers
    taker = client.create(Engine.image, ["sleep", "1000"], ports={"80/tcp": port})
    starts.clear()
    try:
        world.process.stop()
        only(docker_engine).kill()
        taker.start()
        world.restart()
        world.until(lambda: len(starts) >= 4, "it is not tried again")
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert all(gap >= least for gap, least in zip(gaps, (1, 2, 4), strict=False)), gaps
        assert world.show(noun, "web")["status"]["reason"] == "PortConflict"
    finally:
        taker.remove(force=True)
    world.settled(noun, "web", "Running")


@NOUNS
def test_container_whose_networks_were_pruned_starts_again_under_its_name(
    world: World, docker_engine: Engine, starts: list[float], noun: Any
) -> None:
    world.create(noun, BODY | {"networks": ["other"]})
    world.settled(noun, "web", "Running")
    world.process.stop()
    mine = only(docker_engine)
    before = set(mine.attrs["NetworkSettings"]["Networks"])
    mine.kill()
    # Networks that earlier tests left on the engine go as well.
    assert before <= set(docker_engine.client().networks.prune()["NetworksDeleted"])
    starts.clear()
    world.restart()
    world.until(lambda: only(docker_engine).status == "running", "it does not run again")
    world.settled(noun, "web", "Running")
    mine.reload()
    joined = mine.attrs["NetworkSettings"]["Networks"]
    assert set(joined) == before
    assert len(before) == 2
    assert all("web" in network["Aliases"] and network["IPAddress"] for network in joined.values())
    assert len(starts) <= 2
