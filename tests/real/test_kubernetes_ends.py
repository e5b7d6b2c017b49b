"""Containers that end on a real Kubernetes, and what their pods are allowed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.world import World

if TYPE_CHECKING:
    from tests.faults.api_proxy import ApiProxy
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node

PATIENCE = 90.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, api_proxy: ApiProxy, kubernetes_node: Node) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("ends"), api_proxy.body(), PATIENCE)
    world.register()
    yield world
    world.close()


def body(node: Node, name: str, script: str) -> dict[str, Any]:
    command = ["sh", "-c", script]
    more = {"command": command, "pull": "never", "stop_timeout": 1, "replicas": 1}
    return {"name": name, "cluster": "here", "image": node.image} | more


def test_an_app_that_failed_always_says_why(world: World, kubernetes_node: Node) -> None:
    """From the first end on, and not only once it is known to be a loop."""
    world.create("app", body(kubernetes_node, "crashing", "sleep 5; exit 7"))
    seen: set[tuple[str, str | None]] = set()

    def looping() -> bool:
        status = world.show("app", "crashing")["status"]
        seen.add((status["phase"], status.get("reason")))
        return bool(status.get("reason") == "CrashLoop")

    world.until(looping, "it is not told to loop")
    assert ("Failed", None) not in seen
    failed = [event for event in world.events("AppFailed") if event["subject_name"] == "crashing"]
    assert failed
    assert all(event.get("reason") for event in failed)


def test_pods_run_with_the_runtimes_profile(world: World, kubernetes: ControlPlane, kubernetes_node: Node) -> None:
    from tests.real.kubernetes_outside import Outside

    world.create("app", body(kubernetes_node, "confined", "grep Seccomp: /proc/self/status; sleep 3600"))
    world.settled("app", "confined", "Running")
    pod = Outside(kubernetes, world).deployment("confined")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    world.until(lambda: world.logs("app", "confined"), "nothing is printed")
    assert world.logs("app", "confined")[0].split() == ["Seccomp:", "2"]
