"""Everything that can go wrong on bare Docker hosts."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.contract.faults import Ways
from tests.contract.troubles import AppTroubles, ClusterTroubles
from tests.contract.world import CLUSTER, Body, World, call
from tests.faults.proxy import Proxy
from tests.real.components import Engine, Registry, short_folder


def host(name: str, endpoint: str, **fields: Any) -> Body:
    return {"name": name, "runtime": "docker", "endpoint": endpoint, "address": "127.0.0.1", **fields}


class DockerWays(Ways):
    """Two hosts: one that takes everything, and one with a label that takes nothing."""

    patience = 120.0
    cannot: ClassVar = {
        "no-room-cpu": "CPUs are a cap on a host, and never promised.",
        "quota": "A bare engine has no quotas.",
        "quota-container": "A bare engine has no quotas.",
        "forbidden": "Whoever reaches an engine may do everything there.",
    }
    words: ClassVar = {
        "no-room-memory": "a: it has [0-9]+Mi of memory left",
        "no-such-node": "a: it does not have the label disk=ssd; b: it takes nothing new",
        "port-taken": "a: port [0-9]+/tcp is taken",
        "no-volume": "bind source path does not exist",
        "stuck": "No progress for 3 seconds",
    }

    def __init__(self, engine: Engine, other: Engine, registry: Registry, folder: Path) -> None:
        super().__init__(engine, registry, folder)
        self._other = other
        self._taken = socket.socket()
        self._proxy = Proxy(folder, engine.endpoint)
        self.body = self._two(spare=False)
        self.fragile_body = self.changing_body = {"kind": "native", "hosts": [host("a", self._proxy.endpoint)]}

    def close(self) -> None:
        """Leave nothing behind."""
        self._taken.close()
        self._proxy.close()

    def unplaceable(self) -> Body:
        return {"placement": {"constraints": {"disk": "ssd"}}}

    def make_room(self, world: World) -> None:
        world.process.gateway.clusters.patch(call(), CLUSTER, {"hosts": self._two(spare=True)["hosts"]})

    def take_port(self) -> int:
        self._taken.bind(("127.0.0.1", 0))
        self._taken.listen()
        return int(self._taken.getsockname()[1])

    def free_port(self) -> None:
        self._taken.close()

    def lack_volume(self) -> Body:
        return {"mounts": [{"path": "/data", "bind": str(self.folder / "lacking")}]}

    def provide_volume(self) -> None:
        (self.folder / "lacking").mkdir()

    def cut(self) -> None:
        self._proxy.refuse()

    def mend(self) -> None:
        self._proxy.accept()

    def exchange(self) -> None:
        self._lead_to(self._other)

    def change_back(self) -> bool:
        self._lead_to(self.engine)
        return True

    def _lead_to(self, engine: Engine) -> None:
        self._proxy.close()
        self._proxy = Proxy(self.folder, engine.endpoint)

    def _two(self, *, spare: bool) -> Body:
        labelled = host("b", self._other.endpoint, labels={"disk": "ssd"}, schedulable=spare)
        return {"kind": "native", "hosts": [host("a", self.engine.endpoint), labelled]}


@pytest.fixture(scope="module")
def ways(docker_engine: Engine, second_engine: Engine, registry: Registry) -> Iterator[Ways]:
    """Into trouble, and out of it."""
    folder = short_folder()
    ways = DockerWays(docker_engine, second_engine, registry, folder)
    yield ways
    ways.close()
    shutil.rmtree(folder)


class TestApps(AppTroubles):
    """With one app each."""


class TestClusters(ClusterTroubles):
    """With one gateway each."""
