"""Probes: how results count, and the prober against real servers."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native.workloads import ref
from tests.real.waiting import wait_until
from zun_coe.adapters.reach import Reach
from zun_coe.model import Health, HttpGet, Instance, TcpConnect, WorkloadRef
from zun_coe.native import naming
from zun_coe.native.health import Prober, Score, Target
from zun_coe.native.replicas import Place, Probed, gather, verdict_of
from zun_coe.native.runtime import Found

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TIMING = Health(interval=10, timeout=1, retries=3, start_period=0)


def play(health: Health, results: list[tuple[float, bool]]) -> list[str]:
    """The health after each probe, at these times."""
    score = Score(0.0, 0.0)
    told = []
    for at, good in results:
        score = score.after(None if good else "no", health, at, NOW + timedelta(seconds=at))
        told.append(score.probed.health)
    return told


def test_the_first_success_makes_it_healthy() -> None:
    assert play(TIMING, [(0.2, False), (0.5, True)]) == ["starting", "healthy"]


def test_only_failures_an_interval_apart_count_while_it_is_starting() -> None:
    told = play(TIMING, [(n * 0.5, False) for n in range(1, 61)])
    assert told == ["starting"] * 59 + ["unhealthy"], "three intervals of ten seconds"


def test_failures_within_the_start_period_do_not_count_and_a_success_ends_it() -> None:
    health = Health(interval=10, retries=1, start_period=100)
    assert play(health, [(90, False), (99, False)]) == ["starting", "starting"]
    assert play(health, [(50, True), (60, False)]) == ["healthy", "unhealthy"]


def test_a_healthy_one_needs_as_many_failures_in_a_row_as_retries() -> None:
    results = [(1, True), (11, False), (21, False), (31, True), (41, False), (51, False), (61, False), (71, True)]
    assert play(TIMING, results)[-4:] == ["healthy", "healthy", "unhealthy", "healthy"]


def test_since_is_when_it_turned() -> None:
    first = Score(0, 0).after(None, TIMING, 1, NOW)
    assert first.after(None, TIMING, 11, NOW + timedelta(seconds=10)).probed == Probed("healthy", NOW)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_once_it_was_healthy_it_counts_as_docker_does(results: list[bool], retries: int) -> None:
    health = Health(interval=10, retries=retries)
    told = play(health, [(0.0, True), *((10.0 * (n + 1), good) for n, good in enumerate(results))])
    failures = 0
    for good, verdict in zip(results, told[1:], strict=True):
        failures = 0 if good else failures + 1
        assert verdict == ("unhealthy" if failures >= retries else "healthy")


class Web(BaseHTTPRequestHandler):
    """Answers with the status that its server has now, and remembers what was asked."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        server.hosts.append(self.headers["Host"])
        self.send_response(server.status)
        if server.status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.status, server.asked, server.hosts = 200, [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Bench:
    """A prober and what it told."""

    def __init__(self) -> None:
        self.told: list[WorkloadRef] = []
        self.prober = Prober(self.told.append)

    def target(self, port: int, health: Health, id: str = "c1") -> Target:
        return Target(id, "a", ref(id), NOW, "127.0.0.1", port, health, trusted=True)

    def watch(self, *targets: Target) -> None:
        self.prober.watch(targets, lambda target: True)

    def until(self, id: str, health: str | None) -> None:
        wait_until(lambda: getattr(self.prober.results().get(id), "health", None) == health, 10)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.prober.close()


def quick(**fields: Any) -> Health:
    return Health(**({"interval": 0.05, "timeout": 0.5, "retries": 2} | fields))


def test_http_turns_with_the_status(bench: Bench, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    bench.watch(bench.target(web.server_port, quick(http=HttpGet(port=80, path="/well?a=1"))))
    bench.until("c1", "healthy")
    web.status = 500
    bench.until("c1", "unhealthy")
    told = bench.prober.results()["c1"].output
    assert re.fullmatch(r"GET http://127\.0\.0\.1:[0-9]+/\S*: HTTP status 500", told), "it tells what was asked"
    web.status = 302
    bench.until("c1", "healthy")
    assert set(web.asked) == {"/well?a=1"}
    assert bench.told[:3] == [ref("c1")] * 3


@pytest.mark.parametrize("health", [quick(http=HttpGet(port=80)), quick(tcp=TcpConnect(port=1))])
@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "evil.example"])
def test_where_a_member_says_that_a_host_is_the_gateways_own_machine_is_not_probed(
    bench: Bench, web: Any, health: Health, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the name is: what counts is where it leads to."""
    lookup = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *args, **how: lookup(host.replace("evil.example", "127.0.0.1"), *args, **how),
    )
    bench.watch(replace(bench.target(web.server_port, health), address=address, trusted=False))
    bench.until("c1", "unhealthy")
    assert "for admins" in bench.prober.results()["c1"].output
    assert not web.asked


def test_the_operator_allows_networks(web: Any) -> None:
    bench = Bench()
    bench.prober = Prober(bench.told.append, Reach.of("127.0.0.0/8"))
    bench.watch(replace(bench.target(web.server_port, quick(http=HttpGet(port=80))), trusted=False))
    bench.until("c1", "healthy")
    bench.prober.close()


def test_a_name_with_several_addresses(bench: Bench, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which one answers: a dual stack of which a container serves one."""
    lookup = socket.getaddrinfo

    def both(host: str, *args: Any, **how: Any) -> Any:
        names = ("::1", "127.0.0.1") if host == "both.example" else (host,)
        return [found for name in names for found in lookup(name, *args, **how)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    for id, health in (("c1", quick(http=HttpGet(port=80))), ("c2", quick(tcp=TcpConnect(port=1)))):
        bench.watch(replace(bench.target(web.server_port, health, id), address="both.example"))
        bench.until(id, "healthy")


def test_a_name_is_asked_for_by_its_name(bench: Bench, web: Any) -> None:
    bench.watch(replace(bench.target(web.server_port, quick(http=HttpGet(port=80, path="/"))), address="localhost"))
    bench.until("c1", "healthy")
    assert set(web.hosts) == {f"localhost:{web.server_port}"}


def test_a_probe_that_nobody_foresaw_fails_and_is_repeated(
    bench: Bench, web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = Prober._ask

    async def ask(self: Prober, target: Target, url: str) -> str | None:
        asked.append(1)
        if len(asked) < 5:
            raise RuntimeError("surprise")
        return await original(self, target, url)

    monkeypatch.setattr(Prober, "_ask", ask)
    bench.watch(bench.target(web.server_port, quick(http=HttpGet(port=80))))
    bench.until("c1", "unhealthy")
    bench.until("c1", "healthy")


def test_tcp_and_nothing_there(bench: Bench, web: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = bench.target(closed.getsockname()[1], quick(tcp=TcpConnect(port=1)), "c2")
        bench.watch(bench.target(web.server_port, quick(tcp=TcpConnect(port=1))), nowhere)
        bench.until("c1", "healthy")
        bench.until("c2", "unhealthy")
        assert f"TCP connection to 127.0.0.1:{nowhere.port}: " in bench.prober.results()["c2"].output


def test_a_server_that_never_answers_is_unhealthy(bench: Bench) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        health = quick(http=HttpGet(port=80), timeout=0.05, retries=1)
        bench.watch(bench.target(silent.getsockname()[1], health))
        bench.until("c1", "unhealthy")
        assert "no answer within 0.05 s" in bench.prober.results()["c1"].output


def test_one_that_was_started_anew_begins_anew(bench: Bench, web: Any) -> None:
    target = bench.target(web.server_port, quick(http=HttpGet(port=80)))
    bench.watch(target)
    bench.until("c1", "healthy")
    web.status = 500
    bench.watch(
        replace(target, started_at=NOW + timedelta(seconds=1), health=quick(http=HttpGet(port=80), start_period=60))
    )
    bench.until("c1", "starting")


def test_what_is_not_wanted_any_more_is_forgotten_and_not_asked(bench: Bench, web: Any) -> None:
    keep = bench.target(web.server_port, quick(http=HttpGet(port=80, path="/keep")), "c1")
    drop = bench.target(web.server_port, quick(http=HttpGet(port=80, path="/drop")), "c2")
    bench.watch(keep, drop)
    bench.until("c2", "healthy")
    bench.watch(keep)
    bench.until("c2", None)
    seen = len(web.asked)
    wait_until(lambda: web.asked[seen:].count("/keep") > 3, 10)
    assert "/drop" not in web.asked[seen + 1 :]


def test_others_are_left_alone_by_what_is_watched_of_one(bench: Bench, web: Any) -> None:
    one, two = (bench.target(web.server_port, quick(http=HttpGet(port=80)), id) for id in ("c1", "c2"))
    bench.watch(one, two)
    bench.until("c2", "healthy")
    bench.prober.watch([], lambda target: target.id == "c1")
    bench.until("c1", None)
    bench.until("c2", "healthy")


def test_closing_twice_does_no_harm() -> None:
    bench = Bench()
    bench.prober.close()
    bench.watch(bench.target(1, quick(tcp=TcpConnect(port=1))))
    bench.prober.close()
    bench.prober.close()


def test_the_last_verdict_stands_until_there_is_another(bench: Bench, web: Any) -> None:
    web.status = 500
    last = Probed("healthy", NOW)
    slow = bench.target(web.server_port, quick(http=HttpGet(port=80), interval=0.05, retries=5))
    bench.watch(replace(slow, last=last))
    wait_until(lambda: "c1" in bench.prober.results(), 10)
    bench.until("c1", "unhealthy")
    assert len(web.asked) >= 5, "one failure is none"
    assert bench.told == [ref("c1")], "it was healthy before, and nobody has to hear that"


STARTED = NOW - timedelta(minutes=5)
CHECK = {"zun.health": '{"tcp":{"port":80}}'}


def part(role: str = "main", **fields: Any) -> Found:
    base: dict[str, Any] = {"image": "i", "labels": CHECK, "state": "running", "started_at": STARTED}
    return Found(id=role, name=role, **(base | fields))


def before(health: Any, **fields: Any) -> Instance:
    base: dict[str, Any] = {"native_id": "main", "started_at": STARTED, "ready_since": NOW if health else None}
    return Instance(health=health, **(base | fields))


@pytest.mark.parametrize(
    ("role", "found", "known", "verdict"),
    [
        ("main", part(), before("healthy"), Probed("healthy", NOW, run=STARTED)),
        ("main", part(started_at=NOW), before("healthy"), Probed()),
        ("main", part(), before("starting"), Probed()),
        ("main", part(), before(None), Probed()),
        (
            "main",
            part(),
            before("unhealthy", evidence={"output": "no"}),
            Probed("unhealthy", None, "no", STARTED),
        ),
        ("main", part(), before("unhealthy", evidence={"container": "side"}), Probed()),
        ("main", part(started_at=NOW), before("unhealthy"), Probed()),
        ("sidecar:side", part("side"), before("healthy"), Probed("healthy", NOW, run=STARTED)),
        ("sidecar:side", part("side", started_at=NOW + timedelta(seconds=1)), before("healthy"), Probed()),
        ("sidecar:side", part("side"), before("unhealthy"), Probed()),
    ],
)
def test_what_was_known_before_is_of_the_same_run(role: str, found: Found, known: Instance, verdict: Probed) -> None:
    assert verdict_of(role, found, known) == verdict


def test_what_was_known_before_counts_only_where_nothing_is_known_now() -> None:
    labels = naming.of_workload(ref("web")) | CHECK
    (found,) = gather([part(labels=labels)], Place("a", recalled={"main": before("healthy")}), NOW)
    assert (found.instance.health, found.instance.ready, found.instance.ready_since) == ("healthy", True, NOW)
    place = Place("a", recalled={"main": before("healthy")}, probed={"main": Probed("unhealthy", NOW, "no", STARTED)})
    (found,) = gather([part(labels=labels)], place, NOW)
    assert (found.instance.health, found.instance.reason) == ("unhealthy", "HealthCheckFailing")
    place = Place("a", probed={"main": Probed("healthy", NOW, run=STARTED - timedelta(hours=1))})
    (found,) = gather([part(labels=labels)], place, NOW)
    assert found.instance.health == "starting", "that was another run of it"
