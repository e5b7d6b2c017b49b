"""The native adapter on real Docker engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.native.driving import Driver, by_slot, changed
from tests.native.workloads import CLUSTER, INSTALLATION, app
from tests.real.components import Engine
from zun_coe.adapters import Connection, Done, LogOptions
from zun_coe.model import (
    Host,
    Observation,
    Template,
    Workload,
    template_hash,
)
from zun_coe.native.adapter import NativeAdapter

IMAGE = Engine.image
# Ends at once when asked to, as a well-made program does.
OBEDIENT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
SERVER = "trap 'exit 0' TERM; httpd -f -p 80 -h / & wait"


def template(script: str = OBEDIENT, **fields: Any) -> Template:
    """A template that runs a shell script."""
    return Template(image=fields.pop("image", IMAGE), args=("sh", "-c", script), **fields)


def connect(*engines: Engine, **fields: Any) -> NativeAdapter:
    """An adapter for hosts named a, b, …"""
    hosts = tuple(Host(name=name, endpoint=e.endpoint) for name, e in zip("abc", engines, strict=False))
    given: dict[str, Any] = {"installation": INSTALLATION, "cluster": CLUSTER, "timeout": 10.0, "host_grace": 60.0}
    return NativeAdapter(Connection(kind="native", hosts=hosts, **(given | fields)))


@pytest.fixture
def driver(docker_engine: Engine) -> Iterator[Driver]:
    """One host; what a test makes is removed after it."""
    adapter = connect(docker_engine)
    yield Driver(adapter)
    adapter.close()
    clear(docker_engine)


def clear(engine: Engine) -> None:
    """Remove all that the gateway makes."""
    client = engine.client()
    for found in client.containers.list(all=True, ignore_removed=True):
        found.remove(force=True, v=True)
    for volume in client.volumes.list():
        volume.remove(force=True)
    client.networks.prune()


def all_ready(seen: Observation) -> bool:
    return bool(seen.instances) and all(i.ready for i in seen.instances)


def log_of(driver: Driver, workload: Workload, options: LogOptions | None = None) -> str:
    """All that the only instance has written."""
    instance = driver.see(workload.ref).instances[0]
    lines = driver.adapter.logs(workload.ref, instance.native_id, options or LogOptions())
    return "\n".join(line.text.decode() for line in lines)


def test_an_app_is_created_scaled_updated_and_removed(driver: Driver, docker_engine: Engine) -> None:
    first = app(template(), replicas=3)
    seen = driver.settle(first)
    assert sorted(by_slot(seen)) == [1, 2, 3]
    assert {i.hash for i in seen.instances} == {first.hash}
    assert seen.hash == first.hash

    five = driver.settle(changed(first, replicas=5))
    assert {i.native_id for i in seen.instances} < {i.native_id for i in five.instances}
    back = driver.settle(changed(first, replicas=2))
    assert {i.native_id for i in back.instances} == {by_slot(seen)[s].native_id for s in (1, 2)}

    newer = template(env={"A": "2"})
    second = changed(
        first, template=newer, hash=template_hash(newer), previous=first.template, previous_hash=first.hash, replicas=2
    )
    done = driver.settle(second)
    assert {i.hash for i in done.instances} == {second.hash}
    assert sorted(by_slot(done)) == [1, 2]

    driver.remove(second.ref)
    assert not docker_engine.client().containers.list(all=True)
    assert not [n.name for n in docker_engine.client().networks.list() if n.name.startswith("zun-")]


def test_many_replicas_are_created_in_one_step(driver: Driver) -> None:
    many = app(template("sleep 1000", stop_timeout=0), replicas=20)
    driver.step(many)
    assert len(driver.see(many.ref).instances) == 20
    driver.step(many)
    assert driver.outcomes[-1] == Done()
    driver.remove(many.ref)
