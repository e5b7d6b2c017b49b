"""Logs of containers and apps: kept and followed, as text and as JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import Outside
from zun_coe.api.lines import EPOCH, since_of
from zun_coe.errors import Malformed, TimedOut, Unavailable

Make = Callable[..., Any]
NDJSON = {"Accept": "application/x-ndjson"}
HELLO = {"command": ["sh", "-c", "echo one; echo two; sleep 1000"]}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def text(api: httpx.Client, path: str, **params: Any) -> list[str]:
    """The lines of text."""
    answer = api.get(path, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
    return answer.text.splitlines()


@contextmanager
def followed(api: httpx.Client, path: str, **params: Any) -> Iterator[Iterator[Any]]:
    """The objects of a followed log."""
    with api.stream("GET", path, params={"follow": True} | params, headers=NDJSON) as answer:
        assert answer.status_code == 200, answer.read()
        yield (json.loads(line) for line in answer.iter_lines())


def native_id(api: httpx.Client, name: str) -> str:
    """The cluster's own id of a replica."""
    return str(api.get(f"/v1/containers/{name}").json()["status"]["native_id"])


def test_a_container(api: httpx.Client, container_of: Make) -> None:
    container_of(**HELLO)
    assert text(api, "/v1/containers/job/logs") == ["one", "two"]
    assert text(api, "/v1/containers/job/logs", tail=1) == ["two"]
    assert text(api, "/v1/containers/job/logs", tail=0) == []
    assert text(api, "/v1/containers/job/logs", since="1h") == ["one", "two"]
    assert text(api, "/v1/containers/job/logs", since="2100-01-01T00:00:00Z") == []


def test_streams_apart(api: httpx.Client, container_of: Make, outside: Outside, project: str) -> None:
    container_of(project, **HELLO)
    [there] = outside.containers(project)
    outside.log(there.native_id, "oh no", "stderr")
    assert text(api, f"/v1/containers/{project}/logs", stream="stderr") == ["oh no"]
    assert text(api, f"/v1/containers/{project}/logs", stream="stdout") == ["one", "two"]


def test_timestamps(api: httpx.Client, container_of: Make) -> None:
    container_of(**HELLO)
    [line, _] = text(api, "/v1/containers/job/logs", timestamps=True)
    at, _, words = line.partition(" ")
    assert words == "one"
    assert abs(datetime.fromisoformat(at) - datetime.now(UTC)) < timedelta(minutes=1)


FORMS = [
    ("*/*", "text/plain"),
    ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain"),
    ("image/png", "text/plain"),
    ("application/json", "application/json"),
    ("application/json, text/plain;q=0.5", "application/json"),
    ("application/x-ndjson", "application/x-ndjson"),
    ("application/*;q=0.1, text/plain", "text/plain"),
]


@pytest.mark.parametrize(("accept", "expected"), FORMS)
def test_a_client_gets_what_it_would_rather_have(
    api: httpx.Client, container_of: Make, accept: str, expected: str
) -> None:
    container_of(**HELLO)
    answer = api.get("/v1/containers/job/logs", headers={"Accept": accept})
    assert answer.headers["Content-Type"].partition(";")[0] == expected
    empty = api.get("/v1/containers/job/logs", params={"tail": 0}, headers={"Accept": accept})
    assert empty.text.strip() == ("[]" if expected == "application/json" else "")


