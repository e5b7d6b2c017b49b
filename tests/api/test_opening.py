"""A cluster that can't be opened says so, and is nobody else's trouble: not of later clusters, nor of the API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from tests.api.conftest import Service, running
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, KIND, SCHEME, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters, engine
from zun_coe.adapters import Connection
from zun_coe.store import Put
from zun_coe.store.records import encode, intent_key


class Fragile(SimulatedAdapter):
    """It can't be made for a cluster while that is in `broken`; `open` counts those that were made and not closed."""

    broken: ClassVar[set[str]] = set()
    open: ClassVar[list[Fragile]] = []

    def __init__(self, connection: Connection) -> None:
        if connection.endpoint in self.broken:
            raise ZeroDivisionError("a bug")
        super().__init__(connection)
        self.open.append(self)

    def close(self) -> None:
        super().close()
        self.open.remove(self)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr("tests.api.conftest.SimulatedAdapter", Fragile)
    monkeypatch.setattr(engine, "_OPENED_AGAIN", 0.3)
    with running(tmp_path, "fine") as service:
        Fragile.broken = {SCHEME + "second"}
        monkeypatch.setitem(CLUSTERS, "second", SimulatedCluster(seed=2))
        yield service


def status(service: Service, name: str) -> Any:
    with service.client("operators") as api:
        return api.get(f"/v1/clusters/{name}").json()["status"]


def register(service: Service, name: str, endpoint: str) -> None:
    with service.client("operators") as api:
        body = {"name": name, "kind": KIND, "endpoint": endpoint, "public": True}
        assert api.post("/v1/clusters", json=body).status_code == 202


def unknown(service: Service) -> None:
    """The cluster is of a kind now that a newer version has."""
    found = service.process.gateway.views.named("cluster", "operators", "fine")
    assert found is not None
    newer = replace(found.intent, id="0" * 8, name="newer", kind="newer", endpoint=None)
    key = intent_key("cluster", "operators", newer.id)
    name = Put("name/cluster/operators/newer", newer.id.encode())
    service.process.cache.wait_for(service.process.store.transact([], [Put(key, encode(newer)), name]))


def test_one_that_cannot_be_opened_says_so_and_heals(service: Service) -> None:
    register(service, "broken", SCHEME + "second")
    wait_until(lambda: status(service, "broken")["phase"] == "Unreachable", 30, "its status says so")
    told = status(service, "broken")
    assert told["reason"] == "Error"
    assert "ZeroDivisionError" in told["message"]
    assert "a bug" not in told["message"], "what is in an exception is for the log"
    wait_until(lambda: status(service, "fine")["phase"] == "Ready", 30, "the others run")
    with service.client("p") as api:
        body = {"name": "web", "cluster": "fine", "image": "web:1"}
        assert api.post("/v1/apps", params={"wait": 20}, json=body).status_code == 200
    Fragile.broken = set()
    wait_until(lambda: status(service, "broken")["phase"] == "Ready", 30, "it is opened again")


def test_a_kind_that_is_not_known_says_so(service: Service) -> None:
    unknown(service)
    wait_until(lambda: status(service, "newer")["phase"] == "Unreachable", 30, "its status says so")
    assert "knows no kind newer" in status(service, "newer")["message"]
    with service.client("operators") as api:
        body = {"name": "web", "cluster": "newer", "image": "web:1"}
        for answer in (api.post("/v1/apps", json=body), api.get("/v1/clusters/newer/capabilities")):
            assert answer.status_code == 409, answer.text
            assert "upgrade" in answer.json()["detail"]
        refused = api.post("/v1/apps", json=body | {"cluster": "fine", "gpu": 8, "privileged": True})
        assert refused.status_code < 500, "whoever asks which clusters can is not told of a bug"
        assert api.delete("/v1/clusters/newer", params={"force": True, "wait": 20}).status_code == 204


def test_an_adapter_that_cannot_be_loaded_is_the_only_one_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> type[SimulatedAdapter]:
            if self.name == "broken":
                raise ImportError("no module named x")
            return SimulatedAdapter

    monkeypatch.setattr(adapters, "entry_points", lambda group: [Point("broken"), Point("fine")])
    assert adapters.kinds.__wrapped__() == {"fine": SimulatedAdapter}


def test_what_was_opened_for_a_cluster_goes_with_it(service: Service) -> None:
    """The connections of the API, with their threads and credentials."""
    backends = service.process.gateway.backends
    found = service.process.gateway.views.named("cluster", "operators", "fine")
    assert found is not None
    adapter = backends.adapter(found.id)
    assert adapter in Fragile.open
    threads = threading.active_count()
    with service.client("operators") as api:
        assert api.delete("/v1/clusters/fine", params={"wait": 20}).status_code == 204
    wait_until(lambda: adapter not in Fragile.open, 30, "it is closed")
    wait_until(lambda: threading.active_count() < threads, 30, "its threads have ended")
    assert not backends._open
