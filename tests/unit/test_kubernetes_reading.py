"""What API servers answer, in our terms: failures, nodes, versions, rights, lines of logs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.adapters import OPERATIONS, LogOptions
from zun_coe.adapters.kubernetes import paths
from zun_coe.adapters.kubernetes.describing import Machine, node, operations, versions
from zun_coe.adapters.kubernetes.discovery import Apis, called
from zun_coe.adapters.kubernetes.failures import Expired, answered
from zun_coe.adapters.kubernetes.logs import CUT, Lines, log_params
from zun_coe.adapters.kubernetes.permissions import EVERYWHERE, OWN, Right, rules_for
from zun_coe.errors import Absent, BackendError, Denied, Invalid, TimedOut, Unavailable
from zun_coe.model import Support

FORBIDDEN = 'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "web"'
QUOTA = 'pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
LIMIT = 'pods "a" is forbidden: maximum memory usage per Container is 64Mi, but limit is 128Mi'
ENDING = 'pods "a" is forbidden: unable to create new content in namespace web because it is being terminated'
WEBHOOK = 'admission webhook "policy.example.org" denied the request: no latest tags'
PORT = "Service is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"


def fail(code: int, message: str = "", headers: Any = None, **status: Any) -> BackendError:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code} | status
    return answered("GET /x", code, msgspec.json.encode(body), headers or {})


@pytest.mark.parametrize(
    ("code", "message", "kind", "reason"),
    [
        (301, "", Unavailable, "Error"),
        (400, "bad", Invalid, "InvalidSpec"),
        (401, "Unauthorized", Denied, "PermissionDenied"),
        (403, FORBIDDEN, Denied, "PermissionDenied"),
        (403, QUOTA, Invalid, "QuotaExceeded"),
        (403, LIMIT, Invalid, "InvalidSpec"),
        (403, ENDING, Unavailable, "Error"),
        (403, WEBHOOK, Invalid, "InvalidSpec"),
        (500, WEBHOOK, Invalid, "InvalidSpec"),
        (500, "failed to create typed patch object: .spec.x: field not declared in schema", Invalid, "InvalidSpec"),
        (404, "not there", Absent, "Error"),
        (408, "", TimedOut, "BackendUnreachable"),
        (409, "somebody was faster", Unavailable, "Error"),
        (410, "too old resource version", Expired, "Error"),
        (415, "no such patch", Invalid, "InvalidSpec"),
        (422, "no such field", Invalid, "InvalidSpec"),
        (422, PORT, Unavailable, "PortConflict"),
        (429, "too many requests", Unavailable, "BackendUnreachable"),
        (500, "etcdserver: request timed out", Unavailable, "Error"),
        (503, "starting", Unavailable, "BackendUnreachable"),
        (504, "", TimedOut, "BackendUnreachable"),
    ],
)
def test_failures(code: int, message: str, kind: type[BackendError], reason: str) -> None:
    error = fail(code, message)
    assert (type(error), error.reason) == (kind, reason)
    assert str(error)
    assert (error.evidence["call"], error.evidence["status"]) == ("GET /x", code)


@pytest.mark.parametrize(
    ("message", "sentence", "evidence"),
    [
        (
            FORBIDDEN,
            "lack the right to list pods in the namespace web.",
            {"verb": "list", "resource": "pods", "namespace": "web"},
        ),
        (
            'deployments.apps "x" is forbidden: User "a" cannot patch resource "deployments" in API group "apps" '
            'at the cluster scope: requires "y"',
            "lack the right to patch deployments.apps.",
            {"verb": "patch", "resource": "deployments", "group": "apps"},
        ),
        (
            'forbidden: User "system:anonymous" cannot get path "/apis"',
            "lack the right to get /apis.",
            {"verb": "get", "path": "/apis"},
        ),
    ],
)
def test_missing_rights_are_named(message: str, sentence: str, evidence: dict[str, str]) -> None:
    error = fail(403, message)
    assert str(error).endswith(sentence)
    assert evidence.items() <= error.evidence.items()


def test_causes_are_kept() -> None:
    causes = [{"reason": "FieldValueInvalid", "message": "must be positive", "field": "spec.replicas"}]
    error = fail(422, "invalid", details={"name": "web", "causes": causes})
    assert error.evidence["causes"] == [{"field": "spec.replicas", "message": "must be positive"}]


def test_when_to_come_back_is_kept() -> None:
    assert fail(429, headers={"Retry-After": "7"}).evidence["retry_after"] == 7.0
    assert fail(503, details={"retryAfterSeconds": 3}).evidence["retry_after"] == 3.0
    assert fail(429, headers={"Retry-After": "7"}).retry_after == 7.0
    assert fail(503, details={"retryAfterSeconds": 3}).retry_after == 3.0
    assert fail(503, headers={"Retry-After": "99999999"}).retry_after == 600.0
    assert fail(500).retry_after is None
    assert "retry_after" not in fail(503, headers={"Retry-After": "Mon, 01 Jan 2035 00:00:00 GMT"}).evidence


def test_answers_of_others_are_told_as_they_are() -> None:
    error = answered("GET /x", 502, b"<html>\n  bad gateway", {})
    assert (str(error), error.reason) == ("<html> bad gateway", "BackendUnreachable")
    assert str(answered("GET /x", 503, b"", {})) == "the API server answered 503"


def test_a_node_is_described() -> None:
    told = {
        "metadata": {"name": "n1", "labels": {"disk": "ssd"}},
        "spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]},
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "2"},
            "allocatable": {"cpu": "3900m", "memory": "7Gi"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.4"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.20.2", "osImage": "Debian"},
        },
    }
    found = node(msgspec.convert(told, Machine))
    assert (found.name, found.labels, found.address, found.version) == ("n1", {"disk": "ssd"}, "10.0.0.4", "v1.20.2")
    assert (found.cpus, found.memory, found.gpus) == (3.9, 7 << 30, 2)
    assert (found.schedulable, found.reachable, found.message) == (True, True, None)
    assert found.facts == {"os": "Debian"}


def test_a_node_may_be_away_closed_or_unknown() -> None:
    away = {"conditions": [{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting."}]}
    assert node(machine(status=away)).message == "Kubelet stopped posting."
    assert not node(machine(status=away)).reachable
    assert not node(machine(spec={"unschedulable": True})).schedulable
    tainted = node(machine(spec={"taints": [{"key": "role/master", "effect": "NoSchedule"}]}))
    assert (tainted.schedulable, tainted.facts["taints"]) == (False, ["role/master"])
    assert node(machine()).message == "Its kubelet has not told of itself yet."


def machine(**parts: Any) -> Machine:
    return msgspec.convert({"metadata": {"name": "n"}} | parts, Machine)


@pytest.mark.parametrize(
    ("name", "release"),
    [("v1.20.2", (1, 20)), ("v1.31.4+k3s1", (1, 31)), ("1.27.3-gke.100", (1, 27)), ("nonsense", (0, 0)), ("", (0, 0))],
)
def test_releases(name: str, release: tuple[int, int]) -> None:
    assert Apis(name).release == release


def test_of_each_api_the_version_is_shown_that_is_called() -> None:
    assert called({"autoscaling": {"v1", "v2"}, "policy": {"v1"}, "apps": {"v1"}, "x": {"v1"}}) == {
        "apps": "v1",
        "autoscaling": "v1",
    }
    assert called({"autoscaling": {"v2"}}) == {}
    assert paths.groups() == {"apps": "v1", "autoscaling": "v1"}


def test_what_is_missing_is_shown() -> None:
    lacking = [right for right in (*OWN, *EVERYWHERE) if right.without]
    told = versions(Apis("v1.20.2"), lacking)["kubernetes"]
    assert "get pods/log (no logs)" in told["missing_rights"]
    assert operations(lacking)["logs"].support is Support.NONE
    assert operations([])["logs"].support is Support.NATIVE
    assert "missing_rights" not in versions(Apis("v1.20.2"), [])["kubernetes"]


def test_every_operation_is_accounted_for() -> None:
    told = operations([])
    assert set(told) == set(OPERATIONS)
    assert [n for n, o in told.items() if o.support is not Support.NATIVE and not o.note] == []


def test_rules_of_a_role() -> None:
    rights = [Right("pods", "get"), Right("deployments", "get", "apps"), Right("pods", "list")]
    assert list(rules_for(rights)) == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    ]


def test_paths() -> None:
    assert paths.collection("Pod") == "/api/v1/pods"
    assert paths.path("Deployment", "web", "ns") == "/apis/apps/v1/namespaces/ns/deployments/web"
    assert paths.path("Namespace", "ns") == "/api/v1/namespaces/ns"
    assert paths.path_of({"kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}}) == (
        "/api/v1/namespaces/ns/secrets/s"
    )


STAMP = b"2026-03-01T12:00:00.123456789Z "
AT = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)


def lines(*blocks: bytes, tty: bool = False) -> list[tuple[Any, bytes, bool]]:
    decoder = Lines("web-1", tty=tty)
    found = [line for block in blocks for line in decoder.feed(block)] + list(decoder.end())
    assert {(line.instance, line.stream) for line in found} <= {("web-1", "stdout")}
    return [(line.at, line.text, line.partial) for line in found]


def test_lines_have_their_time() -> None:
    assert lines(STAMP + b"one\n" + STAMP + b"\n" + STAMP + b"t\r\n") == [
        (AT, b"one", False),
        (AT, b"", False),
        (AT, b"t\r", False),
    ]
    assert lines(STAMP + b"t\r\n", tty=True) == [(AT, b"t", False)]
    assert lines(b"no time\n") == [(None, b"no time", False)]
    assert lines(b"2026-13-01T12:00:00Z no month\n") == [(None, b"2026-13-01T12:00:00Z no month", False)]


def test_a_line_without_an_end_is_a_part() -> None:
    assert lines(STAMP + b"on and") == [(AT, b"on and", True)]


@pytest.mark.parametrize("between", [b"", STAMP])
def test_long_lines_come_in_parts(between: bytes) -> None:
    long = b"x" * CUT
    expected = [(AT, long, True), (AT, long, True), (AT, b"end", False)]
    assert lines(STAMP + long + between + long + between + b"end\n") == expected


def test_a_line_that_just_fits_is_whole() -> None:
    assert lines(STAMP + b"x" * CUT + b"\n" + STAMP + b"y\n") == [(AT, b"x" * CUT, False), (AT, b"y", False)]


@given(
    st.lists(
        st.tuples(st.booleans(), st.binary(max_size=30).filter(lambda b: b"\n" not in b) | st.just(b"x" * 40_000))
    ),
    st.lists(st.integers(0, 90_000), max_size=5),
)
def test_cutting_does_not_depend_on_blocks(texts: list[tuple[bool, bytes]], cuts: list[int]) -> None:
    whole = b"".join((STAMP if stamped else b"") + text + b"\n" for stamped, text in texts)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    blocks = [whole[a:b] for a, b in pairwise(places)]
    assert lines(*blocks) == lines(whole)


def test_what_is_asked_of_a_log() -> None:
    since = datetime(2026, 3, 1, 12, 0, 0, 999999, UTC)
    assert log_params("main", LogOptions()) == {"container": "main", "timestamps": "true"}
    assert log_params("main", LogOptions(tail=0, since=since)) == {
        "container": "main",
        "timestamps": "true",
        "tailLines": 0,
        "sinceTime": "2026-03-01T12:00:00Z",
    }
