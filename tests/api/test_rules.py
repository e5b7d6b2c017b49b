"""What the API promises of every resource, seen through HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.conftest import Service
from tests.real.waiting import wait_until

APP = {"name": "hello", "cluster": "here", "image": "web:1"}
Make = Callable[..., Any]


def test_versions_are_found_without_credentials(api: httpx.Client) -> None:
    [version] = api.get("/").json()["versions"]
    assert version["status"] == "CURRENT"
    links = {link["rel"]: link["href"] for link in version["links"]}
    assert api.get(links["describedby"]).json()["openapi"].startswith("3.0")
    assert api.get(links["self"]).json() == {"version": version}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/openapi.json", "/v1/ui/"])
def test_those_who_look_after_it_are_answered(api: httpx.Client, path: str) -> None:
    assert api.get(path).status_code == 200


def test_the_document_keeps_the_names_of_schemas(api: httpx.Client) -> None:
    paths = api.get("/v1/openapi.json").json()["paths"]
    schema = paths["/v1/apps"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/AppCreate"}


def test_metrics_tell_of_the_store_and_of_what_there_is(api: httpx.Client, app_of: Make) -> None:
    app_of()
    told = api.get("/metrics").text
    assert 'zun_coe_resources{noun="app",phase="Running"}' in told
    assert re.search(r'zun_coe_cluster_reachable\{cluster="[-0-9a-f]{36}"\} 1\.0', told)
    assert "zun_coe_store_age_seconds" in told


@pytest.mark.parametrize("path", ["/v1/events", "/v1/apps/hello/logs?follow=true"])
def test_head_of_a_stream_ends(api: httpx.Client, app_of: Make, path: str) -> None:
    app_of()
    for _ in range(2):
        answer = api.head(path, headers={"Accept": "text/event-stream"})
        assert (answer.status_code, answer.content) == (200, b"")


def test_metrics_name_projects_to_operators_only(service: Service, api: httpx.Client, project: str) -> None:
    named = 'zun_coe_cluster_reachable{cluster="here",project="operators"} 1.0'
    token = {"X-Auth-Token": "t"}
    assert named in api.get("/metrics", headers=token).text
    with service.client(project, roles="member") as member:
        for told in (api.get("/metrics"), member.get("/metrics"), member.get("/metrics", headers=token)):
            assert told.status_code == 200
            assert "operators" not in told.text
            assert "project=" not in told.text


def test_metrics_count_requests_by_operation(api: httpx.Client) -> None:
    api.get("/v1/apps")
    counted = 'zun_coe_http_requests_total{operation="apps.list",status="200"}'
    # a request is counted once its last byte is out, which may be after the client has it
    wait_until(lambda: counted in api.get("/metrics").text)


def test_metrics_tell_of_clusters_queues_and_the_store(api: httpx.Client, app_of: Make) -> None:
    app_of()
    told = api.get("/metrics").text
    for name in ("reconcile_seconds_bucket", "backend_seconds_bucket", "queue_depth", "watches_total"):
        assert re.search(rf'zun_coe_{name}{{[^}}]*cluster="here"', told), name
    assert 'zun_coe_store_seconds_count{call="transact"}' in told
    assert re.search(r"^zun_coe_owned_clusters [1-9]", told, re.MULTILINE)


@pytest.mark.parametrize("path", ["/", "/v1/apps", "/v1/apps/none", "/v1/nothing", "/v1/ui/", "/v1/apps?limit=x"])
def test_every_response_has_a_request_id(api: httpx.Client, path: str) -> None:
    assert re.fullmatch(r"req-[0-9a-f-]{36}", api.get(path).headers["X-Openstack-Request-Id"])


ERRORS = [("GET", "/v1/apps/nowhere", {}), ("GET", "/nowhere", {}), ("PUT", "/v1/apps", {})]
ERRORS += [("GET", "/v1/apps", {"params": {"limit": "x"}}), ("POST", "/v1/apps", {"content": "a" * 300_000})]


@pytest.mark.parametrize(("method", "path", "more"), ERRORS, ids=[f"{m} {p}" for m, p, _ in ERRORS])
def test_errors_tell_their_request_id(api: httpx.Client, method: str, path: str, more: Any) -> None:
    answer = api.request(method, path, **more)
    assert answer.is_client_error
    assert answer.json()["request_id"] == answer.headers["X-Openstack-Request-Id"]


def test_a_valid_request_id_is_kept_and_is_told_by_events(api: httpx.Client) -> None:
    given = f"req-{uuid4()}"
    answer = api.post("/v1/secrets", json={"name": "s", "data": {"a": "b"}}, headers={"X-Openstack-Request-Id": given})
    assert answer.headers["X-Openstack-Request-Id"] == given
    assert api.get("/v1/events").json()["events"][-1]["request_id"] == given


@pytest.mark.parametrize("given", ["req-1", "x" * 300, "req-" + "g" * 36])
def test_a_strange_request_id_is_replaced(api: httpx.Client, given: str) -> None:
    assert api.get("/", headers={"X-Openstack-Request-Id": given}).headers["X-Openstack-Request-Id"] != given


def test_a_write_is_accepted_and_tells_where_it_is(api: httpx.Client) -> None:
    answer = api.post("/v1/apps", json=APP)
    assert answer.status_code == 202
    assert answer.headers["ETag"] == '"1"'
    assert api.get(answer.headers["Location"]).json()["name"] == "hello"
    assert answer.json()["status"]["phase"] == "Pending"


def test_defaults_are_written_into_the_resource(api: httpx.Client) -> None:
    shown = api.post("/v1/apps", json=APP | {"health": {"tcp": {"port": 80}}}).json()
    told = {k: shown[k] for k in ("replicas", "pull", "restart", "stop_timeout", "desired_state")}
    assert told == {
        "replicas": 1,
        "pull": "missing",
        "restart": "always",
        "stop_timeout": 10,
        "desired_state": "running",
    }
    assert {k: shown["health"][k] for k in ("interval", "timeout", "retries", "start_period")} == {
        "interval": 10,
        "timeout": 5,
        "retries": 3,
        "start_period": 0,
    }
    assert shown["update"] == {
        "strategy": "rolling",
        "max_surge": 1,
        "max_unavailable": 0,
        "min_ready": 0,
        "deadline": 600,
        "paused": False,
        "on_failure": "pause",
    }


def test_by_name_and_by_id(api: httpx.Client, app_of: Make) -> None:
    app = app_of()
    assert api.get("/v1/apps/hello").json()["id"] == api.get(f"/v1/apps/{app['id']}").json()["id"] == app["id"]


def test_get_edit_put(api: httpx.Client, app_of: Make) -> None:
    app = app_of(env={"A": "1"}, ports=[{"port": 80}])
    answer = api.put("/v1/apps/hello", json=app | {"replicas": 2})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["replicas"], answer.json()["env"], answer.json()["id"]) == (2, {"A": "1"}, app["id"])


def test_what_looks_like_an_id_names_nothing(api: httpx.Client) -> None:
    """An id that is no more creates nothing, and no name hides behind the id of something else."""
    id = "abcdef01-2345-4789-8abc-def012345678"
    body = {"cluster": "here", "image": "web:1"}
    assert api.put(f"/v1/apps/{id}", json=body).status_code == 404
    for path, more in (("apps", body), ("containers", body), ("secrets", {"data": {"a": "b"}})):
        refused = api.post(f"/v1/{path}", json=more | {"name": id})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/name"), refused.text
    assert api.get("/v1/apps").json() == {"apps": []}


def test_get_edit_put_keeps_losses_that_were_accepted_and_did_not_happen(api: httpx.Client, app_of: Make) -> None:
    app_of(accept_loss=["/gpu"])
    seen = api.get("/v1/apps/hello")
    assert seen.json()["accept_loss"] == ["/gpu"]
    assert "lost" not in seen.json()
    again = api.put("/v1/apps/hello", json=seen.json())
    assert (again.headers["ETag"], again.json()["accept_loss"]) == (seen.headers["ETag"], ["/gpu"])


def test_put_creates_and_then_replaces_all(api: httpx.Client) -> None:
    first = api.put("/v1/apps/web", json={"cluster": "here", "image": "web:1", "labels": {"a": "b"}})
    second = api.put("/v1/apps/web", json={"cluster": "here", "image": "web:2"})
    assert (first.status_code, second.status_code) == (202, 202)
    assert (second.json()["id"], second.json()["labels"], second.headers["ETag"]) == (first.json()["id"], {}, '"2"')


def test_put_of_the_same_again_is_no_write(api: httpx.Client) -> None:
    body = {"cluster": "here", "image": "web:1"}
    assert [api.put("/v1/apps/web", json=body).headers["ETag"] for _ in range(2)] == ['"1"', '"1"']


def test_only_create_with_if_none_match(api: httpx.Client) -> None:
    body = {"cluster": "here", "image": "web:1"}
    only_new = {"If-None-Match": "*"}
    assert api.put("/v1/apps/web", json=body, headers=only_new).status_code == 202
    assert api.put("/v1/apps/web", json=body, headers=only_new).status_code == 412


def test_only_change_what_was_seen_with_if_match(api: httpx.Client, app_of: Make) -> None:
    app_of()
    assert api.patch("/v1/apps/hello", json={"replicas": 2}, headers={"If-Match": '"7"'}).status_code == 412
    answer = api.patch("/v1/apps/hello", json={"replicas": 2}, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.headers["ETag"]) == (202, '"2"')
    assert api.delete("/v1/apps/hello", headers={"If-Match": '"1"'}).status_code == 412


def test_if_match_never_creates(api: httpx.Client) -> None:
    answer = api.put("/v1/apps/web", json={"cluster": "here", "image": "web:1"}, headers={"If-Match": "*"})
    assert answer.status_code == 412
    assert api.get("/v1/apps/web").status_code == 404


@pytest.mark.parametrize(
    "kind", ["application/json", "application/merge-patch+json", "Application/JSON; charset=UTF-8"]
)
def test_a_merge_patch(api: httpx.Client, app_of: Make, kind: str) -> None:
    app_of(env={"A": "1", "B": "2"}, memory="64Mi")
    answer = api.patch(
        "/v1/apps/hello", content=b'{"env": {"A": null, "C": "3"}, "memory": null}', headers={"Content-Type": kind}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["env"] == {"B": "2", "C": "3"}
    assert "memory" not in answer.json()


def test_a_body_without_a_content_type_is_json(api: httpx.Client, app_of: Make) -> None:
    app_of()
    assert api.patch("/v1/apps/hello", content=b'{"replicas": 2}').json()["replicas"] == 2


def test_a_body_in_chunks(api: httpx.Client) -> None:
    parts = iter([b'{"name": "web", "cluster"', b': "here", "image": "web:1"}'])
    answer = api.post("/v1/apps", content=parts, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("image", ["H1/App", "http://r.example/web:1", "web:", "a//b", "r.example/" + "w" * 256])
def test_an_image_that_no_registry_could_have_is_refused_at_once(api: httpx.Client, app_of: Make, image: str) -> None:
    sidecar = {"name": "proxy", "image": image}
    for body in (APP | {"image": image}, APP | {"sidecars": [sidecar]}):
        answer = api.post("/v1/apps", json=body)
        pointers = [error["pointer"] for error in answer.json()["errors"]]
        assert (answer.status_code, pointers) == (422, ["/sidecars/0/image" if "sidecars" in body else "/image"])
    assert api.get("/v1/apps").json()["apps"] == [], "nothing is stored"
    app_of()
    assert api.patch("/v1/apps/hello", json={"image": image}).status_code == 422


@pytest.mark.parametrize("field", ["name", "cluster"])
def test_what_can_not_change(api: httpx.Client, app_of: Make, field: str) -> None:
    app_of()
    answer = api.patch("/v1/apps/hello", json={field: "elsewhere"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{field}")


def test_the_same_idempotency_key_gives_the_same_answer(api: httpx.Client) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first, second = (api.post("/v1/apps", json=APP, headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.content == second.content
    assert first.headers["Location"] == second.headers["Location"]
    assert api.post("/v1/apps", json=APP | {"replicas": 2}, headers=key).status_code == 422
    assert len(api.get("/v1/apps").json()["apps"]) == 1


def test_a_key_that_is_forgotten_by_somebody_else_at_the_same_time(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = service.process.gateway._tools.writer
    forget = writer._store.delete

    def after_somebody_else(key: str, expected: int) -> int:
        forget(key, expected)
        return forget(key, expected)

    key = {"Idempotency-Key": str(uuid4())}
    assert api.post("/v1/apps", json=APP, headers=key).status_code == 202
    monkeypatch.setattr(writer, "_settings", replace(service.process.settings, idempotency_age=0.0))
    monkeypatch.setattr(writer._store, "delete", after_somebody_else)
    answer = api.post("/v1/apps", json=APP | {"name": "second"}, headers=key)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(("first", "second"), [("apps", "containers"), ("containers", "apps")])
def test_an_app_and_a_container_never_have_the_same_name(
    api: httpx.Client, other: httpx.Client, first: str, second: str
) -> None:
    body = APP | {"name": "db"}
    assert api.post(f"/v1/{first}", json=body).status_code == 202
    answer = api.post(f"/v1/{second}", json=body)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (409, "name-taken")
    assert answer.json()["errors"][0]["pointer"] == "/name"
    assert first[:-1] in answer.json()["detail"]
    assert other.post(f"/v1/{second}", json=body).status_code == 202
    assert api.delete(f"/v1/{first}/db", params={"wait": 20}).status_code == 204
    assert api.post(f"/v1/{second}", json=body).status_code == 202


def test_of_an_app_and_a_container_that_are_created_at_once_one_gets_the_name(
    api: httpx.Client,
) -> None:
    def create(attempt: int) -> int:
        noun = "apps" if attempt % 2 else "containers"
        return api.post(f"/v1/{noun}", json=APP | {"name": f"db{attempt // 2}"}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(24)))
    assert [sorted(answers[n : n + 2]) for n in range(0, 24, 2)] == [[202, 409]] * 12


def test_a_name_is_taken_once(api: httpx.Client, other: httpx.Client) -> None:
    assert api.post("/v1/apps", json=APP).status_code == 202
    answer = api.post("/v1/apps", json=APP)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (409, "name-taken")
    assert other.post("/v1/apps", json=APP).status_code == 202


def test_pages(api: httpx.Client) -> None:
    for number in range(5):
        api.post("/v1/secrets", json={"name": f"s{number}", "data": {"a": "b"}})
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2, "sort": "-name"}
    while True:
        page = api.get("/v1/secrets", params=params).json()
        seen += [s["name"] for s in page["secrets"]]
        if "next" not in page:
            break
        params["marker"] = page["next"]
    assert seen == ["s4", "s3", "s2", "s1", "s0"]


def test_filters(api: httpx.Client) -> None:
    api.post("/v1/apps", json=APP | {"labels": {"tier": "web", "team": "x"}})
    api.post("/v1/apps", json=APP | {"name": "db", "labels": {"tier": "data"}})

    def found(**params: Any) -> list[str]:
        return [a["name"] for a in api.get("/v1/apps", params=params).json()["apps"]]

    assert found(label="tier=web") == ["hello"]
    assert found(label="tier") == ["hello", "db"]
    assert found(label="tier=web,team=y") == []
    assert found(name="db") == ["db"]
    assert found(cluster="here", sort="-created_at") == ["db", "hello"]
    assert found(cluster="nowhere") == []
    assert found(phase="Failed") == []


def test_other_projects_are_not_seen(api: httpx.Client, other: httpx.Client, app_of: Make) -> None:
    app = app_of()
    assert other.get(f"/v1/apps/{app['id']}").status_code == 404
    assert other.patch(f"/v1/apps/{app['id']}", json={"replicas": 0}).status_code == 404
    assert other.delete("/v1/apps/hello").status_code == 404
    assert other.get("/v1/apps").json() == {"apps": []}
    assert other.get(f"/v1/apps/{app['id']}/logs").status_code == 404
    assert other.get("/v1/apps?all_projects=true").status_code == 403
    everything = api.get("/v1/apps", params={"all_projects": True, "name": "hello"}).json()["apps"]
    assert app["id"] in [a["id"] for a in everything]


def test_a_public_cluster_shows_others_how_to_use_it_and_not_how_it_is_reached(service: Any, project: str) -> None:
    inside, outside = service.client("operators", roles="member"), service.client(project, roles="member")
    with inside, outside:
        whole = inside.get("/v1/clusters/here").json()
        assert {"endpoint", "has_credentials"} <= whole.keys()
        assert "identity" in whole["status"]
        answers = [outside.get(f"/v1/clusters/{ref}").json() for ref in ("here", whole["id"])]
        answers += [outside.get("/v1/clusters/here", params={"wait": 5}).json()]
        answers += [c for c in outside.get("/v1/clusters").json()["clusters"] if c["name"] == "here"]
        assert len(answers) == 4
        for shown in answers:
            assert [shown[k] for k in ("id", "name", "kind", "public")] == [whole["id"], "here", whole["kind"], True]
            assert shown["status"]["phase"] == "Ready"
            assert not shown.keys() & {"endpoint", "node_endpoint", "hosts", "namespace", "machine", "has_credentials"}
            assert not shown["status"].keys() & {"identity", "message", "evidence"}
            assert all(
                node.keys() <= {"name", "labels", "schedulable", "reachable"} for node in shown["status"]["nodes"]
            )
        capabilities = outside.get("/v1/clusters/here/capabilities").json()
        assert capabilities == inside.get("/v1/clusters/here/capabilities").json()


def test_a_reader_only_looks(service: Any, project: str, app_of: Make) -> None:
    app_of()
    with service.client(project, roles="reader") as reader:
        assert reader.get("/v1/apps/hello").status_code == 200
        assert reader.patch("/v1/apps/hello", json={"replicas": 0}).status_code == 403


def test_somebody_unknown_is_not_answered(service: Any) -> None:
    with service.client("p", roles="king") as nobody:
        answer = nobody.get("/v1/apps")
    assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json")


@pytest.mark.parametrize("project", ["a/b", "", "..", "x" * 65])
def test_a_project_that_is_none(service: Any, project: str) -> None:
    with service.client(project) as nobody:
        assert nobody.get("/v1/apps").status_code == 401


def test_replicas_are_containers_of_their_app(api: httpx.Client, app_of: Make) -> None:
    app_of(replicas=3)
    replicas = api.get("/v1/apps/hello/containers").json()["containers"]
    assert sorted(r["name"] for r in replicas) == ["hello-1", "hello-2", "hello-3"]
    assert {r["app"] for r in replicas} == {"hello"}
    answer = api.post(f"/v1/containers/{replicas[0]['id']}/stop")
    assert answer.status_code == 409
    assert "app" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("start", "Start the app (desired_state: running)"),
        ("stop", "Stop the app (desired_state: stopped)"),
        ("restart", "Restart the app"),
        ("pause", "Only containers of their own can be paused"),
        ("unpause", "Only containers of their own can be paused"),
    ],
)
def test_what_a_replica_refuses_is_told_as_what_its_app_can(
    api: httpx.Client, app_of: Make, action: str, words: str
) -> None:
    app_of()
    refused = api.post(f"/v1/containers/hello-1/{action}")
    assert (refused.status_code, words in refused.json()["detail"]) == (409, True), refused.text
    paused = api.patch("/v1/apps/hello", json={"desired_state": "paused"}).json()
    assert "only containers of their own can be paused" in paused["detail"]


def test_revisions_and_rollback(api: httpx.Client, app_of: Make) -> None:
    app_of()
    api.patch("/v1/apps/hello", json={"image": "web:2"}, params={"wait": 20})
    answer = api.post("/v1/apps/hello/rollback", json={"revision": 1}, params={"wait": 20})
    assert (answer.status_code, answer.json()["image"]) == (200, "web:1")
    revisions = api.get("/v1/apps/hello/revisions", params={"limit": 2}).json()
    assert [r["revision"] for r in revisions["revisions"]] == [3, 2]
    rest = api.get("/v1/apps/hello/revisions", params={"marker": revisions["next"]}).json()
    assert [r["revision"] for r in rest["revisions"]] == [1]


def test_restart_and_diagnosis(api: httpx.Client, app_of: Make) -> None:
    app_of()
    assert api.post("/v1/apps/hello/restart", params={"wait": 20}).status_code == 200
    told = api.get("/v1/apps/hello/diagnosis").json()
    assert (told["phase"], told["healthy"]) == ("Running", True)


def test_actions_of_a_container(api: httpx.Client, container_of: Make) -> None:
    container_of()
    phases = []
    for action in ("stop", "start", "pause", "unpause", "restart"):
        answer = api.post(f"/v1/containers/job/{action}", params={"wait": 20})
        assert answer.status_code == 200, answer.text
        phases.append(answer.json()["status"]["phase"])
    assert phases == ["Stopped", "Running", "Paused", "Running", "Running"]
    assert api.post("/v1/containers/job/unpause").status_code == 409


def test_kill(api: httpx.Client, container_of: Make) -> None:
    container_of()
    assert api.post("/v1/containers/job/kill", params={"signal": "SIGHUP"}).status_code == 202
    assert api.post("/v1/containers/job/kill", params={"signal": "SIGNOTHING"}).status_code in (400, 422)


def test_secrets_are_never_shown(api: httpx.Client) -> None:
    answer = api.post("/v1/secrets", json={"name": "s", "data": {"password": "correct-horse"}})
    assert (answer.status_code, answer.json()["keys"]) == (201, ["password"])
    for path in ("/v1/secrets", "/v1/secrets/s", "/v1/events"):
        assert "correct-horse" not in api.get(path).text
    assert api.delete("/v1/secrets/s").status_code == 204
    assert api.get("/v1/secrets/s").status_code == 404


def test_volumes_outlive_what_mounts_them(api: httpx.Client, app_of: Make) -> None:
    app_of(mounts=[{"path": "/data", "volume": {"name": "data"}}])
    assert api.get("/v1/volumes/data").json()["used_by"] == ["hello"]
    assert api.delete("/v1/volumes/data").status_code == 409
    assert api.delete("/v1/apps/hello", params={"wait": 20}).status_code == 204
    assert api.get("/v1/volumes").json()["volumes"][0]["name"] == "data"
    assert api.delete("/v1/volumes/data", params={"wait": 20}).status_code == 204


def test_capabilities(api: httpx.Client) -> None:
    told = api.get("/v1/clusters/here/capabilities").json()
    assert told["described"]
    assert "/image" in [f["pointer"] for f in told["fields"]]
    assert "logs" in [o["name"] for o in told["operations"]]


def test_a_cluster_in_use_is_not_removed(service: Any, app_of: Make) -> None:
    app_of()
    with service.client("operators") as operators:
        answer = operators.delete("/v1/clusters/here")
    assert answer.status_code == 409


def test_services_are_for_admins(api: httpx.Client, other: httpx.Client) -> None:
    [process] = api.get("/v1/services").json()["services"]
    assert process["role"] == "serve"
    assert other.get("/v1/services").status_code == 403


def test_asking_the_store_itself(api: httpx.Client, app_of: Make) -> None:
    app_of()
    assert api.get("/v1/apps/hello", headers={"Cache-Control": "no-cache"}).status_code == 200


def test_a_volume_is_as_large_as_the_largest_size_that_is_named(api: httpx.Client, app_of: Make) -> None:
    """It grows with whoever names more, and what names less or nothing changes nothing."""

    def mounts(**more: str) -> list[Any]:
        return [{"path": "/data", "volume": {"name": "shared"} | more}]

    def size() -> Any:
        return api.get("/v1/volumes/shared").json().get("size")

    app_of(name="first", mounts=mounts())
    assert size() is None
    app_of(name="second", mounts=mounts(size="2Gi"), accept_loss=["/mounts/0/volume/size"])
    assert size() == "2Gi"
    app_of(name="third", mounts=mounts(size="1Gi"), accept_loss=["/mounts/0/volume/size"])
    assert size() == "2Gi"
