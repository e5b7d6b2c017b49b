"""What waits for a secret goes on as soon as there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Service, running
from tests.real.waiting import wait_until
from zun_coe.store import Delete
from zun_coe.store.records import intent_key, name_key


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path, "here", resync=3600.0, backoff=600.0, max_backoff=3600.0) as service:
        yield service


def test_a_secret_that_is_created_later(service: Service) -> None:
    with service.client("p") as api:
        secret = {"name": "db", "data": {"password": "hunter2"}}
        made = api.post("/v1/secrets", json=secret).json()
        body = {"name": "web", "cluster": "here", "image": "web:1", "env_secrets": {"PW": "db/password"}}
        body["desired_state"] = "stopped"
        assert api.post("/v1/containers", params={"wait": 20}, json=body).status_code == 200
        store = service.process.store
        gone = [Delete(intent_key("secret", "p", made["id"])), Delete(name_key("secret", "p", "db"))]
        service.process.cache.wait_for(store.transact([], gone))

        def status() -> Any:
            return api.get("/v1/containers/web").json()["status"]

        assert api.post("/v1/containers/web/start").status_code == 202
        wait_until(lambda: status().get("reason") == "InvalidSpec", 30, "it is missed")
        assert api.post("/v1/secrets", json=secret).status_code == 201
        wait_until(lambda: status()["phase"] == "Running", 30, "it runs, long before anybody would look again")
