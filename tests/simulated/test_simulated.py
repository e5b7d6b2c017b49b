"""The simulated cluster does what its docstrings say."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from threading import Event as StopEvent
from typing import Any

import pytest
from msgspec.structs import replace

from tests.clock import Clock
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, SCHEME, Image, Outside, Pace, SimulatedAdapter, SimulatedCluster
from tests.simulated.program import program_of
from zun_coe.adapters import Connection, DeleteInstance, Done, Kill, LogOptions, Logs, Wait
from zun_coe.errors import Absent, Invalid, TimedOut, Unavailable
from zun_coe.model import (
    Exec,
    Health,
    Instance,
    Node,
    Placement,
    Port,
    Template,
    Update,
    Workload,
    WorkloadRef,
    template_hash,
)


@pytest.fixture
def cluster(clock: Clock) -> SimulatedCluster:
    return SimulatedCluster(clock=clock, pace=Pace(start=1, ready=2, stop=1, restart=1))


@pytest.fixture
def outside(cluster: SimulatedCluster) -> Outside:
    return Outside(cluster)


@pytest.fixture
def adapter(cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> SimulatedAdapter:
    monkeypatch.setitem(CLUSTERS, "here", cluster)
    return SimulatedAdapter(
        Connection(installation="i", cluster="c", kind="simulated", endpoint=f"{SCHEME}here", timeout=0.2)
    )


def workload(noun: Any = "app", id: str = "1", replicas: int = 2, **fields: Any) -> Workload:
    template = Template(**({"image": "web"} | {k: fields.pop(k) for k in list(fields) if k in TEMPLATE_FIELDS}))
    ref = WorkloadRef(installation="i", cluster="c", project="p", noun=noun, id=id, name=f"web{id}")
    return Workload(ref=ref, template=template, hash=template_hash(template), replicas=replicas, **fields)


TEMPLATE_FIELDS = set(Template.__struct_fields__)


def container(**fields: Any) -> Workload:
    return workload("container", **fields)


def instances(adapter: SimulatedAdapter, wanted: Workload) -> list[Instance]:
    return list(adapter.observe(wanted.ref)[0].instances)


def only(adapter: SimulatedAdapter, wanted: Workload) -> Instance:
    (instance,) = instances(adapter, wanted)
    return instance


@pytest.mark.parametrize(
    ("command", "lines", "ends", "code"),
    [
        (["sh", "-c", "echo hello $NAME; exit 3"], ["hello web"], 0, 3),
        (["sh", "-c", "sleep 2 && echo late; sleep 1"], ["late"], 3, 0),
        (["sh", "-c", "echo a; exec sleep 100"], ["a"], 100, 0),
        (["sh", "-c", "echo a; httpd -f"], ["a"], float("inf"), 0),
        (["false"], [], 0, 1),
        (["sleep", "5"], [], 5, 0),
        (["httpd", "-f"], [], float("inf"), 0),
        ([], [], float("inf"), 0),
    ],
)
def test_programs(command: list[str], lines: list[str], ends: float, code: int) -> None:
    program = program_of(command, {"NAME": "web"})
    assert ([text for _, text in program.lines], program.ends, program.exit_code) == (lines, ends, code)


def test_protocols(adapter: SimulatedAdapter) -> None:
    assert isinstance(adapter, Logs)
    assert isinstance(adapter, Kill)
    assert isinstance(adapter, DeleteInstance)


def test_replicas_start_and_get_ready_in_time(adapter: SimulatedAdapter, clock: Clock) -> None:
    wanted = workload()
    assert adapter.apply(wanted, None) == Done()
    assert [i.state for i in instances(adapter, wanted)] == ["creating"] * 2
    clock.now += 1
    assert [(i.state, i.ready) for i in instances(adapter, wanted)] == [("running", False)] * 2
    clock.now += 2
    found = instances(adapter, wanted)
    assert [(i.slot, i.ready, i.hash) for i in found] == [(1, True, wanted.hash), (2, True, wanted.hash)]
    assert found[0].ready_since is not None
    assert found[0].created_at is not None
    assert found[0].ready_since - found[0].created_at == timedelta(seconds=3)


def test_same_workload_again_changes_nothing(adapter: SimulatedAdapter, clock: Clock) -> None:
    wanted = workload()
    adapter.apply(wanted, None)
    clock.now += 5
    before = instances(adapter, wanted)
    adapter.apply(wanted, None)
    assert instances(adapter, wanted) == before


def test_removal_takes_its_time_and_then_nothing_is_left(adapter: SimulatedAdapter, clock: Clock) -> None:
    wanted = workload()
    adapter.apply(wanted, None)
    clock.now += 5
    assert isinstance(adapter.remove(wanted.ref, None), Wait)
    assert {i.state for i in instances(adapter, wanted)} == {"removing"}
    clock.now += 1
    assert adapter.remove(wanted.ref, None) == Done()
    assert adapter.observe() == []
    assert adapter.remove(wanted.ref, None) == Done()


def test_rolling_update_step_by_step(adapter: SimulatedAdapter, clock: Clock) -> None:
    adapter.apply(workload(replicas=3), None)
    clock.now += 5
    new = workload(replicas=3, env={"V": "2"}, update=Update(max_surge=1, max_unavailable=0, min_ready=2))
    adapter.apply(new, None)
    most, least = 0, 9
    for _ in range(60):
        clock.now += 0.5
        found = [i for i in instances(adapter, new) if i.state != "removing"]
        most, least = max(most, len(found)), min(least, sum(i.ready for i in found))
    assert (most, least) == (4, 3)
    assert [(i.slot, i.hash) for i in sorted(found, key=lambda i: i.slot)] == [(n, new.hash) for n in (1, 2, 3)]


def test_crash_loop_backs_off_and_says_so(adapter: SimulatedAdapter, clock: Clock) -> None:
    wanted = workload(replicas=1, command=("sh", "-c", "exit 3"))
    adapter.apply(wanted, None)
    clock.now += 1
    assert (only(adapter, wanted).state, only(adapter, wanted).exit_code) == ("restarting", 3)
    clock.now += 60
    crashed = only(adapter, wanted)
    assert crashed.reason == "CrashLoop"
    assert crashed.restarts < 20


@pytest.mark.parametrize(
    ("restart", "code", "state"),
    [("never", 3, "exited"), ("on_failure", 0, "exited"), ("on_failure", 3, "restarting"), ("always", 0, "restarting")],
)
def test_restart_policies(adapter: SimulatedAdapter, clock: Clock, restart: str, code: int, state: str) -> None:
    wanted = container(command=("sh", "-c", f"exit {code}"), restart=restart)
    adapter.apply(wanted, None)
    clock.now += 1
    adapter.apply(wanted, None)
    assert (only(adapter, wanted).state, only(adapter, wanted).exit_code) == (state, code)


def test_container_is_stopped_started_paused_and_resized_in_place(adapter: SimulatedAdapter, clock: Clock) -> None:
    wanted = container(restart="never")
    adapter.apply(wanted, None)
    clock.now += 5
    (first,) = instances(adapter, wanted)
    for desired, state in [
        ("stopped", "exited"),
        ("running", "running"),
        ("paused", "paused"),
        ("stopped", "exited"),
        ("running", "running"),
    ]:
        adapter.apply(replace(wanted, desired_state=desired), None)
        clock.now += 3
        assert (only(adapter, wanted).state, only(adapter, wanted).ready) == (state, state == "running")
    adapter.apply(replace(wanted, template=replace(wanted.template, cpu=2.0, memory="1Mi")), None)
    found = only(adapter, wanted)
    assert (found.native_id, found.cpu, found.memory) == (first.native_id, 2.0, 1 << 20)


def test_restart_happens_once_for_each_time_it_is_asked_for(adapter: SimulatedAdapter, clock: Clock) -> None:
    wanted = container()
    adapter.apply(wanted, None)
    clock.now += 5
    first = only(adapter, wanted).started_at
    again = replace(wanted, restarts=1)
    adapter.apply(again, None)
    second = only(adapter, wanted).started_at
    clock.now += 5
    adapter.apply(again, None)
    assert first != second == only(adapter, wanted).started_at


def test_container_stopped_by_hand_is_started_again(adapter: SimulatedAdapter, outside: Outside, clock: Clock) -> None:
    wanted = container()
    adapter.apply(wanted, None)
    clock.now += 5
    outside.stop(only(adapter, wanted).native_id)
    clock.now += 5
    assert only(adapter, wanted).state == "exited"
    adapter.apply(wanted, None)
    assert only(adapter, wanted).state == "running"


def test_replica_deleted_by_hand_is_replaced(adapter: SimulatedAdapter, outside: Outside, clock: Clock) -> None:
    wanted = workload()
    adapter.apply(wanted, None)
    clock.now += 5
    outside.delete(instances(adapter, wanted)[0].native_id)
    clock.now += 5
    assert [i.ready for i in instances(adapter, wanted)] == [True, True]


def test_health_check_decides_about_readiness(adapter: SimulatedAdapter, outside: Outside, clock: Clock) -> None:
    bad = workload(replicas=1, health=Health(exec=Exec(command=("false",)), interval=2, retries=2))
    adapter.apply(bad, None)
    clock.now += 4.9
    assert (only(adapter, bad).ready, only(adapter, bad).health) == (False, "starting")
    clock.now += 0.2
    assert (only(adapter, bad).reason, only(adapter, bad).health) == ("HealthCheckFailing", "unhealthy")
    good = workload(id="2", replicas=1, health=Health(exec=Exec(command=("true",))))
    adapter.apply(good, None)
    clock.now += 5
    assert only(adapter, good).health == "healthy"
    outside.set_ready(only(adapter, good).native_id, False)
    assert (only(adapter, good).ready, only(adapter, good).reason) == (False, "HealthCheckFailing")
    outside.set_ready(only(adapter, good).native_id, True)
    assert only(adapter, good).ready


def test_images_are_missing_slow_and_come(adapter: SimulatedAdapter, outside: Outside, clock: Clock) -> None:
    outside.set_image("web", Image(missing=True))
    wanted = workload(replicas=1)
    adapter.apply(wanted, None)
    assert (only(adapter, wanted).state, only(adapter, wanted).reason) == ("pending", "ImageNotFound")
    outside.set_image("web", Image(pull=10))
    assert (only(adapter, wanted).state, only(adapter, wanted).reason) == ("creating", "Pulling")
    clock.now += 11
    assert (only(adapter, wanted).state, only(adapter, wanted).reason) == ("running", None)


def test_containers_go_where_there_is_room_and_labels_fit(
    clock: Clock, adapter: SimulatedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = tuple(Node(name=f"n{i}", labels={"zone": "ab"[i % 2]}) for i in range(4))
    monkeypatch.setattr(adapter, "_cluster", SimulatedCluster(nodes, room=2, clock=clock))
    spread = workload(replicas=4, placement=Placement(spread="zone"))
    adapter.apply(spread, None)
    assert sorted(i.host or "" for i in instances(adapter, spread)) == ["n0", "n1", "n2", "n3"]
    tight = workload(id="2", replicas=3, placement=Placement(constraints={"zone": "a"}))
    adapter.apply(tight, None)
    found = instances(adapter, tight)
    assert sorted(i.host for i in found if i.host) == ["n0", "n2"]
    assert [i.reason for i in found if not i.host] == ["Unschedulable"]
    adapter.remove(spread.ref, None)
    assert all(i.host for i in instances(adapter, tight))


def test_ports_are_given_once(adapter: SimulatedAdapter) -> None:
    first = workload(ports=(Port(port=80, publish=8080), Port(port=81, publish="auto"), Port(port=82)))
    second = workload(id="2", ports=(Port(port=80, publish=8080),))
    assert adapter.apply(first, None) == Done()
    assert [(e.target, e.port) for e in adapter.observe(first.ref)[0].endpoints] == [(80, 8080), (81, 30000)]
    refused = adapter.apply(second, None)
    assert isinstance(refused, Wait)
    assert refused.reason == "PortConflict"
    adapter.remove(first.ref, None)
    assert adapter.apply(second, None) == Done()


def test_scopes_do_not_see_each_other(adapter: SimulatedAdapter) -> None:
    other = SimulatedAdapter(replace_connection(adapter.connection, installation="j"))
    mine = workload()
    adapter.apply(mine, None)
    other.apply(replace(mine, ref=replace(mine.ref, installation="j")), None)
    assert [o.ref.installation for o in adapter.observe()] == ["i"]
    assert [o.ref.installation for o in other.observe()] == ["j"]
    adapter.remove(mine.ref, None)
    assert len(other.observe()) == 1


def replace_connection(connection: Connection, **fields: Any) -> Connection:
    return Connection(**(vars(connection) | fields))


def test_scaling_by_hand_is_seen_and_taken_back(adapter: SimulatedAdapter, outside: Outside) -> None:
    wanted = workload(replicas=2)
    adapter.apply(wanted, None)
    outside.scale(wanted.ref, 5)
    assert (adapter.observe(wanted.ref)[0].desired, len(instances(adapter, wanted))) == (5, 5)
    adapter.apply(wanted, None)
    assert adapter.observe(wanted.ref)[0].desired == 2


def test_faults_come_as_told(adapter: SimulatedAdapter, cluster: SimulatedCluster) -> None:
    cluster.faults.fail_next("apply", Invalid("no"))
    cluster.faults.fail_next("apply", TimedOut("lost"), after=True)
    with pytest.raises(Invalid):
        adapter.apply(workload(), None)
    assert adapter.observe() == []
    with pytest.raises(TimedOut):
        adapter.apply(workload(), None)
    assert len(adapter.observe()) == 1
    cluster.faults.away = True
    with pytest.raises(Unavailable):
        adapter.describe()


def test_hanging_call_ends_at_its_deadline(adapter: SimulatedAdapter, cluster: SimulatedCluster) -> None:
    cluster.faults.hang()
    began = time.monotonic()
    with pytest.raises(TimedOut):
        adapter.describe()
    assert time.monotonic() - began >= adapter.connection.timeout
    threading.Timer(0.05, cluster.faults.resume).start()
    adapter.describe()


def test_chance_is_seeded() -> None:
    def outcomes(seed: int) -> list[bool]:
        faults = SimulatedCluster(seed=seed).faults
        faults.rates = {Unavailable: 0.5}
        results = []
        for _ in range(30):
            try:
                with faults.around("apply", 1):
                    results.append(True)
            except Unavailable:
                results.append(False)
        return results

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert 5 < sum(outcomes(1)) < 25


@pytest.fixture
def heard(adapter: SimulatedAdapter, cluster: SimulatedCluster) -> Any:
    """Everything that the adapter's watch yields, as it comes."""
    stop, heard = StopEvent(), list[Any]()
    thread = threading.Thread(target=lambda: [heard.append(hint) for hint in adapter.watch(stop)])
    thread.start()
    wait_until(lambda: cluster._hints.listeners, 5, "nobody listens")
    yield heard
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_hints_tell_of_changes_and_of_nothing_else(adapter: SimulatedAdapter, clock: Clock, heard: list[Any]) -> None:
    wanted = workload()
    adapter.apply(wanted, None)
    wait_until(lambda: len(heard) == 1, 5, "no hint of the creation")
    clock.now += 1
    wait_until(lambda: len(heard) == 2, 5, "no hint of the start")
    clock.now += 2
    wait_until(lambda: len(heard) == 3, 5, "no hint of readiness")
    adapter.apply(wanted, None)
    adapter.observe()
    adapter.apply(workload(id="2"), None)
    wait_until(lambda: len(heard) == 4, 5, "no hint of the second")
    assert [ref.id for ref in heard] == ["1", "1", "1", "2"]


