"""The native adapter over runtimes in memory: faults at every call, hosts that go and come, everything quick."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.native.driving import Driver, by_slot, changed
from tests.native.fake import HOSTS, Crashed, FakeHost, FakeRuntime
from tests.native.workloads import CLUSTER, INSTALLATION, app, container, ref
from tests.real.waiting import wait_until
from zun_coe.adapters import Again, Connection, DeleteInstance, Done, Kill, LogOptions, Logs, Wait
from zun_coe.errors import Absent, Denied, Invalid, TimedOut, Unavailable
from zun_coe.model import (
    Exec,
    Health,
    Host,
    Mount,
    Observation,
    Placement,
    Port,
    Sidecar,
    Template,
    Update,
    VolumeSource,
    Workload,
    WorkloadRef,
    template_hash,
)
from zun_coe.native import pause, runtimes
from zun_coe.native.adapter import NativeAdapter
from zun_coe.native.health import Prober

IMAGE = "busybox:local"


class Lab:
    """Fake hosts, and adapters for them that come and go."""

    def __init__(self, *names: str) -> None:
        self.hosts = {name: FakeHost() for name in names}
        HOSTS.clear()
        HOSTS.update(self.hosts)
        self.opened: list[NativeAdapter] = []

    def open(self, *drained: str, **fields: Any) -> Driver:
        hosts = tuple(
            Host(name=n, runtime="fake", endpoint=f"unix:///{n}", labels={"host": n}, schedulable=n not in drained)
            for n in self.hosts
        )
        given = {"installation": INSTALLATION, "cluster": CLUSTER, "host_grace": 60.0, "timeout": 5.0}
        adapter = NativeAdapter(Connection(**({"kind": "native", "hosts": hosts} | given | fields)))
        self.opened.append(adapter)
        return Driver(adapter)

    def close(self) -> None:
        for adapter in self.opened:
            adapter.close()


@pytest.fixture(autouse=True)
def fake_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FakeRuntime)


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab("a")
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[Lab]:
    made = Lab("a", "b")
    yield made
    made.close()


@pytest.fixture
def driver(lab: Lab) -> Driver:
    return lab.open()


def names(host: FakeHost) -> list[str]:
    return sorted(found.name for found in host.containers.values())


def newer(workload: Workload, *, proven: bool = False, **fields: Any) -> Workload:
    """The next template of the same workload."""
    template = msgspec.structs.replace(workload.template, **fields)
    return changed(
        workload,
        proven=proven,
        template=template,
        hash=template_hash(template),
        previous=workload.template,
        previous_hash=workload.hash,
    )


class TestApp:
    def test_one_step_makes_all_and_the_next_finds_nothing_to_do(self, lab: Lab, driver: Driver) -> None:
        workload = app(replicas=5)
        driver.step(workload)
        assert driver.outcomes == [Again()]
        driver.step(workload)
        assert driver.outcomes[-1] == Done()
        assert len(lab.hosts["a"].containers) == 5
        assert driver.step(workload).instances[0].name == f"zun-web-{workload.ref.id[:12]}-1-{workload.hash[:8]}"

    @pytest.mark.parametrize("workload", [app(), container()], ids=["app", "container"])
    def test_one_that_ends_as_soon_as_it_is_started_is_not_started_with_each_step(
        self, lab: Lab, driver: Driver, workload: Workload
    ) -> None:
        host = lab.hosts["a"]
        driver.settle(workload)

        def end(name: str) -> None:
            if name == "start":
                host.change(host.named("zun").id, state="exited", exit_code=137)

        host.after_call = end
        host.change(host.named("zun").id, state="exited", exit_code=137)
        for _ in range(30):
            driver.step(workload)
        assert isinstance(driver.outcomes[-1], Wait)
        assert host.calls["start"] <= 3

    @pytest.mark.parametrize("workload", [app(), container()], ids=["app", "container"])
    def test_network_that_is_gone_is_there_again_before_the_start(
        self, lab: Lab, driver: Driver, workload: Workload
    ) -> None:
        host = lab.hosts["a"]
        driver.settle(workload)
        host.change(host.named("zun").id, state="exited", exit_code=137)
        host.made_networks.clear()
        driver.settle(workload)
        assert host.named("zun").state == "running"
        assert host.calls["rejoin"] == 1

    def test_it_is_found_by_its_labels_after_a_restart_of_the_gateway(self, lab: Lab) -> None:
        workload = app(replicas=2)
        lab.open().settle(workload)
        seen = lab.open().adapter.observe()
        assert [o.ref for o in seen] == [workload.ref]
        assert [i.slot for i in seen[0].instances] == [1, 2]

    def test_two_clusters_and_two_gateways_do_not_see_each_other(self, lab: Lab) -> None:
        workload = app()
        lab.open().settle(workload)
        for other in ({"cluster": "another"}, {"installation": "another"}):
            assert lab.open(**other).adapter.observe() == []

    def test_what_somebody_removed_or_stopped_comes_back(self, lab: Lab, driver: Driver) -> None:
        workload = app(replicas=3)
        seen = driver.settle(workload)
        lost, stopped = seen.instances[0].native_id, seen.instances[1].native_id
        del lab.hosts["a"].containers[lost]
        lab.hosts["a"].change(stopped, state="exited", exit_code=0)
        healed = driver.settle(workload)
        assert by_slot(healed)[2].native_id == stopped
        assert by_slot(healed)[1].native_id != lost

    def test_stopped_and_removed_leave_nothing(self, lab: Lab, driver: Driver) -> None:
        workload = app(replicas=3)
        driver.settle(workload)
        driver.settle(changed(workload, desired_state="stopped"))
        assert not lab.hosts["a"].containers
        driver.settle(workload)
        driver.remove(workload.ref)
        assert not lab.hosts["a"].containers
        assert not lab.hosts["a"].made_networks

    def test_a_network_stays_while_another_app_of_the_project_uses_it(self, lab: Lab, driver: Driver) -> None:
        first, second = app(), app(name="db")
        driver.settle(first)
        driver.settle(second)
        driver.remove(first.ref)
        assert list(lab.hosts["a"].made_networks) == ["zun-11111111-p1"]
        driver.remove(second.ref)
        assert not lab.hosts["a"].made_networks

    def test_a_network_that_went_meanwhile_is_made_again(self, lab: Lab, driver: Driver) -> None:
        driver.settle(app(replicas=1))
        lab.hosts["a"].made_networks.clear()
        driver.settle(app(replicas=2))
        assert lab.hosts["a"].made_networks

    def test_stops_are_waited_for_in_the_background(self, lab: Lab, driver: Driver) -> None:
        workload = app(Template(image=IMAGE, stop_timeout=60), replicas=2)
        driver.settle(workload)
        lab.hosts["a"].obedient = False
        driver.step(changed(workload, replicas=1))
        assert isinstance(driver.outcomes[-1], Wait)
        seen = driver.see(workload.ref)
        assert [i.state for i in seen.instances] == ["running", "removing"]
        lab.hosts["a"].stopping.set()
        driver.settle(changed(workload, replicas=1))
        assert len(lab.hosts["a"].containers) == 1

    def test_what_is_gone_by_the_time_that_its_host_answers_is_on_its_way_out(
        self, lab: Lab, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Shown as something that has ended, it would be one too many, of a template that is given up."""
        workload, host = app(Template(image=IMAGE, stop_timeout=60), replicas=2), lab.hosts["a"]
        driver.settle(workload)
        host.obedient = False
        driver.step(changed(workload, replicas=1))
        adapter = driver.adapter
        runtime = adapter._hosts["a"].runtime
        find = runtime.find

        def slow(labels: Any, *, exact: bool = True) -> Any:
            there = find(labels, exact=exact)
            host.stopping.set()
            wait_until(lambda: not adapter._acting.removing("a"), 10.0, "It is gone")
            return there

        monkeypatch.setattr(runtime, "find", slow)
        assert [i.state for i in driver.see(workload.ref).instances] == ["running", "removing"]
        assert len(host.containers) == 1

    def test_what_serves_is_kept_up_while_the_next_image_is_on_its_way(self, lab: Lab, driver: Driver) -> None:
        """A pull may take as long as it is large: what is lost, has ended or is wanted in addition does not wait."""
        host, workload = lab.hosts["a"], app(replicas=2)
        driver.settle(workload)
        host.pulling = threading.Event()
        host.registry.add("next:1")
        new = newer(workload, image="next:1", proven=True)
        driver.step(new)
        lost, ended = (i.native_id for i in driver.see(new.ref).instances)
        host.containers.pop(lost)
        host.change(ended, state="exited", exit_code=1)
        more = changed(new, replicas=4)

        whole = [(slot, workload.hash, True) for slot in range(1, 5)]
        driver.until(more, lambda seen: [(i.slot, i.hash, i.ready) for i in seen.instances] == whole)
        assert driver.wait.reason == "Pulling"
        host.pulling.set()
        seen = driver.settle(more)
        assert {i.hash for i in seen.instances} == {new.hash}

    @pytest.mark.parametrize("update", [Update(), Update(strategy="recreate")], ids=lambda update: update.strategy)
    def test_what_never_ran_or_can_not_run_beside_it_stands_in_for_nothing(
        self, lab: Lab, driver: Driver, update: Update
    ) -> None:
        host, workload = lab.hosts["a"], app(replicas=1)
        driver.settle(workload)
        host.pulling = threading.Event()
        host.registry.add("next:1")
        new = changed(newer(workload, image="next:1"), proven=update.strategy == "recreate", update=update)
        host.containers.clear()
        for _ in range(3):
            driver.step(new)
        assert not host.containers
        host.pulling.set()
        driver.settle(new)

    def test_a_command_that_is_not_there_is_refused_and_told_by_its_replicas(self, driver: Driver) -> None:
        workload = app(Template(image=IMAGE, command=("missing",)), replicas=2)
        driver.step(workload)
        (error,) = driver.outcomes
        assert isinstance(error, Invalid)
        seen = driver.see(workload.ref)
        assert seen.reason is None  # the engine remembers what was refused, and of which template
        assert {(i.state, i.reason) for i in seen.instances} == {("failed", "InvalidSpec")}

    def test_what_is_pulled_always_is_resolved_by_the_first_replica(self, pair: Lab) -> None:
        """Hosts that pull a tag at the same time may find different images."""
        for host in pair.hosts.values():
            host.registry |= {"web:1", "web@sha256:one"}
        workload = app(Template(image="web:1", pull="always"), replicas=4)
        driver = pair.open()
        first = driver.until(workload, lambda seen: seen.instances)
        assert len({i.host for i in first.instances}) == 1
        resolved = changed(workload, digests={"main": "web@sha256:one"})
        there = {i.native_id for i in first.instances}
        seen = driver.settle(resolved)
        assert {i.host for i in seen.instances} == {"a", "b"}
        specs = {id: spec.image for host in pair.hosts.values() for id, spec in host.specs.items()}
        assert {specs[i.native_id] for i in seen.instances if i.native_id not in there} == {"web@sha256:one"}

    def test_one_replica_that_fails_does_not_keep_the_others_from_starting(self, lab: Lab, driver: Driver) -> None:
        failures = iter([True])

        def fail(name: str) -> None:
            if name == "start" and next(failures, False):
                raise Unavailable("out of luck", "Error")

        lab.hosts["a"].on_call = fail
        workload = app(replicas=4)
        driver.step(workload)
        assert driver.wait.reason == "Error"
        assert sum(f.state == "running" for f in lab.hosts["a"].containers.values()) == 3
        driver.settle(workload)


