"""`?wait`: held until it has settled, without a thread, woken by the store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import Image, Outside
from zun_coe.api.wakeups import Wakeups, resource
from zun_coe.store.cache import Update

APP = {"name": "hello", "cluster": "here", "image": "web:1"}
Make = Callable[..., Any]


def test_settled_is_200_with_the_resource_as_it_is_then(api: httpx.Client) -> None:
    answer = api.post("/v1/apps", params={"wait": 20}, json=APP | {"replicas": 2})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    assert answer.headers["Location"].endswith(answer.json()["id"])
    assert (answer.json()["status"]["phase"], answer.json()["status"]["replicas"]["ready"]) == ("Running", 2)


def test_time_is_up_is_202(api: httpx.Client, outside: Outside) -> None:
    outside.set_image("slow:1", Image(pull=3600))
    began = time.monotonic()
    answer = api.post("/v1/apps", params={"wait": 0.5}, json=APP | {"image": "slow:1"})
    assert answer.status_code == 202
    assert time.monotonic() - began >= 0.5


def test_a_failure_is_settled_too(api: httpx.Client, outside: Outside) -> None:
    outside.set_image("sick:1", Image(ready=False))
    body = APP | {"image": "sick:1", "update": {"deadline": 1}}
    answer = api.post("/v1/apps", params={"wait": 20}, json=body)
    assert answer.status_code == 200
    assert answer.json()["status"]["phase"] == "Failed"


class TestWhoOnlyLooks:
    """`?wait` on GET: the same without a write."""

    def test_what_has_settled_is_answered_at_once(self, api: httpx.Client, app_of: Make) -> None:
        app_of()
        answer = api.get("/v1/apps/hello", params={"wait": 3600})
        assert (answer.status_code, answer.json()["status"]["phase"]) == (200, "Running")
        assert answer.headers["ETag"] == '"1"'

    @pytest.mark.parametrize("noun", ["apps", "containers"])
    def test_what_changes_is_answered_when_it_has_settled(self, api: httpx.Client, noun: str) -> None:
        assert api.post(f"/v1/{noun}", json=APP).status_code == 202
        answer = api.get(f"/v1/{noun}/hello", params={"wait": 20})
        assert (answer.status_code, answer.json()["status"]["phase"]) == (200, "Running")

    def test_when_time_is_up_it_is_202(self, api: httpx.Client, outside: Outside) -> None:
        outside.set_image("slow:1", Image(pull=3600))
        api.post("/v1/apps", json=APP | {"image": "slow:1"})
        answer = api.get("/v1/apps/hello", params={"wait": 0.3})
        assert (answer.status_code, answer.json()["name"]) == (202, "hello")
        assert api.get("/v1/apps/hello").status_code == 200

    def test_what_is_being_deleted_is_gone_then(self, service: Service, api: httpx.Client, app_of: Make) -> None:
        app_of()
        service.cluster.faults.hang()
        try:
            assert api.delete("/v1/apps/hello").status_code == 202
            assert api.get("/v1/apps/hello", params={"wait": 0.3}).status_code == 202
        finally:
            service.cluster.faults.resume()
        assert api.get("/v1/apps/hello", params={"wait": 20}).status_code in (204, 404)

    def test_it_needs_no_right_to_write(self, service: Service, project: str, app_of: Make) -> None:
        app_of()
        with service.client(project, roles="reader") as reader:
            assert reader.get("/v1/apps/hello", params={"wait": 5}).status_code == 200

    def test_of_a_cluster_others_see_what_they_see_without_waiting(self, service: Service, other: httpx.Client) -> None:
        shown = other.get("/v1/clusters/here").json()
        waited = other.get("/v1/clusters/here", params={"wait": 5})
        assert waited.status_code == 200
        assert waited.json().keys() == shown.keys()
        assert "endpoint" not in waited.json()

    def test_a_replica_is_shown_as_it_is(self, api: httpx.Client, app_of: Make) -> None:
        app_of()
        assert api.get("/v1/containers/hello-1", params={"wait": 3600}).status_code == 200

    def test_of_what_is_not_there_nothing_is_waited_for(self, api: httpx.Client) -> None:
        assert api.get("/v1/apps/nothing", params={"wait": 3600}).status_code == 404


def test_when_time_is_up_the_state_of_then_is_answered(api: httpx.Client, app_of: Make, outside: Outside) -> None:
    """And not the one from before the write, in which it ran and nothing was wrong."""
    app_of()
    outside.set_image("slow:1", Image(pull=3600))
    answers = [api.patch("/v1/apps/hello", params={"wait": 1}, json={"image": "slow:1"})]
    answers.append(api.post("/v1/apps/hello/restart", params={"wait": 0.5}))
    answers.append(api.put("/v1/apps/hello", params={"wait": 0.5}, json={"image": "slow:1", "cluster": "here"}))
    for answer in answers:
        status = answer.json()["status"]
        assert (answer.status_code, status["phase"], status["reason"]) == (202, "Progressing", "Pulling")
        assert answer.headers["ETag"] == f'"{answer.json()["generation"]}"'


def test_a_reason_that_time_does_not_heal_is_answered_at_once(api: httpx.Client, outside: Outside) -> None:
    outside.set_image("none:1", Image(missing=True))
    answer = api.post("/v1/apps", params={"wait": 20}, json=APP | {"image": "none:1"})
    status = answer.json()["status"]
    assert (answer.status_code, status["phase"], status["reason"]) == (200, "Failed", "ImageNotFound")
    assert answer.elapsed.total_seconds() < 10, "the grace is for others"


def test_a_reason_that_might_go_away_is_answered_after_a_grace(api: httpx.Client) -> None:
    body = APP | {"command": ["false"]}
    began = time.monotonic()
    answer = api.post("/v1/apps", params={"wait": 20, "settle_after": 1}, json=body)
    assert (answer.status_code, answer.json()["status"]["reason"]) == (200, "CrashLoop")
    assert time.monotonic() - began >= 1
    answer = api.post("/v1/apps", params={"wait": 1, "settle_after": 60}, json=body | {"name": "patient"})
    assert answer.status_code == 202


def test_deleted_is_204(api: httpx.Client, app_of: Make) -> None:
    app_of()
    answer = api.delete("/v1/apps/hello", params={"wait": 20})
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get("/v1/apps/hello").status_code == 404


def test_deleted_while_it_is_waited_for(api: httpx.Client, outside: Outside) -> None:
    outside.set_image("never:1", Image(pull=3600))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(api.post, "/v1/apps", params={"wait": 20}, json=APP | {"image": "never:1"})
        wait_until(lambda: api.get("/v1/apps/hello").status_code == 200)
        assert api.delete("/v1/apps/hello", params={"wait": 20}).status_code == 204
        assert waiting.result().status_code == 404


def test_many_wait_and_hold_no_thread(service: Service, project: str, api: httpx.Client, outside: Outside) -> None:
    """More waiters than there are threads, and plain requests are answered beside them at once."""
    outside.set_image("later:1", Image(pull=3))
    threads = threading.active_count()
    names = [f"w{n}" for n in range(100)]

    async def wait_for_all() -> list[int]:
        headers = dict(api.headers)
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=service.server.url, headers=headers, limits=limits, trust_env=False, timeout=60
        ) as client:
            posts = [
                client.post("/v1/apps", params={"wait": 20}, json=APP | {"name": n, "image": "later:1"}) for n in names
            ]
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(asyncio.run, wait_for_all())
        wait_until(lambda: len(api.get("/v1/apps").json()["apps"]) == len(names))
        assert threading.active_count() < threads + len(names)
        assert api.get("/healthz").status_code == 200
        assert not waiting.done(), "nobody has to wait for those who wait"
        assert waiting.result() == [200] * len(names)


@pytest.mark.parametrize("keys", [[("app", "1")], [("app", "1"), ("app", "2")]])
def test_nobody_is_kept_who_has_left(keys: list[tuple[str, str]]) -> None:
    wakeups = Wakeups()

    async def come_and_go() -> None:
        with wakeups.waiting(*(resource(*key) for key in keys)):
            assert len(wakeups) == 1

    asyncio.run(come_and_go())
    assert len(wakeups) == 0


def test_a_wake_up_between_two_waits_is_not_lost() -> None:
    wakeups = Wakeups()

    async def wait_twice() -> list[bool]:
        with wakeups.waiting(resource("app", "1")) as waiter:
            wakeups.listener(1, [Update("status/app/p/1", None, None)])
            return [await waiter.wait(5), await waiter.wait(0)]

    assert asyncio.run(wait_twice()) == [True, False]


def test_only_what_is_waited_for_wakes() -> None:
    wakeups = Wakeups()

    async def wait_for_another() -> bool:
        with wakeups.waiting(resource("app", "1")) as waiter:
            wakeups.listener(1, [Update("status/app/p/2", None, None), Update("meta/x", None, None)])
            return await waiter.wait(0.01)

    assert not asyncio.run(wait_for_another())