def test_hints_are_dropped_and_repeated(adapter: SimulatedAdapter, cluster: SimulatedCluster, heard: list[Any]) -> None:
    cluster.faults.dropped = 1.0
    adapter.apply(workload(id="1"), None)
    cluster.faults.dropped, cluster.faults.repeated = 0.0, 1.0
    adapter.apply(workload(id="2"), None)
    wait_until(lambda: len(heard) == 2, 5, "no hint of the second")
    assert [ref.id for ref in heard] == ["2", "2"]


def test_logs(adapter: SimulatedAdapter, outside: Outside, clock: Clock) -> None:
    wanted = container(command=("sh", "-c", "echo one; echo two; sleep 100"))
    adapter.apply(wanted, None)
    clock.now += 2
    native_id = only(adapter, wanted).native_id
    outside.log(native_id, "three", "stderr")

    def read(**options: Any) -> list[str]:
        return [line.text.decode() for line in adapter.logs(wanted.ref, native_id, LogOptions(**options))]

    assert read() == ["one", "two", "three"]
    assert read(tail=1) == ["three"]
    assert read(stream="stdout") == ["one", "two"]
    assert read(since=outside.containers()[0].lines[-1].at) == ["three"]
    with pytest.raises(Absent):
        adapter.logs(wanted.ref, "7.7", LogOptions())


