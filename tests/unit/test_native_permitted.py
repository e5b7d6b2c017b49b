"""A step that is cut off from its cluster in the middle makes no further change on any host."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.native.driving import Driver
from tests.native.fake import HOSTS, FakeHost, FakeRuntime
from tests.native.workloads import CLUSTER, INSTALLATION, app
from tests.real.waiting import wait_until
from zun_coe.adapters import Connection
from zun_coe.errors import Fenced
from zun_coe.model import Host
from zun_coe.native import runtimes
from zun_coe.native.adapter import NativeAdapter
from zun_coe.native.permitted import CHANGES, permitted
from zun_coe.native.runtime import Runtime

READS = {"info", "find", "has_image", "networks", "volumes", "logs", "events", "close"}
HARMLESS = {"pull", "renew"}
"""An image more on a host is missed by nobody, and undone by nobody; other credentials change nothing there."""


class Tenure:
    """Whether changes are permitted, and how often that was asked. `last`: how many more are."""

    def __init__(self) -> None:
        self.last: float = float("inf")
        self.asked = 0

    def check(self) -> None:
        self.asked += 1
        if self.asked > self.last:
            raise Fenced("somebody else has it")


@pytest.fixture
def host() -> FakeHost:
    HOSTS.clear()
    HOSTS["a"] = FakeHost()
    return HOSTS["a"]


@pytest.fixture
def tenure() -> Tenure:
    return Tenure()


@pytest.fixture
def driver(host: FakeHost, tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FakeRuntime)
    hosts = (Host(name="a", runtime="fake", endpoint="unix:///a"),)
    adapter = NativeAdapter(Connection(INSTALLATION, CLUSTER, "native", hosts=hosts, check=tenure.check))
    yield Driver(adapter)
    adapter.close()


def changes(host: FakeHost) -> dict[str, int]:
    return {name: number for name, number in host.calls.items() if name not in READS}


def test_every_call_of_a_runtime_is_known_to_change_something_or_not() -> None:
    calls = {name for name, _ in inspect.getmembers(Runtime, inspect.isfunction) if not name.startswith("_")}
    assert calls == CHANGES | READS | HARMLESS
    assert not CHANGES & (READS | HARMLESS)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_no_change_is_made_unless_it_is_permitted(name: str, host: FakeHost, tenure: Tenure) -> None:
    tenure.last = 0
    runtime: Any = permitted(FakeRuntime("unix:///a"), tenure.check)
    with pytest.raises(Fenced):
        getattr(runtime, name)()
    assert changes(host) == {}


def test_looking_needs_no_permission(host: FakeHost, tenure: Tenure) -> None:
    runtime = permitted(FakeRuntime("unix:///a"), tenure.check)
    runtime.info()
    runtime.find({})
    runtime.volumes({})
    assert tenure.asked == 0


@pytest.mark.parametrize("last", range(5))
def test_a_step_ends_at_the_change_before_which_the_cluster_was_lost(
    host: FakeHost, driver: Driver, tenure: Tenure, last: int
) -> None:
    workload = app(replicas=3)
    tenure.last = last
    with pytest.raises(Fenced):
        driver.adapter.apply(workload, driver.see(workload.ref))
    assert sum(changes(host).values()) <= last
    tenure.last = float("inf")
    driver.settle(workload)
    assert len(host.containers) == 3


def test_what_goes_on_in_the_background_ends_as_well(host: FakeHost, driver: Driver, tenure: Tenure) -> None:
    workload = app()
    driver.settle(workload)
    host.obedient = False
    seen = driver.see(workload.ref)
    driver.adapter.remove(workload.ref, seen)
    wait_until(lambda: host.calls["stop"], 30, "it is asked to stop")
    tenure.last = tenure.asked
    host.stopping.set()
    wait_until(lambda: not driver.adapter._acting.removing("a"), 30, "nothing goes on")
    assert host.calls["stopped"] == 1, "the call that was under way"
    assert host.calls["remove"] == 0, "the next one"
    assert len(host.containers) == 1