class TestCrashes:
    """The gateway dies after any call; another one goes on. Nothing is lost, nothing is doubled."""

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize("sidecars", [False, True])
    def test_killed_after_each_call_of_a_rollout_in_turn(self, lab: Lab, sidecars: bool) -> None:
        parts = (Sidecar(name="log", image=IMAGE),) if sidecars else ()
        template = Template(image="remote:1", sidecars=parts, mounts=(Mount(path="/d", volume=VolumeSource(name="v")),))
        first = app(template, replicas=2, volumes={"v": "vid"})
        second = newer(first, env={"A": "1"})
        host = lab.hosts["a"]
        host.registry.add("remote:1")
        for workload in (first, second):
            crashes = 0
            while self._until_crash(lab, workload):
                crashes += 1
                assert crashes < 200
            assert crashes > 3
            self._check(host, workload, 1 + (2 if sidecars else 0))
        gone = 0
        while self._crash_on(lab, lambda d: d.remove(first.ref, 5)):
            gone += 1
        assert gone > 1
        assert not host.containers
        assert not host.made_networks
        assert list(host.made_volumes) == ["zun-vid"]

    def _until_crash(self, lab: Lab, workload: Workload) -> bool:
        return self._crash_on(lab, lambda driver: driver.settle(workload, 10))

    def _crash_on(self, lab: Lab, work: Callable[[Driver], object]) -> bool:
        """Let a new gateway work until it dies after its first call that changes anything."""
        driver = lab.open()
        died = threading.Event()
        before = self._state(lab.hosts["a"])

        def die(name: str) -> None:
            if self._state(lab.hosts["a"]) != before:
                died.set()
                raise Crashed

        lab.hosts["a"].after_call = die
        worker = threading.Thread(target=self._swallow, args=(work, driver, died), daemon=True)
        worker.start()
        wait_until(lambda: died.is_set() or not worker.is_alive(), 20)
        worker.join(20)
        lab.hosts["a"].after_call = lambda name: None
        return died.is_set()

    def _state(self, host: FakeHost) -> tuple[Any, ...]:
        with host.lock:
            containers = [(f.id, f.state) for f in host.containers.values()]
            return containers, set(host.made_networks), set(host.made_volumes), set(host.images)

    def _swallow(self, work: Callable[[Driver], object], driver: Driver, died: threading.Event) -> None:
        see = driver.see

        def guarded(ref: WorkloadRef) -> Observation:
            if died.is_set():
                raise Crashed
            return see(ref)

        driver.see = guarded  # type: ignore[method-assign]  # the process that died makes no further step
        try:
            work(driver)
        except Crashed:
            return

    def _check(self, host: FakeHost, workload: Workload, each: int) -> None:
        found = list(host.containers.values())
        assert len(found) == 2 * each
        assert {f.labels["zun.hash"] for f in found} == {workload.hash}
        assert all(f.state == "running" for f in found)
        assert len({f.name for f in found}) == len(found)


