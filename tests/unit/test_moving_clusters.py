"""Credentials that nobody is shown are sent to no other address than the one they were given for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.world import call, shown
from zun_coe.config import Settings
from zun_coe.errors import Unprocessable
from zun_coe.gateway.clusters import Clusters
from zun_coe.process import Process

TOKEN = {"token": "t0ken"}
REGISTERED = {"name": "prod", "kind": "kubernetes", "endpoint": "https://k8s.example:6443", "credentials": TOKEN}
ELSEWHERE = "https://mine.example:6443"


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    process = Process(Settings(store=f"sqlite:///{tmp_path / 'state.db'}"))
    process.cache.start()
    process.gateway.clusters.create(call(), REGISTERED)
    yield process.gateway.clusters
    process.stop()


def patched(clusters: Clusters, **fields: Any) -> Any:
    return shown(clusters.patch(call(), "prod", fields))


def test_another_endpoint_needs_its_credentials(clusters: Clusters) -> None:
    with pytest.raises(Unprocessable) as refused:
        patched(clusters, endpoint=ELSEWHERE)
    assert [problem.pointer for problem in refused.value.problems] == ["/credentials"]
    assert shown(clusters.show(call(), "prod"))["endpoint"] == REGISTERED["endpoint"]


def test_with_its_credentials_it_moves(clusters: Clusters) -> None:
    moved = patched(clusters, endpoint=ELSEWHERE, credentials={"token": "another"})
    assert (moved["endpoint"], moved["has_credentials"]) == (ELSEWHERE, True)


@pytest.mark.parametrize("fields", [{"labels": {"a": "b"}}, {"endpoint": REGISTERED["endpoint"]}])
def test_what_moves_nothing_keeps_them(clusters: Clusters, fields: dict[str, Any]) -> None:
    assert patched(clusters, **fields)["has_credentials"]
