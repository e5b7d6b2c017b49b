"""What people and programs see."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from zun_coe.cli.columns import age, size
from zun_coe.cli.failures import Away, Refusal, Unwell
from zun_coe.cli.output import Printer, clean, say_failure
from zun_coe.cli.waiting import check_well, rollout_words, sentence

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
APPS: list[dict[str, Any]] = [
    {
        "id": "7d7ab3a6-1f0e-4f0e-9d5b-2b8f2a4c9a10",
        "name": "hello",
        "project": "shop",
        "cluster": "local",
        "image": "web:1",
        "labels": {"tier": "web"},
        "replicas": 3,
        "created_at": "2026-03-01T11:00:00.000000Z",
        "status": {
            "phase": "Running",
            "replicas": {"desired": 3, "current": 3, "updated": 3, "ready": 3},
            "endpoints": [
                {"address": "10.0.0.4", "port": 31080 + n, "target": 80, "protocol": "tcp"} for n in range(4)
            ],
            "reachable": True,
        },
    },
    {
        "id": "5d0c4d55-5f2a-4a8e-bb3c-0a4d7b8e3f21",
        "name": "worker",
        "project": "shop",
        "cluster": "prod",
        "image": "worker:2",
        "labels": {},
        "replicas": 1,
        "created_at": "2026-02-25T11:59:00.000000Z",
        "status": {
            "phase": "Degraded",
            "replicas": {"desired": 2, "current": 2, "updated": 2, "ready": 1},
            "reason": "ImagePullFailed",
            "message": "worker:2\x1b[2J could\nnot be fetched.",
            "endpoints": [{"address": "::1", "port": 53, "target": 53, "protocol": "udp"}],
            "reachable": False,
        },
    },
]


def printer(format: str = "table") -> Printer:
    return Printer(format, lambda: NOW)


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    printer().listing("app", "apps", {"apps": APPS, "next": "m"})
    out, err = capsys.readouterr()
    assert out == (
        "NAME    PHASE      READY  IMAGE     CLUSTER  ENDPOINTS"
        "                                                    AGE  REASON\n"
        "hello   Running    3/3    web:1     local    "
        "10.0.0.4:31080->80,10.0.0.4:31081->80,10.0.0.4:31082->80,+1  60m  -\n"
        "worker  Degraded?  1/2    worker:2  prod     [::1]:53->53/udp"
        "                                             4d   ImagePullFailed: worker:2 [2J could not be fetched.\n"
    )
    assert err == "There are more, from --marker m on.\n"


def test_programs_get_what_the_service_said(capsys: pytest.CaptureFixture[str]) -> None:
    page = {"apps": APPS}
    for format, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        printer(format).listing("app", "apps", page)
        assert read(capsys.readouterr().out) == page
    printer("name").listing("app", "apps", page)
    assert capsys.readouterr().out == "app/hello\napp/worker\n"


def test_nothing_is_a_note_and_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    printer().listing("app", "apps", {"apps": []})
    assert capsys.readouterr() == ("", "There are none.\n")


def test_details_show_the_state_first_and_times_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    printer().details("app", APPS[0])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "name        hello",
        "phase       Running",
        "counts      {desired: 3, current: 3, updated: 3, ready: 3}",
        "endpoints   10.0.0.4:31080->80",
    ]
    assert "created at  2026-03-01T11:00:00.000000Z" in lines
    assert "labels      {tier: web}" in lines


def test_lines_that_grow(capsys: pytest.CaptureFixture[str]) -> None:
    event = {
        "at": "2026-03-01T11:59:55Z",
        "level": "info",
        "type": "AppCreated",
        "subject": "app",
        "subject_name": "hello",
        "message": "It is.",
    }
    printer().line("event", event | {"count": 3}, (5, 5, 7, 12, 10))
    printer("json").line("event", event, ())
    table, as_json = capsys.readouterr().out.splitlines()
    assert table == "5s     3      info     AppCreated    app/hello   -  It is."
    assert json.loads(as_json) == event


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("2026-03-01T12:00:05Z", "0s"),
        ("2026-03-01T11:58:01+00:00", "119s"),
        ("2026-03-01T13:50:00+02:00", "10m"),
        ("2026-02-28T12:00:00Z", "24h"),
        ("2026-02-01T12:00:00Z", "28d"),
        (None, "-"),
    ],
)
def test_age(then: str | None, told: str) -> None:
    assert age(then, NOW) == told


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    assert clean("a\x1b]0;x\x07\r\n\u202eb") == "a ]0;x    b"


PROBLEM = {
    "type": "https://zun-coe.dev/problems/unsupported-by-cluster",
    "title": "The cluster cannot carry this",
    "status": 422,
    "detail": "The cluster local cannot carry this. None of your clusters can.",
    "errors": [{"pointer": "/gpu", "detail": "There are no GPUs."}],
    "request_id": "req-1",
}


def test_problems_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    say_failure(Refusal(PROBLEM))
    assert capsys.readouterr() == (
        "",
        "Error: The cluster cannot carry this: The cluster local cannot carry this. None of your clusters can.\n"
        "  /gpu: There are no GPUs.\n",
    )
    say_failure(Refusal({"title": "Internal error", "status": 500, "request_id": "req-1"}))
    assert capsys.readouterr().err == "Error: Internal error\n  (request req-1)\n"
    say_failure(Away("Nobody is there."), "json")
    assert capsys.readouterr().err == "Error: Nobody is there.\n"


def test_problems_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    say_failure(Refusal(PROBLEM), "json")
    assert json.loads(capsys.readouterr().err) == PROBLEM
    say_failure(Refusal(PROBLEM), "yaml")
    assert yaml.safe_load(capsys.readouterr().err) == PROBLEM


def test_exit_codes_of_refusals() -> None:
    assert [Refusal({"status": s}).exit_code for s in (400, 404, 429, 500, 503)] == [1, 1, 1, 5, 5]


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Failed"},
        {"phase": "Degraded"},
        {"phase": "Unreachable"},
        {"phase": "Exited", "exit_code": 3},
        {"phase": "Running", "rollout": {"to": 2, "state": "rolled_back"}},
        {"phase": "Progressing", "rollout": {"to": 2, "state": "failed"}},
        {"phase": "Progressing", "reason": "CrashLoop"},
        {"phase": "Pending", "reason": "VolumeUnavailable"},
    ],
)
def test_what_has_ended_badly(status: dict[str, Any]) -> None:
    with pytest.raises(Unwell, match=r"hello is "):
        check_well("app", {"name": "hello", "status": status})


@pytest.mark.parametrize("rollout", [None, {"to": 2, "state": "progressing"}, {"to": 2, "state": "failed"}])
def test_what_is_held_up_is_said_to_go_on_where_it_does(rollout: dict[str, Any] | None) -> None:
    status = {"phase": "Progressing", "reason": "ImagePullFailed"} | ({"rollout": rollout} if rollout else {})
    with pytest.raises(Unwell) as caught:
        check_well("app", {"name": "hello", "status": status})
    goes_on = rollout is None or rollout["state"] == "progressing"
    assert str(caught.value).endswith("the service goes on trying.") is goes_on


@pytest.mark.parametrize("phase", ["Running", "Stopped"])
def test_a_rollout_that_went_back_before_is_no_fault_of_what_asks_for_none(phase: str) -> None:
    resource = {"name": "hello", "status": {"phase": phase, "rollout": {"to": 2, "state": "rolled_back"}}}
    check_well("app", resource, rolls_out=False)
    for unwell in ({"phase": "Degraded"}, {"phase": "Progressing", "reason": "CrashLoop"}):
        with pytest.raises(Unwell, match=r"rolled back\.( CrashLoop\.)?$"):
            check_well("app", resource | {"status": resource["status"] | unwell}, rolls_out=False)  # type: ignore[operator]  # both are objects


@pytest.mark.parametrize("status", [{"phase": "Running"}, {"phase": "Exited", "exit_code": 0}, {"phase": "Stopped"}])
def test_what_has_ended_well(status: dict[str, Any]) -> None:
    check_well("app", {"name": "hello", "status": status})


def test_state_in_words() -> None:
    assert sentence(APPS[1]).startswith("worker is Degraded: 1 of 2 ready. ImagePullFailed: worker:2 [2J could")
    rollout = {"name": "a", "status": {"phase": "Running", "rollout": {"to": 2, "state": "rolled_back"}}}
    assert sentence(rollout) == "a is Running. The rollout to revision 2 has failed and was rolled back."


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("progressing", "is in progress"),
        ("paused", "is paused"),
        ("failed", "has failed"),
        ("rolled_back", "has failed and was rolled back"),
        ("a_new_one", "is a_new_one"),
    ],
)
def test_rollouts_in_words(state: str, words: str) -> None:
    assert rollout_words({"to": 2, "state": state}) == f"The rollout to revision 2 {words}"


def test_memory_of_nodes_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [{"name": "a", "memory": 33554432000}, {"name": "b"}]
    printer().details("cluster", {"name": "local", "status": {"phase": "Ready", "nodes": nodes}})
    assert "- {name: a, memory: 31.2Gi}" in capsys.readouterr().out
    printer("json").details("cluster", {"name": "local", "status": {"nodes": nodes}})
    assert json.loads(capsys.readouterr().out)["status"]["nodes"] == nodes


def test_what_can_be_adopted_is_named_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"namespace": "shop", "name": "web", "kind": "Deployment"}
    printer("name").listing("workload", "workloads", {"workloads": [found]})
    assert capsys.readouterr().out == "shop/web\n"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0"), (1023, "1023"), (1024, "1Ki"), (1536 * 1024, "1.5Mi"), (5 << 30, "5Gi")]
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told


def test_fields_are_called_by_their_options_where_they_were_set_so(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = Refusal(PROBLEM)
    refusal.called = {"/gpu": "--gpu"}
    say_failure(refusal)
    assert "\n  --gpu: There are no GPUs.\n" in capsys.readouterr().err
    say_failure(refusal, "json")
    assert json.loads(capsys.readouterr().err) == PROBLEM
