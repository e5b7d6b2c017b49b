"""What a project is told of a cluster that another one offers to everybody: never how it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, KIND, SCHEME, SimulatedCluster

SAID = "the simulated cluster is away"


@pytest.fixture
def offered(service: Service, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCluster]:
    """A public cluster of another project, called as the test's own."""
    cluster = SimulatedCluster()
    cluster.identity = project
    monkeypatch.setitem(CLUSTERS, project, cluster)
    yield cluster
    with service.client("operators") as owner:
        cluster.faults.away = False
        owner.delete(f"/v1/clusters/{project}", params={"force": True, "wait": 10})


@pytest.fixture
def owner(service: Service, offered: SimulatedCluster) -> Iterator[httpx.Client]:
    with service.client("operators") as client:
        yield client


@pytest.fixture
def member(service: Service, project: str) -> Iterator[httpx.Client]:
    with service.client(project, roles="member") as client:
        yield client


def register(owner: httpx.Client, name: str, phase: str) -> None:
    body = {"name": name, "kind": KIND, "endpoint": SCHEME + name, "public": True}
    assert owner.post("/v1/clusters", json=body).status_code == 202
    wait_for_phase(owner, name, phase)


def wait_for_phase(owner: httpx.Client, name: str, phase: str) -> None:
    wait_until(lambda: owner.get(f"/v1/clusters/{name}").json()["status"]["phase"] == phase, message=phase)


def test_one_that_was_never_reached(
    owner: httpx.Client, member: httpx.Client, offered: SimulatedCluster, project: str
) -> None:
    offered.faults.away = True
    register(owner, project, "Unreachable")
    body = {"name": "a", "cluster": project, "image": "web:1"}
    refused = member.post("/v1/apps", json=body)
    assert refused.json()["type"].endswith("/cluster-not-ready")
    assert SAID not in refused.text
    assert "BackendUnreachable" in refused.json()["detail"]
    assert SAID in owner.post("/v1/apps", json=body).json()["detail"]


def test_why_an_app_does_not_run_there(
    owner: httpx.Client, member: httpx.Client, offered: SimulatedCluster, project: str
) -> None:
    register(owner, project, "Ready")
    made = member.post("/v1/apps", params={"wait": 10}, json={"name": "a", "cluster": project, "image": "web:1"})
    assert made.status_code == 200, made.text
    offered.faults.away = True
    wait_for_phase(owner, project, "Unreachable")

    def told(client: httpx.Client) -> Any:
        return client.get(f"/v1/apps/{made.json()['id']}/diagnosis")

    hidden = told(member).json()
    assert (hidden["reason"], hidden["cluster"]["reachable"]) == ("BackendUnreachable", False)
    assert SAID not in told(member).text
    assert "the cluster does not answer" in hidden["advice"].lower()
