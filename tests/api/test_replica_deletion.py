"""Deleting one replica of an app, which the app replaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Make = Callable[..., Any]


def replicas(api: httpx.Client) -> list[Any]:
    found: list[Any] = api.get("/v1/apps/hello/containers").json()["containers"]
    return found


@pytest.mark.parametrize("flag", ["force", "keep", "volumes"])
def test_what_is_for_whole_apps_is_refused(api: httpx.Client, app_of: Make, flag: str) -> None:
    app_of()
    before = replicas(api)[0]["id"]
    refused = api.delete("/v1/containers/hello-1", params={flag: True})
    assert refused.status_code == 422, refused.text
    assert [e["pointer"] for e in refused.json()["errors"]] == [f"/{flag}"]
    assert "replica of the app hello" in refused.json()["errors"][0]["detail"]
    assert [one["id"] for one in replicas(api)] == [before]


def test_only_while_its_app_is_what_was_seen(api: httpx.Client, app_of: Make) -> None:
    app_of()
    seen = api.get("/v1/containers/hello-1").json()
    assert api.patch("/v1/apps/hello", json={"labels": {"a": "b"}}).status_code == 202
    refused = api.delete(f"/v1/containers/{seen['id']}", headers={"If-Match": f'"{seen["generation"]}"'})
    assert refused.status_code == 412
    assert [one["id"] for one in replicas(api)] == [seen["id"]]
    now = api.get("/v1/containers/hello-1").json()["generation"]
    assert api.delete(f"/v1/containers/{seen['id']}", headers={"If-Match": f'"{now}"'}).status_code == 202


def test_who_waits_is_answered_when_it_is_gone(api: httpx.Client, app_of: Make) -> None:
    app_of()
    gone = replicas(api)[0]["id"]
    answer = api.delete(f"/v1/containers/{gone}", params={"wait": 20})
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    assert gone not in [one["id"] for one in replicas(api)]