def test_a_list_cannot_be_followed(api: httpx.Client, container_of: Make) -> None:
    container_of(**HELLO)
    refused = api.get("/v1/containers/job/logs?follow=true", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/follow")
    with followed(api, "/v1/containers/job/logs") as objects:
        assert next(objects)["text"] == "one"


def test_an_app_as_text_and_as_json(api: httpx.Client, app_of: Make) -> None:
    app_of(replicas=3, **HELLO)
    lines = text(api, "/v1/apps/hello/logs")
    assert sorted(lines) == [f"hello-{n} {word}" for n in (1, 2, 3) for word in ("one", "two")]
    objects = [json.loads(line) for line in api.get("/v1/apps/hello/logs", headers=NDJSON).text.splitlines()]
    assert api.get("/v1/apps/hello/logs", headers={"Accept": "application/json"}).json() == objects
    assert [o["time"] for o in objects] == sorted(o["time"] for o in objects)
    assert {(o["container"], o["stream"]) for o in objects} == {(f"hello-{n}", "stdout") for n in (1, 2, 3)}


def test_one_replica(api: httpx.Client, app_of: Make) -> None:
    app_of(replicas=2, **HELLO)
    assert text(api, "/v1/containers/hello-2/logs") == ["one", "two"]


def test_nothing_was_made_yet(api: httpx.Client) -> None:
    api.post("/v1/apps", json={"name": "none", "cluster": "here", "image": "web:1", "replicas": 0})
    assert text(api, "/v1/apps/none/logs") == []


def test_a_sidecar_that_is_not_there(api: httpx.Client, container_of: Make) -> None:
    container_of(**HELLO)
    assert api.get("/v1/containers/job/logs", params={"container": "proxy"}).status_code == 404
    assert text(api, "/v1/containers/job/logs", container="main") == ["one", "two"]


@pytest.mark.parametrize("query", ["since=2026-13-01T00:00:00Z", "since=soon", "tail=-1", "stream=both", "follow=yes"])
def test_what_can_not_be_asked(api: httpx.Client, container_of: Make, query: str) -> None:
    container_of(**HELLO)
    answer = api.get(f"/v1/containers/job/logs?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


@pytest.mark.parametrize(("error", "status"), [(Unavailable("away"), 502), (TimedOut("slow"), 504)])
@pytest.mark.parametrize("follow", [False, True])
def test_a_cluster_that_fails(
    service: Service, api: httpx.Client, container_of: Make, error: Exception, status: int, follow: bool
) -> None:
    container_of(**HELLO)
    service.cluster.faults.fail_next("logs", error)
    answer = api.get("/v1/containers/job/logs", params={"follow": follow})
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["reason"] == "BackendUnreachable"


def test_one_replica_of_many_that_can_not_be_read(service: Service, api: httpx.Client, app_of: Make) -> None:
    app_of(replicas=2, **HELLO)
    service.cluster.faults.fail_next("logs", Unavailable("its host is away"))
    lines = text(api, "/v1/apps/hello/logs")
    assert len(lines) == 3
    assert sum("can't be read: its host is away" in line for line in lines) == 1


def test_following(api: httpx.Client, app_of: Make, outside: Outside) -> None:
    app_of(replicas=2, **HELLO)
    ids = {name: native_id(api, name) for name in ("hello-1", "hello-2")}
    with followed(api, "/v1/apps/hello/logs", tail=0) as lines:
        for name, id in ids.items():
            outside.log(id, f"I am {name}")
            line = next(lines)
            assert (line["container"], line["text"]) == (name, f"I am {name}")


def test_following_replicas_that_come_and_go(api: httpx.Client, app_of: Make, outside: Outside) -> None:
    app_of(**HELLO)
    with followed(api, "/v1/apps/hello/logs") as lines:
        assert [next(lines)["container"] for _ in range(2)] == ["hello-1"] * 2
        api.patch("/v1/apps/hello", json={"replicas": 2}, params={"wait": 20})
        assert [(line["container"], line["text"]) for line in (next(lines), next(lines))] == [
            ("hello-2", "one"),
            ("hello-2", "two"),
        ]
        api.patch("/v1/apps/hello", json={"replicas": 1}, params={"wait": 20})
        outside.log(native_id(api, "hello-1"), "still here")
        assert next(lines)["text"] == "still here"


def test_following_ends_when_the_container_has_ended(api: httpx.Client, container_of: Make) -> None:
    container_of(command=["sh", "-c", "echo one; exit 3"], restart="never")
    with followed(api, "/v1/containers/job/logs") as lines:
        assert [line["text"] for line in lines] == ["one"]


def test_following_ends_when_the_app_is_gone(api: httpx.Client, app_of: Make) -> None:
    app_of(**HELLO)
    with followed(api, "/v1/apps/hello/logs") as lines:
        assert next(lines)["text"] == "one"
        assert api.delete("/v1/apps/hello", params={"wait": 20}).status_code == 204
        assert [line["text"] for line in lines] == ["two"]


def test_following_through_a_restart(api: httpx.Client, container_of: Make) -> None:
    """Each line comes once, though the stream is opened anew when the process runs again."""
    container_of(**HELLO)
    with followed(api, "/v1/containers/job/logs") as lines:
        assert [next(lines)["text"] for _ in range(2)] == ["one", "two"]
        assert api.post("/v1/containers/job/restart", params={"wait": 20}).status_code == 200
        assert [next(lines)["text"] for _ in range(2)] == ["one", "two"]


def test_following_one_that_does_not_run_yet(api: httpx.Client, outside: Outside) -> None:
    body = {"name": "later", "cluster": "here", "image": "web:1", "replicas": 0, **HELLO}
    assert api.post("/v1/apps", json=body, params={"wait": 20}).status_code == 200
    with followed(api, "/v1/apps/later/logs") as lines:
        api.patch("/v1/apps/later", json={"replicas": 1})
        assert next(lines)["text"] == "one"


def test_nothing_is_left_when_the_client_goes(api: httpx.Client, app_of: Make) -> None:
    app_of(replicas=5, **HELLO)
    for _ in range(3):
        with followed(api, "/v1/apps/hello/logs") as lines:
            next(lines)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("logs-")], message="readers remain")
    assert 'zun_coe_http_streams{kind="logs"} 0.0' in api.get("/metrics").text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("90", NOW - timedelta(seconds=90)),
        ("1.5s", NOW - timedelta(seconds=1.5)),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("1d", NOW - timedelta(days=1)),
        ("999999999d", EPOCH),
        ("2026-03-01T12:00:00Z", NOW),
        ("2026-03-01t13:00:00.000000000+01:00", NOW),
        ("99999d", EPOCH),
        ("0001-01-01T00:00:00+14:00", EPOCH),
        ("1752-01-01T00:00:00Z", EPOCH),
        ("9999-12-31T23:59:59-14:00", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_since(given: str, expected: datetime) -> None:
    assert since_of(given, NOW) == expected


def test_since_that_is_no_time() -> None:
    with pytest.raises(Malformed):
        since_of("2026-02-30T00:00:00Z", NOW)
