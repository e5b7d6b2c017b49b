"""Judging rollouts and telling of changes: examples of each verdict, and what holds for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from zun_coe.engine.revisions import asked_for, expendable
from zun_coe.engine.rollout import Refusal, excused, judge, next_look
from zun_coe.engine.telling import MOST, tell
from zun_coe.model import (
    Instance,
    Intent,
    Loss,
    Observation,
    Revision,
    Rollout,
    Sidecar,
    Status,
    Template,
    Update,
    assemble,
    derive_status,
    plain,
    ref_of,
    revision_of,
    revision_with,
    wanted_hash,
    whole,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD_TEMPLATE, NEW_TEMPLATE = Template(image="old"), Template(image="new")


def intent(**changes: object) -> Intent:
    base = Intent(
        noun="app",
        id="00000000-0000-4000-8000-000000000001",
        project="p",
        name="web",
        cluster="c",
        template=NEW_TEMPLATE,
        created_at=NOW,
        updated_at=NOW,
        generation=2,
        revision=2,
        replicas=2,
        update=Update(deadline=60),
    )
    return replace(base, **changes)


OLD = wanted_hash(intent(template=OLD_TEMPLATE))
NEW = wanted_hash(intent())
REACHED = Status(phase="Running", revision=1, hash=OLD, settled=1, observed_generation=1)


def seen(*instances: Instance, **changes: object) -> Observation:
    return Observation(ref=ref_of("i", intent()), instances=instances, **changes)


def one(slot: int, hash: str, ready: bool = True) -> Instance:
    return Instance(native_id=f"{slot}-{hash[:4]}", slot=slot, hash=hash, state="running", ready=ready)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def stuck(update: Update, after: float = 61.0) -> Status:
    """A rollout that began now and was looked at again `after` seconds later, without progress."""
    wanted = intent(update=update)
    begun = judge(wanted, seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    return judge(wanted, seen(one(1, OLD), one(2, OLD)), begun, later(after))


def test_new_template_begins_a_rollout_from_the_revision_reached() -> None:
    status = judge(intent(), seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    assert status.rollout == Rollout(from_=1, to=2, state="progressing", progressed_at=NOW, hash=NEW)
    assert (status.revision, status.hash) == (1, OLD)


def test_rollout_ends_when_all_are_new_and_ready() -> None:
    begun = judge(intent(), seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    half = judge(intent(), seen(one(1, NEW), one(2, OLD)), begun, later(1))
    assert half.rollout is not None
    done = judge(intent(), seen(one(1, NEW), one(2, NEW)), half, later(2))
    assert (done.rollout, done.revision, done.hash) == (None, 2, NEW)


def test_old_ones_that_remain_keep_it_going() -> None:
    begun = judge(intent(), seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    assert judge(intent(), seen(one(1, NEW), one(2, NEW), one(3, OLD)), begun, later(1)).rollout is not None


def test_readiness_counts_after_min_ready_only() -> None:
    wanted = intent(update=Update(min_ready=10))
    fresh = [replace(one(slot, NEW), ready_since=NOW) for slot in (1, 2)]
    begun = judge(wanted, seen(*fresh), REACHED, later(5))
    assert begun.rollout is not None
    derived = derive_status(wanted, seen(*fresh), begun, later(5))
    assert next_look(wanted, derived, later(5)) == pytest.approx(5.05)
    assert judge(wanted, seen(*fresh), begun, later(10)).rollout is None


@pytest.mark.parametrize(
    "changes", [{"update": Update(deadline=60, paused=True)}, {"desired_state": "stopped"}, {"replicas": 0}]
)
def test_what_may_take_longer_than_the_deadline_is_not_looked_at_again_and_again(changes: dict[str, Any]) -> None:
    wanted, found = intent(**changes), seen(one(1, OLD), one(2, OLD))
    status = derive_status(wanted, found, judge(wanted, found, REACHED, NOW), NOW)
    assert status.phase == "Progressing"
    assert next_look(wanted, status, NOW) == pytest.approx(60.05)
    over = derive_status(wanted, found, judge(wanted, found, status, later(61)), later(61))
    assert (over.phase, next_look(wanted, over, later(61))) == ("Progressing", None)


def test_progress_moves_the_deadline() -> None:
    begun = judge(intent(), seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    moved = judge(intent(), seen(one(1, NEW), one(2, OLD)), begun, later(50))
    assert moved.progressed_at == later(50)
    assert judge(intent(), seen(one(1, NEW), one(2, OLD)), moved, later(100)).rollout.state == "progressing"  # type: ignore[union-attr]  # it would fail here
    assert judge(intent(), seen(one(1, NEW), one(2, OLD)), moved, later(111)).rollout.state == "failed"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("on_failure", "state", "halted"),
    [("pause", "failed", True), ("rollback", "rolled_back", False), ("continue", "progressing", False)],
)
def test_each_on_failure_after_the_deadline(on_failure: str, state: str, halted: bool) -> None:
    update = Update(deadline=60, on_failure=on_failure)  # type: ignore[arg-type]  # the parameters are its values
    status = stuck(update)
    assert status.rollout is not None
    assert (status.rollout.state, status.rollout.reason) == (state, "RolloutStuck")
    assert assemble("i", intent(update=update), status).halted is halted


@pytest.mark.parametrize(
    ("on_failure", "after"), [("rollback", "It went back to revision 1."), ("pause", "Nothing more is replaced.")]
)
def test_what_stood_in_the_way_is_still_told_when_nobody_sees_it_any_more(on_failure: Any, after: str) -> None:
    wanted = intent(update=Update(deadline=60, on_failure=on_failure))
    begun = judge(wanted, seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    pulling = replace(begun, reason="ImagePullFailed", message="no such host")
    status = judge(wanted, seen(one(1, OLD), one(2, OLD)), pulling, later(61))
    for seconds in (62, 300):
        assert status.rollout is not None
        assert status.rollout.message == f"No progress for 60 seconds: ImagePullFailed: no such host. {after}"
        shown = derive_status(wanted, seen(one(1, OLD), one(2, OLD)), status, later(seconds))
        status = judge(wanted, seen(one(1, OLD), one(2, OLD)), shown, later(seconds))


def test_the_first_rollout_has_nothing_to_go_back_to_and_is_never_halted() -> None:
    wanted = intent(revision=1, update=Update(deadline=60, on_failure="rollback"))
    begun = judge(wanted, seen(), Status(), NOW)
    failed = judge(wanted, seen(), begun, later(61))
    assert failed.rollout is not None
    assert (failed.rollout.state, failed.rollout.from_) == ("failed", None)
    assert assemble("i", wanted, failed).halted is False


def test_going_back_stays_until_something_else_is_wanted() -> None:
    wanted = intent(update=Update(deadline=60, on_failure="rollback"))
    back = stuck(wanted.update)
    again = judge(wanted, seen(one(1, OLD), one(2, OLD)), back, later(300))
    assert again.rollout is not None
    assert again.rollout.state == "rolled_back"
    assert derive_status(wanted, seen(one(1, OLD), one(2, OLD)), again, later(300)).phase == "Running"
    other = replace(wanted, template=Template(image="third"), revision=3)
    assert judge(other, seen(one(1, OLD), one(2, OLD)), again, later(301)).rollout.to == 3  # type: ignore[union-attr]


def test_a_failed_rollout_goes_on_when_its_cause_goes_away() -> None:
    failed = stuck(Update(deadline=60))
    healed = judge(intent(), seen(one(1, NEW), one(1, OLD), one(2, OLD)), failed, later(90))
    assert healed.rollout is not None
    assert healed.rollout.state == "progressing"


def test_what_the_backend_refuses_for_good_fails_at_once() -> None:
    begun = judge(intent(), seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    dead = replace(one(1, NEW, ready=False), state="failed", reason="InvalidSpec", message="no such command")
    failed = judge(intent(), seen(one(1, OLD), one(2, OLD), dead), begun, later(1)).rollout
    assert failed is not None
    assert (failed.state, failed.message) == (
        "failed",
        "The cluster refuses the new template: no such command."
        " Nothing more is replaced until it changes, or the app is restarted.",
    )


REFUSED, ELSE_REFUSED = Refusal(NEW, "no such user"), Refusal("another", "no such user")
MISSING = Refusal(NEW, "The secret db is not there any more.", "missing")
BOTH_OLD = seen(one(1, OLD), one(2, OLD))
BEGUN = judge(intent(), BOTH_OLD, REACHED, NOW)


def state_of(status: Status) -> str:
    assert status.rollout is not None
    return status.rollout.state


@pytest.mark.parametrize(
    ("on_failure", "state"), [("pause", "failed"), ("rollback", "rolled_back"), ("continue", "progressing")]
)
def test_what_the_last_step_was_refused_fails_the_rollout_at_once(on_failure: str, state: str) -> None:
    wanted = intent(update=Update(on_failure=on_failure))  # type: ignore[arg-type]  # the parameters are its values
    judged = judge(wanted, BOTH_OLD, BEGUN, NOW, REFUSED)
    assert judged.rollout is not None
    assert (judged.rollout.state, judged.rollout.reason) == (state, "RolloutStuck")
    assert "no such user" in str(judged.rollout.message)


def test_what_another_template_was_refused_says_nothing() -> None:
    assert judge(intent(), BOTH_OLD, BEGUN, NOW, ELSE_REFUSED) == BEGUN
    dead = replace(one(1, "another", ready=False), state="failed", reason="InvalidSpec")
    assert state_of(judge(intent(), seen(*BOTH_OLD.instances, dead), BEGUN, NOW)) == "progressing"


def test_corrected_template_begins_anew_whatever_was_refused_before() -> None:
    dead = replace(one(1, NEW, ready=False), state="failed", reason="InvalidSpec")
    there = seen(*BOTH_OLD.instances, dead)
    failed = judge(intent(), there, BEGUN, NOW, REFUSED)
    corrected = judge(intent(template=Template(image="third"), revision=3), there, failed, later(1))
    assert corrected.rollout is not None
    assert (corrected.rollout.from_, corrected.rollout.to, corrected.rollout.state) == (1, 3, "progressing")


def test_refused_template_stays_failed_until_it_changes() -> None:
    failed = judge(intent(), BOTH_OLD, BEGUN, NOW, REFUSED)
    assert judge(intent(), BOTH_OLD, failed, later(1)) == failed
    assert judge(intent(update=Update(deadline=6000)), BOTH_OLD, failed, later(1)) == failed


def test_what_was_missing_and_is_there_now_lets_it_go_on() -> None:
    failed = judge(intent(), BOTH_OLD, BEGUN, NOW, MISSING)
    assert state_of(failed) == "failed"
    assert judge(intent(), BOTH_OLD, failed, later(300), MISSING) == failed
    going = judge(intent(), BOTH_OLD, failed, later(300))
    assert (state_of(going), going.progressed_at) == ("progressing", later(300))


@pytest.mark.parametrize(
    ("update", "state"),
    [
        (Update(deadline=60), "failed"),
        (Update(deadline=600), "progressing"),
        (Update(deadline=60, on_failure="rollback"), "rolled_back"),
        (Update(deadline=60, on_failure="continue"), "progressing"),
    ],
)
def test_failed_rollout_heeds_what_is_changed_of_its_deadline_or_its_end(update: Update, state: str) -> None:
    failed = stuck(Update(deadline=60))
    again = judge(intent(update=update), BOTH_OLD, failed, later(70))
    assert state_of(again) == state
    assert judge(intent(update=update), BOTH_OLD, again, later(70)) == again


def test_refused_rollout_heeds_what_is_changed_of_its_end() -> None:
    failed = judge(intent(), BOTH_OLD, BEGUN, NOW, REFUSED)
    assert state_of(judge(intent(update=Update(on_failure="rollback")), BOTH_OLD, failed, later(1))) == "rolled_back"


@pytest.mark.parametrize("state", ["failed", "paused"])
@pytest.mark.parametrize(
    ("cause", "there", "asked"),
    [
        ("refused", [], OLD),
        ("missing", [], OLD),
        ("deadline", [], NEW),
        ("refused", [one(3, NEW, ready=False)], NEW),
    ],
)
def test_what_runs_is_asked_for_while_the_other_one_can_not_be(
    cause: Any, there: list[Instance], asked: str, state: Any
) -> None:
    failed = replace(REACHED, rollout=Rollout(from_=1, to=2, state=state, hash=NEW, cause=cause))
    found = seen(*BOTH_OLD.instances, *there)
    assert asked_for(intent(), failed, found) == asked
    assert asked_for(intent(), failed, replace(found, hash=NEW)) == NEW
    assert asked_for(intent(template=Template(image="third")), failed, found) not in (OLD, NEW)
    assert asked_for(intent(), BEGUN, found) == NEW


def test_records_of_former_versions_are_whole_with_what_the_intent_has() -> None:
    """What is kept since was of the intent alone."""
    record = revision_of(intent())
    old = {k: v for k, v in plain(record).items() if k not in ("volumes", "accept_loss", "lost", "restarts", "digests")}
    read = msgspec.convert(old, Revision)
    wanted = intent(volumes={"data": "one"}, accept_loss=("/gpu",), lost=(Loss(pointer="/gpu", detail=""),))
    found = whole(read, wanted)
    assert (found.volumes, found.accept_loss, found.lost) == (wanted.volumes, wanted.accept_loss, wanted.lost)
    assert found.template == record.template


def test_revision_of_a_replica_is_found_by_its_hash() -> None:
    first, second = (replace(revision_of(intent()), number=n, hash=h) for n, h in ((1, OLD), (2, NEW)))
    restarted = replace(second, restarts=("again",))
    back = replace(first, number=3)  # a rollback has the hash of what it goes back to
    assert revision_with(OLD, REACHED, [first, second, back]) == first
    assert revision_with(OLD, replace(REACHED, revision=3), [first, second, back]) == back
    assert revision_with("again", REACHED, [first, restarted]) == restarted
    assert revision_with("unknown", REACHED, [first, second]) is None


def test_each_revision_brings_its_own_volumes_and_losses() -> None:
    sidecars = tuple(Sidecar(name=name, image="s") for name in "abc")
    old = replace(
        revision_of(intent(template=replace(OLD_TEMPLATE, sidecars=sidecars))),
        volumes={"data": "one"},
        lost=(Loss(pointer="/sidecars/0", detail=""),),
    )
    lost = tuple(Loss(pointer=pointer, detail="") for pointer in ("/env", "/sidecars/2", "/update/min_ready"))
    wanted = intent(lost=lost, volumes={"more": "two"}, update=Update(min_ready=5))
    workload = assemble("i", wanted, effective=old, previous=revision_of(wanted))
    assert [s.name for s in workload.template.sidecars] == ["b", "c"]
    assert (workload.hash, workload.previous_hash) == (old.hash, NEW)
    assert workload.volumes == {"data": "one", "more": "two"}
    assert workload.update == Update()


@given(st.lists(st.integers(1, 40), unique=True), st.integers(0, 12), st.integers(1, 40), st.integers(1, 40))
def test_what_is_in_effect_or_may_be_is_never_pruned(
    numbers: list[int], limit: int, current: int, reached: int
) -> None:
    status = replace(REACHED, revision=reached, rollout=Rollout(from_=reached, to=current))
    gone = set(expendable(numbers, intent(revision=current), status, limit))
    assert not gone & {current, reached}
    assert not gone & set(sorted(numbers)[len(numbers) - limit :])
    assert all(number < current for number in gone)


@pytest.mark.parametrize("replicas", [2, 0])
def test_what_is_paused_notes_what_keeps_it_from_going_on(replicas: int) -> None:
    wanted = intent(update=Update(deadline=60, paused=True), replicas=replicas)
    paused = judge(wanted, BOTH_OLD, BEGUN, NOW, MISSING)
    assert paused.rollout is not None
    assert (paused.rollout.state, paused.rollout.reason, paused.rollout.cause) == ("paused", None, "missing")
    assert asked_for(wanted, paused, BOTH_OLD) == OLD
    there = judge(wanted, BOTH_OLD, paused, later(1))
    assert asked_for(wanted, there, BOTH_OLD) == NEW
    assert state_of(judge(intent(), BOTH_OLD, paused, later(1), MISSING)) == "progressing"


def test_what_is_paused_replaces_nothing_of_a_third_template() -> None:
    wanted = intent(update=Update(deadline=60, paused=True))
    found = seen(one(1, OLD), one(2, "third"))
    assert asked_for(wanted, judge(wanted, found, BEGUN, NOW, REFUSED), found) == NEW


def test_what_was_refused_is_not_asked_for_again_while_it_is_paused() -> None:
    wanted = intent(update=Update(deadline=60, paused=True))
    paused = judge(wanted, BOTH_OLD, BEGUN, NOW, REFUSED)
    assert judge(wanted, BOTH_OLD, paused, later(1)) == paused
    assert asked_for(wanted, paused, BOTH_OLD) == OLD
    on = judge(intent(), BOTH_OLD, paused, later(1))
    assert (state_of(on), asked_for(intent(), on, BOTH_OLD)) == ("progressing", NEW)


def test_paused_stops_the_clock() -> None:
    wanted = intent(update=Update(deadline=60, paused=True))
    paused = judge(wanted, seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    assert paused.rollout is not None
    assert paused.rollout.state == "paused"
    assert judge(wanted, seen(one(1, OLD), one(2, OLD)), paused, later(999)).rollout == paused.rollout
    on = judge(intent(), seen(one(1, OLD), one(2, OLD)), paused, later(999))
    assert on.rollout is not None
    assert (on.rollout.state, on.progressed_at) == ("progressing", later(999))


NOTHING = seen()


@pytest.mark.parametrize("none", [{"replicas": 0}, {"desired_state": "stopped"}])
@pytest.mark.parametrize("failed", [stuck(Update(deadline=60)), judge(intent(), BOTH_OLD, BEGUN, NOW, REFUSED)])
def test_what_failed_is_not_reached_since_nothing_is_wanted(none: dict[str, object], failed: Status) -> None:
    """With no replicas, all of them have any template."""
    leaving = judge(intent(**none), seen(one(1, OLD)), failed, later(90))
    away = judge(intent(**none), NOTHING, leaving, later(91))
    assert away == failed
    back = judge(intent(replicas=3), NOTHING, away, later(1000))
    again = judge(intent(replicas=3), seen(*(one(slot, OLD) for slot in (1, 2, 3))), back, later(1001))
    assert (state_of(back), state_of(again), again.hash) == ("failed", "failed", OLD)


def test_what_is_paused_is_not_reached_since_nothing_is_wanted() -> None:
    update = Update(deadline=60, paused=True)
    for before in (REACHED, judge(intent(update=update), BOTH_OLD, REACHED, NOW)):
        none = judge(intent(update=update, replicas=0), NOTHING, before, later(1))
        assert (state_of(none), none.hash) == ("paused", OLD)
        assert state_of(judge(intent(update=update), NOTHING, none, later(2))) == "paused"
    on = judge(intent(replicas=0), NOTHING, none, later(3))
    assert (on.rollout, on.hash) == (None, NEW)


def test_a_change_while_nothing_is_wanted_takes_effect_at_once() -> None:
    none = judge(intent(replicas=0), NOTHING, REACHED, NOW)
    assert (none.rollout, none.revision, none.hash) == (None, 2, NEW)


def test_that_old_replicas_vanish_is_no_progress_of_what_failed() -> None:
    failed = stuck(Update(deadline=60))
    assert judge(intent(), seen(one(2, OLD)), failed, later(90)) == failed
    assert state_of(judge(intent(replicas=5), BOTH_OLD, failed, later(91))) == "failed"
    went_on = judge(intent(), seen(one(1, NEW), one(2, OLD)), failed, later(92))
    assert state_of(went_on) == "progressing"


def test_back_to_the_template_reached_is_no_rollout() -> None:
    begun = judge(intent(), seen(one(1, NEW), one(2, OLD)), REACHED, NOW)
    back = judge(intent(template=OLD_TEMPLATE, revision=3), seen(one(1, NEW), one(2, OLD)), begun, later(1))
    assert (back.rollout, back.revision) == (None, 3)


@pytest.mark.parametrize("on_failure", ["pause", "continue"])
@pytest.mark.parametrize("after", [1.0, 61.0])
def test_what_was_given_up_is_never_told_to_be_in_place(on_failure: Any, after: float) -> None:
    there, update = seen(one(1, OLD), one(2, OLD)), Update(deadline=60, on_failure=on_failure)
    given_up = stuck(update, after)
    back = intent(template=OLD_TEMPLATE, revision=3, update=update)
    [event] = [e for e in tell(back, given_up, judge(back, there, given_up, later(62)), NOW) if "ollout" in e.type]
    assert (event.type, event.level, event.reason) == ("RolloutGivenUp", "info", None)
    assert event.message == "The rollout to revision 2 was given up: revision 3 is what ran before it."
    assert event.data == {"from": 1, "to": 3}


def test_each_rollout_that_ends_is_told_with_the_revision_that_is_in_place() -> None:
    begun = judge(intent(), seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    done = judge(intent(), seen(one(1, NEW), one(2, NEW)), begun, later(1))
    assert [(e.type, e.message) for e in tell(intent(), begun, done, NOW)] == [
        ("RolloutComplete", "Revision 2 is in place.")
    ]


def test_a_restart_replaces_no_revision_by_itself() -> None:
    again = intent(template=OLD_TEMPLATE, revision=1, restarts=1)
    status = judge(again, seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    [event] = tell(again, REACHED, status, NOW)
    assert event.message == "Replacing every replica of revision 1."


def test_scaling_is_no_rollout_and_has_a_deadline_of_its_own() -> None:
    wanted = intent(template=OLD_TEMPLATE, revision=1, replicas=3)
    scaled = judge(wanted, seen(one(1, OLD), one(2, OLD)), replace(REACHED, goal=f"{OLD}x2", best=6), NOW)
    assert scaled.rollout is None
    assert scaled.progressed_at == NOW
    assert derive_status(wanted, seen(one(1, OLD), one(2, OLD)), scaled, later(1)).phase == "Progressing"
    assert derive_status(wanted, seen(one(1, OLD), one(2, OLD)), scaled, later(61)).phase == "Degraded"


instances = st.lists(
    st.builds(one, st.integers(1, 4), st.sampled_from([OLD, NEW]), st.booleans()),
    max_size=5,
    unique_by=lambda i: i.native_id,
)


@given(
    st.lists(st.tuples(instances, st.floats(0, 100)), min_size=1, max_size=8),
    st.sampled_from(["pause", "rollback", "continue"]),
)
def test_judging_twice_at_the_same_moment_changes_nothing(
    history: list[tuple[list[Instance], float]], on_failure: str
) -> None:
    wanted = intent(update=Update(deadline=60, on_failure=on_failure))  # type: ignore[arg-type]
    status, now = REACHED, NOW
    for found, wait in history:
        now += timedelta(seconds=wait)
        status = derive_status(wanted, seen(*found), judge(wanted, seen(*found), status, now), now)
        assert derive_status(wanted, seen(*found), judge(wanted, seen(*found), status, now), now) == status


@given(instances, instances)
def test_nothing_is_told_of_nothing_and_every_appearance_is_told(before: list[Instance], after: list[Instance]) -> None:
    old = derive_status(intent(), seen(*before), REACHED, NOW)
    new = derive_status(intent(), seen(*after), old, NOW)
    assert tell(intent(), old, old, NOW) == []
    told = [e.data["native_id"] for e in tell(intent(), old, new, NOW) if e.type == "InstanceCreated"]
    assert sorted(told) == sorted({i.native_id for i in after} - {i.native_id for i in before})


@pytest.mark.parametrize(("desired", "level"), [("stopped", "info"), ("running", "warning")])
def test_an_end_that_was_asked_for_is_no_warning(desired: Any, level: str) -> None:
    killed = replace(one(1, OLD, ready=False), state="exited", exit_code=137)
    stopped = intent(template=OLD_TEMPLATE, desired_state=desired)
    before = derive_status(stopped, seen(one(1, OLD)), REACHED, NOW)
    told = tell(stopped, before, derive_status(stopped, seen(killed), before, NOW), NOW)
    assert [e.level for e in told if e.type == "InstanceExited"] == [level]


def test_many_changes_are_told_as_one_event_of_each_type() -> None:
    many = [one(slot, NEW) for slot in range(1, MOST + 2)]
    new = derive_status(intent(), seen(*many), REACHED, NOW)
    events = tell(intent(), REACHED, new, NOW)
    created = [e for e in events if e.type == "InstanceCreated"]
    assert [e.data["count"] for e in created] == [len(many)]
    assert len(events) < 10


def test_time_in_which_nobody_could_look_is_no_lack_of_progress() -> None:
    begun = judge(intent(), seen(one(1, OLD), one(2, OLD)), REACHED, NOW)
    before = derive_status(intent(), seen(one(1, OLD), one(2, OLD)), begun, NOW)
    back = NOW + timedelta(hours=1)
    late = judge(intent(), seen(one(1, OLD), one(2, OLD)), before, back)
    assert late.rollout is not None
    assert late.rollout.state == "failed"
    judged = judge(intent(), seen(one(1, OLD), one(2, OLD)), excused(before, back), back)
    assert judged.rollout is not None
    assert judged.rollout.state == "progressing"
    after = derive_status(intent(), seen(one(1, OLD), one(2, OLD)), judged, back)
    assert after.phase == "Progressing"
    assert excused(after, back) == after
    stuck = judge(intent(), seen(one(1, OLD), one(2, OLD)), excused(after, back), back + timedelta(seconds=61))
    assert stuck.rollout is not None
    assert stuck.rollout.state == "failed"


def test_what_had_failed_before_is_not_excused() -> None:
    failed = Status(phase="Failed", progressed_at=NOW, goal="x")
    assert excused(failed, NOW + timedelta(hours=1)) == failed
    assert excused(REACHED, None) == REACHED


def box(started_at: datetime | None, state: str = "running", id: str = "n") -> Observation:
    return seen(Instance(native_id=id, hash="h", state=state, started_at=started_at))  # type: ignore[arg-type]  # states are text here


RESTART = intent(noun="container", restarts=2)
NOTED = Status(restarted=1, restarting=2, instances=box(NOW).instances)


def test_that_a_restart_is_wanted_is_noted_before_it_begins() -> None:
    judged = judge(RESTART, box(later(5)), Status(restarted=1, instances=box(NOW).instances), NOW)
    assert (judged.restarting, judged.restarted) == (2, 1)
    assert judge(RESTART, box(NOW), judged, NOW) == judged


@pytest.mark.parametrize(
    ("found", "restarted"),
    [
        pytest.param(box(later(1)), True, id="started since"),
        pytest.param(box(later(1), "exited"), True, id="started since and ended"),
        pytest.param(box(later(1), id="other"), True, id="made since"),
        pytest.param(box(NOW), False, id="the same run"),
        pytest.param(box(NOW, "exited"), False, id="ended only"),
        pytest.param(box(later(-1)), False, id="seen earlier"),
        pytest.param(box(None, "creating", id="other"), False, id="made since and not started"),
        pytest.param(box(later(1), "unknown"), False, id="its host is away"),
        pytest.param(seen(), False, id="gone"),
    ],
)
def test_what_was_started_since_a_restart_was_noted_is_not_restarted_again(found: Observation, restarted: bool) -> None:
    assert judge(RESTART, found, NOTED, NOW).restarted == (2 if restarted else 1)


def test_each_restart_is_noted_by_itself() -> None:
    third = replace(RESTART, restarts=3)
    judged = judge(third, box(later(1)), NOTED, NOW)
    assert (judged.restarting, judged.restarted) == (3, 1)


def test_what_was_restarted_is_left_alone() -> None:
    done = replace(NOTED, restarted=2)
    assert judge(RESTART, box(later(1)), done, NOW) == done


@pytest.mark.parametrize(("reason", "state"), [("ImageNotFound", "failed"), ("ImagePullFailed", "progressing")])
def test_an_image_that_the_registry_does_not_have_ends_a_rollout_at_once(reason: str, state: str) -> None:
    wanted = intent()
    waiting = replace(one(1, wanted_hash(wanted), ready=False), state="creating", reason=reason)
    judged = judge(wanted, seen(waiting), Status(), NOW)
    assert judged.rollout is not None
    assert judged.rollout.state == state


@pytest.mark.parametrize(
    ("was", "started", "finished", "expected"),
    [
        ("unknown", later(0), None, ["InstanceReachable"]),
        ("unknown", later(30), later(20), ["InstanceReachable", "InstanceRestarted"]),
        ("running", later(30), later(20), ["InstanceRestarted"]),
        ("exited", later(30), later(20), ["InstanceStarted"]),
    ],
)
def test_what_runs_again_is_told_as_what_it_is(
    was: Any, started: datetime, finished: datetime | None, expected: list[str]
) -> None:
    """A host that is reachable again has not started what ran there all the time; an engine that was restarted has."""
    before = replace(one(1, NEW), state=was, started_at=later(0))
    after = replace(one(1, NEW), started_at=started, finished_at=finished)
    old, new = replace(REACHED, instances=(before,)), replace(REACHED, instances=(after,))
    assert [e.type for e in tell(intent(), old, new, NOW) if e.type.startswith("Instance")] == expected


updates = st.builds(
    Update,
    deadline=st.sampled_from([10, 60]),
    min_ready=st.sampled_from([0, 5]),
    paused=st.booleans(),
    on_failure=st.sampled_from(["pause", "rollback", "continue"]),
)


@given(instances, updates, st.integers(0, 3), st.sampled_from(["running", "stopped"]), st.sampled_from([None, MISSING]))
def test_what_stays_as_it_is_is_looked_at_a_few_times_only(
    found: list[Instance], update: Update, replicas: int, desired: Any, refusal: Refusal | None
) -> None:
    wanted = intent(update=update, replicas=replicas, desired_state=desired)
    status, now, looks = REACHED, NOW, 0
    while (look := _look(wanted, found, status, now, refusal)) is not None:
        status, seconds = look
        now += timedelta(seconds=seconds)
        looks += 1
        assert looks < 10


def _look(
    wanted: Intent, found: list[Instance], status: Status, now: datetime, refusal: Refusal | None
) -> tuple[Status, float] | None:
    after = derive_status(wanted, seen(*found), judge(wanted, seen(*found), status, now, refusal), now)
    seconds = next_look(wanted, after, now)
    return None if seconds is None else (after, seconds)
