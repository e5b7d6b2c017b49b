"""A Kubernetes as fixtures, each for as long as the pytest process lives. Its client takes a good part of a
second to import, so that this is done only where a test asks for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.real.components import short_folder
from tests.real.engine import need_engine

if TYPE_CHECKING:
    from tests.faults.api_proxy import ApiProxy
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node


LONGEST = 400
"""Seconds for a test that needs a Kubernetes: any of them may be the one that starts it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give those tests their time, where they do not say how much they need."""
    for item in items:
        if "kubernetes" in getattr(item, "fixturenames", ()) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[ControlPlane]:
    """Its API, controllers and scheduler, without nodes. Shared: tests use namespaces of their own, and put
    back in order what they break."""
    from tests.real.kubernetes import ControlPlane

    folder = short_folder()
    plane = ControlPlane(folder)
    try:
        plane.start()
        yield plane
    finally:
        plane.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def kubernetes_node(kubernetes: ControlPlane) -> Iterator[Node]:
    """A node that runs pods; with it services carry traffic and have names."""
    from tests.real.kubernetes_names import Names

    for node in _node(kubernetes):
        node.carry_services()
        names = Names(kubernetes)
        names.start()
        yield node
        names.close()


@pytest.fixture(scope="session")
def second_kubernetes_node(kubernetes: ControlPlane, kubernetes_node: Node) -> Iterator[Node]:
    """Another one. It stays for the tests that come after."""
    yield from _node(kubernetes)


@pytest.fixture
def own_kubernetes_node(kubernetes: ControlPlane) -> Iterator[Node]:
    """A node for one test alone, to be killed or frozen. Kubernetes forgets it afterwards."""
    yield from _node(kubernetes)


@pytest.fixture(scope="module")
def api_proxy(tmp_path_factory: pytest.TempPathFactory, kubernetes: ControlPlane) -> Iterator[ApiProxy]:
    """A way to its API that fails on command, for the tests of one file."""
    from tests.faults.api_proxy import ApiProxy

    proxy = ApiProxy(tmp_path_factory.mktemp("proxy"), kubernetes)
    yield proxy
    proxy.close()


@pytest.fixture
def namespace(kubernetes: ControlPlane) -> Iterator[str]:
    """A namespace for one test alone, which goes without anybody waiting for that."""
    name = kubernetes.namespace()
    yield name
    kubernetes.drop_namespace(name)


def _node(plane: ControlPlane) -> Iterator[Node]:
    from tests.real.kubernetes_node import Node

    need_engine()
    with closing(Node(plane)) as node:
        node.start()
        yield node
