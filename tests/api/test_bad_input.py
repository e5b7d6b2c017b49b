"""What is wrong is refused with the right status, a pointer and a sentence; nothing is stored, nothing breaks."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.conftest import Service
from zun_coe.api import reading

APP: dict[str, Any] = {"name": "hello", "cluster": "here", "image": "web:1"}
HEALTH = {"http": {"port": 80}}

# The fields that are added to a good app, the status, the pointer, and words of the sentence.
WRONG = [
    ({"replica": 3}, 400, "/replica", 'did you mean "replicas"'),
    ({"template": {}}, 400, "/template", "unknown field"),
    ({"replicas": "3"}, 400, "/replicas", 'must be a whole number, not "3"'),
    ({"replicas": 1.5}, 400, "/replicas", "must be a whole number, not 1.5"),
    ({"replicas": True}, 400, "/replicas", "must be a whole number, not true"),
    ({"replicas": None}, 400, "/replicas", "not null"),
    ({"replicas": -1}, 400, "/replicas", "at least 0, not -1"),
    ({"replicas": 10**18}, 400, "/replicas", "at most 1000"),
    ({"name": "Hello"}, 400, "/name", "lower-case letters"),
    ({"name": "a" * 64}, 400, "/name", "at most 63"),
    ({"name": "hello\n"}, 400, "/name", "lower-case letters"),
    ({"name": ""}, 400, "/name", "at least 1 character"),
    ({"image": "a b"}, 400, "/image", "an image as registries name it"),
    ({"image": 5}, 400, "/image", "must be text, not 5"),
    ({"pull": "sometimes"}, 400, "/pull", "one of always, missing, never"),
    ({"command": []}, 400, "/command", "at least 1 entry"),
    ({"mounts": [{"volume": "v", "path": "/v"}]}, 400, "/mounts/0/volume", 'must be an object with name, not "v"'),
    ({"command": "sh -c true"}, 400, "/command", "must be a list"),
    ({"args": [1]}, 400, "/args/0", "must be text"),
    ({"args": ["a\x00"]}, 400, "/args/0", "NUL"),
    ({"env": {"1A": "x"}}, 400, "/env/1A", "no name that can be used here"),
    ({"env": {"A": 1}}, 400, "/env/A", "must be text, not 1"),
    ({"env": {"A/B~C": "x"}}, 400, "/env/A~1B~0C", "no name"),
    ({"env_secrets": {"A": "x"}}, 400, "/env_secrets/A", "a secret and a key"),
    ({"env_secrets": {"A": "none/key"}}, 422, "/env_secrets/A", "there is no secret none"),
    ({"image_auth": "none"}, 422, "/image_auth", "There is no secret none"),
    ({"workdir": "srv"}, 400, "/workdir", "an absolute path"),
    ({"user": "a b"}, 400, "/user", "a user's name or number"),
    ({"ports": [{"port": 0}]}, 400, "/ports/0/port", "at least 1"),
    ({"ports": [{"port": 65536}]}, 400, "/ports/0/port", "at most 65535"),
    ({"ports": [{}]}, 400, "/ports/0/port", "is required"),
    ({"ports": [{"port": 80, "publish": "yes"}]}, 400, "/ports/0/publish", "auto, or a number"),
    ({"ports": [{"port": 80, "protocol": "sctp"}]}, 400, "/ports/0/protocol", "one of tcp, udp"),
    ({"ports": [{"port": 80}, {"port": 80}]}, 422, "/ports/1/port", "twice"),
    ({"ports": [{"port": 1, "publish": 9}, {"port": 2, "publish": 9}]}, 422, "/ports/1/publish", "twice"),
    ({"ports": {"port": 80}}, 400, "/ports", "must be a list, not an object"),
    ({"cpu": 0}, 400, "/cpu", "at least 0.001"),
    ({"cpu": 1e300}, 400, "/cpu", "at most 1024"),
    ({"cpu": "500m"}, 400, "/cpu", "must be a number"),
    ({"memory": "128m"}, 400, "/memory", "a number with Ki, Mi or Gi"),
    ({"memory": 128}, 400, "/memory", "must be text"),
    ({"health": None}, 400, "/health", "must be an object, not null"),
    ({"health": {}}, 400, "/health", "exactly one of http, tcp and exec; it has none of them"),
    ({"health": {**HEALTH, "tcp": {"port": 80}}}, 400, "/health", "it has http and tcp"),
    ({"health": {"http": {"port": 80, "path": "x"}}}, 400, "/health/http/path", "begins with a slash"),
    ({"health": {**HEALTH, "intervall": 3}}, 400, "/health/intervall", 'did you mean "interval"'),
    ({"mounts": [{"path": "/a"}]}, 400, "/mounts/0", "exactly one of volume, bind and tmpfs"),
    ({"mounts": [{"path": "/a", "bind": "/b", "tmpfs": {}}]}, 400, "/mounts/0", "it has bind and tmpfs"),
    ({"mounts": [{"path": "/a", "tmpfs": {}}, {"path": "/a", "tmpfs": {}}]}, 422, "/mounts/1/path", "twice"),
    ({"restart": "never"}, 422, "/restart", "restart is always"),
    ({"desired_state": "paused"}, 422, "/desired_state", "running or stopped"),
    ({"stop_timeout": 3601}, 400, "/stop_timeout", "at most 3600"),
    ({"stop_signal": "TERM"}, 400, "/stop_signal", "SIGTERM"),
    ({"update": {"max_surge": "25"}}, 400, "/update/max_surge", "a share such as 25%"),
    ({"update": {"max_surge": 0}}, 422, "/update/max_unavailable", "both 0"),
    ({"networks": ["a", "a"]}, 400, "/networks", "twice"),
    ({"networks": ["host"]}, 422, "/networks", "operator"),
    ({"labels": {"a": ["b"]}}, 400, "/labels/a", "must be text, not a list"),
    ({"sidecars": [{"name": "x"}]}, 400, "/sidecars/0/image", "is required"),
    ({"cluster": "nowhere"}, 422, "/cluster", "There is no cluster nowhere"),
]


@pytest.mark.parametrize(("fields", "status", "pointer", "words"), WRONG, ids=[w[2] + " " + w[3][:20] for w in WRONG])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_field_that_is_wrong(
    api: httpx.Client, method: str, fields: dict[str, Any], status: int, pointer: str, words: str
) -> None:
    body = APP | fields
    path = "/v1/apps" if method == "POST" else "/v1/apps/hello"
    if method == "PUT" and "name" in fields:
        status = 400
    answer = api.request(method, path, json=body)
    told = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), told
    assert [pointer] == [e["pointer"] for e in told["errors"]], told
    assert words in told["errors"][0]["detail"]
    assert api.get("/v1/apps").json() == {"apps": []}
    assert api.get("/v1/events").json() == {"events": []}


def test_all_that_is_wrong_is_told_at_once(api: httpx.Client) -> None:
    told = api.post("/v1/apps", json={"name": "A", "replica": 1, "ports": [{"port": 0}]}).json()
    assert {e["pointer"] for e in told["errors"]} == {"/name", "/replica", "/ports/0/port", "/image"}
    assert told["detail"].endswith("And 3 more.")


@pytest.mark.parametrize(
    ("patch", "status", "pointer"),
    [
        ({"replicas": -1}, 400, "/replicas"),
        ({"replica": 1}, 400, "/replica"),
        ({"image": None}, 400, "/image"),
        ({"health": {"tcp": {"port": 80}}}, 422, "/health"),
        ({"ports": [{"port": 80}, {"port": 80}]}, 422, "/ports/1/port"),
    ],
)
def test_a_patch_that_is_wrong(api: httpx.Client, patch: dict[str, Any], status: int, pointer: str) -> None:
    api.post("/v1/apps", json=APP | {"health": HEALTH})
    answer = api.patch("/v1/apps/hello", json=patch)
    assert answer.status_code == status, answer.text
    assert pointer in [e["pointer"] for e in answer.json()["errors"]]
    assert api.get("/v1/apps/hello").headers["ETag"] == '"1"'


# Bodies that are no JSON that could be taken, with the words that tell so.
BROKEN = [
    (b"", "needed"),
    (b"{", "no JSON"),
    (b"{'name': 1}", "no JSON"),
    (b'{"a": 1} x', "no JSON"),
    (b'{"name": "a", "name": "b"}', "twice"),
    (b'{"env": {"A": "1", "A": "2"}}', "twice"),
    (b'{"replicas": NaN}', "no number"),
    (b'{"replicas": Infinity}', "no number"),
    (b'{"replicas": ' + b"9" * 5000 + b"}", "too long"),
    (b'{"name": "\xff"}', "UTF-8"),
    (b'\xef\xbb\xbf{"name": "a"}', "no JSON"),
    (json.dumps(APP).encode("utf-16"), "UTF-8"),
    (b'{"image": "\\ud800"}', "surrogate"),
    (b'{"\\udfff": 1}', "surrogate"),
    (b'{"\\udfff": 1, "\\udfff": 2}', "in one object twice"),
    (b"[" * 40 + b"]" * 40, "nested"),
    (b"[" * 20_000, "nested"),
    (b"[" * 30_001, "values"),
    (b'{"a":' * 20_000, "nested"),
    (b"null", ", not null."),
    (b"[]", "must be an object"),
    (b'"x"', ', not "x".'),
    (b"1e400", "must be an object"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN, ids=[repr(b[0][:12]) for b in BROKEN])
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/apps"), ("PUT", "/v1/apps/a"), ("PATCH", "/v1/apps/a")])
def test_a_body_that_is_broken(api: httpx.Client, method: str, path: str, content: bytes, words: str) -> None:
    answer = api.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


def test_a_body_that_is_too_large(api: httpx.Client) -> None:
    content = json.dumps(APP | {"env": {f"V{i}": "x" * 30_000 for i in range(8)}}).encode()
    declared = api.post("/v1/apps", content=content, headers={"Content-Type": "application/json"})
    chunked = api.post("/v1/apps", content=iter([content]), headers={"Content-Type": "application/json"})
    assert [declared.status_code, chunked.status_code] == [413, 413]
    assert declared.json()["type"].endswith("/body-too-large")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/merge-patch+json", "application/jsonx"])
def test_a_content_type_that_is_not_taken(api: httpx.Client, kind: str) -> None:
    answer = api.post("/v1/apps", content=json.dumps(APP), headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["Content-Type"]) == (415, "application/problem+json")
    told = f"The body is sent as {kind}, which is not taken here; send JSON, with the header Content-Type: "
    assert answer.json()["detail"] == told + "application/json."


def test_a_form_as_curl_sends_it_by_itself(api: httpx.Client) -> None:
    api.post("/v1/apps", json=APP)
    answer = api.patch("/v1/apps/hello", data={"replicas": "2"})
    assert answer.json()["detail"].endswith("Content-Type: application/merge-patch+json or application/json.")


def test_an_encoding_that_is_not_taken(api: httpx.Client) -> None:
    kind = {"Content-Type": "application/json; charset=utf-16"}
    assert api.post("/v1/apps", content=json.dumps(APP).encode("utf-16"), headers=kind).status_code == 415


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=1001", "/limit"),
        ("limit=x", "/limit"),
        ("limit=1_0", "/limit"),
        ("limit=%D9%A3", "/limit"),
        ("limit=" + "9" * 5000, "/limit"),
        ("limit=", "/limit"),
        ("sort=image", "/sort"),
        ("all_projects=maybe", "/all_projects"),
        ("marker=none", "/marker"),
        ("phase=Good", "/phase"),
        ("labels=a", "/labels"),
        ("label=,", "/label"),
        ("label=a,", "/label"),
    ],
)
def test_a_query_that_is_wrong(api: httpx.Client, query: str, pointer: str) -> None:
    answer = api.get(f"/v1/apps?{query}")
    assert answer.status_code == 400, answer.text
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/v1/containers/box/kill", "signal"),
        ("POST", "/v1/containers/box/stop", "wait"),
        ("POST", "/v1/apps/hello/restart", "wait"),
        ("DELETE", "/v1/apps/hello", "force"),
        ("GET", "/v1/apps", "label"),
        ("GET", "/v1/containers/box/logs", "follow"),
    ],
)
@pytest.mark.parametrize("content", [b'{"signal": "SIGHUP"}', b"signal=SIGHUP", b"[]"])
def test_a_body_where_none_is_taken_is_never_ignored(
    api: httpx.Client, method: str, path: str, words: str, content: bytes
) -> None:
    api.post("/v1/apps", json=APP)
    api.post("/v1/containers", json={"name": "box", "cluster": "here", "image": "web:1"}, params={"wait": 20})
    answer = api.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (400, "malformed"), answer.text
    assert "takes no body" in answer.json()["detail"]
    assert words in answer.json()["detail"]
    assert api.get("/v1/containers/box").json()["status"]["phase"] == "Running"


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b" {}\n"])
def test_a_body_that_says_nothing_is_taken_for_none(api: httpx.Client, content: bytes) -> None:
    api.post("/v1/apps", json=APP)
    kind = {"Content-Type": "application/json"}
    assert api.post("/v1/apps/hello/restart", content=content, headers=kind).status_code == 202
    assert api.post("/v1/apps/hello/restart", content=iter([content]), headers=kind).status_code == 202


def test_what_only_the_server_sets_is_not_suggested(api: httpx.Client) -> None:
    [error, _] = api.post("/v1/secrets", json={"name": "x", "values": {"a": "1"}}).json()["errors"]
    assert error["detail"] == 'unknown field "values"; there are data, name'
    api.post("/v1/apps", json=APP)
    error = api.post("/v1/apps/hello/rollback", json={"to": 1}).json()["errors"][0]
    assert error["detail"] == 'unknown field "to"; there is only revision'


def test_what_contradicts_itself_is_told_in_the_first_sentence(api: httpx.Client) -> None:
    told = api.post("/v1/apps", json=APP | {"image": "Web:1", "image_auth": "none"}).json()
    assert told["detail"] == f"{told['errors'][0]['detail']} And 1 more."
    assert api.post("/v1/apps", json=APP | {"image": "Web:1"}).json()["detail"].endswith("no registry takes.")


def test_events_of_a_resource_that_is_named_with_its_kind(api: httpx.Client) -> None:
    answer = api.get("/v1/events?resource=app/hello")
    assert answer.status_code == 400
    assert "its kind is another parameter, subject" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("env", "A\n"),
        ("env_secrets", "A\n"),
        ("labels", ""),
        ("labels", "a\n"),
        ("labels", "x" * 256),
        ("labels", "\x00"),
    ],
)
def test_a_key_that_is_none(api: httpx.Client, field: str, key: str) -> None:
    for answer in (
        api.post("/v1/apps", json=APP | {field: {key: "db/x"}}),
        api.patch("/v1/apps/none", json={field: {key: "db/x"}}),
    ):
        assert answer.status_code == 400, answer.text
        assert [e["pointer"][:40] for e in answer.json()["errors"]] == [f"/{field}/{key}"[:40]]


@pytest.mark.parametrize("field", ["constraints", "labels"])
def test_keys_of_clusters_labels_are_those_of_labels(api: httpx.Client, field: str) -> None:
    hosts = [{"name": "a", "labels": {"x" * 256: "y"}}]
    bodies = {
        "constraints": ("/v1/apps", APP | {"placement": {"constraints": {"a\n": "b"}}}, "/placement/constraints/a\n"),
        "labels": ("/v1/clusters", {"name": "c", "kind": "native", "hosts": hosts}, "/hosts/0/labels/xxx"),
    }
    path, body, pointer = bodies[field]
    answer = api.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert [e["pointer"].startswith(pointer) for e in answer.json()["errors"]] == [True]


def test_a_first_app_without_a_cluster(service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.process.gateway.apps, "_clusters", lambda call: [])
    answer = api.post("/v1/apps", json={"name": "a", "image": "web:1"})
    assert answer.status_code == 422
    told = {"pointer": "/cluster", "detail": "There is none to run it on; register one first."}
    assert answer.json()["errors"] == [told]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/apps/hello", "There is nothing at /apps/hello; did you mean /v1/apps/hello?"),
        ("/v1/none", "There is nothing at /v1/none; /v1/openapi.json tells what there is."),
        ("/v1/" + "x" * 500, '…"; /v1/openapi.json tells what there is.'),
    ],
)
def test_where_to_look_instead(api: httpx.Client, path: str, words: str) -> None:
    told = api.get(path).json()["detail"]
    assert words in told
    assert len(told) < 200


@pytest.mark.parametrize("image", ["http://" + "x" * 490, "A" * 300, "web:" + "." * 300, "web@sha256:" + "x" * 300])
def test_what_is_wrong_is_repeated_as_far_as_it_is_of_use(api: httpx.Client, image: str) -> None:
    [problem] = api.post("/v1/apps", json=APP | {"image": image}).json()["errors"]
    assert '…"' in problem["detail"]
    assert len(problem["detail"]) < 300
    for path in (f"/v1/apps/{'x' * 255}", "/v1/containers/a%0Ab"):
        told = api.get(path).json()["detail"]
        assert (len(told) < 200, "\n" in told, '"' in told) == (True, False, True)


@pytest.mark.parametrize("query", ["name=a&name=b", "limit=5&limit=5"])
def test_a_parameter_that_is_there_twice(api: httpx.Client, query: str) -> None:
    [error] = api.get(f"/v1/apps?{query}").json()["errors"]
    assert error == {"pointer": f"/{query[: query.index('=')]}", "detail": "is given twice; give it once"}


@pytest.mark.parametrize("value", ["1", "foo", "W/1"])
def test_a_precondition_without_quotation_marks_says_how_to_write_it(api: httpx.Client, value: str) -> None:
    api.post("/v1/apps", json=APP)
    refused = api.patch("/v1/apps/hello", json={"replicas": 2}, headers={"If-Match": value})
    assert refused.status_code == 412
    assert 'as in its ETag: "1"' in refused.json()["detail"]


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "3601", "1e4", "1e999", "", "soon"])
def test_a_wait_that_is_none(api: httpx.Client, wait: str) -> None:
    assert api.post("/v1/apps", params={"wait": wait}, json=APP).status_code == 400
    assert api.get("/v1/apps").json() == {"apps": []}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/apps/none",
        "/v1/apps/00000000-0000-0000-0000-000000000000",
        "/v1/apps/%00",
        "/v1/apps/a%0Ab",
        "/v1/services%0A",
        "/%0A/v1/services",
        "/v1/apps/a%2Fb",
        "/v1/apps/%2e%2e",
        "/v1/apps/" + "x" * 255,
        "/v1/apps/none/containers",
        "/v1/apps/none/revisions",
        "/v1/apps/none/diagnosis",
        "/v1/apps/none/logs",
        "/v1/apps/none/logs?follow=true",
        "/v1/containers/none",
        "/v1/containers/none-1",
        "/v1/containers/none/logs",
        "/v1/clusters/none",
        "/v1/clusters/none/capabilities",
        "/v1/secrets/none",
        "/v1/volumes/none",
        "/v1/none",
        "/v2/apps",
    ],
)
def test_what_is_not_there(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json"), answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/v1/apps/a", {"GET", "PUT", "PATCH", "DELETE"}), ("PUT", "/v1/secrets", {"GET", "POST"})],
)
def test_what_does_not_apply(api: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    answer = api.request(method, path, json={})
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/problem+json")
    assert allowed <= set(answer.headers["Allow"].replace(" ", "").split(","))
    assert answer.json()["detail"] == f"{method} does not apply to {path}; {answer.headers['Allow']} do."


@pytest.mark.parametrize("value", ['"x', "W/x", "\xe9", "1" * 900])
def test_a_precondition_that_never_holds(api: httpx.Client, value: str) -> None:
    api.post("/v1/apps", json=APP)
    assert api.delete("/v1/apps/hello", headers={"If-Match": value.encode("latin-1")}).status_code == 412  # type: ignore[dict-item]  # httpx takes bytes


def test_bytes_that_no_client_sends(service: Any) -> None:
    """A query that is not encoded is refused, whoever of the server and the gateway does so."""
    address = urlsplit(service.server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as raw:
        raw.sendall(b"GET /v1/apps?name=\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 400 " in raw.makefile("rb").readline()


def test_a_cluster_of_no_kind(api: httpx.Client) -> None:
    answer = api.post("/v1/clusters", json={"name": "x", "kind": "abacus"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/kind")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x"}, "/kind"),
        ({"name": "x", "kind": "native", "hosts": [{"name": "A"}]}, "/hosts/0/name"),
        ({"name": "x", "kind": "native", "endpoint": "nowhere"}, "/endpoint"),
        ({"name": "x", "kind": "native", "credentials": {"pasword": "x"}}, "/credentials/pasword"),
    ],
)
def test_a_cluster_that_is_wrong(api: httpx.Client, body: dict[str, Any], pointer: str) -> None:
    answer = api.post("/v1/clusters", json=body)
    assert answer.status_code == 400, answer.text
    assert pointer in [e["pointer"] for e in answer.json()["errors"]]


def test_what_is_refused_does_not_repeat_secrets(api: httpx.Client) -> None:
    answer = api.post("/v1/secrets", json={"name": "s", "data": {"password": ["correct-horse"]}})
    assert answer.status_code == 400
    assert "correct-horse" not in answer.text
    answer = api.post("/v1/clusters", json={"name": "x", "kind": "native", "credentials": {"password": "h" * 2000}})
    assert answer.status_code == 400
    assert "hhh" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(APP | {"env": {f"K{i}": "x" * 100 for i in range(500)}}),
        json.dumps(APP | {"command": ["x" * 20_000, 1]}),
        json.dumps({f"k{i}": 1 for i in range(500)}),
    ],
    ids=["large", "large and wrong", "wrong in many ways"],
)
def test_what_takes_long_to_read_is_read_off_the_event_loop(
    api: httpx.Client, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    check = reading.check

    def seen(name: str) -> Any:
        threads.append(threading.current_thread().name)
        return check(name)

    monkeypatch.setattr(reading, "check", seen)
    answer = api.post("/v1/apps", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (202, 400)
    assert threads[-1].startswith("bodies")


def test_many_unknown_parameters_get_few_words(api: httpx.Client) -> None:
    answer = api.get("/v1/apps?" + "&".join(f"k{i}=1" for i in range(5000)))
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == 50
    assert len(answer.content) < 10_000
