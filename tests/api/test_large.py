"""An app with very many unhealthy replicas, and a cluster with very many nodes, are shown as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.api.conftest import Service, running
from tests.real.waiting import wait_until
from tests.simulated import SimulatedAdapter
from zun_coe.model import Node, Observation, WorkloadRef
from zun_coe.store import MAX_BYTES

REPLICAS, NODES = 500, 1500


class Talkative(SimulatedAdapter):
    """Every instance is unhealthy, and each says at length why, in words of its own."""

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        return [replace(seen, instances=tuple(map(_unhealthy, seen.instances))) for seen in super().observe(ref)]


def _unhealthy(instance: Any) -> Any:
    told = f"{instance.native_id}: " + "it does not answer " * 1000
    fields = {"ready": False, "health": "unhealthy", "reason": "HealthCheckFailing", "message": told}
    return replace(instance, **fields, evidence={"output": told, "error": told[::-1], "slot": instance.slot})


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr("tests.api.conftest.SimulatedAdapter", Talkative)
    with running(tmp_path, "large", describe=0.5) as service:
        yield service


def test_hundreds_of_unhealthy_replicas(service: Service) -> None:
    with service.client("p") as api:
        body = {"name": "web", "cluster": "large", "image": "web:1", "replicas": REPLICAS}
        body |= {"update": {"deadline": 1}}
        assert api.post("/v1/apps", json=body).status_code == 202

        def seen() -> Any:
            return api.get("/v1/apps/web").json()["status"]

        wait_until(lambda: seen()["phase"] == "Failed", 60, "it has failed")
        assert seen()["replicas"]["current"] == REPLICAS
        assert seen()["reason"] == "HealthCheckFailing"
        page = api.get("/v1/apps/web/containers", params={"limit": 1000}).json()["containers"]
        assert len(page) == REPLICAS
        assert {one["status"]["evidence"]["slot"] for one in page} == set(range(1, REPLICAS + 1))
        kept = service.process.store.list("part/app/p/").records
        assert sum(len(record.value) for record in kept) > MAX_BYTES, "one transaction would not have taken it"
        assert api.patch("/v1/apps/web", params={"wait": 30}, json={"replicas": 3}).status_code in (200, 202)
        wait_until(lambda: seen()["replicas"]["current"] == 3, 60, "it is small")
        wait_until(lambda: not service.process.store.list("part/").records, 30, "no part is left")
        assert api.delete("/v1/apps/web", params={"wait": 30}).status_code == 204


def test_what_was_kept_in_parts_goes_with_the_app(service: Service) -> None:
    with service.client("p") as api:
        body = {"name": "web", "cluster": "large", "image": "web:1", "replicas": 200}
        api.post("/v1/apps", json=body)
        wait_until(lambda: service.process.store.list("part/app/p/").records, 30, "there are parts")
        assert api.delete("/v1/apps/web", params={"wait": 30}).status_code == 204
        assert service.process.store.list("part/").records == ()


def test_a_cluster_of_many_nodes(service: Service, tmp_path: Path) -> None:
    facts = {"kernel": "k" * 1200}
    service.cluster.nodes.nodes = tuple(Node(name=f"node-{n}", cpus=4.0, facts=facts) for n in range(NODES))
    with service.client("p") as api:
        shown = "/v1/clusters/large"
        wait_until(lambda: len(api.get(shown).json()["status"]["nodes"]) == NODES, 60, "all nodes are shown")
        before = {record.key: record.revision for record in service.process.store.list("part/cluster/").records}
        service.cluster.nodes.nodes = (
            replace(service.cluster.nodes.nodes[0], schedulable=False),
            *service.cluster.nodes.nodes[1:],
        )
        wait_until(lambda: api.get(shown).json()["status"]["nodes"][0]["schedulable"] is False, 60, "one differs")
        after = {record.key: record.revision for record in service.process.store.list("part/cluster/").records}
        assert len(after.items() - before.items()) == 1, "the others were not written again"
