"""The steps of an app: examples of each rule, and what holds in any history."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.workloads import app
from zun_coe.model import Instance, Mount, Placement, Port, Template, Update, VolumeSource, Workload
from zun_coe.native.actions import Create, Mend, Plan, Remove, Restore
from zun_coe.native.placement import Claim, HostView
from zun_coe.native.steps import limits, plan

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
OLD, NEW, OLDER = "0" * 32, "f" * 32, "1" * 32
HOSTS = (HostView("a"), HostView("b"))
TEMPLATE = Template(image="busybox:local")

_ids = itertools.count()


def instance(slot: int, hash_: str = NEW, **fields: Any) -> Instance:
    """A ready one, unless told otherwise."""
    given = {"state": "running", "ready": True, "ready_since": LONG_AGO, "host": "a", "native_id": f"id{next(_ids)}"}
    return Instance(slot=slot, hash=hash_, **(given | fields))


def unready(slot: int, hash_: str = NEW, **fields: Any) -> Instance:
    return instance(slot, hash_, **({"ready": False, "ready_since": None, "health": "starting"} | fields))


def want(replicas: int = 3, **fields: Any) -> Workload:
    given: dict[str, Any] = {"hash": NEW, "previous": TEMPLATE, "previous_hash": OLD}
    return app(replicas=replicas, **(given | fields))


def step(workload: Workload, seen: Sequence[Instance], hosts: Sequence[HostView] = HOSTS, **more: Any) -> Plan:
    return plan(workload, seen, hosts, NOW, **more)


def created(of: Plan) -> list[int]:
    return [a.slot for a in of.actions if isinstance(a, Create)]


def removed(of: Plan) -> list[Instance]:
    return [a.instance for a in of.actions if isinstance(a, Remove)]


def test_everything_that_is_missing_is_created_in_one_step() -> None:
    first = step(want(50), [])
    assert created(first) == list(range(1, 51))
    assert {a.host for a in first.actions if isinstance(a, Create)} == {"a", "b"}
    assert not first.waiting


def test_nothing_is_left_to_do_when_all_is_as_wanted() -> None:
    assert step(want(3), [instance(s) for s in (1, 2, 3)]) == Plan()


def test_only_the_missing_slot_is_filled() -> None:
    assert created(step(want(3), [instance(1), instance(3)])) == [2]


def test_the_highest_slots_go_when_there_are_too_many() -> None:
    seen = [instance(s) for s in (1, 2, 3, 4, 5)]
    assert [i.slot for i in removed(step(want(3), seen))] == [4, 5]


def test_an_app_that_is_stopped_has_no_instances() -> None:
    seen = [instance(1), instance(2, OLD), unready(3)]
    assert removed(step(want(3, desired_state="stopped"), seen)) == seen


def test_a_surplus_replica_that_returned_with_its_host_is_removed_the_ready_one_stays() -> None:
    first, second, third = unready(1, native_id="a"), instance(1, native_id="c"), instance(1, native_id="b")
    assert removed(step(want(1), [first, second, third])) == [first, second]


def test_a_rollout_begins_with_one_beside_the_old_ones() -> None:
    first = step(want(3), [instance(s, OLD) for s in (1, 2, 3)])
    assert created(first) == [1]
    assert not removed(first)
    assert first.waiting


def test_an_old_one_goes_when_its_successor_serves() -> None:
    seen = [*(instance(s, OLD) for s in (1, 2, 3)), instance(1)]
    assert removed(step(want(3), seen)) == [seen[0]]


def test_a_successor_must_stay_ready_for_min_ready() -> None:
    young = instance(1, ready_since=NOW - timedelta(seconds=3), health="healthy")
    seen = [*(instance(s, OLD) for s in (1, 2, 3)), young]
    waiting = step(want(3, update=Update(min_ready=10)), seen)
    assert waiting.actions == ()
    assert waiting.due == 7.0


def test_a_process_that_nothing_checks_must_have_run_for_a_moment() -> None:
    seen = [*(instance(s, OLD) for s in (1, 2, 3)), instance(1, ready_since=NOW)]
    assert step(want(3), seen) == Plan(waiting=True, due=1.0)


def test_one_that_stops_still_counts_as_there() -> None:
    seen = [instance(1), instance(1, OLD, state="removing", ready=False), instance(2, OLD), instance(3, OLD)]
    assert step(want(3), seen) == Plan(waiting=True)


def test_unavailable_ones_may_go_before_their_successors_come() -> None:
    update = Update(max_surge=0, max_unavailable=2)
    assert [i.slot for i in removed(step(want(4, update=update), [instance(s, OLD) for s in (1, 2, 3, 4)]))] == [1, 2]


def test_neither_surge_nor_unavailable_means_one_unavailable() -> None:
    workload = want(3, update=Update(max_surge=0, max_unavailable="10%"))
    assert limits(workload) == (0, 1)
    assert len(removed(step(workload, [instance(s, OLD) for s in (1, 2, 3)]))) == 1


def test_a_broken_old_one_is_replaced_first() -> None:
    seen = [instance(1, OLD), unready(2, OLD, health="unhealthy"), unready(3, OLD, state="restarting")]
    first = step(want(3), seen)
    assert removed(first) == seen[1:]
    assert created(first) == [2], "as far as there is room while they stop"


def test_an_old_one_that_is_about_to_be_checked_is_left_to_serve() -> None:
    """After a start of the gateway nothing was probed yet: that is no reason to take everything away."""
    seen = [unready(s, OLD) for s in (1, 2, 3)]
    assert not removed(step(want(3), seen))


def test_a_slot_with_two_old_templates_gets_one_successor() -> None:
    seen = [instance(1, OLD), instance(1, OLDER), instance(2, OLD)]
    update = Update(max_surge=2)
    assert created(step(want(2, update=update), seen)) == [1]


def test_recreate_takes_all_old_ones_away_before_any_new_one_comes() -> None:
    workload = want(2, update=Update(strategy="recreate"))
    seen = [instance(1, OLD), instance(2, OLD)]
    first = step(workload, seen)
    assert removed(first) == seen
    assert not created(first)
    going = [instance(1, OLD, state="removing", ready=False)]
    assert step(workload, going) == Plan(waiting=True)
    assert created(step(workload, [])) == [1, 2]


@pytest.mark.parametrize("missing", [2, 3])
def test_halted_replaces_nothing_and_fills_from_the_template_that_is_in_use(missing: int) -> None:
    seen = [instance(s, OLD) for s in (1, 2, 3) if s != missing] + [unready(1, health="unhealthy")]
    halted = step(want(3, halted=True), seen)
    assert halted.actions == (Create(missing, OLD, "a"),)


def test_halted_fills_from_the_new_template_when_nothing_has_the_old_one() -> None:
    assert created(step(want(2, halted=True), [instance(1)])) == [2]
    assert step(want(2, halted=True), [instance(1)]).actions[0] == Create(2, NEW, "a")


@pytest.mark.parametrize("there", [[], [unready(1, health="unhealthy")], [unready(1, state="failed")]])
def test_halted_fills_from_the_old_template_when_nothing_serves(there: list[Instance]) -> None:
    """All that had it were removed by hand, or with their host, or since the app was stopped."""
    filled = [a for a in step(want(2, halted=True), there).actions if isinstance(a, Create)]
    assert [(a.slot, a.hash) for a in filled] == [(slot, OLD) for slot in ((2, 1) if there else (1, 2))]


def test_halted_fills_the_slot_of_what_failed_as_far_as_there_is_room() -> None:
    failed = unready(1, state="failed", reason="InvalidSpec", started_at=None)
    halted = want(2, halted=True)
    assert step(halted, [failed, instance(2, OLD)]).actions == (Create(1, OLD, "a"),)
    assert step(halted, [failed, instance(1, OLD), instance(2, OLD)]).actions == ()
    update = Update(max_surge=0, max_unavailable=1)
    assert step(want(2, halted=True, update=update), [failed, instance(2, OLD)]) == Plan()


def test_what_is_recreated_is_never_of_two_templates() -> None:
    recreated = want(2, halted=True, update=Update(strategy="recreate"))
    assert step(recreated, [unready(1, state="restarting")]).actions == (Create(2, NEW, "a"),)
    assert step(recreated, []).actions == (Create(1, OLD, "a"), Create(2, OLD, "b"))


def test_halted_still_scales() -> None:
    seen = [instance(s, OLD) for s in (1, 2, 3)]
    assert removed(step(want(2, halted=True), seen)) == [seen[2]]
    assert created(step(want(5, halted=True), seen)) == [4, 5]


def test_what_somebody_changed_is_put_right_where_it_stays_and_can_be_reached() -> None:
    seen = [instance(1), instance(2), unready(3, state="exited")]
    altered = frozenset({seen[1].native_id, seen[2].native_id})
    assert step(want(3), seen, altered=altered).actions == (Mend(seen[2]), Restore(seen[1]))
    assert step(want(1), seen[:2], altered=altered).actions == (Remove(seen[1]),)
    away = [msgspec.structs.replace(i, state="unknown") for i in seen]
    assert step(want(3), away, altered=altered).actions == ()


def test_what_ended_or_was_made_in_part_is_mended() -> None:
    seen = [instance(1), unready(2, state="exited"), unready(3, state="creating"), unready(4, state="restarting")]
    assert step(want(4), seen).actions == (Mend(seen[1]), Mend(seen[2]))


def test_an_unhealthy_one_is_replaced_when_its_time_has_come() -> None:
    sick = unready(2, health="unhealthy")
    seen = [instance(1), sick]
    assert step(want(2), seen).actions == ()
    assert removed(step(want(2), seen, replace=frozenset({sick.native_id}))) == [sick]


def test_the_slot_of_a_host_that_is_away_is_held() -> None:
    hosts = (HostView("a"), HostView("b", reachable=False))
    away = unready(2, state="unknown", host="b")
    assert step(want(2), [instance(1), away], hosts).actions == ()
    update = step(want(2), [instance(1, OLD), unready(2, OLD, state="unknown", host="b")], hosts)
    assert not removed(update)


def test_one_that_is_still_stopping_is_not_created_again_yet() -> None:
    going = instance(3, state="removing", ready=False)
    waiting = step(want(3), [instance(1), instance(2), going])
    assert waiting == Plan(waiting=True)


def test_no_host_is_told() -> None:
    blocked = step(want(1), [], [HostView("a", schedulable=False)])
    assert blocked.blocked is not None
    assert blocked.blocked.reason == "Unschedulable"
    assert "a: it takes nothing new" in blocked.blocked.message


class TestDrain:
    hosts = (HostView("a", schedulable=False), HostView("b"))
    nowhere = (HostView("a", schedulable=False), HostView("b", labels={"full": "yes"}, memory=0))

    def test_what_is_on_the_host_gets_a_successor_first(self) -> None:
        seen = [instance(1, host="a"), instance(2, host="b"), instance(3, host="a")]
        first = step(want(3), seen, self.hosts)
        assert first.actions == (Create(1, NEW, "b"),)
        assert first.waiting
        young = instance(1, host="b", health="healthy", ready_since=NOW - timedelta(seconds=3))
        assert step(want(3, update=Update(min_ready=10)), [*seen, young], self.hosts) == Plan(waiting=True, due=7.0)
        serving = instance(1, host="b")
        assert step(want(3), [*seen, serving], self.hosts).actions == (Remove(seen[0]),)

    def test_where_some_may_be_missing_it_goes_first_when_the_image_is_where_it_is_needed(self) -> None:
        update = Update(max_surge=0, max_unavailable=1)
        seen = [instance(1, host="a"), instance(2, host="a")]
        first = step(want(2, update=update), seen, self.hosts)
        assert first.actions == (Remove(seen[0], update=True, to="b"),)

    def test_recreate_moves_one_at_a_time_stop_first(self) -> None:
        workload = want(2, update=Update(strategy="recreate", max_surge=3))
        seen = [instance(1, host="a"), instance(2, host="a")]
        assert removed(step(workload, seen, self.hosts)) == [seen[0]]
        assert step(workload, [seen[1]], self.hosts).actions == (Create(1, NEW, "b"),)

    @pytest.mark.parametrize(
        "update", [Update(), Update(max_surge=0, max_unavailable=2), Update(strategy="recreate")], ids=str
    )
    @pytest.mark.parametrize("hash_", [NEW, OLD])
    def test_what_no_other_host_takes_stays_and_is_told(self, update: Update, hash_: str) -> None:
        template = Template(image="busybox:local", memory="64Mi")
        workload = want(2, template=template, hash=hash_, update=update)
        limit = {"memory": 64 << 20}
        seen = [instance(1, hash_, host="a", **limit), unready(2, hash_, host="a", health="unhealthy", **limit)]
        stuck = step(workload, seen, self.nowhere, replace=frozenset({seen[1].native_id}))
        assert stuck.actions == ()
        assert stuck.waiting
        assert stuck.blocked is not None
        assert stuck.blocked.reason == "Unschedulable"
        assert stuck.blocked.message.startswith("The host a is being drained, and replica ")

    def test_a_volume_keeps_its_replica_and_the_host_is_told(self) -> None:
        mounts = (Mount(path="/v", volume=VolumeSource(name="data")),)
        template = Template(image="busybox:local", mounts=mounts)
        workload = want(1, template=template, volumes={"data": "v-1"})
        hosts = (HostView("a", schedulable=False, volumes=frozenset({"zun-v-1"})), HostView("b"))
        stuck = step(workload, [instance(1, host="a")], hosts)
        assert stuck.actions == ()
        assert stuck.blocked is not None
        assert "The host a is being drained" in stuck.blocked.message
        assert "b: the volumes are on a" in stuck.blocked.message

    def test_what_stays_is_mended_where_it_is(self) -> None:
        ended = unready(1, host="a", state="exited")
        template = Template(image="busybox:local", memory="64Mi")
        assert step(want(1, template=template), [ended], self.nowhere).actions == (Mend(ended),)

    def test_what_is_broken_moves_at_once(self) -> None:
        sick = unready(1, host="a", health="unhealthy")
        moved = step(want(2), [sick, instance(2, host="b")], self.hosts)
        assert moved.actions == (Remove(sick, update=True, to="b"), Create(1, NEW, "b"))

    def test_no_more_are_stopped_than_another_host_takes(self) -> None:
        template = Template(image="busybox:local", memory="64Mi")
        update = Update(max_surge=0, max_unavailable=3)
        hosts = (HostView("a", schedulable=False), HostView("b", memory=128 << 20))
        seen = [instance(s, host="a", memory=64 << 20) for s in (1, 2, 3)]
        workload = want(3, template=template, update=update)
        assert [i.slot for i in removed(step(workload, seen, hosts))] == [1, 2]
        going = [instance(s, host="a", state="removing", ready=False) for s in (1, 2)]
        assert step(workload, [*going, seen[2]], hosts).actions == (), "what was promised to others is not free"

    def test_undrained_in_the_middle_it_stays_and_the_successor_goes(self) -> None:
        seen = [instance(1, host="a"), unready(1, host="b")]
        assert removed(step(want(1), seen)) == [seen[1]]

    def test_a_double_that_serves_stays_while_too_few_do(self) -> None:
        seen = [instance(1, host="a", native_id="x"), instance(1, host="b", native_id="y"), unready(2)]
        assert step(want(2), seen).actions == ()
        assert removed(step(want(2), [*seen[:2], instance(2)])) == [seen[1]]

    def test_an_update_goes_on_behind_one_that_has_to_stay(self) -> None:
        ports = Template(image="busybox:local", ports=(Port(port=80, publish=8080),))
        workload = want(2, template=ports, previous=ports)
        seen = [instance(1, OLD, host="a"), instance(2, OLD, host="b")]
        claims = {
            h: (Claim(workload.ref.id, n, OLD, ports=frozenset({(8080, "tcp")})),) for n, h in ((1, "a"), (2, "b"))
        }
        hosts = (HostView("a", schedulable=False, claims=claims["a"]), HostView("b", claims=claims["b"]))
        assert removed(step(workload, seen, hosts)) == [seen[1]]

    def test_while_a_rollout_is_halted_it_moves_with_its_own_template(self) -> None:
        seen = [instance(1, OLD, host="a"), instance(2, host="b")]
        moved = step(want(2, halted=True), seen, self.hosts)
        assert moved.actions == (Create(1, OLD, "b"),)
        assert removed(step(want(2, halted=True), [*seen, instance(1, OLD, host="b")], self.hosts)) == [seen[0]]

    def test_while_a_rollout_is_halted_nothing_is_stopped_first(self) -> None:
        update = Update(max_surge=0, max_unavailable=1)
        seen = [instance(1, OLD, host="a"), instance(2, host="b")]
        assert step(want(2, halted=True, update=update), seen, self.hosts) == Plan(waiting=True)


class TestFixedPorts:
    template = Template(image="busybox:local", ports=(Port(port=80, publish=8080),))

    def workload(self, replicas: int) -> Workload:
        return want(replicas, template=self.template, previous=self.template)

    def hosts(self, workload: Workload, *holders: str) -> list[HostView]:
        """Hosts a and b, where the replicas of the old template hold the port."""
        held = {
            name: (Claim(workload.ref.id, slot, OLD, ports=frozenset({(8080, "tcp")})),)
            for slot, name in enumerate(holders, 1)
        }
        return [HostView(name, claims=held.get(name, ())) for name in ("a", "b")]

    def test_a_free_host_takes_the_successor(self) -> None:
        workload = self.workload(1)
        assert step(workload, [instance(1, OLD)], self.hosts(workload, "a")).actions == (Create(1, NEW, "b"),)

    def test_where_there_is_none_the_old_one_goes_first_one_at_a_time(self) -> None:
        workload = self.workload(2)
        seen = [instance(1, OLD, host="a"), instance(2, OLD, host="b")]
        first = step(workload, seen, self.hosts(workload, "a", "b"))
        assert removed(first) == [seen[0]]
        assert first.blocked is None
        unproven = [unready(1, host="a"), seen[1]]
        again = step(workload, unproven, self.hosts(workload, "a", "b"))
        assert not removed(again)

    def test_a_port_that_somebody_else_has_is_told(self) -> None:
        workload = self.workload(1)
        taken = [replace(h, conflicts=frozenset({(8080, "tcp")})) for h in self.hosts(workload)]
        blocked = step(workload, [], taken).blocked
        assert blocked is not None
        assert blocked.reason == "PortConflict"


@dataclass
class World:
    """Hosts and instances that do what plans say, after which chance has its turn."""

    workload: Workload
    instances: list[Instance] = field(default_factory=list)
    clock: datetime = NOW
    good: frozenset[str] = frozenset({OLD, NEW, OLDER})
    drained: frozenset[str] = frozenset()
    room: dict[str, int] = field(default_factory=dict)

    def views(self) -> list[HostView]:
        return [
            HostView(n, schedulable=n not in self.drained, memory=self.room.get(n), claims=self.claims(n))
            for n in "abc"
        ]

    def claims(self, host: str) -> tuple[Claim, ...]:
        here = [i for i in self.instances if i.host == host]
        return tuple(Claim(self.workload.ref.id, i.slot, i.hash, memory=1 << 20) for i in here)

    def plan(self) -> Plan:
        return plan(self.workload, self.instances, self.views(), self.clock)

    def take(self, planned: Plan, *, slow_stops: bool) -> None:
        for action in planned.actions:
            if isinstance(action, Create):
                self.instances.append(unready(action.slot, action.hash, host=action.host, started_at=self.clock))
            elif isinstance(action, Remove):
                self.instances.remove(action.instance)
                if slow_stops:
                    going = {"state": "removing", "ready": False, "ready_since": None}
                    self.instances.append(msgspec.structs.replace(action.instance, **going))
            elif isinstance(action, Mend):
                self._change(action.instance, state="running")

    def pass_time(self, seconds: float = 30) -> None:
        """What is on its way arrives: stops end, and good templates turn ready."""
        self.clock += timedelta(seconds=seconds)
        self.instances = [i for i in self.instances if i.state != "removing"]
        for i in list(self.instances):
            if not i.ready and i.state == "running":
                if i.hash in self.good:
                    self._change(i, ready=True, ready_since=self.clock, health="healthy")
                else:
                    self._change(i, health="unhealthy")

    def _change(self, instance: Instance, **fields: Any) -> None:
        self.instances[self.instances.index(instance)] = msgspec.structs.replace(instance, **fields)

    def lose(self, index: int) -> None:
        if self.instances:
            self.instances.pop(index % len(self.instances))

    def hurt(self, index: int) -> None:
        if self.instances:
            i = self.instances[index % len(self.instances)]
            if i.state == "running":
                self._change(i, ready=False, ready_since=None, health="unhealthy")

    def drain(self, index: int) -> None:
        self.drained |= {"abc"[index % 3]}

    def undrain(self, index: int) -> None:
        self.drained -= {"abc"[index % 3]}

    def end(self, index: int) -> None:
        if self.instances:
            i = self.instances[index % len(self.instances)]
            if i.state == "running":
                self._change(i, state="exited", ready=False, ready_since=None)


share = st.one_of(st.integers(0, 4), st.integers(0, 100).map(lambda n: f"{n}%"))
updates = st.builds(
    Update, max_surge=share, max_unavailable=share, min_ready=st.sampled_from([0, 0, 20]), strategy=st.just("rolling")
)
HAPPENINGS = ["step", "step", "step", "time", "time", "lose", "hurt", "end", "update", "scale", "limits", "restart"]
DRAINING = ["step", "step", "step", "time", "time", "drain", "drain", "undrain", "scale", "limits", "restart", "update"]


@st.composite
def histories(draw: st.DrawFn, happenings: Sequence[str] = HAPPENINGS) -> tuple[int, Update, list[tuple[str, int]]]:
    """Some replicas, limits, and things that happen."""
    events = st.tuples(st.sampled_from(happenings), st.integers(0, 20))
    return draw(st.integers(1, 7)), draw(updates), draw(st.lists(events, max_size=40))


def hashes() -> Iterator[str]:
    yield from itertools.cycle([NEW, OLDER, OLD])


def play(replicas: int, update: Update, events: list[tuple[str, int]], *, slow_stops: bool) -> World:
    """Play a history; each step is checked against what must hold."""
    world = World(want(replicas, hash=OLD, update=update, previous=None, previous_hash=None))
    turn = hashes()
    for what, n in events:
        if what == "step":
            checked_step(world, slow_stops=slow_stops)
        elif what == "time":
            world.pass_time(n * 3)
        elif what == "update":
            before = world.workload
            world.workload = msgspec.structs.replace(before, hash=next(turn), previous_hash=before.hash)
        elif what == "scale":
            world.workload = msgspec.structs.replace(world.workload, replicas=1 + n % 7)
        elif what == "limits":
            fewer = msgspec.structs.replace(world.workload.update, max_surge=n % 3, max_unavailable=n % 2)
            world.workload = msgspec.structs.replace(world.workload, update=fewer)
        elif what == "restart":
            # All that was on its way in the background is found as it is.
            world.instances = [
                msgspec.structs.replace(i, state="exited") if i.state == "removing" else i for i in world.instances
            ]
        else:
            getattr(world, what)(n)
    return world


def checked_step(world: World, *, slow_stops: bool) -> Plan:
    workload = world.workload
    surge, unavailable = limits(workload)
    before = list(world.instances)
    planned = world.plan()
    world.take(planned, slow_stops=slow_stops)
    there = [i for i in world.instances if i.slot <= workload.replicas]
    most = max(workload.replicas + surge, sum(i.slot <= workload.replicas for i in before))
    assert len(there) <= most, "never more than replicas and surge"
    assert not [a for a in planned.actions if isinstance(a, Create) and a.host in world.drained]
    keys = [(i.slot, i.hash) for i in world.instances if i.host not in world.drained]
    extra = [(i.slot, i.hash) for i in before if i.host not in world.drained]
    assert len(keys) - len(set(keys)) <= len(extra) - len(set(extra)), "a slot has one instance of a template"
    was, now = (sum(i.ready and i.slot <= workload.replicas for i in seen) for seen in (before, world.instances))
    assert now >= min(was, workload.replicas - unavailable), "no more are taken away than may be missing"
    return planned


def converge(world: World) -> None:
    for _ in range(20 * (world.workload.replicas + 2)):
        planned = checked_step(world, slow_stops=False)
        if planned == Plan():
            return
        world.pass_time()
    raise AssertionError(f"it did not converge: {world.plan()} {world.instances}")


@settings(max_examples=300, deadline=None)
@given(histories(), st.booleans())
def test_whatever_happens_the_limits_hold_and_it_converges(
    history: tuple[int, Update, list[tuple[str, int]]], slow_stops: bool
) -> None:
    replicas, update, events = history
    arrive(play(replicas, update, events, slow_stops=slow_stops))


@settings(max_examples=400, deadline=None)
@given(histories(HAPPENINGS + DRAINING) | histories(DRAINING), st.booleans())
def test_hosts_are_drained_and_undrained_within_the_same_limits(
    history: tuple[int, Update, list[tuple[str, int]]], slow_stops: bool
) -> None:
    replicas, update, events = history
    world = play(replicas, update, events, slow_stops=slow_stops)
    if len(world.drained) == 3:
        world.undrain(0)
    arrive(world)
    assert not [i for i in world.instances if i.host in world.drained]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), updates, st.sampled_from(["rolling", "recreate"]), st.sampled_from("abc"))
def test_draining_moves_what_serves_without_a_gap(replicas: int, update: Update, strategy: Any, host: str) -> None:
    """Once all serve, a drain leaves nothing behind, whatever the strategy."""
    world = World(want(replicas, update=msgspec.structs.replace(update, strategy=strategy)))
    converge(world)
    world.drained = frozenset({host})
    _, unavailable = limits(world.workload)
    while checked_step(world, slow_stops=False) != Plan():
        assert sum(i.ready for i in world.instances) >= replicas - unavailable
        world.pass_time()
    assert not [i for i in world.instances if i.host == host]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 6),
    updates,
    st.sampled_from(["rolling", "recreate"]),
    st.tuples(*[st.integers(1, 6)] * 3).filter(lambda room: sum(room) >= 6),
    st.lists(st.tuples(st.sampled_from(["drain", "undrain"]), st.integers(0, 2)), max_size=6),
)
def test_draining_loses_nothing_where_there_is_little_room(
    replicas: int, update: Update, strategy: Any, room: tuple[int, ...], drains: list[tuple[str, int]]
) -> None:
    """What finds no place stays where it serves; with all hosts open again nothing is left to do. (Where the
    host that a replica is about to move to is drained as well before it is there, the replica has no place.)"""
    template = Template(image="busybox:local", memory="1Mi")
    world = World(want(replicas, template=template, update=msgspec.structs.replace(update, strategy=strategy)))
    world.room = {name: size << 20 for name, size in zip("abc", room, strict=True)}
    converge(world)
    for what, host in drains:
        getattr(world, what)(host)
        rest(world)
    stays = [i for i in world.instances if i.host in world.drained]
    free = sum(size for name, size in zip("abc", room, strict=True) if name not in world.drained)
    assert len(stays) == max(0, replicas - free)
    assert not stays or world.plan().blocked
    world.drained = frozenset()
    arrive(world)


def rest(world: World) -> None:
    """Until nothing more can be done; all serve."""
    idle = 0
    while idle < 3:  # what has just turned ready may have to stay so for a while
        world.pass_time()
        idle = 0 if checked_step(world, slow_stops=False).actions else idle + 1
    assert sorted(i.slot for i in world.instances if i.ready) == list(range(1, world.workload.replicas + 1))


def arrive(world: World) -> None:
    world.pass_time()
    converge(world)
    assert sorted(i.slot for i in world.instances) == list(range(1, world.workload.replicas + 1))
    assert all(i.hash == world.workload.hash for i in world.instances)
    assert world.plan() == Plan()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), updates)
def test_a_template_that_never_turns_ready_takes_no_more_than_may_be_missing(replicas: int, update: Update) -> None:
    world = World(want(replicas, update=update), [instance(s, OLD) for s in range(1, replicas + 1)], good=frozenset())
    _, unavailable = limits(world.workload)
    for _ in range(30):
        checked_step(world, slow_stops=False)
        world.pass_time()
    assert sum(i.ready for i in world.instances if i.hash == OLD) >= replicas - unavailable


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9))
def test_scaling_touches_nothing_that_stays(before: int, after: int) -> None:
    seen = [instance(s) for s in range(1, before + 1)]
    planned = step(want(after), seen)
    assert created(planned) == list(range(before + 1, after + 1))
    assert [i.slot for i in removed(planned)] == list(range(after + 1, before + 1))


def test_spread_over_a_label() -> None:
    hosts = [HostView("a", {"zone": "x"}), HostView("b", {"zone": "x"}), HostView("c", {"zone": "y"})]
    placed = step(want(4, placement=Placement(spread="zone")), [], hosts)
    zones = [a.host == "c" for a in placed.actions if isinstance(a, Create)]
    assert sum(zones) == 2
