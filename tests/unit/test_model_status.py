"""What state follows from what was wanted and seen: every phase and rule by example, the laws by property."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from zun_coe.engine.rollout import judge
from zun_coe.model import (
    Deletion,
    Endpoint,
    Instance,
    Intent,
    Observation,
    ReplicaCounts,
    Rollout,
    Status,
    Template,
    Update,
    WorkloadRef,
    derive_status,
    template_hash,
)
from zun_coe.model import status as rules
from zun_coe.model.settling import is_settled, settles_in
from zun_coe.model.status import (
    available,
    effective_hash,
    is_finished,
    stays_exited,
    wanted_hash,
    wanted_replicas,
    worst,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TEMPLATE = Template(image="web:2", restart="always")
NEW = template_hash(TEMPLATE)
OLD = "0" * 32
REASONS = rules._PRECEDENCE


def ref(noun: Any = "app") -> WorkloadRef:
    return WorkloadRef(installation="i", cluster="c", project="p", noun=noun, id="1", name="web")


def app(**fields: Any) -> Intent:
    base: dict[str, Any] = {"noun": "app", "replicas": 2, "generation": 3, "template": TEMPLATE}
    return Intent(id="1", project="p", name="web", cluster="c", created_at=NOW, updated_at=NOW, **(base | fields))


def container(**fields: Any) -> Intent:
    return app(**({"noun": "container", "replicas": 1} | fields))


def seen(*instances: Instance, noun: str = "app", **fields: Any) -> Observation:
    return Observation(ref=ref(noun), instances=instances, **fields)


def up(slot: int = 1, hash: str = NEW, **fields: Any) -> Instance:
    base: dict[str, Any] = {"state": "running", "ready": True}
    return Instance(native_id=f"n{slot}-{hash[:4]}", slot=slot, hash=hash, **(base | fields))


def down(slot: int = 1, hash: str = NEW, **fields: Any) -> Instance:
    return up(slot, hash, **({"ready": False} | fields))


LATE = NOW - timedelta(seconds=601)
RECENT = NOW - timedelta(seconds=599)
MARK = Deletion(at=NOW)


@dataclass(frozen=True)
class Case:
    name: str
    phase: str
    intent: Intent
    observation: Observation | None
    previous: Status = field(default_factory=Status)


APP_CASES = [
    Case("never observed", "Pending", app(), None),
    Case("not observed now: the last state stays", "Running", app(), None, Status(phase="Running")),
    Case("marked and never observed", "Deleting", app(deletion=MARK), None),
    Case("marked and all ready", "Deleting", app(deletion=MARK), seen(up(1), up(2))),
    Case("marked and scaled to none", "Deleting", app(deletion=MARK, replicas=0), seen()),
    Case("none wanted, none there", "Stopped", app(replicas=0), seen()),
    Case("none wanted, some remain", "Progressing", app(replicas=0), seen(up())),
    Case("none wanted, the last is on its way out", "Progressing", app(replicas=0), seen(up(state="removing"))),
    Case("stopped, none there", "Stopped", app(desired_state="stopped"), seen()),
    Case("stopped, some remain", "Progressing", app(desired_state="stopped"), seen(up())),
    Case("all ready", "Running", app(), seen(up(1), up(2))),
    Case("nothing there yet", "Progressing", app(), seen()),
    Case("some ready, still moving", "Progressing", app(), seen(up(1), down(2)), Status(progressed_at=RECENT)),
    Case("some ready, too late", "Degraded", app(), seen(up(1), down(2)), Status(progressed_at=LATE)),
    Case("none ready, too late", "Failed", app(), seen(down(1), down(2)), Status(progressed_at=LATE)),
    Case("nothing at all, too late", "Failed", app(), seen(), Status(progressed_at=LATE)),
    Case("readiness lost after Running", "Degraded", app(), seen(up(1), down(2)), Status(settled=3)),
    Case("all readiness lost after Running", "Failed", app(), seen(down(1), down(2)), Status(settled=3)),
    Case("an old replica remains", "Progressing", app(), seen(up(1), up(2), up(1, OLD))),
    Case("an old replica is on its way out", "Running", app(), seen(up(1), up(2), up(1, OLD, state="removing"))),
    Case("only old replicas, ready", "Progressing", app(), seen(up(1, OLD), up(2, OLD))),
    Case("scaled down, a replica too many remains", "Progressing", app(), seen(up(1), up(2), up(3))),
    Case("somebody added a replica", "Running", app(), seen(up(1), up(2), up(3)), Status(settled=3)),
    Case(
        "all ready and the rollout not judged complete",
        "Progressing",
        app(),
        seen(up(1), up(2)),
        Status(rollout=Rollout(to=2, hash=NEW)),
    ),
    Case(
        "rollout paused",
        "Progressing",
        app(),
        seen(up(1), up(2, OLD)),
        Status(progressed_at=LATE, rollout=Rollout(to=2, state="paused")),
    ),
    Case(
        "rollout failed, some ready",
        "Degraded",
        app(),
        seen(up(1, OLD), down(2)),
        Status(progressed_at=RECENT, rollout=Rollout(to=2, state="failed")),
    ),
    Case(
        "rollout failed, none ready",
        "Failed",
        app(),
        seen(down(1)),
        Status(rollout=Rollout(to=2, state="failed")),
    ),
    Case(
        "rolled back to what is ready",
        "Running",
        app(),
        seen(up(1, OLD), up(2, OLD)),
        Status(hash=OLD, rollout=Rollout(to=2, state="rolled_back")),
    ),
    Case(
        "rolled back, a failed replica remains",
        "Progressing",
        app(),
        seen(up(1, OLD), up(2, OLD), down(3)),
        Status(hash=OLD, rollout=Rollout(to=2, state="rolled_back")),
    ),
]

NEVER = {"template": replace(TEMPLATE, restart="never")}
ON_FAILURE = {"template": replace(TEMPLATE, restart="on_failure")}


def one(state: str, **fields: Any) -> Observation:
    instance = Instance(native_id="n", hash="h", state=state, **fields)  # type: ignore[arg-type]  # states are text here
    return seen(instance, noun="container")


def nothing(**fields: Any) -> Observation:
    return seen(noun="container", **fields)


CONTAINER_CASES = [
    Case("never observed", "Pending", container(), None),
    Case("not observed now: the last state stays", "Paused", container(), None, Status(phase="Paused")),
    Case("marked and never observed", "Deleting", container(deletion=MARK), None),
    Case("marked and running", "Deleting", container(deletion=MARK), one("running")),
    Case("marked and gone", "Deleting", container(deletion=MARK), nothing()),
    Case("nothing there yet", "Pending", container(), nothing()),
    Case("no room", "Pending", container(), nothing(reason="Unschedulable")),
    Case("its image is on its way", "Creating", container(), nothing(reason="Pulling")),
    Case("its image is not to be had", "Failed", container(), nothing(reason="ImageNotFound")),
    Case("created stopped, not there yet", "Stopped", container(desired_state="stopped"), nothing()),
    Case("created stopped, cannot be", "Failed", container(desired_state="stopped"), nothing(reason="PortConflict")),
    Case("pending", "Pending", container(), one("pending")),
    Case("creating", "Creating", container(), one("creating")),
    Case("running", "Running", container(), one("running")),
    Case("running, to be stopped", "Running", container(desired_state="stopped"), one("running")),
    Case("paused", "Paused", container(desired_state="paused"), one("paused")),
    Case("restarting", "Restarting", container(), one("restarting", exit_code=1)),
    Case("failed", "Failed", container(), one("failed")),
    Case("host away", "Unknown", container(), one("unknown")),
    Case("stopped", "Stopped", container(desired_state="stopped"), one("exited", exit_code=137)),
    Case("ended, never restarted", "Exited", container(**NEVER), one("exited", exit_code=1)),
    Case("ended well, restarted on failure", "Exited", container(**ON_FAILURE), one("exited", exit_code=0)),
    Case("ended badly, restarted on failure", "Restarting", container(**ON_FAILURE), one("exited", exit_code=1)),
    Case("ended, always restarted", "Restarting", container(), one("exited", exit_code=0)),
    Case("on its way out", "Pending", container(), one("removing")),
    Case("on its way out, to be stopped", "Running", container(desired_state="stopped"), one("removing")),
    Case("ended and then removed", "Exited", container(**NEVER), nothing(), Status(phase="Exited", exit_code=4)),
    Case(
        "ended, removed, and to be restarted",
        "Pending",
        container(**NEVER, restarts=1),
        nothing(),
        Status(phase="Exited"),
    ),
]


@pytest.mark.parametrize("case", [*APP_CASES, *CONTAINER_CASES], ids=lambda case: f"{case.intent.noun}: {case.name}")
def test_phase(case: Case) -> None:
    assert derive_status(case.intent, case.observation, case.previous, NOW).phase == case.phase


def test_every_phase_has_a_case() -> None:
    assert {c.phase for c in (*APP_CASES, *CONTAINER_CASES)} == set(rules.Phase.__args__)  # type: ignore[attr-defined]  # typing has no public way to list a Literal


def test_replicas_are_counted() -> None:
    instances = (up(1), down(2), up(3, OLD), up(4, OLD, state="removing"))
    status = derive_status(app(replicas=5), seen(*instances), Status(), NOW)
    assert status.replicas == ReplicaCounts(desired=5, current=3, updated=2, ready=2)


def test_running_settles_its_generation_and_degraded_does_not() -> None:
    assert derive_status(app(), seen(up(1), up(2)), Status(), NOW).settled == 3
    assert derive_status(app(), seen(up(1)), Status(settled=2), NOW).settled == 2


def test_since_moves_with_the_phase_only() -> None:
    before = NOW - timedelta(hours=1)
    running = Status(phase="Running", since=before)
    assert derive_status(app(), seen(up(1), up(2)), running, NOW).since == before
    assert derive_status(app(replicas=0), seen(), running, NOW).since == NOW
    assert derive_status(app(), seen(up(1), up(2)), Status(phase="Running"), NOW).since == NOW


def test_generation_is_observed() -> None:
    assert derive_status(app(), seen(), Status(observed_generation=1), NOW).observed_generation == 3
    assert derive_status(app(), None, Status(observed_generation=1), NOW).observed_generation == 1
    assert derive_status(container(), nothing(), Status(), NOW).observed_generation == 3


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_an_instance_is_shown(reason: str) -> None:
    told = {"reason": reason, "message": "why", "evidence": {"code": 7}}
    status = derive_status(app(), seen(up(1), down(2, **told)), Status(), NOW)
    assert (status.reason, status.message, status.evidence) == (reason, "why", {"code": 7})
    status = derive_status(container(), one("restarting", **told), Status(), NOW)
    assert (status.reason, status.message, status.evidence) == (reason, "why", {"code": 7})


@pytest.mark.parametrize(("first", "second"), list(pairwise(REASONS)))
def test_what_explains_most_is_shown(first: str, second: str) -> None:
    status = derive_status(app(), seen(down(1, reason=second), down(2, reason=first)), Status(), NOW)
    assert status.reason == first
    status = derive_status(app(), seen(down(1, reason=first), reason=second), Status(), NOW)
    assert status.reason == first


def test_running_and_stopped_have_no_reason() -> None:
    old = Status(reason="CrashLoop", message="old", evidence={"a": 1})
    for intent, observation in ((app(), seen(up(1), up(2), reason="Pulling")), (app(replicas=0), seen())):
        status = derive_status(intent, observation, old, NOW)
        assert (status.reason, status.message, status.evidence) == (None, None, {})


@pytest.mark.parametrize("reason", ["Unschedulable", "ImagePullFailed"])
def test_app_that_serves_from_a_host_it_should_leave_runs_and_says_so(reason: str) -> None:
    settled = Status(phase="Running", settled=1, hash=NEW, revision=1)
    status = derive_status(app(), seen(up(1), up(2), reason=reason, message="It stays."), settled, NOW)
    assert (status.phase, status.reason, status.message) == ("Running", reason, "It stays.")
    assert derive_status(app(), seen(up(1), up(2)), status, NOW).reason is None


def test_replica_that_moves_is_no_rollout() -> None:
    settled = Status(phase="Running", settled=app().generation, hash=NEW, revision=1)
    moving = seen(up(1), up(2), down(1))
    status = derive_status(app(), moving, judge(app(), moving, settled, NOW), NOW)
    assert (status.phase, status.rollout) == ("Running", None)
    missing = seen(up(1))
    status = derive_status(app(), missing, judge(app(), missing, settled, NOW), NOW)
    assert (status.phase, status.rollout) == ("Degraded", None)


def test_stuck_rollout_gives_the_reason_unless_an_instance_tells_more() -> None:
    stuck = Status(rollout=Rollout(to=2, state="failed", reason="RolloutStuck", message="no progress"))
    assert derive_status(app(), seen(down(1)), stuck, NOW).message == "no progress"
    status = derive_status(app(), seen(down(1, reason="Pulling")), stuck, NOW)
    assert (status.reason, status.message) == ("RolloutStuck", "no progress")
    assert derive_status(app(), seen(down(1, reason="CrashLoop")), stuck, NOW).reason == "CrashLoop"


def test_rolled_back_app_runs_and_says_what_failed() -> None:
    back = Status(hash=OLD, rollout=Rollout(to=2, state="rolled_back", reason="RolloutStuck", message="went back"))
    status = derive_status(app(), seen(up(1, OLD), up(2, OLD)), back, NOW)
    assert (status.phase, status.reason, status.message) == ("Running", "RolloutStuck", "went back")


def test_unknown_reason_ranks_last() -> None:
    instance = down(1, reason="NewReason")
    assert worst([instance, down(2, reason="Pulling")]).reason == "Pulling"  # type: ignore[union-attr]  # there is one
    assert worst([instance, up(2)]) is instance
    assert worst([up(1)]) is None


@pytest.mark.parametrize(
    ("state", "health", "shown"),
    [("running", "HealthCheckFailing", True), ("running", "Pulling", False), ("paused", "CrashLoop", False)],
)
def test_well_container_shows_a_failing_health_check_only(state: str, health: str, shown: bool) -> None:
    status = derive_status(container(), one(state, reason=health), Status(), NOW)
    assert status.reason == (health if shown else None)


@pytest.mark.parametrize(("state", "kept"), [("exited", True), ("running", False), ("restarting", True)])
def test_exit_code_is_shown_of_what_has_ended(state: str, kept: bool) -> None:
    status = derive_status(container(**NEVER), one(state, exit_code=3), Status(exit_code=9), NOW)
    assert status.exit_code == (3 if kept else None)


def test_exit_code_outlives_the_container() -> None:
    previous = Status(phase="Exited", exit_code=4)
    assert derive_status(container(**NEVER), nothing(), previous, NOW).exit_code == 4


def test_endpoints_are_of_what_runs_and_named_once() -> None:
    shared = Endpoint(address="10.0.0.1", port=30080, target=80)
    own = Endpoint(address="10.0.0.2", port=30080, target=80)
    gone = Endpoint(address="10.0.0.3", port=30080, target=80)
    instances = (
        up(1, endpoints=(shared,)),
        up(2, endpoints=(own, shared)),
        up(3, endpoints=(gone,), state="exited"),
    )
    assert derive_status(app(), seen(*instances, endpoints=(shared,)), Status(), NOW).endpoints == (shared, own)


def test_hashes() -> None:
    assert wanted_hash(app()) == NEW
    assert wanted_hash(app(restarts=1)) == template_hash(TEMPLATE, 1) != NEW
    assert wanted_hash(container(restarts=1)) == NEW
    resized = container(template=replace(TEMPLATE, cpu=1.0, memory="1Gi"))
    assert wanted_hash(resized) == NEW
    assert wanted_hash(app(template=resized.template)) != NEW


def test_effective_hash_is_the_old_one_after_going_back_only() -> None:
    assert effective_hash(app(), Status(hash=OLD)) == NEW
    assert effective_hash(app(), Status(hash=OLD, rollout=Rollout(to=2, state="failed"))) == NEW
    assert effective_hash(app(), Status(hash=OLD, rollout=Rollout(to=2, state="rolled_back"))) == OLD


def test_hash_in_effect_is_kept_until_a_rollout_is_complete() -> None:
    moving = Status(hash=OLD, rollout=Rollout(to=2, hash=NEW))
    assert derive_status(app(), seen(up(1), up(2)), moving, NOW).hash == OLD
    reached = replace(moving, rollout=None, hash=NEW)
    assert derive_status(app(), seen(up(1), up(2)), reached, NOW).hash == NEW


@pytest.mark.parametrize(
    ("phase", "settled"),
    [
        ("Running", True),
        ("Stopped", True),
        ("Degraded", True),
        ("Failed", True),
        ("Pending", False),
        ("Progressing", False),
        ("Deleting", False),
    ],
)
def test_app_is_settled(phase: Any, settled: bool) -> None:
    assert is_settled(app(), Status(phase=phase, observed_generation=3)) is settled
    assert not is_settled(app(), Status(phase=phase, observed_generation=2))
    assert not is_settled(app(deletion=MARK), Status(phase=phase, observed_generation=3))


@pytest.mark.parametrize(("ready", "paused", "settled"), [(2, True, True), (1, True, False), (2, False, False)])
def test_app_whose_rollout_is_paused_is_settled_when_enough_serve(ready: int, paused: bool, settled: bool) -> None:
    rollout = Rollout(from_=1, to=2, state="paused", hash=NEW)
    counts = ReplicaCounts(desired=2, current=2, ready=ready)
    status = Status(phase="Progressing", observed_generation=3, rollout=rollout, replicas=counts)
    assert is_settled(app(update=Update(paused=paused)), status) is settled


@pytest.mark.parametrize(
    ("desired", "phase", "settled"),
    [
        ("running", "Running", True),
        ("running", "Exited", True),
        ("running", "Failed", True),
        ("running", "Stopped", False),
        ("running", "Restarting", False),
        ("stopped", "Stopped", True),
        ("stopped", "Exited", True),
        ("stopped", "Running", False),
        ("paused", "Paused", True),
        ("paused", "Running", False),
        ("paused", "Failed", True),
    ],
)
def test_container_is_settled(desired: Any, phase: Any, settled: bool) -> None:
    assert is_settled(container(desired_state=desired), Status(phase=phase, observed_generation=3)) is settled


def held_up(reason: str, **fields: Any) -> Status:
    """A status that has given this reason for ten seconds."""
    base: dict[str, Any] = {"phase": "Progressing", "observed_generation": 3, "reason": reason}
    return Status(**base | {"reason_since": NOW - timedelta(seconds=10)} | fields)


@pytest.mark.parametrize("intent", [app(), container()], ids=["app", "container"])
@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("InvalidSpec", 0),
        ("ImageNotFound", 0),
        ("CrashLoop", 5),
        ("ImagePullFailed", 5),
        ("PortConflict", 5),
        ("Error", 5),
        ("Pulling", None),
        (None, None),
    ],
)
def test_waiting_ends_with_a_reason(intent: Intent, reason: Any, left: Any) -> None:
    assert settles_in(intent, held_up(reason), NOW, grace=15) == left
    assert settles_in(intent, held_up(reason), NOW, grace=10) == (None if left is None else 0)


@pytest.mark.parametrize(
    ("intent", "fields"),
    [
        (app(generation=4), {}),
        (app(deletion=MARK), {}),
        (app(desired_state="stopped"), {}),
        (app(replicas=0), {}),
        (container(restarts=1), {}),
        (app(), {"instances": (up(1, hash=OLD, reason="InvalidSpec"), up(2))}),
    ],
    ids=["not acted on", "leaving", "to be stopped", "to be none", "to be restarted", "of the replicas before"],
)
def test_waiting_goes_on_where_the_reason_is_not_of_what_was_asked_for(intent: Intent, fields: Any) -> None:
    assert settles_in(intent, held_up("InvalidSpec", **fields), NOW) is None


def test_waiting_goes_on_while_there_is_progress() -> None:
    moving = held_up("CrashLoop", progressed_at=NOW - timedelta(seconds=1))
    assert settles_in(app(), moving, NOW, grace=10) == 9


def test_a_reason_is_as_old_as_its_generation() -> None:
    crashing = up(1, ready=False, state="restarting", reason="CrashLoop")
    first = derive_status(app(), seen(crashing), Status(), NOW)
    later = derive_status(app(), seen(crashing), first, NOW + timedelta(seconds=5))
    assert (first.reason, first.reason_since, later.reason_since) == ("CrashLoop", NOW, NOW)
    changed = derive_status(app(generation=4), seen(crashing), later, NOW + timedelta(seconds=9))
    assert changed.reason_since == NOW + timedelta(seconds=9)
    assert derive_status(app(generation=4), seen(up(1), up(2)), changed, NOW).reason_since is None


def test_container_that_is_to_be_restarted_is_not_settled_before() -> None:
    intent = container(restarts=2)
    running = Status(phase="Running", observed_generation=3)
    assert not is_settled(intent, replace(running, restarted=1))
    assert is_settled(intent, replace(running, restarted=2))
    failed = replace(running, phase="Failed", restarted=1)
    assert is_settled(intent, failed)  # it was never made, and what makes it is what fails
    assert not is_settled(intent, replace(failed, instances=(up(),)))


@pytest.mark.parametrize(
    ("desired", "state", "restarted", "phase"),
    [
        ("running", "running", 1, "Restarting"),
        ("running", "exited", 1, "Restarting"),
        ("paused", "running", 1, "Restarting"),
        ("running", "running", 2, "Running"),
        ("stopped", "exited", 1, "Stopped"),
        ("running", "failed", 1, "Failed"),
    ],
)
def test_container_that_is_to_be_restarted_does_not_run_yet(
    desired: Any, state: Any, restarted: int, phase: str
) -> None:
    intent = container(restarts=2, desired_state=desired, **NEVER)
    previous = Status(phase="Running", observed_generation=2, restarted=restarted)
    assert derive_status(intent, one(state), previous, NOW).phase == phase


def test_finished_is_for_containers_that_ended_and_may_stay_so() -> None:
    ended = Status(phase="Exited", restarted=1)
    assert is_finished(container(restarts=1), ended)
    assert not is_finished(container(restarts=2), ended)
    assert not is_finished(container(restarts=1, desired_state="stopped"), ended)
    assert not is_finished(container(restarts=1), replace(ended, phase="Running"))
    assert not is_finished(app(restarts=1), ended)


@pytest.mark.parametrize(
    ("restart", "code", "stays"),
    [
        ("never", 1, True),
        ("never", None, True),
        ("on_failure", 0, True),
        ("on_failure", 1, False),
        ("on_failure", None, False),
        ("always", 0, False),
    ],
)
def test_what_stays_exited(restart: str, code: int | None, stays: bool) -> None:
    assert stays_exited(restart, code) is stays


def test_available_means_ready_for_long_enough() -> None:
    since = {"ready_since": NOW - timedelta(seconds=5)}
    assert available(up(**since), 5, NOW)
    assert not available(up(**since), 6, NOW)
    assert not available(down(**since), 0, NOW)
    assert available(up(), 0, NOW)
    assert available(up(), 9, NOW)  # nobody knows since when: taken as long enough


HASHES = st.sampled_from([NEW, OLD])
MOMENTS = st.none() | st.sampled_from([LATE, RECENT, NOW])
INSTANCES = st.builds(
    Instance,
    native_id=st.sampled_from("abc"),
    hash=HASHES,
    state=st.sampled_from(
        ["pending", "creating", "running", "paused", "restarting", "exited", "failed", "removing", "unknown"]
    ),
    ready=st.booleans(),
    exit_code=st.none() | st.sampled_from([0, 1]),
    reason=st.none() | st.sampled_from(REASONS),
)
ROLLOUTS = st.builds(
    Rollout,
    to=st.just(2),
    state=st.sampled_from(["progressing", "paused", "failed", "rolled_back"]),
    reason=st.none() | st.just("RolloutStuck"),
)
STATUSES = st.builds(
    Status,
    phase=st.sampled_from(rules.Phase.__args__),  # type: ignore[attr-defined]  # typing has no public way to list a Literal
    since=MOMENTS,
    reason=st.none() | st.sampled_from(REASONS),
    exit_code=st.none() | st.just(3),
    rollout=st.none() | ROLLOUTS,
    settled=st.integers(0, 3),
    progressed_at=MOMENTS,
    restarted=st.integers(0, 1),
    hash=HASHES,
)
INTENTS = st.builds(
    lambda make, **fields: make(**fields),
    st.sampled_from([app, container]),
    replicas=st.integers(0, 3),
    desired_state=st.sampled_from(["running", "stopped", "paused"]),
    restarts=st.integers(0, 1),
    template=st.builds(Template, image=st.just("web:2"), restart=st.sampled_from(["always", "on_failure", "never"])),
    update=st.builds(Update, deadline=st.sampled_from([1, 600])),
    deletion=st.none() | st.just(MARK),
)
OBSERVATIONS = st.builds(
    Observation,
    ref=st.just(ref()),
    instances=st.lists(INSTANCES, max_size=4).map(tuple),
    reason=st.none() | st.sampled_from(REASONS),
)


@given(INTENTS, st.none() | OBSERVATIONS, STATUSES)
def test_deriving_again_changes_nothing(intent: Intent, observation: Observation | None, previous: Status) -> None:
    first = derive_status(intent, observation, previous, NOW)
    assert derive_status(intent, observation, first, NOW) == first


@given(INTENTS, st.none() | OBSERVATIONS, STATUSES)
def test_deleting_wins(intent: Intent, observation: Observation | None, previous: Status) -> None:
    assert derive_status(replace(intent, deletion=MARK), observation, previous, NOW).phase == "Deleting"


@given(INTENTS, OBSERVATIONS, STATUSES)
def test_phase_never_says_more_than_was_seen(intent: Intent, observation: Observation, previous: Status) -> None:
    status = derive_status(intent, observation, previous, NOW)
    if intent.noun == "container":
        assert status.replicas is None
        return
    counts = status.replicas
    assert counts is not None
    assert counts.ready <= counts.current
    assert counts.updated <= counts.current
    match status.phase:
        case "Running":
            assert counts.ready >= counts.desired > 0
            assert counts.updated == counts.current
        case "Degraded":
            assert counts.ready > 0
        case "Failed":
            assert counts.ready == 0
        case "Stopped":
            assert counts.desired == 0 == counts.current


@given(INTENTS, OBSERVATIONS, STATUSES)
def test_each_noun_has_its_own_phases(intent: Intent, observation: Observation, previous: Status) -> None:
    of_apps = {"Stopped", "Progressing", "Running", "Degraded", "Failed", "Deleting"}
    phase = derive_status(intent, observation, previous, NOW).phase
    assert (phase in of_apps) if intent.noun == "app" else (phase not in ("Progressing", "Degraded"))


@given(INTENTS, OBSERVATIONS, STATUSES)
def test_order_of_instances_does_not_matter_to_the_phase(
    intent: Intent, observation: Observation, previous: Status
) -> None:
    if intent.noun == "container":
        return
    turned = replace(observation, instances=observation.instances[::-1])
    first, second = (derive_status(intent, o, previous, NOW) for o in (observation, turned))
    assert (first.phase, first.replicas, first.reason) == (second.phase, second.replicas, second.reason)


@pytest.mark.parametrize("reason", ["ImageNotFound", "ImagePullFailed", "Unschedulable"])
def test_what_was_in_the_way_of_a_template_given_up_is_not_told_of_what_serves(reason: str) -> None:
    back = Status(hash=OLD, revision=1, rollout=Rollout(from_=1, to=2, state="rolled_back", reason="RolloutStuck"))
    here = [up(slot, OLD) for slot in (1, 2)]
    status = derive_status(app(), seen(*here, hash=NEW, reason=reason), back, NOW)
    assert (status.phase, status.reason) == ("Running", "RolloutStuck")
    moving = derive_status(app(), seen(*here, hash=OLD, reason=reason), back, NOW)
    assert (moving.phase, moving.reason) == ("Running", reason)


def test_an_autoscalers_number_is_what_is_wanted_while_it_is_there() -> None:
    scaled: dict[str, Any] = {"scaled_by": "HorizontalPodAutoscaler web", "desired": 3}
    of = app(replicas=1)
    before = derive_status(of, seen(up()), Status(), NOW)
    assert before.phase == "Running"
    rising = derive_status(of, seen(up(), **scaled), before, NOW)
    assert (rising.phase, rising.replicas and rising.replicas.desired) == ("Progressing", 3)
    there = derive_status(of, seen(up(1), up(2), up(3), **scaled), rising, NOW)
    assert (there.phase, there.scaled_by, there.reason) == ("Running", scaled["scaled_by"], None)
    assert there.message == "HorizontalPodAutoscaler web decides about the number of replicas."
    after = derive_status(of, seen(up(), desired=1), there, NOW)
    assert (after.phase, after.scaled_by, after.message) == ("Running", None, None)
    stopped = replace(of, desired_state="stopped")
    assert wanted_replicas(stopped, seen(**scaled)) == 0


@pytest.mark.parametrize("reason", ["CrashLoop", "OutOfMemory", "HealthCheckFailing", "Error"])
def test_what_is_wrong_with_a_container_is_told_while_it_runs_for_a_moment(reason: str) -> None:
    ended = derive_status(container(), seen(up(state="restarting", reason=reason)), Status(), NOW)
    again = derive_status(container(), seen(up(state="running", reason=reason)), ended, NOW + timedelta(seconds=1))
    assert (ended.phase, again.phase) == ("Restarting", "Running")
    assert (again.reason, again.reason_since) == (reason, NOW)


@given(
    st.sampled_from([None, *REASONS]),
    st.sampled_from(["Pending", "Creating", "Progressing", "Running", "Restarting", "Degraded", "Failed"]),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_more_patience_never_ends_waiting_sooner(reason: Any, phase: Any, age: float, less: float, more: float) -> None:
    less, more = sorted((less, more))
    status = held_up(reason, phase=phase, reason_since=NOW - timedelta(seconds=age))
    for intent in (app(), container()):
        early, late = (settles_in(intent, status, NOW, grace) for grace in (less, more))
        assert (early is None) == (late is None)
        assert early is None or late is None or early <= late
        if is_settled(intent, status):
            assert early == late == 0