class TestImages:
    def test_a_pull_is_waited_for_and_its_end_is_told(self, lab: Lab, driver: Driver) -> None:
        host = lab.hosts["a"]
        host.registry.add("web:2")
        host.pulling = threading.Event()
        workload = app(Template(image="web:2"), replicas=3)
        for _ in range(3):
            driver.step(workload)
            assert (driver.wait.reason, host.calls["pull"]) == ("Pulling", 1)
        host.pulling.set()
        stop = threading.Event()
        hints = driver.adapter.watch(stop)
        assert next(hints) == workload.ref
        stop.set()
        driver.settle(workload)
        assert len(host.containers) == 3

    def test_an_image_that_is_not_there_is_told_and_not_asked_for_all_the_time(self, lab: Lab, driver: Driver) -> None:
        workload = app(Template(image="nowhere:1"))
        driver.until(workload, lambda seen: driver.wait.reason == "ImageNotFound")
        assert 3 < driver.wait.seconds <= 5
        assert driver.wait.evidence["image"] == "nowhere:1"
        driver.step(workload)
        assert lab.hosts["a"].calls["pull"] == 1
        lab.hosts["a"].registry.add("nowhere:1")
        # Another intent is a reason to try again at once.
        driver.settle(newer(workload, env={"A": "1"}))

    def test_never_and_always(self, lab: Lab, driver: Driver) -> None:
        driver.step(app(Template(image="nowhere:1", pull="never")))
        (error,) = driver.outcomes
        assert isinstance(error, Invalid)
        assert error.reason == "ImageNotFound"
        lab.hosts["a"].registry.add(IMAGE)
        always = app(Template(image=IMAGE, pull="always"), name="other", replicas=3, update=Update(max_surge="100%"))
        driver.settle(always)
        assert lab.hosts["a"].calls["pull"] == 1
        driver.settle(changed(always, replicas=4))
        assert lab.hosts["a"].calls["pull"] == 1
        driver.settle(newer(changed(always, replicas=4), env={"A": "1"}))
        assert lab.hosts["a"].calls["pull"] == 2

    @pytest.mark.parametrize("update", [Update(strategy="recreate"), Update(max_surge=0, max_unavailable=1)])
    def test_nothing_old_is_taken_away_before_the_new_image_is_there(
        self, lab: Lab, driver: Driver, update: Update
    ) -> None:
        workload = app(replicas=2, update=update)
        driver.settle(workload)
        broken = newer(workload, image="nowhere:1")
        driver.until(broken, lambda seen: driver.wait.reason == "ImageNotFound")
        driver.step(broken)
        seen = driver.see(workload.ref)
        assert [i.hash for i in seen.instances if i.ready] == [workload.hash] * 2

    def test_one_that_was_removed_from_the_host_is_pulled_again(self, lab: Lab, driver: Driver) -> None:
        lab.hosts["a"].registry.add(IMAGE)
        workload = app(Template(image=IMAGE, pull="always"))
        driver.settle(workload)
        lab.hosts["a"].images.clear()
        driver.settle(changed(workload, replicas=2))
        assert lab.hosts["a"].calls["pull"] == 2


