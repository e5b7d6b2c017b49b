"""A gateway whose clock is another than the cluster's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.faults.api_server import ApiServer, Handler, sending
from tests.unit.kubernetes_pods import AT, container, ended, instance, pod, running
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.clock import Clock

HOUR = timedelta(hours=1)
END_OF_TIME = "Fri, 31 Dec 9999 23:59:59 GMT"
PROBED = {"readinessProbe": {"periodSeconds": 10, "failureThreshold": 3}}


def date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def measured(difference: timedelta) -> Clock:
    clock, now = Clock(), datetime.now(UTC)
    clock.hear(date(now + difference), now)
    return clock


@pytest.mark.parametrize("difference", [HOUR, -HOUR, timedelta(seconds=20)])
def test_a_difference_is_measured(difference: timedelta) -> None:
    assert abs(measured(difference).ahead - difference) <= timedelta(seconds=1)


@pytest.mark.parametrize("difference", [timedelta(), timedelta(seconds=3), timedelta(seconds=-3)])
def test_a_small_one_is_none(difference: timedelta) -> None:
    assert measured(difference).ahead == timedelta()


@pytest.mark.parametrize("told", [None, "", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT", END_OF_TIME])
def test_what_is_no_time_is_left_out(told: str | None) -> None:
    clock = Clock()
    clock.hear(told, datetime.now(UTC))
    assert clock.ahead == timedelta()


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A server whose clock is an hour ahead."""
    monkeypatch.setattr(Handler, "date_time_string", lambda handler: date(datetime.now(UTC) + HOUR))
    with closing(ApiServer(tmp_path)) as server:
        yield server


def test_every_answer_tells_it(late: ApiServer) -> None:
    late.on("GET /version", sending({"gitVersion": "v1.20.2"}))
    with closing(Client(late.connection())) as client:
        client.get("/version")
        assert abs(client.clock.ahead - HOUR) <= timedelta(seconds=2)
        assert abs(client.clock.now - datetime.now(UTC) - HOUR) <= timedelta(seconds=2)


def test_times_are_told_by_the_gateways_clock() -> None:
    """The cluster's is an hour ahead, so that all that its servers write is of later than now."""
    told = instance(pod(running(since=60)), at=AT, ahead=HOUR)
    assert told.started_at == AT - timedelta(seconds=60) - HOUR
    assert told.ready_since == AT - timedelta(seconds=300) - HOUR
    assert told.created_at == AT - timedelta(seconds=600) - HOUR
    over = instance(pod(container(terminated=ended(1)), spec={"restartPolicy": "Never"}), at=AT, ahead=HOUR)
    assert over.finished_at == AT - timedelta(seconds=5) - HOUR


@pytest.mark.parametrize("difference", [HOUR, -HOUR])
def test_what_is_compared_is_compared_by_the_clusters_clock(difference: timedelta) -> None:
    starting = pod(running(since=5, ready=False), container=PROBED)
    assert instance(starting, at=AT, ahead=difference).health == "starting"


def test_what_runs_is_no_loop_where_its_node_has_another_clock() -> None:
    told = instance(pod(running(since=-3600, restarts=3, last=ended(1))))
    assert (told.ready, told.reason) == (True, None)
