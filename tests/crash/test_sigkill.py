"""A real gateway over a real engine, ended by SIGKILL at any moment, again and again, while a client works.

ZUN_TEST_KILLS sets how often (100 for a long run), ZUN_TEST_SEED which moments and which script."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from tests.crash import docker_truth, evidence
from tests.crash.docker_truth import Asked, Name
from tests.crash.forked import Forked
from tests.crash.hasty import Hasty
from tests.processes.fleet import Member, got, register, until
from tests.real.engine import Engine
from tests.real.etcd import Etcd
from zun_coe.vault import key_from_file

pytestmark = pytest.mark.soak
KILLS = int(os.environ.get("ZUN_TEST_KILLS", "5"))
SEED = int(os.environ.get("ZUN_TEST_SEED", "1"))
# The longest that a process lives once it serves, in seconds: some are killed before they have the cluster.
LONGEST_LIFE = 3.0
LEASE = 2.0


class Mortal:
    """A gateway that dies soon after it serves, `kills` times in all, and is started again by `revive`."""

    def __init__(self, folder: Path, store: str, kills: int, seed: int) -> None:
        settings = {"store": store, "encryption_keys": key_from_file(folder / "key")}
        settings |= {"lease": str(LEASE), "resync": "1", "backoff": "0.1", "max_backoff": "1", "log_format": "json"}
        self.member = Forked("serve", folder, settings)
        self.kills, self._random = kills, random.Random(seed)
        self._timer: Timer | None = None

    def start(self) -> None:
        """Start it and wait until it serves; from then on its time is short."""
        self.member.start()
        until(self.member.serves, "the gateway serves")

    def doom(self) -> None:
        """Have it killed at some moment."""
        if self.kills:
            self.kills -= 1
            self._timer = Timer(self._random.uniform(0.0, LONGEST_LIFE), self.member.kill)
            self._timer.start()

    def revive(self) -> None:
        """Start it again, once it has died."""
        if self._timer is not None:
            self._timer.join()
        assert not self.member.running, "it does not answer, and is not dead"
        self.start()
        self.doom()

    def survive(self) -> None:
        """Have the last death behind it, and serve."""
        if self._timer is not None:
            self._timer.join()
        if not self.member.running:
            self.start()

    def close(self) -> None:
        """End it."""
        if self._timer is not None:
            self._timer.cancel()
        self.member.close()


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    folder = tmp_path / "etcd"
    folder.mkdir()
    started = Etcd(folder)
    yield started
    started.close()


@pytest.mark.timeout(120 + 20 * KILLS)
def test_on_sqlite(tmp_path: Path, docker_engine: Engine) -> None:
    endure(Mortal(tmp_path, f"sqlite:///{tmp_path}/state.db", KILLS, SEED), docker_engine)


@pytest.mark.timeout(120 + 20 * KILLS)
def test_on_etcd(tmp_path: Path, docker_engine: Engine, etcd: Etcd) -> None:
    endure(Mortal(tmp_path, etcd.url("mortal"), KILLS, SEED + 1), docker_engine)


def endure(gateway: Mortal, engine: Engine) -> None:
    """Work with it until it was killed often enough, and see what is there then."""
    http = gateway.member.http
    client = Hasty(http, gateway.revive, SEED)
    cluster = ""
    try:
        gateway.start()
        cluster = register(gateway.member, "here", engine.endpoint)
        until(lambda: got(gateway.member, "/v1/clusters/here")["status"]["phase"] == "Ready", "the cluster is ready")
        gateway.doom()
        while gateway.kills:
            client.act()
        gateway.survive()
        prove(gateway.member, engine, client.wanted, cluster)
    except BaseException as error:
        error.add_note("\n".join(client.script))
        raise
    finally:
        gateway.close()
        for container in docker_truth.made(engine, cluster):
            engine.client().api.remove_container(container["Id"], force=True)


def prove(gateway: Member, engine: Engine, wanted: dict[Name, Asked], cluster: str) -> None:
    """Everything comes to be as it was asked for, and stays so. What fails tells all that there is to see."""
    with suppress(pytest.fail.Exception):
        until(lambda: docker_truth.holds(gateway.http, engine, wanted, cluster), "all is as it was asked for")
    try:
        docker_truth.check(gateway.http, engine, wanted, cluster)
    except docker_truth.Untrue as error:
        error.add_note(evidence.of(error.name, gateway, engine, cluster))
        raise
