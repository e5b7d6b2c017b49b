"""What others change of containers where they are: told, put right, and not fought over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.native.driving import Driver, changed
from tests.native.fake import FakeHost, one_host
from tests.native.workloads import CLUSTER, INSTALLATION, app, container
from zun_coe.adapters import Again, Connection, Done, Wait
from zun_coe.adapters.contests import TRIES
from zun_coe.errors import Unavailable
from zun_coe.model import Host, Sidecar, Template, Workload
from zun_coe.native.adapter import NativeAdapter

MEMORY = 64 << 20
LIMITED = Template(image="busybox:local", args=("sleep", "1000"), cpu=0.5, memory="64Mi", stop_timeout=0)
BESIDE = Sidecar(name="proxy", image="busybox:local", memory="64Mi")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return one_host(monkeypatch)


@pytest.fixture
def driver(host: FakeHost) -> Iterator[Driver]:
    hosts = (Host(name="a", runtime="fake", endpoint="unix:///a"),)
    adapter = NativeAdapter(Connection(INSTALLATION, CLUSTER, "native", hosts=hosts, timeout=5.0))
    yield Driver(adapter)
    adapter.close()


def told(driver: Driver, workload: Workload) -> list[tuple[str, Any, Any]]:
    """The differences that the next look tells of."""
    return [(d.pointer.rpartition("/")[2], d.wanted, d.found) for d in driver.see(workload.ref).drift]


def put_right(driver: Driver, workload: Workload) -> None:
    driver.settle(workload)
    assert told(driver, workload) == []


@pytest.mark.parametrize("workload", [app(LIMITED), container(LIMITED)], ids=["app", "container"])
@pytest.mark.parametrize(
    ("field", "wanted", "other"), [("cpu", 0.5, None), ("memory", MEMORY, 1 << 20), ("restart", "always", "never")]
)
def test_it_is_told_and_put_right(
    host: FakeHost, driver: Driver, workload: Workload, field: str, wanted: Any, other: Any
) -> None:
    driver.settle(workload)
    (id,) = host.containers
    host.change(id, **{field: other})
    driver.step(workload)
    assert driver.outcomes[-1] == Again()
    assert getattr(host.containers[id], field) == other, "it is told first"
    assert told(driver, workload) == [(field, wanted, other)]
    put_right(driver, workload)
    assert list(host.containers) == [id]
    assert getattr(host.containers[id], field) == wanted


@pytest.mark.parametrize(("part", "field"), [("proxy", "memory"), ("proxy", "restart"), ("infra", "restart")])
def test_so_it_is_beside_the_main_container(host: FakeHost, driver: Driver, part: str, field: str) -> None:
    workload = app(msgspec.structs.replace(LIMITED, sidecars=(BESIDE,)))
    driver.settle(workload)
    before = host.named(part)
    host.change(before.id, **{field: {"memory": None, "restart": "never"}[field]})
    driver.step(workload)
    assert [name for name, _, _ in told(driver, workload)] == [field]
    put_right(driver, workload)
    assert host.named(part) == before


def test_what_rounds_is_no_difference(host: FakeHost, driver: Driver) -> None:
    workload = app(msgspec.structs.replace(LIMITED, cpu=0.123456))
    driver.settle(workload)
    (id,) = host.containers
    host.change(id, cpu=0.12346)  # old engines count in parts of a period
    driver.step(workload)
    assert driver.outcomes[-1] == Done()


def test_limits_that_are_asked_for_are_no_drift(host: FakeHost, driver: Driver) -> None:
    workload = container(LIMITED)
    driver.settle(workload)
    larger = changed(workload, template=msgspec.structs.replace(LIMITED, memory="128Mi"))
    driver.step(larger)
    assert told(driver, larger) == []
    put_right(driver, larger)
    (id,) = host.containers
    assert host.containers[id].memory == 2 * MEMORY
    host.change(id, memory=MEMORY)
    driver.step(larger)
    assert told(driver, larger) == [("memory", 2 * MEMORY, MEMORY)]
    put_right(driver, larger)


def test_what_comes_back_each_time_is_left_alone_for_a_while(host: FakeHost, driver: Driver) -> None:
    workload = app(LIMITED)
    driver.settle(workload)
    (id,) = host.containers
    for _ in range(TRIES):
        host.change(id, memory=1 << 20)
        put_right(driver, workload)
    host.change(id, memory=1 << 20)
    driver.step(workload)
    wait = driver.outcomes[-1]
    assert isinstance(wait, Wait)
    assert wait.reason == "Contested"
    assert host.containers[id].memory == 1 << 20


def test_what_cannot_be_put_right_now_is_told_once(host: FakeHost, driver: Driver) -> None:
    workload = app(LIMITED)
    driver.settle(workload)
    (id,) = host.containers
    host.change(id, memory=1 << 20)

    def fail(name: str) -> None:
        if name == "resize":
            raise Unavailable("busy")

    host.on_call = fail
    for _ in range(3):
        driver.step(workload)
        assert told(driver, workload) == [("memory", MEMORY, 1 << 20)]
    host.on_call = lambda name: None
    put_right(driver, workload)


def test_what_is_gone_is_forgotten(host: FakeHost, driver: Driver) -> None:
    workload = container(LIMITED)
    driver.settle(workload)
    (id,) = host.containers
    host.change(id, memory=1 << 20)
    driver.step(workload)
    driver.remove(workload.ref)
    drifting = driver.adapter._drifting
    assert (drifting._told, drifting._agreed) == ({}, {})
