"""What the operator decides for every container on a host, seen inside containers of a real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.native.driving import Driver
from tests.native.workloads import app, container
from tests.real.components import Engine, Registry, wait_until
from tests.real.test_native_adapter import clear, connect, log_of, template
from zun_coe.adapters import Hardening
from zun_coe.model import Sidecar

LIMITS = "/sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max"
STATUS = f"grep -E 'NoNewPrivs|CapEff' /proc/self/status; cat {LIMITS}; echo end; sleep 100"


@pytest.fixture
def hardened(docker_engine: Engine) -> Iterator[Driver]:
    """One host of an operator who restricts everything."""
    adapter = connect(docker_engine, hardening=Hardening(50, True, ("ALL",)))
    yield Driver(adapter)
    adapter.close()
    clear(docker_engine)


def status_of(driver: Driver, **fields: object) -> str:
    """What a container says of its own restrictions."""
    workload = container(template(STATUS, stop_timeout=0, **fields))
    driver.settle(workload)
    wait_until(
        lambda: "CapEff" in log_of(driver, workload) and "50" in log_of(driver, workload).split(), 20, "It wrote it"
    )
    return log_of(driver, workload)


def test_processes_are_restricted_as_the_operator_says(hardened: Driver) -> None:
    told = status_of(hardened).split()
    assert told[told.index("NoNewPrivs:") + 1] == "1"
    assert int(told[told.index("CapEff:") + 1], 16) == 0
    assert "50" in told


def test_sidecars_and_what_holds_their_network_are_restricted_too(hardened: Driver, docker_engine: Engine) -> None:
    sidecar = Sidecar(name="side", image=Engine.image, command=("sleep", "1000"))
    workload = app(template("sleep 1000", stop_timeout=0, sidecars=(sidecar,)))
    hardened.settle(workload)
    made = docker_engine.client().api.containers(filters={"label": f"zun.id={workload.ref.id}"})
    configs = [docker_engine.client().api.inspect_container(c["Id"])["HostConfig"] for c in made]
    assert len(configs) == 3
    assert {c["PidsLimit"] for c in configs} == {50}
    assert all(c["SecurityOpt"] == ["no-new-privileges"] and c["CapDrop"] == ["ALL"] for c in configs)


@pytest.mark.parametrize("always", [False, True])
def test_an_image_on_a_host_serves_those_who_may_pull_it(
    docker_engine: Engine, registry: Registry, always: bool
) -> None:
    """What one project pulled with its login, another one without finds on the host."""
    image = registry.push(docker_engine, f"private:{always}", private=True)
    adapter = connect(docker_engine, always_pull_images=always)
    driver = Driver(adapter)
    try:
        driver.settle(app(template(image=image, stop_timeout=0), name="mine", image_auth=registry.auth))
        other = app(template(image=image, stop_timeout=0), name="theirs")
        if not always:
            driver.settle(other)
            return
        driver.until(other, lambda _: getattr(driver.outcomes[-1], "reason", None) == "ImagePullFailed")
        assert not driver.see(other.ref).instances
    finally:
        adapter.close()
        clear(docker_engine)
