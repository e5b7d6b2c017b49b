"""A revision is a whole: what is in effect, gone back to, shown and restarted has all that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.adapter import FAILING, rollout
from tests.contract.world import CLUSTER, World, call, shown
from tests.simulated import Outside, SimulatedCluster
from tests.simulated.fixtures import endpoint_of
from zun_coe.errors import Conflict, Invalid, NotFound, Unprocessable, Unsupported
from zun_coe.gateway import Query
from zun_coe.model import OperationSupport, Support
from zun_coe.store import Delete
from zun_coe.store.records import name_key

REFUSED = {"command": ["/no/such/program"]}


@pytest.fixture
def world(tmp_path: Path, simulated: SimulatedCluster) -> Iterator[World]:
    world = World(tmp_path, {"kind": "simulated", "endpoint": endpoint_of(simulated)}, revisions=3)
    world.register()
    yield world
    world.close()


def body(**fields: Any) -> dict[str, Any]:
    return {"name": "web", "cluster": CLUSTER, "image": "web:1", "stop_timeout": 0} | fields


def gone_back(world: World) -> Any:
    """Wait until the app runs its former revision again; the app."""
    world.until(lambda: rollout(world).get("state") == "rolled_back", "it did not go back")
    return world.settled("app", "web", "Running")


def kept(world: World) -> list[int]:
    """The numbers of the revisions that are kept, the newest first."""
    page = shown(world.process.gateway.apps.revisions(call(), "web", Query()))
    return [r["revision"] for r in page["revisions"]]


def replaced(world: World, outside: Outside, count: int = 1) -> None:
    """Remove every replica behind the gateway's back, and wait until as many are ready again."""
    before = {c.native_id for c in outside.containers("web")}
    for native_id in before:
        outside.delete(native_id)

    def ready() -> bool:
        return count == sum(c.ready for c in outside.containers("web") if c.native_id not in before)

    world.until(ready, "the replicas are not made again")


def test_volumes_of_the_revision_in_effect_stay_and_are_mounted_again(world: World, outside: Outside) -> None:
    mounts = [{"path": "/data", "volume": {"name": "data"}}]
    world.create("app", body(mounts=mounts, update={"on_failure": "rollback"}))
    world.settled("app", "web", "Running")
    world.patch("app", "web", REFUSED | {"mounts": []})
    gone_back(world)
    with pytest.raises(Conflict):
        world.process.gateway.volumes.delete(call(), "data")
    replaced(world, outside)
    workload = outside.workload("web")
    assert list(workload.volumes) == [m.volume.name for m in workload.template.mounts if m.volume] == ["data"]
    world.patch("app", "web", {"command": ["sleep", "1000"]})
    world.settled("app", "web", "Running")
    world.process.gateway.volumes.delete(call(), "data")


def test_losses_belong_to_the_revision_that_they_were_accepted_with(
    world: World, simulated: SimulatedCluster, outside: Outside
) -> None:
    sidecar = {"name": "log", "image": "log:1"}
    simulated.overrides["/gpu"] = OperationSupport(support=Support.NONE, note="None here.")
    world.create("app", body(sidecars=[sidecar], update={"on_failure": "rollback"}))
    world.settled("app", "web", "Running")
    world.patch(
        "app", "web", REFUSED | {"sidecars": [sidecar, sidecar | {"name": "more"}], "gpu": 1, "accept_loss": ["/gpu"]}
    )
    gone_back(world)
    replaced(world, outside)
    assert outside.workload("web").template.gpu == 0
    world.process.gateway.apps.rollback(call(), "web", 1)
    assert "lost" not in world.settled("app", "web", "Running")


def test_revision_in_effect_is_never_pruned(world: World, outside: Outside) -> None:
    world.create("app", body(update={"on_failure": "rollback"}))
    world.settled("app", "web", "Running")
    for number in range(2, 8):
        world.patch("app", "web", REFUSED | {"env": {"N": str(number)}})
        gone_back(world)
    world.until(lambda: kept(world) == [7, 6, 5, 1], "others are kept")
    replaced(world, outside)
    assert outside.workload("web").template.command is None
    world.patch("app", "web", {"command": ["sleep", "1000"]})
    world.settled("app", "web", "Running")
    world.until(lambda: kept(world) == [8, 7, 6], "others are kept")