class TestHosts:
    def test_replicas_are_spread_and_found_on_all_hosts(self, pair: Lab) -> None:
        driver = pair.open()
        seen = driver.settle(app(replicas=4))
        assert sorted(str(i.host) for i in seen.instances) == ["a", "a", "b", "b"]

    @pytest.mark.parametrize("names", ["a", "ab"])
    def test_what_there_is_is_seen_while_all_hands_make_something_else(self, names: str) -> None:
        lab, made, making = Lab(*names), threading.Event(), threading.Event()
        driver = lab.open(parallelism=1)
        driver.settle(app())

        def hold(name: str) -> None:
            if name == "create":
                making.set()
                made.wait(60)

        for host in lab.hosts.values():
            host.on_call = hold
        maker = threading.Thread(target=driver.step, args=(app(name="slow", replicas=4),))
        maker.start()
        assert making.wait(60)
        assert [i.state for i in driver.see(app().ref).instances] == ["running"]
        made.set()
        maker.join()
        lab.close()

    def test_a_host_that_is_away_keeps_its_slots_for_its_grace(self, pair: Lab) -> None:
        driver = pair.open()
        driver.settle(app(replicas=2))
        pair.hosts["b"].away = True
        workload = app(replicas=2)
        seen = driver.step(workload)
        assert sorted((i.host, i.state) for i in seen.instances) == [("a", "running"), ("b", "unknown")]
        assert len(pair.hosts["a"].containers) == 1

    def test_after_its_grace_they_are_placed_elsewhere_and_the_surplus_goes_when_it_returns(self, pair: Lab) -> None:
        driver = pair.open(host_grace=0.0)
        workload = app(replicas=2)
        driver.settle(workload)
        pair.hosts["b"].away = True
        driver.settle(workload)
        assert len(pair.hosts["a"].containers) == 2
        pair.hosts["b"].away = False
        seen = driver.until(workload, lambda seen: len(seen.instances) == 2 and driver.outcomes[-1] == Done())
        assert sorted(by_slot(seen)) == [1, 2]
        assert len(pair.hosts["a"].containers) + len(pair.hosts["b"].containers) == 2

    def test_a_drained_host_gives_up_what_apps_have_there_and_keeps_containers_of_their_own(self, pair: Lab) -> None:
        alone = container()
        driver = pair.open("b")
        driver.settle(alone)
        workload = app(replicas=4)
        pair.open().settle(workload)
        driver = pair.open("a")
        seen = driver.until(workload, lambda seen: driver.outcomes[-1] == Done())
        assert [(i.slot, i.host) for i in seen.instances] == [(n, "b") for n in (1, 2, 3, 4)]
        driver.step(alone)
        assert driver.outcomes[-1] == Done()
        assert list(pair.hosts["a"].containers) == [driver.see(alone.ref).instances[0].native_id]

    @pytest.mark.parametrize(
        "update", [Update(max_surge=0, max_unavailable=1), Update(strategy="recreate")], ids=["rolling", "recreate"]
    )
    def test_nothing_is_taken_from_a_drained_host_before_the_image_is_where_it_is_needed(
        self, pair: Lab, update: Update
    ) -> None:
        workload = app(Template(image="remote:1", pull="missing"), update=update)
        pair.hosts["a"].images.add("remote:1")
        pair.open("b").settle(workload)
        driver = pair.open("a")
        driver.until(workload, lambda seen: getattr(driver.outcomes[-1], "reason", None) == "ImageNotFound")
        assert len(pair.hosts["a"].containers) == 1
        pair.hosts["b"].registry.add("remote:1")
        driver = pair.open("a")
        driver.until(workload, lambda seen: driver.outcomes[-1] == Done())
        assert [len(host.containers) for host in pair.hosts.values()] == [0, 1]

    def test_what_no_other_host_takes_stays_and_is_told(self, pair: Lab) -> None:
        workload = app(replicas=2, placement=Placement(constraints={"host": "a"}))
        pair.open().settle(workload)
        driver = pair.open("a")
        seen = driver.step(workload)
        assert driver.wait.reason == "Unschedulable"
        assert "The host a is being drained" in str(driver.wait.message)
        assert [i.ready for i in seen.instances] == [True, True]
        undrained = pair.open()
        undrained.step(workload)
        assert undrained.outcomes == [Done()]

    def test_when_no_host_answers_that_is_told(self, pair: Lab) -> None:
        driver = pair.open()
        for host in pair.hosts.values():
            host.away = True
        with pytest.raises(Unavailable):
            driver.adapter.observe()
        with pytest.raises(Unavailable):
            driver.adapter.describe()

    def test_a_container_of_its_own_is_never_made_twice_for_a_host_that_is_away(self, pair: Lab) -> None:
        workload = container()
        pair.open().settle(workload)
        (where,) = [h for h in pair.hosts.values() if h.containers]
        where.away = True
        driver = pair.open()
        driver.step(workload)
        assert driver.wait.reason == "BackendUnreachable"
        assert sum(len(h.containers) for h in pair.hosts.values()) == 1

    def test_removal_waits_for_a_host_that_may_have_something(self, pair: Lab) -> None:
        driver = pair.open()
        workload = app(replicas=2)
        driver.settle(workload)
        pair.hosts["b"].away = True

        def waits() -> bool:
            outcome = driver.adapter.remove(workload.ref, driver.see(workload.ref))
            return isinstance(outcome, Wait) and outcome.reason == "BackendUnreachable"

        wait_until(waits, 5)
        pair.hosts["b"].away = False
        driver.remove(workload.ref)
        assert not pair.hosts["b"].containers

    def test_a_port_that_something_else_has_leads_to_another_host(self, pair: Lab) -> None:
        pair.hosts["a"].foreign_ports.add(8080)
        driver = pair.open()
        seen = driver.settle(app(Template(image=IMAGE, ports=(Port(port=80, publish=8080),))))
        assert [i.host for i in seen.instances] == ["b"]
        assert seen.instances[0].endpoints[0].port == 8080
        assert not pair.hosts["a"].containers

    def test_a_port_that_is_taken_everywhere_is_told(self, pair: Lab) -> None:
        for host in pair.hosts.values():
            host.foreign_ports.add(8080)
        driver = pair.open()
        workload = app(Template(image=IMAGE, ports=(Port(port=80, publish=8080),)))
        driver.until(workload, lambda seen: "No host" in str(getattr(driver.outcomes[-1], "message", "")))
        assert driver.wait.reason == "PortConflict"

    def test_a_fixed_port_moves_from_old_to_new_on_the_same_host(self, lab: Lab, driver: Driver) -> None:
        workload = app(Template(image=IMAGE, ports=(Port(port=80, publish=8080),)))
        driver.settle(workload)
        seen = driver.settle(newer(workload, env={"A": "1"}))
        assert [i.endpoints[0].port for i in seen.instances] == [8080]

    def test_a_volume_holds_its_workload_on_one_host(self, pair: Lab) -> None:
        driver = pair.open()
        mounts = (Mount(path="/d", volume=VolumeSource(name="v")),)
        driver.settle(app(Template(image=IMAGE, mounts=mounts), replicas=3, volumes={"v": "vid"}))
        used = [name for name, host in pair.hosts.items() if host.containers]
        assert len(used) == 1
        assert pair.hosts[used[0]].made_volumes["zun-vid"]["zun.volume"] == "v"

    def test_a_volume_that_may_be_on_a_host_that_is_away_is_not_made_anew(self, pair: Lab) -> None:
        pair.hosts["b"].away = True
        driver = pair.open()
        mounts = (Mount(path="/d", volume=VolumeSource(name="v")),)
        driver.step(app(Template(image=IMAGE, mounts=mounts), volumes={"v": "vid"}))
        assert driver.wait.reason == "VolumeUnavailable"
        assert not pair.hosts["a"].containers

    def test_a_volume_that_was_made_on_a_host_is_not_made_anew_when_the_host_goes_away(self, pair: Lab) -> None:
        driver = pair.open(host_grace=0.0)
        mounts = (Mount(path="/d", volume=VolumeSource(name="v")),)
        workload = app(Template(image=IMAGE, mounts=mounts), volumes={"v": "vid"})
        (first,) = driver.settle(workload).instances
        pair.hosts[str(first.host)].away = True
        driver.step(workload)
        assert driver.wait.reason == "VolumeUnavailable"
        assert sum(len(host.made_volumes) for host in pair.hosts.values()) == 1

    def test_volumes_are_removed_when_nothing_uses_them(self, lab: Lab, driver: Driver) -> None:
        mounts = (Mount(path="/d", volume=VolumeSource(name="v")),)
        workload = app(Template(image=IMAGE, mounts=mounts), volumes={"v": "vid"})
        driver.settle(workload)
        with pytest.raises(Unavailable):
            driver.adapter.remove_volume("v", "vid", "p1")
        driver.remove(workload.ref)
        driver.adapter.remove_volume("v", "vid", "p1")
        driver.adapter.remove_volume("v", "vid", "p1")
        assert not lab.hosts["a"].made_volumes


