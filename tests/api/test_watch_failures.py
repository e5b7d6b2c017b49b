"""A watch that the gateway itself fails over is told of, and begun anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event as StopEvent

import pytest

from tests.api.conftest import running
from tests.real.waiting import wait_until
from tests.simulated import Outside, SimulatedAdapter
from zun_coe.engine import watcher
from zun_coe.model import WorkloadRef


def test_it_is_told_of_and_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    original = SimulatedAdapter.watch

    def watch(self: SimulatedAdapter, stop: StopEvent) -> Iterator[WorkloadRef | None]:
        begun.append(1)
        if len(begun) < 3:
            raise ValueError("a secret that must not be told")
        return original(self, stop)

    monkeypatch.setattr(SimulatedAdapter, "watch", watch)
    monkeypatch.setattr(watcher, "_FIRST_BROKEN", 0.05)
    with running(tmp_path, "odd", resync=3600.0) as service, service.client("operators") as api:
        wait_until(lambda: len(begun) == 3, message="it is not begun anew")
        events = api.get("/v1/events", params={"type": "WatchFailed"}).json()["events"]
        assert {(e["subject_name"], e["level"], e["reason"]) for e in events} == {("odd", "warning", "Error")}
        assert all("ValueError" in e["message"] and "secret" not in e["message"] for e in events)
        body = {"name": "web", "cluster": "odd", "image": "web:1"}
        assert api.post("/v1/apps", params={"wait": 20}, json=body).status_code == 200
        (container,) = api.get("/v1/apps/web/containers").json()["containers"]
        Outside(service.cluster).die(container["status"]["native_id"])
        restarted = "nobody hears of what happens in the cluster"
        wait_until(
            lambda: api.get("/v1/apps/web/containers").json()["containers"][0]["status"]["restarts"], message=restarted
        )
