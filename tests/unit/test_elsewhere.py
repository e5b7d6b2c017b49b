"""A cluster with local sockets is asked by processes on its machine alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import call, shown
from tests.native.workloads import app, ref
from zun_coe.adapters import Adapter, Connection, LogOptions, open_adapter
from zun_coe.config import Settings
from zun_coe.errors import Unavailable
from zun_coe.gateway.clusters import Clusters
from zun_coe.model import Cluster, Host, Observation
from zun_coe.native.adapter import NativeAdapter
from zun_coe.process import Process
from zun_coe.store.records import utc_now

SOCKET, ADDRESS = "unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"


def opened(here: str, *, endpoint: str = SOCKET, machine: str | None = "one", store: str = "etcd://x:1") -> Adapter:
    """A connection to a cluster, opened on a machine of the gateway."""
    now = utc_now()
    fields = {"project": "p", "name": "here", "kind": "native", "created_at": now, "updated_at": now}
    cluster = Cluster(id="c", hosts=(Host(name="a", endpoint=endpoint),), machine=machine, **fields)
    return open_adapter(Connection.to(cluster, "i", {}, Settings(store=store, machine=here), label_key=b""))


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    adapter = opened("two")
    yield adapter
    adapter.close()


CALLS: dict[str, Callable[[Any], object]] = {
    "describe": lambda adapter: adapter.describe(),
    "observe": lambda adapter: adapter.observe(),
    "apply": lambda adapter: adapter.apply(app(), Observation(ref=ref())),
    "remove": lambda adapter: adapter.remove(ref(), None),
    "remove_volume": lambda adapter: adapter.remove_volume("data", "id", "p"),
    "logs": lambda adapter: adapter.logs(ref(), "id", LogOptions()),
    "kill": lambda adapter: adapter.kill(ref(), "id", "TERM"),
    "foreign": lambda adapter: adapter.foreign(),
    "offer": lambda adapter: adapter.offer("shop", "web"),
    "delete_instance": lambda adapter: adapter.delete_instance(ref(), "id"),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_called_elsewhere(elsewhere: Any, name: str) -> None:
    with pytest.raises(Unavailable, match="machine one") as caught:
        CALLS[name](elsewhere)
    assert caught.value.evidence == {"machine": "one"}


def test_what_would_be_asked_for_is_the_same_everywhere(elsewhere: Adapter) -> None:
    near = opened("one")
    assert elsewhere.render(app()) == near.render(app())
    near.close()


@pytest.mark.parametrize(
    ("here", "fields"),
    [
        ("one", {}),
        ("two", {"machine": None}),
        ("two", {"endpoint": ADDRESS}),
        ("", {"store": "sqlite:///state.db"}),
    ],
)
def test_it_is_called_wherever_it_can_be_reached(here: str, fields: dict[str, Any]) -> None:
    adapter = opened(here, **fields)
    assert isinstance(adapter, NativeAdapter)
    adapter.close()


@pytest.fixture(params=["one", ""])
def clusters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clusters]:
    """The use cases on a machine that has a name, and on one that needs none."""
    process = Process(Settings(store=f"sqlite:///{tmp_path / 'state.db'}", machine=request.param))
    process.cache.start()
    yield process.gateway.clusters
    process.stop()


def registered(clusters: Clusters, endpoint: str, **fields: Any) -> Any:
    body = {"name": "here", "kind": "native", "hosts": [{"name": "a", "endpoint": endpoint}]}
    return shown(clusters.create(call(), body | fields)).get("machine")


def patched(clusters: Clusters, **fields: Any) -> Any:
    return shown(clusters.patch(call(), "here", fields)).get("machine")


def test_the_machine_is_that_which_takes_the_request_unless_another_is_named(clusters: Clusters) -> None:
    here = clusters._tools.settings.machine or None
    assert registered(clusters, SOCKET) == here
    assert patched(clusters, machine="two") == "two"
    assert patched(clusters, labels={"a": "b"}) == "two"
    assert patched(clusters, machine=None) == here


def test_what_is_reached_from_everywhere_belongs_to_no_machine(clusters: Clusters) -> None:
    assert registered(clusters, ADDRESS, machine="two") is None
    assert patched(clusters, machine="two") is None
    assert patched(clusters, hosts=[{"name": "a", "endpoint": SOCKET}], machine="two") == "two"
    assert patched(clusters, hosts=[{"name": "a", "endpoint": ADDRESS}]) is None