class TestCallsThatFail:
    def test_one_that_takes_too_long_makes_no_host_unreachable(self, lab: Lab, driver: Driver) -> None:
        host, slow = lab.hosts["a"], ["create"]

        def hang(name: str) -> None:
            if name in slow:
                slow.remove(name)
                raise TimedOut("the engine did not answer in time", evidence={"call": name})

        host.on_call = hang
        driver.step(app(replicas=5))
        assert len(host.containers) == 4
        assert driver.adapter.describe().nodes[0].reachable
        driver.settle(app(replicas=5))
        assert len(host.containers) == 5

    def test_one_that_is_denied_makes_no_host_unreachable(self, lab: Lab, driver: Driver) -> None:
        def deny(name: str) -> None:
            if name == "create":
                raise Denied("authorization denied by plugin")

        driver.see(app().ref)
        lab.hosts["a"].on_call = deny
        driver.step(app())
        assert isinstance(driver.outcomes[-1], Denied)
        assert driver.adapter.describe().nodes[0].reachable

    def test_a_volume_that_one_host_does_not_let_go_is_not_gone(self, pair: Lab) -> None:
        driver = pair.open()
        mounts = (Mount(path="/d", volume=VolumeSource(name="v")),)
        driver.settle(app(Template(image=IMAGE, mounts=mounts), volumes={"v": "vid"}))
        with pytest.raises(Unavailable, match="in use"):
            driver.adapter.remove_volume("v", "vid", "p1")


