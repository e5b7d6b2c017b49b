"""Networks of projects that come and go at the same time."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from tests.real.waiting import wait_until
from zun_coe.errors import Unavailable
from zun_coe.native.networks import ProjectNetworks
from zun_coe.native.runtime import Runtime

PATIENCE = 30


class Slow:
    """A runtime that takes its time with what it removes."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.removing, self.go_on = threading.Event(), threading.Event()

    def ensure_network(self, name: str, labels: Any) -> None:
        self.there.add(name)

    def remove_network(self, name: str) -> bool:
        self.removing.set()
        assert self.go_on.wait(PATIENCE)
        if name not in self.there:
            raise Unavailable("it does not answer")
        self.there.discard(name)
        return True


@pytest.fixture
def runtime() -> Slow:
    return Slow()


@pytest.fixture
def networks(runtime: Slow) -> ProjectNetworks:
    return ProjectNetworks(cast(Runtime, runtime))


def test_a_network_that_takes_long_to_go_keeps_nobody_from_others(runtime: Slow, networks: ProjectNetworks) -> None:
    with networks.using(["one"], {}):
        pass
    leaving = threading.Thread(target=networks.release, args=(["one"],))
    leaving.start()
    assert runtime.removing.wait(PATIENCE)
    with networks.using(["other"], {}):
        assert "other" in runtime.there
    assert networks.release(["one"]) == ["one"], "it is going already"
    runtime.go_on.set()
    leaving.join()


def test_who_needs_a_network_that_goes_gets_it_anew(runtime: Slow, networks: ProjectNetworks) -> None:
    with networks.using(["one"], {}):
        pass
    used = threading.Event()

    def use() -> None:
        with networks.using(["one"], {}):
            assert "one" in runtime.there
            used.set()

    threads = [threading.Thread(target=networks.release, args=(["one"],)), threading.Thread(target=use)]
    threads[0].start()
    assert runtime.removing.wait(PATIENCE)
    threads[1].start()
    assert not used.is_set()
    runtime.go_on.set()
    for thread in threads:
        thread.join()
    assert used.is_set()


def test_one_that_could_not_be_removed_can_be_used(runtime: Slow, networks: ProjectNetworks) -> None:
    runtime.go_on.set()
    with pytest.raises(Unavailable):
        networks.release(["one"])
    with networks.using(["one"], {}):
        wait_until(lambda: runtime.there == {"one"}, PATIENCE, "it is there")
