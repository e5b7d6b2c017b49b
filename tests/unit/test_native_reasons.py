"""What the native adapter tells of a fault that lasts stays the same while what has it comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.native.driving import Driver, changed
from tests.native.fake import FakeHost, one_host
from tests.native.workloads import CLUSTER, INSTALLATION, app, container
from tests.real.waiting import wait_until
from zun_coe.adapters import Connection, Wait
from zun_coe.adapters.fields import refusals
from zun_coe.errors import BackendError, Denied, Invalid, Unavailable
from zun_coe.model import Exec, Health, Host, Instance, Observation, Port, Template, template_hash
from zun_coe.native.adapter import NativeAdapter

IMAGE = "busybox:local"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return one_host(monkeypatch)


@pytest.fixture
def driver(host: FakeHost) -> Iterator[Driver]:
    hosts = (Host(name="a", runtime="fake", endpoint="unix:///a"),)
    given: dict[str, Any] = {"installation": INSTALLATION, "cluster": CLUSTER, "host_grace": 60.0, "timeout": 5.0}
    adapter = NativeAdapter(Connection(kind="native", hosts=hosts, **given))
    yield Driver(adapter)
    adapter.close()


def told(found: Instance | Observation) -> tuple[str | None, str | None]:
    return found.reason, found.message


@pytest.mark.parametrize("how", [{"exit_code": 7}, {"exit_code": 137, "oom_killed": True}])
def test_what_crashes_is_told_the_same_while_it_runs_for_a_moment(
    host: FakeHost, driver: Driver, how: dict[str, Any]
) -> None:
    workload = app()
    (only,) = driver.settle(workload).instances
    host.change(only.native_id, state="restarting", restarts=4, **how)
    (ended,) = driver.step(workload).instances
    # A runtime forgets how it ended as soon as it runs again.
    again = {"state": "running", "started_at": datetime.now(UTC), "exit_code": 0, "oom_killed": False}
    host.change(only.native_id, restarts=5, **again)
    (running,) = driver.step(workload).instances
    assert told(running) == told(ended)
    assert running.evidence == ended.evidence | {"restarts": 5}
    host.change(only.native_id, started_at=datetime.now(UTC) - timedelta(minutes=1))
    assert driver.step(workload).instances[0].reason is None


def test_the_first_end_is_told_until_it_has_stayed_for_a_moment(host: FakeHost, driver: Driver) -> None:
    workload = app()
    (only,) = driver.settle(workload).instances
    host.change(only.native_id, state="restarting", restarts=1, exit_code=7)
    (ended,) = driver.step(workload).instances
    assert told(ended) == ("Error", "It ended with exit code 7, and is started again.")
    host.change(only.native_id, state="running", started_at=datetime.now(UTC), exit_code=0)
    (again,) = driver.step(workload).instances
    assert (again.ready, *told(again)) == (False, *told(ended))
    host.change(only.native_id, started_at=datetime.now(UTC) - timedelta(seconds=5))
    (stayed,) = driver.step(workload).instances
    assert (stayed.ready, stayed.reason) == (True, None)


def test_memory_that_runs_out_again_is_told_though_the_engine_did_not_notice(host: FakeHost, driver: Driver) -> None:
    workload = app()
    (only,) = driver.settle(workload).instances
    now = datetime.now(UTC)
    killed = {"state": "restarting", "exit_code": 137, "started_at": now, "finished_at": now + timedelta(seconds=2)}
    host.change(only.native_id, restarts=4, oom_killed=True, **killed)
    assert driver.step(workload).instances[0].reason == "OutOfMemory"
    host.change(only.native_id, restarts=5, oom_killed=False, **killed)
    assert driver.step(workload).instances[0].reason == "OutOfMemory"
    host.change(only.native_id, restarts=6, **killed | {"finished_at": now + timedelta(minutes=1)})
    assert driver.step(workload).instances[0].reason == "CrashLoop"


@pytest.mark.parametrize("code", [0, 1, 143])
def test_memory_that_a_child_ran_out_of_ended_nothing_and_is_evidence(
    host: FakeHost, driver: Driver, code: int
) -> None:
    workload = container(Template(image=IMAGE, restart="never"))
    (only,) = driver.settle(workload).instances
    host.change(only.native_id, state="exited", exit_code=code, oom_killed=True)
    (ended,) = driver.step(workload).instances
    assert (ended.state, ended.exit_code, ended.reason) == ("exited", code, None)
    assert ended.evidence == {"out_of_memory": True}
    host.change(only.native_id, state="restarting", restarts=4)
    (loop,) = driver.see(workload.ref).instances
    assert (loop.reason, loop.evidence["out_of_memory"]) == ("CrashLoop", True)


def test_limits_that_a_host_can_not_keep_are_refused_beforehand(host: FakeHost, driver: Driver) -> None:
    limited = app(Template(image=IMAGE, memory="64Mi", cpu=0.5))
    assert refusals(limited, NativeAdapter.fields, driver.adapter.describe()) == []
    host.unlimited = frozenset({"memory", "pids"})
    info = driver.adapter.describe()
    assert info.nodes[0].facts["cannot_limit"] == ["memory", "pids"]
    (refused,) = refusals(limited, NativeAdapter.fields, info)
    assert refused.pointer == "/memory"
    assert refused.detail.startswith("The engine of the host a leaves out limits of memory")
    assert refusals(limited, NativeAdapter.fields, info, accept_loss=["/memory"]) == []


def test_what_was_wrong_with_a_replica_is_told_until_the_next_one_is_well(host: FakeHost, driver: Driver) -> None:
    template = Template(image=IMAGE, health=Health(exec=Exec(command=("true",))))
    workload = app(template)
    driver.until(workload, lambda seen: bool(seen.instances))
    sick = host.named("-1-").id
    host.change(sick, health="unhealthy", health_log=("it said no", ""))
    (unhealthy,) = driver.step(workload).instances
    assert told(unhealthy) == ("HealthCheckFailing", "Its health check fails: it said no")
    seen = driver.until(workload, lambda seen: any(i.native_id != sick for i in seen.instances))
    assert told(seen) == told(unhealthy)
    host.change(host.named("-1-").id, health="healthy")
    assert driver.settle(workload).reason is None


def test_a_check_that_fails_in_silence(host: FakeHost, driver: Driver) -> None:
    workload = app(Template(image=IMAGE, health=Health(exec=Exec(command=("false",)))))
    driver.until(workload, lambda seen: bool(seen.instances))
    host.change(host.named("-1-").id, health="unhealthy", health_log=("", " "))
    (silent,) = driver.step(workload).instances
    assert told(silent) == ("HealthCheckFailing", "Its health check fails.")


def test_what_was_wrong_with_another_template_is_not_told(host: FakeHost, driver: Driver) -> None:
    workload = app(Template(image=IMAGE, health=Health(exec=Exec(command=("true",)))))
    driver.until(workload, lambda seen: bool(seen.instances))
    host.change(host.named("-1-").id, health="unhealthy", health_log=("it said no",))
    driver.step(workload)
    newer = Template(image=IMAGE)
    mended = changed(workload, template=newer, hash=template_hash(newer), previous=workload.template)
    driver.step(mended)
    driver.until(mended, lambda seen: seen.reason is None)


def test_a_port_that_is_taken_is_told_the_same_before_and_after_it_is_tried(host: FakeHost, driver: Driver) -> None:
    host.foreign_ports.add(8080)
    workload = app(Template(image=IMAGE, ports=(Port(port=80, publish=8080),)))
    waits = []
    for _ in range(3):
        driver.step(workload)
        waits.append(driver.wait)
    assert {wait.reason for wait in waits} == {"PortConflict"}
    assert {wait.message for wait in waits} == {"No host can take a replica: a: port 8080/tcp is taken."}
    assert isinstance(waits[0], Wait)
    assert not host.containers


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (Invalid("manifest unknown", "ImageNotFound"), True),
        (Denied("unauthorized: incorrect username", "ImagePullFailed"), True),
        (Invalid("invalid reference format", "InvalidSpec"), True),
        (Unavailable("connection refused", "ImagePullFailed"), False),
    ],
)
def test_the_first_definite_word_of_a_registry_is_a_refusal_and_it_is_asked_again(
    host: FakeHost, driver: Driver, error: BackendError, refused: bool
) -> None:
    def fail(call: str) -> None:
        if call == "pull":
            raise error

    host.on_call = fail
    workload = app(Template(image="other:1"))

    def told() -> bool:
        driver.step(workload)
        return driver.wait.reason == error.reason

    wait_until(told)
    outcome = driver.wait
    assert (outcome.refused, outcome.message) == (refused, error.message)
    assert outcome.seconds > 0, "it may be pushed yet"