class TestNetworks:
    def test_a_network_that_an_update_took_out_is_released(self, lab: Lab, driver: Driver) -> None:
        host = lab.hosts["a"]
        first = app(Template(image=IMAGE, args=("sleep", "9"), networks=("front",)))
        driver.settle(first)
        assert len(host.made_networks) == 2
        driver.settle(newer(first, networks=()))
        driver.adapter.observe(None)
        driver.adapter.tidy()
        assert len(host.made_networks) == 1

    def test_nobody_is_asked_where_nothing_has_left_a_network(self, lab: Lab, driver: Driver) -> None:
        driver.settle(app(replicas=2))
        for _ in range(3):
            driver.adapter.observe(None)
            driver.adapter.tidy()
        assert lab.hosts["a"].calls["networks"] == 1

    def test_what_was_left_behind_by_a_former_process_is_released(self, lab: Lab) -> None:
        lab.open().settle(app())
        lab.hosts["a"].containers.clear()
        driver = lab.open()
        driver.adapter.observe(None)
        driver.adapter.tidy()
        assert not lab.hosts["a"].made_networks

    def test_a_network_that_something_is_being_created_on_stays(self, lab: Lab, driver: Driver) -> None:
        host, released = lab.hosts["a"], []
        driver.adapter.observe(None)

        def tidy(name: str) -> None:
            if name == "ensure_network":
                driver.adapter.tidy()
                released.append(set(host.made_networks))

        host.after_call = tidy
        driver.settle(app())
        assert all(released)
        assert host.calls["ensure_network"] == 1


class TestSuspicion:
    def test_a_host_to_which_the_way_is_suspected_says_so(
        self, lab: Lab, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Prober, "suspects", lambda prober: frozenset({"a"}))
        (node,) = driver.adapter.describe().nodes
        assert (node.reachable, node.reason) == (True, "BackendUnreachable")
        assert node.message is not None
        assert "nothing is replaced" in node.message


class TestClocks:
    @pytest.mark.parametrize("seconds", [-7200, -3, 3, 7200])
    @pytest.mark.parametrize("workload", [app(), container()], ids=["app", "container"])
    def test_a_host_whose_clock_is_wrong_serves_as_any_other(
        self, lab: Lab, driver: Driver, workload: Workload, seconds: int
    ) -> None:
        lab.hosts["a"].ahead = timedelta(seconds=seconds)
        driver.adapter.describe()
        began = datetime.now(UTC)
        seen = driver.settle(workload)
        (instance,) = seen.instances
        for moment in (instance.started_at, instance.ready_since):
            assert moment is not None
            assert abs(moment - began) < timedelta(seconds=30)

    def test_times_do_not_change_with_each_measurement(self, lab: Lab, driver: Driver) -> None:
        workload = app()
        lab.hosts["a"].ahead = timedelta(seconds=100)
        driver.adapter.describe()
        first = driver.settle(workload)
        lab.hosts["a"].ahead = timedelta(seconds=100.9)
        driver.adapter.describe()
        assert driver.see(workload.ref) == first


class TestHealth:
    workload = app(Template(image=IMAGE, health=Health(exec=Exec(command=("true",)))), replicas=2)

    def test_the_runtimes_verdict_counts(self, lab: Lab, driver: Driver) -> None:
        driver.step(self.workload)
        seen = driver.step(self.workload)
        assert [(i.ready, i.health) for i in seen.instances] == [(False, "starting")] * 2
        for id in lab.hosts["a"].containers:
            lab.hosts["a"].change(id, health="healthy")
        driver.settle(self.workload)

    def test_an_unhealthy_replica_is_replaced_at_once_and_later_after_delays(self, lab: Lab, driver: Driver) -> None:
        host = lab.hosts["a"]
        driver.step(self.workload)
        sick = host.named("-1-")
        host.change(sick.id, health="unhealthy", health_log=("it said no",))
        host.change(host.named("-2-").id, health="healthy")
        seen = driver.step(self.workload)
        assert by_slot(seen)[1].reason == "HealthCheckFailing"
        assert "it said no" in str(by_slot(seen)[1].message)
        driver.until(self.workload, lambda seen: sick.id not in host.containers and len(host.containers) == 2)
        host.change(host.named("-1-").id, health="unhealthy")
        driver.step(self.workload)
        assert 0 < driver.wait.seconds <= 1
        assert len(host.containers) == 2

    def test_a_crash_loop_is_shown_and_left_to_the_runtime(self, lab: Lab, driver: Driver) -> None:
        workload = app(replicas=1)
        seen = driver.settle(workload)
        id = seen.instances[0].native_id
        lab.hosts["a"].change(id, state="restarting", restarts=4, exit_code=3)
        found = driver.step(workload).instances[0]
        assert (found.state, found.ready, found.reason) == ("restarting", False, "CrashLoop")
        assert found.evidence["exit_code"] == 3
        lab.hosts["a"].change(id, state="running", started_at=datetime.now(UTC))
        assert not driver.step(workload).instances[0].ready
        lab.hosts["a"].change(id, state="running", started_at=datetime.now(UTC) - timedelta(minutes=1))
        assert driver.step(workload).instances[0].ready
        assert list(lab.hosts["a"].containers) == [id]

    def test_memory_that_ran_out_is_told(self, lab: Lab, driver: Driver) -> None:
        workload = container(Template(image=IMAGE, restart="never"))
        seen = driver.settle(workload)
        lab.hosts["a"].change(seen.instances[0].native_id, state="exited", oom_killed=True, exit_code=137)
        assert driver.see(workload.ref).instances[0].reason == "OutOfMemory"


