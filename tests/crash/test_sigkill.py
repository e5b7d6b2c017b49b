"""A real gateway over a real engine, ended by SIGKILL at any moment, again and again, while a client works.

ZUN_TEST_KILLS sets how often (100 for a long run), ZUN_TEST_SEED which moments and which script."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest

from tests.crash import docker_truth, evidence
from tests.crash.docker_truth import Place
from tests.crash.forked import Forked
from tests.crash.hasty import Hasty
from tests.processes.fleet import Member, got, register, until
from tests.real.engine import Engine
from tests.real.etcd import Etcd
from zun_coe.vault import key_from_file

KILLS = int(os.environ.get("ZUN_TEST_KILLS", "5"))
SEED = int(os.environ.get("ZUN_TEST_SEED", "1"))
# The longest that a process lives once it serves, in seconds: some are killed before they have the cluster.
LONGEST_LIFE = 3.0
# So many are killed before they serve, within so many seconds from their start.
STILLBORN, LONGEST_BIRTH = 0.2, 1.5
LEASE = 5.0


class Mortal:
    """A gateway that dies soon after it serves, `kills` times in all, and is started again by `revive`."""

    def __init__(self, folder: Path, store: str, kills: int, seed: int) -> None:
        settings = {"store": store, "encryption_keys": key_from_file(folder / "key")}
        settings |= {"lease": str(LEASE), "resync": "1", "backoff": "0.1", "max_backoff": "1", "log_format": "json"}
        self.member = Forked("serve", folder, settings)
        self.kills, self._random = kills, random.Random(seed)
        self._timer: Timer | None = None

    def start(self) -> None:
        """Start it and wait until it serves, which some that are started do not live to see."""
        while self.kills and self._random.random() < STILLBORN:
            self.member.start()
            self.doom(LONGEST_BIRTH)
            self._die()
        self.member.start()
        until(self.member.serves, "the gateway serves")

    def doom(self, longest: float = LONGEST_LIFE) -> None:
        """Have it killed at some moment, `longest` seconds from now at the latest."""
        if self.kills:
            self.kills -= 1
            self._timer = Timer(self._random.uniform(0.0, longest), self.member.kill)
            self._timer.start()

    def revive(self) -> None:
        """Start it again, once it has died."""
        self._die()
        assert not self.member.running, "it does not answer, and is not dead"
        self.start()
        self.doom()

    def survive(self) -> None:
        """Have the last death behind it, and serve."""
        self._die()
        if not self.member.running:
            self.start()

    def close(self) -> None:
        """End it."""
        if self._timer is not None:
            self._timer.cancel()
        self.member.close()

    def _die(self) -> None:
        if self._timer is not None:
            self._timer.join()


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
    client = Hasty(gateway.member.http, gateway.revive, SEED)
    place = Place(gateway.member.http, engine, "")
    try:
        gateway.start()
        place = replace(place, cluster=register(gateway.member, "here", engine.endpoint))
        until(lambda: got(gateway.member, "/v1/clusters/here")["status"]["phase"] == "Ready", "the cluster is ready")
        gateway.doom()
        while gateway.kills:
            client.act()
        gateway.survive()
        prove(gateway.member, place, client)
    except BaseException as error:
        error.add_note("\n".join(client.script))
        raise
    finally:
        gateway.close()
        for container in docker_truth.made(place):
            engine.client().api.remove_container(container["Id"], force=True)


def prove(gateway: Member, place: Place, client: Hasty) -> None:
    """Everything comes to be as it was asked for, and stays so. What fails tells all that there is to see."""
    with suppress(pytest.fail.Exception):
        until(lambda: docker_truth.holds(place, client.wanted, client.forgotten), "all is as it was asked for")
    try:
        docker_truth.check(place, client.wanted, client.forgotten)
    except docker_truth.Untrue as error:
        error.add_note(evidence.of(error.name, place, gateway.said))
        raise