def test_restart_after_a_failed_rollout_restarts_what_is_in_effect(world: World, outside: Outside) -> None:
    world.create("app", body(update={"on_failure": "rollback"}))
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"image": "web:2"} | REFUSED)
    gone_back(world)
    before = {c.native_id for c in outside.containers("web")}
    answer = shown(world.process.gateway.apps.restart(call(), "web"))
    assert (answer["image"], answer["revision"]) == ("web:1", 3)
    found = world.settled("app", "web", "Running")
    assert (found["status"].get("rollout"), found["status"].get("reason"), found["status"]["revision"]) == (
        None,
        None,
        3,
    )
    assert not before & {c.native_id for c in outside.containers("web")}
    (event,) = world.events("AppRestarting")
    assert "revision 1" in event["message"]


def test_restart_after_a_change_that_nobody_acted_on_yet_is_of_what_is_wanted(
    world: World, simulated: SimulatedCluster
) -> None:
    world.create("app", body(update={"on_failure": "rollback"}))
    world.settled("app", "web", "Running")
    world.patch("app", "web", REFUSED)
    gone_back(world)
    world.restart("api")
    world.patch("app", "web", {"command": ["sleep", "99"]})
    answer = shown(world.process.gateway.apps.restart(call(), "web"))
    assert (answer["command"], answer["revision"]) == (["sleep", "99"], 3)
    world.restart()
    world.settled("app", "web", "Running")


@pytest.mark.parametrize(("on_failure", "state"), [("rollback", "rolled_back"), ("pause", "failed")])
def test_what_the_cluster_refuses_ends_the_rollout_at_once(
    world: World, simulated: SimulatedCluster, on_failure: str, state: str
) -> None:
    world.create("app", body(update={"on_failure": on_failure}))
    world.settled("app", "web", "Running")
    simulated.faults.fail_next("apply", Invalid("denied by the webhook policy"))
    world.patch("app", "web", {"image": "web:2"})
    world.until(lambda: rollout(world).get("state") == state, "the refusal does not end it")
    assert "denied by the webhook policy" in rollout(world)["message"]
    world.patch("app", "web", {"image": "web:3"})
    assert world.settled("app", "web", "Running")["status"].get("rollout") is None


def test_what_runs_is_kept_as_it_is_wanted_while_another_template_is_refused(
    world: World, simulated: SimulatedCluster, outside: Outside
) -> None:
    world.create("app", body())
    world.settled("app", "web", "Running")
    simulated.refused.add("web:2")
    world.patch("app", "web", {"image": "web:2"})
    world.until(lambda: rollout(world).get("state") == "failed", "the refusal does not end it")
    replaced(world, outside)
    world.patch("app", "web", {"replicas": 3})
    world.until(lambda: sum(c.ready for c in outside.containers("web")) == 3, "it can't be scaled")
    assert {r["image"] for r in world.replicas("web")} == {"web:1"}
    assert world.settled("app", "web", "Degraded")["status"]["rollout"]["state"] == "failed"
    world.patch("app", "web", {"image": "web:3"})
    world.settled("app", "web", "Running")


def test_secret_that_is_missing_ends_the_rollout_until_it_is_there(world: World, outside: Outside) -> None:
    secrets = world.process.gateway.secrets
    secrets.create(call(), {"name": "db", "data": {"password": "hunter2"}})
    world.create("app", body())
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"env_secrets": {"P": "db/password"}, "update": {"paused": True}})
    world.until(lambda: rollout(world).get("state") == "paused", "it is not paused")
    store = world.process.gateway._tools.store
    store.transact([], [Delete(name_key("secret", "default", "db"))])  # as a backup from another time would have it
    world.patch("app", "web", {"update": {"paused": False}})
    world.until(lambda: rollout(world).get("state") == "failed", "it is not told")
    replaced(world, outside)
    secrets.create(call(), {"name": "db", "data": {"password": "hunter2"}})
    world.settled("app", "web", "Running")