class TestSidecars:
    template = Template(
        image=IMAGE,
        ports=(Port(port=80, publish="auto"),),
        sidecars=(Sidecar(name="log", image="side:1", env={"A": "1"}),),
    )
    workload = app(template)

    @pytest.fixture(autouse=True)
    def image(self, lab: Lab) -> None:
        lab.hosts["a"].images.add("side:1")

    def test_a_replica_is_one_network_and_all_that_share_it(self, lab: Lab, driver: Driver) -> None:
        seen = driver.settle(self.workload)
        host = lab.hosts["a"]
        specs = {spec.labels["zun.role"]: (id, spec) for id, spec in host.specs.items()}
        infra, main, side = specs["infra"], specs["main"][1], specs["sidecar:log"][1]
        assert infra[1].image == pause.IMAGE
        assert (main.join, side.join) == (infra[0], infra[0])
        assert infra[1].aliases == ("web",)
        assert not main.ports
        (only,) = seen.instances
        assert only.native_id == specs["main"][0]
        assert only.endpoints[0].target == 80

    def test_it_is_ready_when_all_of_it_is(self, lab: Lab, driver: Driver) -> None:
        driver.settle(self.workload)
        lab.hosts["a"].change(lab.hosts["a"].named("-log").id, state="restarting")
        assert not driver.see(self.workload.ref).instances[0].ready

    def test_a_part_that_is_missing_or_ended_is_mended(self, lab: Lab, driver: Driver) -> None:
        before = driver.settle(self.workload).instances[0].native_id
        host = lab.hosts["a"]
        del host.containers[host.named("-log").id]
        host.change(before, state="exited")
        assert driver.settle(self.workload).instances[0].native_id == before
        assert len(host.containers) == 3

    def test_without_its_network_the_replica_is_made_anew(self, lab: Lab, driver: Driver) -> None:
        before = driver.settle(self.workload).instances[0].native_id
        host = lab.hosts["a"]
        del host.containers[host.named("-infra").id]
        assert driver.settle(self.workload).instances[0].native_id != before
        assert len(host.containers) == 3

    def test_what_runs_in_a_network_that_is_gone_is_restarted(self, lab: Lab, driver: Driver) -> None:
        driver.settle(self.workload)
        host = lab.hosts["a"]
        host.change(host.named("-infra").id, started_at=datetime.now(UTC) + timedelta(milliseconds=1))
        driver.settle(self.workload)
        infra = host.named("-infra").started_at
        assert all(f.started_at >= infra for f in host.containers.values())  # type: ignore[operator]  # all have started

    def test_logs_choose_one(self, lab: Lab, driver: Driver) -> None:
        (only,) = driver.settle(self.workload).instances
        assert isinstance(driver.adapter, Logs)
        told = list(driver.adapter.logs(self.workload.ref, only.native_id, LogOptions(container="log")))
        assert told[0].text.endswith(b"-log")
        with pytest.raises(Absent):
            driver.adapter.logs(self.workload.ref, only.native_id, LogOptions(container="none"))

    def test_all_of_it_goes(self, lab: Lab, driver: Driver) -> None:
        driver.settle(self.workload)
        driver.remove(self.workload.ref)
        assert not lab.hosts["a"].containers