def test_followed_log_goes_on_until_the_process_ends_or_somebody_closes_it(
    adapter: SimulatedAdapter, outside: Outside, clock: Clock
) -> None:
    wanted = container(command=("sh", "-c", "echo one; sleep 100"), restart="never")
    adapter.apply(wanted, None)
    clock.now += 2
    native_id = only(adapter, wanted).native_id
    streams = [adapter.logs(wanted.ref, native_id, LogOptions(follow=True)) for _ in range(2)]
    lines: list[list[str]] = [[], []]
    threads = [
        threading.Thread(target=lambda n=n: lines[n].extend(line.text.decode() for line in streams[n]))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    streams[1].close()
    threads[1].join(5)
    assert not threads[1].is_alive()
    outside.log(native_id, "two")
    outside.die(native_id, 0)
    threads[0].join(5)
    assert lines[0] == ["one", "two"]


def test_volume_in_use_stays(adapter: SimulatedAdapter, cluster: SimulatedCluster, clock: Clock) -> None:
    wanted = workload(volumes={"data": "v1"})
    adapter.apply(wanted, None)
    with pytest.raises(Unavailable):
        adapter.remove_volume("data", "v1", "p")
    clock.now += 5
    adapter.remove(wanted.ref, None)
    clock.now += 5
    adapter.remove(wanted.ref, None)
    assert len(cluster.volumes) == 1
    adapter.remove_volume("data", "v1", "p")
    adapter.remove_volume("data", "v1", "p")
    assert not cluster.volumes


def test_ten_thousand_containers_cost_little(adapter: SimulatedAdapter, clock: Clock) -> None:
    for n in range(100):
        adapter.apply(workload(id=str(n), replicas=100), None)
    clock.now += 5
    adapter.observe()
    small = workload(id="small", replicas=1)
    adapter.apply(small, None)
    began = time.perf_counter()
    for _ in range(20):
        adapter.observe(small.ref)
    assert (time.perf_counter() - began) / 20 < 0.01