def test_replicas_are_shown_with_the_revision_that_they_run(world: World, outside: Outside) -> None:
    world.create("app", body(replicas=2, env={"A": "1"}, update={"on_failure": "pause"}))
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"image": "web:2", "env": {"A": "2"}, "health": FAILING})
    world.until(lambda: len(outside.containers("web")) == 3, "nothing is replaced")
    world.until(lambda: len(world.replicas("web")) == 3, "the new replica is not shown")
    found = sorted((r["revision"], r["image"], r["env"]["A"]) for r in world.replicas("web"))
    assert found == [(1, "web:1", "1"), (1, "web:1", "1"), (2, "web:2", "2")]
    app = world.show("app", "web")
    assert (app["image"], app["status"]["image"], app["status"]["replicas"]["updated"]) == ("web:2", "web:1", 1)


def test_output_of_sidecars_is_had_from_replicas_that_have_them(world: World) -> None:
    world.create(
        "app", body(sidecars=[{"name": "log", "image": "log:1", "command": ["sh", "-c", "echo hi; sleep 99"]}])
    )
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"sidecars": [], "update": {"paused": True}})
    world.until(lambda: rollout(world).get("state") == "paused", "it is not paused")
    sources = world.process.gateway.log_sources(call(), "app", "web", "log")
    assert len(sources.instances()) == 1
    with pytest.raises(NotFound):
        world.process.gateway.log_sources(call(), "app", "web", "other")


def test_after_going_back_nothing_is_shown_to_run_what_was_abandoned(world: World) -> None:
    world.create("app", body(replicas=2, update={"on_failure": "rollback"}))
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"image": "web:2"} | REFUSED)
    app = gone_back(world)
    assert (app["image"], app["status"]["image"], app["status"]["replicas"]["updated"]) == ("web:2", "web:1", 0)
    assert {(r["revision"], r["image"]) for r in world.replicas("web")} == {(1, "web:1")}


def test_only_what_changes_is_checked_anew(world: World, simulated: SimulatedCluster) -> None:
    world.create("app", body(hostname="one"))
    world.settled("app", "web", "Running")
    simulated.overrides["/hostname"] = OperationSupport(support=Support.NONE, note="The node is drained.")
    world.restart()
    id = world.cluster()["id"]

    def told() -> bool:
        info = world.process.gateway.views.cluster_status(id).info
        return info is not None and "/hostname" in info.overrides

    world.until(told, "the cluster is not described anew")
    world.patch("app", "web", {"env": {"A": "1"}, "replicas": 2})
    with pytest.raises(Unsupported) as caught:
        world.patch("app", "web", {"hostname": "two"})
    assert [p.pointer for p in caught.value.problems] == ["/hostname"]
    world.settled("app", "web", "Running")


def test_policy_that_was_tightened_is_no_matter_to_other_fields(world: World) -> None:
    mounts = [{"path": "/data", "bind": "/srv"}]
    for project in ("default", "blue"):
        world.create("app", body(mounts=mounts), project)
    world.settings = replace(world.settings, allow_bind=False, admin_bind=False)
    world.restart()
    world.back()
    world.patch("app", "web", {"env": {"A": "1"}})
    world.patch("app", "web", {"replicas": 2}, "blue")
    for project, change in (
        ("default", {"mounts": [{"path": "/data", "bind": "/etc"}]}),
        ("default", {"mounts": [{"path": "/other", "bind": "/srv"}]}),
        ("blue", {"command": ["sleep", "1"]}),  # what an admin gave it is not for members to use as they like
    ):
        with pytest.raises(Unprocessable) as caught:
            world.patch("app", "web", change, project)
        assert [p.pointer for p in caught.value.problems] == ["/mounts/0/bind"]


def test_what_is_refused_while_it_is_paused_holds_nothing_up(
    world: World, simulated: SimulatedCluster, outside: Outside
) -> None:
    simulated.refused = {"web:2"}
    world.create("app", body())
    world.settled("app", "web", "Running")
    world.patch("app", "web", {"image": "web:2", "update": {"paused": True}})
    world.until(lambda: rollout(world).get("state") == "paused", "it is not paused")
    world.patch("app", "web", {"replicas": 3})
    world.until(lambda: sum(c.ready for c in outside.containers("web")) == 3, "it is not scaled")
    replaced(world, outside, 3)
    world.patch("app", "web", {"update": {"paused": False}})
    world.until(lambda: rollout(world).get("state") == "failed", "it does not go on")