class TestContainer:
    def only(self, driver: Driver, workload: Workload) -> Any:
        (found,) = driver.see(workload.ref).instances
        return found

    def test_it_is_stopped_started_paused_and_unpaused_in_place(self, lab: Lab, driver: Driver) -> None:
        workload = container(Template(image=IMAGE, restart="never"))
        id = driver.settle(workload).instances[0].native_id
        for state, expected in (
            ("stopped", "exited"),
            ("running", "running"),
            ("paused", "paused"),
            ("stopped", "exited"),
            ("paused", "paused"),
            ("running", "running"),
        ):
            wanted = changed(workload, desired_state=state)
            driver.until(wanted, lambda seen: driver.outcomes[-1] == Done())
            assert (self.only(driver, workload).state, self.only(driver, workload).native_id) == (expected, id)
        assert names(lab.hosts["a"]) == [f"zun-one-{workload.ref.id[:12]}"]

    def test_a_restart_happens_once_and_again_after_a_crash(self, lab: Lab, driver: Driver) -> None:
        workload = container()
        driver.settle(workload)
        again = changed(workload, restarts=1)
        driver.settle(again)
        assert lab.hosts["a"].calls["start"] == 2
        driver.step(again)
        assert lab.hosts["a"].calls["start"] == 2
        other = lab.open()
        other.settle(again)
        assert lab.hosts["a"].calls["start"] == 3
        other.settle(changed(again, restarted=1))
        assert lab.hosts["a"].calls["start"] == 3

    def test_what_is_still_being_stopped_is_not_started(self, lab: Lab, driver: Driver) -> None:
        workload = container()
        driver.settle(workload)
        host = lab.hosts["a"]
        host.obedient = False
        driver.step(changed(workload, desired_state="stopped"))
        host.change(host.named("one").id, state="exited")
        driver.step(workload)
        assert driver.wait.reason is None
        assert host.calls["start"] == 1
        host.stopping.set()
        driver.settle(workload)
        assert host.calls["start"] == 2

    def test_a_run_that_was_seen_is_restarted_once(self, lab: Lab, driver: Driver) -> None:
        """A look may be older than the end of the restart that it asks for."""
        workload = container()
        driver.settle(workload)
        host, acting = driver.adapter._hosts["a"], driver.adapter._acting
        (part,) = host.runtime.find({})
        acting.restart(host, workload.ref, part, 1)
        wait_until(lambda: not acting._jobs.under_way())
        (now,) = host.runtime.find({})
        for seen, number in ((part, 1), (part, None), (now, 1)):
            acting.restart(host, workload.ref, seen, number)
            wait_until(lambda: not acting._jobs.under_way())
        assert lab.hosts["a"].calls["start"] == 2
        acting.restart(host, workload.ref, now, 2)
        wait_until(lambda: lab.hosts["a"].calls["start"] == 3)

    @pytest.mark.parametrize(
        ("restart", "code", "stays"), [("never", 1, True), ("on_failure", 0, True), ("always", 0, False)]
    )
    def test_what_ended_by_itself_is_left_alone_where_it_may_stay(
        self, lab: Lab, driver: Driver, restart: Any, code: int, stays: bool
    ) -> None:
        workload = container(Template(image=IMAGE, restart=restart))
        id = driver.settle(workload).instances[0].native_id
        lab.hosts["a"].change(id, state="exited", exit_code=code)
        driver.until(workload, lambda seen: driver.outcomes[-1] == Done())
        assert self.only(driver, workload).state == ("exited" if stays else "running")

    def test_limits_are_changed_in_place(self, lab: Lab, driver: Driver) -> None:
        workload = container()
        id = driver.settle(workload).instances[0].native_id
        template = msgspec.structs.replace(workload.template, cpu=0.5, memory="64Mi")
        driver.settle(changed(workload, template=template))
        found = self.only(driver, workload)
        assert (found.native_id, found.cpu, found.memory) == (id, 0.5, 64 << 20)

    def test_asked_to_be_stopped_from_the_beginning_it_is_not_made(self, lab: Lab, driver: Driver) -> None:
        workload = container(desired_state="stopped")
        driver.step(workload)
        assert driver.outcomes == [Done()]
        assert not lab.hosts["a"].containers

    def test_kill_and_delete_act_on_one_instance(self, lab: Lab, driver: Driver) -> None:
        workload = app(replicas=2)
        first, second = driver.settle(workload).instances
        assert isinstance(driver.adapter, Kill)
        assert isinstance(driver.adapter, DeleteInstance)
        driver.adapter.kill(workload.ref, first.native_id, "SIGKILL")
        driver.adapter.delete_instance(workload.ref, second.native_id)
        driver.adapter.delete_instance(workload.ref, "nothing")
        with pytest.raises(Absent):
            driver.adapter.kill(workload.ref, "nothing", "SIGKILL")
        assert [f.state for f in lab.hosts["a"].containers.values()] == ["exited"]
        driver.settle(workload)


class TestDescription:
    def test_every_host_has_its_own_identity(self, pair: Lab) -> None:
        info = pair.open().adapter.describe()
        hosts = pair.hosts
        assert info.identity == f"a={hosts['a'].identity}\nb={hosts['b'].identity}"
        assert [(n.name, n.reachable, n.local, n.labels) for n in info.nodes] == [
            ("a", True, True, {"host": "a"}),
            ("b", True, True, {"host": "b"}),
        ]

    def test_a_host_that_is_away_is_shown_as_such(self, pair: Lab) -> None:
        pair.hosts["b"].away = True
        info = pair.open().adapter.describe()
        assert [n.reachable for n in info.nodes] == [True, False]
        assert info.nodes[1].message == "it does not answer"
        assert "b=" not in info.identity

    def test_one_engine_under_two_names_is_refused(self, pair: Lab) -> None:
        pair.hosts["b"].identity = pair.hosts["a"].identity
        with pytest.raises(Invalid, match="same engine"):
            pair.open().adapter.describe()

    def test_events_of_all_hosts_are_hints(self, pair: Lab) -> None:
        driver = pair.open()
        stop = threading.Event()
        hints = driver.adapter.watch(stop)
        heard: list[Any] = []
        reader = threading.Thread(target=lambda: heard.extend(hints))
        reader.start()
        wait_until(lambda: all(h.listeners for h in pair.hosts.values()), 5)
        for n, host in enumerate(pair.hosts.values()):
            workload = app(name=f"app{n}", replicas=2)
            driver.settle(workload)
            wait_until(lambda w=workload: w.ref in heard, 5)
            assert host.containers
        stop.set()
        reader.join(5)
        assert not reader.is_alive()


def test_render_shows_everything_but_secrets(driver: Driver) -> None:
    template = Template(image=IMAGE, env={"A": "1"}, env_secrets={"B": "s/k"}, cpu=0.5)
    shown = driver.adapter.render(app(template, replicas=2, secrets={"s/k": "hidden"}))
    assert len(shown) == 2
    assert shown[0]["env"] == {"A": "1", "B": "***"}
    assert "hidden" not in str(shown)


def test_a_secret_that_is_missing_is_told(driver: Driver) -> None:
    driver.step(app(Template(image=IMAGE, env_secrets={"B": "s/k"})))
    (error,) = driver.outcomes
    assert isinstance(error, Invalid)
    assert "s/k" in error.message


def test_names_are_the_same_for_the_same_thing() -> None:
    assert ref("web").id == ref("web").id
