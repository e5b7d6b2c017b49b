"""Changes of an app on a real Kubernetes that take something away again: nothing of it is left in its Deployment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.world import World, call

if TYPE_CHECKING:
    from tests.faults.api_proxy import ApiProxy
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node

PATIENCE = 90.0
HTTP = {"http": {"port": 8080, "path": "/index.html"}, "tcp": None, "exec": None}
TCP = {"http": None, "tcp": {"port": 8080}, "exec": None}
EXEC = {"http": None, "tcp": None, "exec": {"command": ["true"]}}
QUICK = {"interval": 1, "timeout": 1}
HANDLERS = {"httpGet", "tcpSocket", "exec"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, api_proxy: ApiProxy, kubernetes_node: Node) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("changes"), api_proxy.body(), PATIENCE)
    world.register()
    world.process.gateway.secrets.create(call(), {"name": "db", "data": {"password": "hunter2"}})
    script = "echo hi > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    how = {"command": ["sh", "-c", script], "pull": "never", "stop_timeout": 1}
    world.create("app", {"name": "web", "cluster": "here", "image": kubernetes_node.image} | how)
    world.settled("app", "web", "Running")
    yield world
    world.close()


def changed(world: World, plane: ControlPlane, **fields: Any) -> dict[str, Any]:
    """The app's container, as it is in the Deployment after a change."""
    from tests.real.kubernetes_outside import Outside

    world.patch("app", "web", fields)
    world.settled("app", "web", "Running")
    found: list[dict[str, Any]] = Outside(plane, world).deployment("web")["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in found] == ["main"]
    return found[0]


def test_one_check_takes_the_place_of_another(world: World, kubernetes: ControlPlane) -> None:
    """Twice, since what was changed once belongs to the gateway in another way."""
    for _ in range(2):
        for check, handler in ((HTTP, "httpGet"), (TCP, "tcpSocket"), (EXEC, "exec"), (HTTP, "httpGet")):
            main = changed(world, kubernetes, health=QUICK | check)
            for probe in ("livenessProbe", "readinessProbe"):
                assert HANDLERS & main[probe].keys() == {handler}
        changed(world, kubernetes, health=QUICK | TCP | {"start_period": 2})
        main = changed(world, kubernetes, health=None)
        assert not {"livenessProbe", "readinessProbe", "startupProbe"} & main.keys()
        changed(world, kubernetes, env={"AGAIN": "1"})  # whatever comes then is taken
        changed(world, kubernetes, env={"AGAIN": None})


def test_a_variable_from_a_secret_takes_the_place_of_one_with_a_value(world: World, kubernetes: ControlPlane) -> None:
    for _ in range(2):
        main = changed(world, kubernetes, env={"P": None}, env_secrets={"P": "db/password"})
        assert main["env"][0].keys() == {"name", "valueFrom"}
        main = changed(world, kubernetes, env={"P": "plain"}, env_secrets={"P": None})
        assert main["env"] == [{"name": "P", "value": "plain"}]
