"""What images are resolved to, on a real Docker engine with a real registry: shown, kept, and used again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import CLUSTER, World, call, shown
from tests.real.engine import Engine
from tests.real.registry import Registry
from zun_coe.gateway import Query


@pytest.fixture
def world(tmp_path: Path, docker_engine: Engine) -> Iterator[World]:
    host = {"name": "a", "runtime": "docker", "endpoint": docker_engine.endpoint, "address": "127.0.0.1"}
    with closing(World(tmp_path / "world", {"kind": "native", "hosts": [host]}, 60.0)) as world:
        world.register()
        yield world


def push(registry: Registry, engine: Engine, name: str, version: str) -> str:
    """Have the registry mean another image by a name; its digest."""
    repository, _, tag = f"{registry.public}/{name}".rpartition(":")
    client = engine.client()
    base = client.containers.create(engine.image)
    base.commit(repository, tag, changes=f"ENV VERSION={version}")
    base.remove()
    client.images.push(repository, tag)
    digest = client.images.get_registry_data(f"{repository}:{tag}").id
    client.images.remove(f"{repository}:{tag}")
    return str(digest)


def body(image: str, **fields: Any) -> dict[str, Any]:
    wanted = {"name": "web", "cluster": CLUSTER, "image": image, "pull": "always", "stop_timeout": 0}
    return wanted | {"command": ["sleep", "1000"]} | fields


def digests(world: World) -> set[str]:
    return {replica["status"]["image_digest"] for replica in world.replicas("web")}


def kept(world: World) -> dict[int, dict[str, str]]:
    page = shown(world.process.gateway.apps.revisions(call(), "web", Query()))
    return {r["revision"]: r.get("image_digests", {}) for r in page["revisions"]}


def test_tag_is_resolved_once_for_a_revision_and_anew_by_a_restart(
    world: World, registry: Registry, docker_engine: Engine
) -> None:
    first = push(registry, docker_engine, "moved:1", "1")
    image = f"{registry.public}/moved:1"
    world.create("app", body(image))
    found = world.settled("app", "web", "Running")
    assert (digests(world), found["status"]["image_digest"]) == ({first}, first)
    world.until(lambda: kept(world) == {1: {"main": first}}, "the revision does not keep it")
    second = push(registry, docker_engine, "moved:1", "2")
    world.patch("app", "web", {"replicas": 3})
    world.settled("app", "web", "Running")
    assert digests(world) == {first}
    world.process.gateway.apps.restart(call(), "web")
    world.settled("app", "web", "Running")
    world.until(lambda: digests(world) == {second}, "a restart does not resolve it anew")
    world.until(lambda: kept(world) == {1: {"main": second}}, "the revision does not keep it")


def test_going_back_goes_back_to_what_ran(world: World, registry: Registry, docker_engine: Engine) -> None:
    first = push(registry, docker_engine, "back:1", "1")
    world.create("app", body(f"{registry.public}/back:1", update={"on_failure": "rollback"}))
    world.settled("app", "web", "Running")
    push(registry, docker_engine, "back:1", "2")
    world.patch("app", "web", {"command": ["/no/such/program"]})
    world.until(lambda: world.show("app", "web")["status"].get("rollout", {}).get("state") == "rolled_back", "it stays")
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"replicas": 2})
    world.settled("app", "web", "Running")
    assert digests(world) == {first}
    world.process.gateway.apps.rollback(call(), "web", 1)
    world.settled("app", "web", "Running")
    assert digests(world) == {first}


def test_image_of_no_registry_is_shown_by_its_id(world: World, docker_engine: Engine) -> None:
    world.create("container", body(docker_engine.image, pull="missing"))
    found = world.settled("container", "web", "Running")
    assert found["status"]["image_digest"] == docker_engine.client().images.get(docker_engine.image).id
