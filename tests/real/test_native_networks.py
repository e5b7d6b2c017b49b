"""The networks of projects on a real Docker engine: small, released when nothing uses them, enough for many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from docker.types import IPAMConfig, IPAMPool

from tests.native.driving import Driver
from tests.native.workloads import CLUSTER, INSTALLATION, app, ref
from tests.real.components import Engine
from zun_coe.adapters import Connection
from zun_coe.errors import Unavailable
from zun_coe.model import Host, Template
from zun_coe.native.adapter import NativeAdapter

TEMPLATE = Template(image=Engine.image, args=("sleep", "100000"), stop_timeout=0)
PROJECTS = 30


def driver_of(engine: Engine, **fields: Any) -> Driver:
    given: dict[str, Any] = {"network_pool": "10.213.0.0/16", "network_prefix": 26, "timeout": 60.0} | fields
    host = Host(name="a", endpoint=engine.endpoint)
    return Driver(NativeAdapter(Connection(INSTALLATION, CLUSTER, "native", hosts=(host,), **given)))


def ours(engine: Engine) -> list[Any]:
    """The networks that the gateway has made."""
    return list(engine.client().networks.list(filters={"label": f"zun.installation={INSTALLATION}"}))


@pytest.fixture
def drivers(docker_engine: Engine) -> Iterator[list[Driver]]:
    made: list[Driver] = []
    yield made
    client = docker_engine.client()
    for found in client.containers.list(all=True, filters={"label": f"zun.installation={INSTALLATION}"}):
        found.remove(force=True)
    for driver in made:
        driver.adapter.observe(None)
        driver.adapter.tidy()
        driver.adapter.close()
    assert not ours(docker_engine)


def test_thirty_projects_on_one_host(docker_engine: Engine, drivers: list[Driver]) -> None:
    driver = driver_of(docker_engine)
    drivers.append(driver)
    workloads = [app(TEMPLATE, ref=ref("web", project=f"p{n}")) for n in range(PROJECTS)]
    for workload in workloads:
        driver.step(workload)
    for workload in workloads:
        driver.settle(workload, 60.0)
    subnets = {ip_network(n.attrs["IPAM"]["Config"][0]["Subnet"]) for n in ours(docker_engine)}
    assert len(subnets) == PROJECTS
    assert {subnet.prefixlen for subnet in subnets} == {26}
    assert all(subnet.subnet_of(ip_network("10.213.0.0/16")) for subnet in subnets)


def test_a_pool_without_a_free_subnet_is_told_and_one_that_is_released_is_used(
    docker_engine: Engine, drivers: list[Driver]
) -> None:
    driver = driver_of(docker_engine, network_pool="10.214.0.0/28", network_prefix=29)
    drivers.append(driver)
    beside = docker_engine.client().networks.create("beside", ipam=_subnet("10.214.0.0/29"))
    try:
        first, second = (app(TEMPLATE, ref=ref("web", project=f"p{n}")) for n in range(2))
        driver.settle(first)
        driver.step(second)
        refused = driver.outcomes[-1]
        assert isinstance(refused, Unavailable)
        assert refused.reason == "QuotaExceeded"
        assert "All 2 subnets of 10.214.0.0/28 are in use" in refused.message
        driver.remove(first.ref)
        driver.settle(second)
    finally:
        beside.remove()


def test_creating_and_removing_at_once_leaves_nothing_without_its_network(
    docker_engine: Engine, drivers: list[Driver]
) -> None:
    driver = driver_of(docker_engine)
    drivers.append(driver)
    done = threading.Event()

    def tidy() -> None:
        while not done.is_set():
            driver.adapter.observe(None)
            driver.adapter.tidy()

    others = [threading.Thread(target=tidy) for _ in range(2)]
    for thread in others:
        thread.start()
    try:
        for n in range(6):
            workload = app(TEMPLATE, ref=ref(f"web{n}"))
            one = Driver(driver.adapter)
            one.step(workload)
            assert len(one.settle(workload).instances) == 1
            one.remove(workload.ref)
    finally:
        done.set()
        for thread in others:
            thread.join()


def _subnet(subnet: str) -> Any:
    return IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
