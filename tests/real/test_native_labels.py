"""Labels of an image never speak for the gateway, on a real Docker engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.native.driving import Driver
from tests.native.workloads import app, container, ref
from tests.real.components import Engine, wait_until
from tests.real.images import busybox_root
from tests.real.test_native_adapter import clear, connect, template
from zun_coe.adapters import Done
from zun_coe.errors import Invalid
from zun_coe.native import naming
from zun_coe.native.docker.translation import ATTACH

KEY = b"k" * 32
LABELS = {naming.HEALTH: "x", naming.PARTS: "infra,main", ATTACH: '{"zun-net-of-others":["db"]}', naming.ID: "z"}


@pytest.fixture
def driver(docker_engine: Engine) -> Iterator[Driver]:
    """One host, whose adapter signs labels."""
    adapter = connect(docker_engine, label_key=KEY)
    yield Driver(adapter)
    adapter.close()
    clear(docker_engine)


@pytest.fixture
def labelled_image(docker_engine: Engine) -> str:
    """An image that brings labels of the gateway's own vocabulary."""
    changes = [f"LABEL {name}='{value}'" for name, value in LABELS.items()]
    api = docker_engine.client().api
    api.import_image_from_data(busybox_root(), "labelled", "1", changes=[*changes, 'CMD ["sh"]'])
    return "labelled:1"


def test_an_image_with_reserved_labels_is_refused(driver: Driver, labelled_image: str) -> None:
    workload = container(template(image=labelled_image))
    driver.step(workload)
    refused = driver.outcomes[-1]
    assert isinstance(refused, Invalid)
    assert refused.reason == "InvalidSpec"
    assert naming.HEALTH in refused.message
    assert not driver.see(workload.ref).instances


def test_a_container_that_only_claims_to_be_ours_is_ignored(driver: Driver, docker_engine: Engine) -> None:
    """It has all labels of a replica, even what no reader expects in them, and takes no part in anything."""
    workload = app(template(stop_timeout=0), replicas=2)
    seen = driver.settle(workload)
    forged = naming.of_workload(workload.ref) | {naming.SLOT: "x", naming.HASH: workload.hash, naming.HEALTH: "{"}
    for labels in (forged, forged | {naming.SIGNATURE: "0" * 32}):
        docker_engine.client().containers.run(Engine.image, ["sleep", "100"], labels=labels, detach=True)
    again = driver.settle(workload)
    assert {i.native_id for i in again.instances} == {i.native_id for i in seen.instances}
    assert [o.ref for o in driver.adapter.observe(None)] == [workload.ref]
    driver.remove(workload.ref)
    assert len(docker_engine.client().containers.list(filters={"label": f"{naming.ID}={workload.ref.id}"})) == 2


def test_one_unreadable_container_does_not_stop_others(driver: Driver, docker_engine: Engine) -> None:
    mine, other = container(template(stop_timeout=0)), ref("other", "container", project="p2")
    labels = naming.of_workload(other) | {naming.SLOT: "", naming.HEALTH: "[", naming.PARTS: "?"}
    docker_engine.client().containers.run(Engine.image, ["sleep", "100"], labels=labels, detach=True)
    assert driver.settle(mine).instances[0].ready
    assert [o.ref for o in driver.adapter.observe(None)] == [mine.ref]


def test_replicas_from_before_signatures_are_kept(docker_engine: Engine) -> None:
    """An adapter that signs takes over what one that did not has made, and restarts nothing."""
    workload = app(template(stop_timeout=0), replicas=1)
    spec = naming.of_workload(workload.ref) | {
        naming.SLOT: "1",
        naming.HASH: workload.hash,
        naming.ROLE: naming.MAIN,
        naming.STOP_TIMEOUT: "0",
    }
    name = naming.container_name(workload.ref, 1, workload.hash)
    made = docker_engine.client().containers.run(
        Engine.image, ["sh", "-c", "sleep 100"], labels=spec, name=name, detach=True
    )
    adapter = connect(docker_engine, label_key=KEY)
    try:
        seen = Driver(adapter).until(workload, lambda seen: seen.instances and seen.instances[0].ready)
        assert [i.native_id for i in seen.instances] == [made.id]
        wait_until(lambda: adapter.apply(workload, adapter.observe(workload.ref)[0]) == Done(), 20, "It is done")
    finally:
        adapter.close()
        clear(docker_engine)
