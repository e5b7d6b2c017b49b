"""What nothing beneath has room for is refused beforehand, with the field; nothing is stored of it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import Service, running
from zun_coe.errors import Unprocessable
from zun_coe.gateway import limits
from zun_coe.gateway.writing import Change
from zun_coe.model import Event
from zun_coe.store import Put
from zun_coe.store.records import utc_now

APP = {"name": "web", "cluster": "here", "image": "web:1"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("large"), "here", max_body=1 << 20) as service:
        yield service


def env(size: int) -> dict[str, str]:
    return {f"V{n}": "x" * 30_000 for n in range(size // 30_000)}


def refused(answer: httpx.Response, pointer: str) -> None:
    assert answer.status_code == 422, answer.text
    [problem] = answer.json()["errors"]
    assert problem["pointer"] == pointer
    assert "room for" in problem["detail"]


def test_an_environment(api: httpx.Client) -> None:
    refused(api.post("/v1/apps", json=APP | {"env": env(900_000)}), "/env")
    assert api.get("/v1/apps/web").status_code == 404
    assert api.post("/v1/apps", json=APP, params={"wait": 20}).status_code == 200
    refused(api.patch("/v1/apps/web", json={"env": env(900_000)}), "/env")
    many = [{"name": f"s{n}", "image": "s:1", "env": env(90_000)} for n in range(9)]
    refused(api.patch("/v1/apps/web", json={"sidecars": many}), "/sidecars")
    one = [*many[:1], {"name": "other", "image": "s:1", "env": env(500_000)}]
    refused(api.patch("/v1/apps/web", json={"sidecars": one}), "/sidecars/1/env")
    assert api.get("/v1/apps/web").json()["generation"] == 1


def test_the_largest_that_fits(api: httpx.Client) -> None:
    """With an Idempotency-Key, which keeps the answer too."""
    body = APP | {"env": env(430_000)}
    given = {"Idempotency-Key": str(uuid4())}
    assert api.post("/v1/apps", json=body, params={"wait": 20}, headers=given).status_code == 200
    assert api.patch("/v1/apps/web", json={"command": ["sleep", "99"]}, params={"wait": 20}).status_code == 200
    assert api.post("/v1/apps", json=body, headers=given).headers["Idempotency-Replayed"] == "true"


def test_what_is_too_large_since_before_can_be_changed(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.post("/v1/apps", json=APP | {"env": env(60_000)}, params={"wait": 20}).status_code == 200
    monkeypatch.setattr(limits, "SPECIFICATION", 10_000)
    assert api.patch("/v1/apps/web", json={"replicas": 2}, params={"wait": 20}).status_code == 200
    refused(api.patch("/v1/apps/web", json={"env": {"MORE": "x" * 100}}), "/env")
    assert api.patch("/v1/apps/web", json={"env": {"V1": None}}, params={"wait": 20}).status_code == 200


def test_a_secret(api: httpx.Client) -> None:
    data = {f"k{n}": "x" * 60_000 for n in range(13)}
    refused(api.post("/v1/secrets", json={"name": "s", "data": data}), "/data")
    assert api.get("/v1/secrets/s").status_code == 404


def test_the_values_of_several_secrets(api: httpx.Client) -> None:
    for name in ("a", "b"):
        data = {f"k{n}": "x" * 60_000 for n in range(9)} | {"small": "x"}
        assert api.post("/v1/secrets", json={"name": name, "data": data}).status_code == 201
    every = {f"{name}_{n}".upper(): f"{name}/k{n}" for name in ("a", "b") for n in range(9)}
    refused(api.post("/v1/apps", json=APP | {"env_secrets": every}), "/env_secrets")
    few = {"A": "a/small", "B": "b/small"}
    assert api.post("/v1/apps", json=APP | {"env_secrets": few}, params={"wait": 20}).status_code == 200


def test_more_than_can_be_named(api: httpx.Client) -> None:
    mounts = [{"path": f"/v{n}", "volume": {"name": f"v{n}"}} for n in range(31)]
    refused(api.post("/v1/apps", json=APP | {"mounts": mounts}), "/mounts")
    assert api.get("/v1/volumes").json()["volumes"] == []
    for n in range(51):
        assert api.post("/v1/secrets", json={"name": f"s{n}", "data": {"k": "v"}}).status_code == 201
    named = {f"S{n}": f"s{n}/k" for n in range(51)}
    refused(api.post("/v1/apps", json=APP | {"env_secrets": named}), "/env_secrets")
    fits = {"mounts": mounts[:30], "env_secrets": dict(list(named.items())[:50])}
    given = {"Idempotency-Key": str(uuid4())}
    assert api.post("/v1/apps", json=APP | fits, params={"wait": 20}, headers=given).status_code == 200


def test_a_cluster(api: httpx.Client) -> None:
    labels = {f"l{n}": "x" * 63 for n in range(64)}
    hosts = [{"name": f"h{n}", "endpoint": "tcp://10.0.0.1:2376", "labels": labels} for n in range(100)]
    answer = api.post("/v1/clusters", json={"name": "c", "kind": "native", "hosts": hosts})
    refused(answer, "/hosts")


def test_what_no_rule_has_foreseen_is_refused_all_the_same(service: Service) -> None:
    change = Change()
    now = utc_now()
    change.tell(Event(project="p", type="T", subject="app", subject_id="1", subject_name="w", at=now))
    change.operations += [Put(f"meta/{n}", b"x" * 800_000) for n in range(2)]
    before = service.process.store.list("meta/").records
    with pytest.raises(Unprocessable, match="more than the state store takes"):
        service.process.gateway.apps._tools.writer.commit(change)
    assert service.process.store.list("meta/").records == before
