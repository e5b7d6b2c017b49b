"""What every adapter does, run through the whole gateway: one suite, each kind of cluster.

A test class inherits `AdapterContract` and gives the fixtures `cluster_body` (what registers a cluster),
`image` (with a shell), `missing_image` (not to be had), and the method `delete_outside`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract import leaves
from tests.contract.world import CLUSTER, World, call
from tests.real.waiting import POLL
from zun_coe.adapters import OPERATIONS, Again, Done, kinds
from zun_coe.adapters.fields import pattern_of
from zun_coe.errors import Conflict, NameTaken, NotFound, Unsupported
from zun_coe.model import OperationSupport, Support, Template, WorkloadRef
from zun_coe.store.records import new_id

ID = "00000000-0000-4000-8000-000000000000"
# What runs until it is stopped; and the same for a shell that is only asked to end: the first process of a
# container heeds no signal that it has no answer to.
SLEEP = "sleep 1000"
HEEDING = f"trap 'exit 0' TERM; {SLEEP} & wait"
# A check that passes, and one that never does; both as quick as can be.
PASSING = {"exec": {"command": ["true"]}, "interval": 1, "timeout": 1, "retries": 1}
FAILING = {"exec": {"command": ["false"]}, "interval": 1, "timeout": 1, "retries": 1}


class Contract:
    """The fixtures, and how the cases speak. `patience` and `glance`: see `World`."""

    patience = 30.0
    glance = POLL

    @pytest.fixture
    def cluster_body(self) -> Mapping[str, Any]:
        """What registers the cluster."""
        raise NotImplementedError

    @pytest.fixture
    def image(self) -> str:
        """An image with a shell that the cluster has or can have."""
        raise NotImplementedError

    @pytest.fixture
    def missing_image(self) -> str:
        """The name of an image that cannot be had."""
        raise NotImplementedError

    @pytest.fixture
    def world(self, tmp_path: Path, cluster_body: Mapping[str, Any]) -> Iterator[World]:
        """A gateway with the cluster registered and ready."""
        world = World(tmp_path / "first", cluster_body, self.patience, self.glance)
        world.register()
        yield world
        self.leave(world)

    @pytest.fixture
    def body(self, cluster_body: Mapping[str, Any], image: str) -> Callable[..., dict[str, Any]]:
        """Makes the body of an app or a container that runs until it is stopped, and stops at once, as far as that
        can be had."""
        signals = kinds()[cluster_body["kind"]].fields["/stop_signal"].support is not Support.NONE

        def make(name: str = "web", script: str = f"echo started; {SLEEP}", **fields: Any) -> dict[str, Any]:
            how = {"stop_signal": "SIGKILL"} if signals else {}
            command = ["sh", "-c", script if signals else script.replace(SLEEP, HEEDING)]
            how |= {"command": command, "stop_timeout": 1}
            return {"name": name, "cluster": CLUSTER, "image": image} | how | fields

        return make

    def delete_outside(self, native_id: str) -> None:
        """Remove a container behind the gateway's back."""
        raise NotImplementedError

    def leave(self, world: World) -> None:
        """A case is done with a gateway: what it started is not in the way of other cases from now on."""
        world.close()

    def replaced(self, world: World, before: set[str]) -> None:
        """Nothing is left of what `web` was made of before."""
        ref = world.workload("app", "web").ref
        world.until(lambda: not before & {i.native_id for i in world.instances(ref)}, "an old replica is left")


class Accounts(Contract):
    """What is said of itself beforehand: fields, operations, and what follows from them."""

    def test_every_leaf_is_accounted_for(self, cluster_body: Mapping[str, Any]) -> None:
        assert set(kinds()[cluster_body["kind"]].fields) == leaves.of_the_model()

    def test_what_is_not_native_is_explained(self, cluster_body: Mapping[str, Any]) -> None:
        fields = kinds()[cluster_body["kind"]].fields
        assert [p for p, c in fields.items() if c.support is not Support.NATIVE and not c.note] == []

    def test_every_operation_is_accounted_for(self, world: World) -> None:
        with world.adapter() as adapter:
            operations = adapter.describe().operations
        assert set(operations) == set(OPERATIONS)
        assert [n for n, o in operations.items() if o.support is Support.NONE and not o.note] == []

    def test_identity_stays(self, world: World) -> None:
        with world.adapter() as one, world.adapter() as two:
            assert one.describe().identity == two.describe().identity != ""

    def test_what_cannot_be_carried_is_refused_with_its_pointer(self, world: World, body: Any) -> None:
        with world.adapter() as adapter:
            refused = {p for p, c in adapter.fields.items() if c.support is Support.NONE}
        for field, value in {"gpu": 1, "tty": True, "stdin": True, "hostname": "x", "user": "1"}.items():
            if f"/{field}" in refused:
                with pytest.raises(Unsupported) as caught:
                    world.create("app", body(**{field: value}))
                assert {pattern_of(p.pointer) for p in caught.value.problems} == {f"/{field}"}
        assert world.observe() == []

    def test_rendering_is_pure_and_tells_no_secret(self, world: World, image: str) -> None:
        workload = world_workload(world, Template(image=image, env_secrets={"P": "db/password"}))
        workload = msgspec.structs.replace(workload, secrets={"db/password": "hunter2"})
        with world.adapter() as adapter:
            first, second = adapter.render(workload), adapter.render(workload)
        assert first == second != []
        assert "hunter2" not in msgspec.json.encode(first).decode()


class Lifecycle(Contract):
    """From nothing to running, to other numbers, and to nothing again."""

    def test_unknown_id(self, world: World) -> None:
        ref = world_ref(world, ID)
        with world.adapter() as adapter:
            (observation,) = adapter.observe(ref)
            assert (observation.ref, observation.instances) == (ref, ())
            assert adapter.remove(ref, observation) == Done()
            assert adapter.remove(ref, None) == Done()
            adapter.remove_volume("none", ID, "default")
        with pytest.raises(NotFound):
            world.show("app", ID)

    @pytest.mark.parametrize("noun", ["app", "container"])
    def test_deploy_and_remove(self, world: World, body: Any, noun: Any) -> None:
        world.create(noun, body())
        ref = world.workload(noun, "web").ref
        found = world.settled(noun, "web", "Running")
        assert found["status"].get("reason") is None
        world.until(lambda: [i.ready for i in world.instances(ref)] == [True], "it does not get ready")
        world.deleted(noun, "web")
        assert world.observe() == []
        with pytest.raises(NotFound):
            world.show(noun, "web")

    def test_deploy_twice(self, world: World, body: Any) -> None:
        world.create("app", body())
        with pytest.raises(NameTaken):
            world.create("app", body())
        world.settled("app", "web", "Running")
        assert len(world.observe()) == 1

    def test_name_is_free_again_after_removal(self, world: World, body: Any) -> None:
        first = world.create("container", body())
        world.deleted("container", "web")
        assert world.create("container", body())["id"] != first["id"]
        world.settled("container", "web", "Running")

    def test_scale_up_down_and_to_zero(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=1))
        ref = world.workload("app", "web").ref
        known: set[str] = set()
        for replicas, phase in [(1, "Running"), (4, "Running"), (2, "Running"), (0, "Stopped"), (1, "Running")]:
            world.patch("app", "web", {"replicas": replicas})
            counts = world.settled("app", "web", phase)["status"]["replicas"]
            assert (counts["desired"], counts["ready"]) == (replicas, replicas)
            world.until(lambda n=replicas: len(world.instances(ref)) == n, "too many are left")
            now = {i.native_id for i in world.instances(ref)}
            assert known <= now or now <= known  # the healthy rest was not touched
            known = now
            assert sorted(i.slot for i in world.instances(ref)) == list(range(1, replicas + 1))

    def test_stopping_an_app_leaves_no_instances(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2))
        world.settled("app", "web", "Running")
        world.patch("app", "web", {"desired_state": "stopped"})
        world.settled("app", "web", "Stopped")
        assert world.instances(world.workload("app", "web").ref) == []
        world.patch("app", "web", {"desired_state": "running"})
        world.settled("app", "web", "Running")

    def test_converged_cluster_is_left_alone(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2))
        world.settled("app", "web", "Running")
        workload = world.workload("app", "web")
        before = {i.native_id for i in world.instances(workload.ref)}
        with world.adapter() as adapter:
            for _ in range(3):
                assert adapter.apply(workload, adapter.observe(workload.ref)[0]) == Done()
            assert adapter.observe(None)[0].ref == workload.ref
        assert {i.native_id for i in world.instances(workload.ref)} == before

    def test_cancel_while_deploying(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=6, health=PASSING))
        ref = world.workload("app", "web").ref
        world.until(lambda: world.observe(ref)[0].instances, "nothing was begun")
        world.deleted("app", "web")
        assert world.observe() == []

    def test_partial_state_is_taken_up(self, world: World, body: Any) -> None:
        """The engine ends after the first step; another one finds what there is and doubles nothing."""
        world.restart("api")
        world.create("app", body(replicas=3))
        workload = world.workload("app", "web")
        with world.adapter() as adapter:
            adapter.apply(workload, adapter.observe(workload.ref)[0])
        with world.adapter() as adapter:  # one whose caller never learned of the first step
            adapter.apply(workload, None)
        begun = {i.native_id for i in world.instances(workload.ref)}
        world.restart()
        world.settled("app", "web", "Running")
        found = world.instances(workload.ref)
        assert sorted(i.slot for i in found) == [1, 2, 3]
        assert begun <= {i.native_id for i in found}

    def test_restarted_gateway_changes_nothing(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2))
        world.settled("app", "web", "Running")
        ref = world.workload("app", "web").ref
        before = {i.native_id for i in world.instances(ref)}
        world.restart()
        world.back()
        world.patch("app", "web", {"labels": {"a": "b"}})
        world.settled("app", "web", "Running")
        assert {i.native_id for i in world.instances(ref)} == before

    def test_port_is_published(self, world: World, body: Any) -> None:
        world.create("app", body(ports=[{"port": 80, "publish": "auto"}]))
        world.settled("app", "web", "Running")
        (endpoint,) = world.until(lambda: world.show("app", "web")["status"]["endpoints"], "no endpoint is shown")
        assert (endpoint["target"], endpoint["protocol"]) == (80, "tcp")
        assert endpoint["port"] > 0


class Healing(Contract):
    """What goes wrong below, and comes right again or is told."""

    def test_replica_deleted_outside_is_replaced(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2))
        world.settled("app", "web", "Running")
        ref = world.workload("app", "web").ref
        victim, other = sorted(world.instances(ref), key=lambda i: i.slot)
        self.delete_outside(victim.native_id)

        def healed() -> bool:
            found = {i.native_id: i.ready for i in world.instances(ref)}
            return victim.native_id not in found and other.native_id in found and list(found.values()) == [True, True]

        world.until(healed, "the replica was not replaced")
        world.settled("app", "web", "Running")

    def test_container_deleted_outside_is_made_again(self, world: World, body: Any) -> None:
        world.create("container", body())
        world.settled("container", "web", "Running")
        ref = world.workload("container", "web").ref
        (victim,) = world.instances(ref)
        self.delete_outside(victim.native_id)
        world.until(
            lambda: [i for i in world.instances(ref) if i.native_id != victim.native_id], "it was not made again"
        )

        def made() -> int:
            return sum(event.get("count", 1) for event in world.events("InstanceCreated"))

        world.until(lambda: made() == 2, "that it was made again is not told")
        world.settled("container", "web", "Running")
        assert [e["data"]["native_id"] for e in world.events("InstanceRemoved")] == [victim.native_id]

    def test_finished_container_deleted_outside_does_not_run_again(self, world: World, body: Any) -> None:
        world.create("container", body(script="exit 3", restart="never"))
        world.settled("container", "web", "Exited")
        ref = world.workload("container", "web").ref
        self.delete_outside(world.instances(ref)[0].native_id)
        world.patch("container", "web", {"labels": {"look": "again"}})
        assert world.settled("container", "web", "Exited")["status"]["exit_code"] == 3
        assert world.instances(ref) == []

    def test_bad_image_is_told_and_mended(self, world: World, body: Any, image: str, missing_image: str) -> None:
        world.create("app", body(image=missing_image))
        status = world.until(
            lambda: status_with(world, "app", "ImageNotFound", "ImagePullFailed"), "no reason is given"
        )
        assert status["replicas"]["ready"] == 0
        assert status["message"]
        world.patch("app", "web", {"image": image})
        world.settled("app", "web", "Running")

    def test_crash_loop_is_told(self, world: World, body: Any) -> None:
        world.create("container", body(script="exit 7"))
        world.until(lambda: status_with(world, "container", "CrashLoop"), "no crash loop is told")

    def test_failing_health_check_is_told(self, world: World, body: Any) -> None:
        world.create("container", body(health=FAILING))
        status = world.until(lambda: status_with(world, "container", "HealthCheckFailing"), "nothing is told of it")
        assert status["phase"] == "Running"  # a container of one's own is shown as it is, and not replaced

    def test_exit_code_is_kept(self, world: World, body: Any) -> None:
        world.create("container", body(script="exit 3", restart="never"))
        assert world.settled("container", "web", "Exited")["status"]["exit_code"] == 3

    def test_orphan_is_told_of_and_left_alone(self, world: World, image: str) -> None:
        workload = world_workload(
            world, Template(image=image, command=("sleep", "1000"), stop_signal="SIGKILL", stop_timeout=1)
        )
        apply_until_there(world, workload)
        world.until(lambda: world.events("OrphanFound"), "the orphan was not found")
        assert workload.ref.name in world.events("OrphanFound")[0]["message"]
        assert len(world.instances(workload.ref)) == 1

    def test_leftover_of_something_deleted_is_removed(self, world: World, body: Any) -> None:
        """A call that comes late creates again what was removed already."""
        world.create("app", body())
        world.settled("app", "web", "Running")
        workload = world.workload("app", "web")
        world.deleted("app", "web")
        apply_until_there(world, workload, stay=False)
        world.until(lambda: world.observe() == [], "the leftover was not removed")

    def test_forced_deletion_removes_later(self, world: World, body: Any) -> None:
        world.create("app", body())
        world.settled("app", "web", "Running")
        world.deleted("app", "web", force=True)
        world.until(lambda: world.observe() == [], "what was left was not removed")

    def test_what_was_let_go_stays(self, world: World, body: Any) -> None:
        world.create("app", body())
        world.settled("app", "web", "Running")
        ref = world.workload("app", "web").ref
        world.deleted("app", "web", keep=True)
        # Another app comes and runs meanwhile, so that the engine has looked at everything since.
        world.create("app", body("next"))
        world.settled("app", "next", "Running")
        world.deleted("app", "next")
        assert len(world.instances(ref)) == 1


class Operating(Contract):
    """What is done to a container that is there."""

    @pytest.mark.parametrize("restart", ["always", "never"])
    def test_stop_and_start(self, world: World, body: Any, restart: str) -> None:
        world.create("container", body(restart=restart))
        world.settled("container", "web", "Running")
        ref = world.workload("container", "web").ref
        before = world.instances(ref)[0].native_id
        with pytest.raises(Conflict):
            world.act("web", "start")
        world.act("web", "stop")
        world.settled("container", "web", "Stopped")
        with pytest.raises(Conflict):
            world.act("web", "stop")
        world.act("web", "start")
        world.settled("container", "web", "Running")
        assert (world.instances(ref)[0].native_id == before) is self.in_place(world, "start")

    def test_container_created_stopped(self, world: World, body: Any) -> None:
        world.create("container", body(desired_state="stopped"))
        world.settled("container", "web", "Stopped")
        world.act("web", "start")
        world.settled("container", "web", "Running")

    def test_finished_container_is_started_again(self, world: World, body: Any) -> None:
        world.create("container", body(script="exit 3", restart="never"))
        world.settled("container", "web", "Exited")
        first = world.instances(world.workload("container", "web").ref)[0].started_at
        world.act("web", "start")
        world.settled("container", "web", "Exited")
        assert world.instances(world.workload("container", "web").ref)[0].started_at != first

    def test_pause_and_unpause(self, world: World, body: Any) -> None:
        self.needs(world, "pause")
        world.create("container", body())
        world.settled("container", "web", "Running")
        world.act("web", "pause")
        world.settled("container", "web", "Paused")
        world.act("web", "unpause")
        world.settled("container", "web", "Running")
        world.act("web", "pause")
        world.settled("container", "web", "Paused")
        world.act("web", "stop")
        world.settled("container", "web", "Stopped")

    def test_restart(self, world: World, body: Any) -> None:
        self.needs(world, "restart")
        world.create("container", body())
        world.settled("container", "web", "Running")
        ref = world.workload("container", "web").ref
        before = world.instances(ref)[0]
        world.act("web", "restart")
        world.settled("container", "web", "Running")
        after = world.instances(ref)[0]
        assert (after.native_id == before.native_id) is self.in_place(world, "restart")
        assert after.started_at != before.started_at

    def test_restart_of_an_app_replaces_every_replica(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2))
        world.settled("app", "web", "Running")
        ref = world.workload("app", "web").ref
        before = {i.native_id for i in world.instances(ref)}
        world.process.gateway.apps.restart(call(), "web")
        world.settled("app", "web", "Running")
        self.replaced(world, before)

    def test_limits_change_in_place(self, world: World, body: Any) -> None:
        self.needs(world, "resize")
        world.create("container", body(cpu=0.5, memory="32Mi"))
        world.settled("container", "web", "Running")
        ref = world.workload("container", "web").ref
        before = world.instances(ref)[0]
        assert (before.cpu, before.memory) == (0.5, 32 << 20)
        world.patch("container", "web", {"cpu": 0.25, "memory": "64Mi"})
        world.settled("container", "web", "Running")
        after = world.until(lambda: [i for i in world.instances(ref) if i.cpu == 0.25], "the limits did not change")[0]
        assert (after.native_id, after.memory) == (before.native_id, 64 << 20)

    def test_signal_is_sent(self, world: World, body: Any) -> None:
        self.needs(world, "kill")
        world.create("container", body(restart="never"))
        world.settled("container", "web", "Running")
        world.act("web", "kill", signal="SIGKILL")
        assert world.settled("container", "web", "Exited")["status"]["exit_code"] == 137

    def test_logs(self, world: World, body: Any) -> None:
        self.needs(world, "logs")
        world.create("app", body(script=f"echo hello; echo again; {SLEEP}", replicas=2))
        world.settled("app", "web", "Running")
        world.until(lambda: world.logs("app", "web") == ["hello", "again"] * 2, "the lines did not come")

    def needs(self, world: World, operation: str) -> None:
        """Skip where the cluster says that it cannot do this."""
        carried = self.carried_out(world, operation)
        if carried.support is Support.NONE:
            pytest.skip(f"{operation}: {carried.note}")

    def in_place(self, world: World, operation: str) -> bool:
        """Whether it is done to the very container: what is emulated makes another one."""
        return self.carried_out(world, operation).support is Support.NATIVE

    def carried_out(self, world: World, operation: str) -> OperationSupport:
        """What the cluster says of an operation."""
        with world.adapter() as adapter:
            return adapter.describe().operations[operation]


class Updating(Contract):
    """Changes of the template."""

    def test_update_replaces_every_replica(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2))
        world.settled("app", "web", "Running")
        ref = world.workload("app", "web").ref
        before = {i.native_id for i in world.instances(ref)}
        world.patch("app", "web", {"env": {"VERSION": "2"}})
        found = world.settled("app", "web", "Running")
        assert (found["revision"], found["status"]["revision"], found["status"].get("rollout")) == (2, 2, None)
        self.replaced(world, before)
        assert {i.hash for i in world.instances(ref)} == {world.workload("app", "web").hash}

    @pytest.mark.parametrize(("surge", "missing", "fewest", "most"), [(1, 0, 2, 3), (0, 1, 1, 2), ("100%", 0, 2, 4)])
    def test_rolling_update_keeps_what_it_promises(
        self, world: World, body: Any, surge: Any, missing: Any, fewest: int, most: int
    ) -> None:
        update = {"max_surge": surge, "max_unavailable": missing, "deadline": 60}
        world.create("app", body(replicas=2, update=update))
        world.settled("app", "web", "Running")
        with Watcher(world, world.workload("app", "web").ref) as watcher:
            world.patch("app", "web", {"env": {"VERSION": "2"}})
            world.settled("app", "web", "Running")
        assert min(watcher.ready) >= fewest
        assert max(watcher.there) <= most

    def test_update_that_recreates_never_mixes(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2, update={"strategy": "recreate"}))
        world.settled("app", "web", "Running")
        with Watcher(world, world.workload("app", "web").ref) as watcher:
            world.patch("app", "web", {"env": {"VERSION": "2"}})
            world.settled("app", "web", "Running")
        assert max(watcher.hashes) == 1

    def test_paused_update_waits_for_leave(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2))
        world.settled("app", "web", "Running")
        ref = world.workload("app", "web").ref
        before = {i.native_id for i in world.instances(ref)}
        world.patch("app", "web", {"env": {"VERSION": "2"}, "update": {"paused": True}})
        world.until(lambda: rollout(world).get("state") == "paused", "the rollout is not paused")
        assert before <= {i.native_id for i in world.instances(ref)}
        world.patch("app", "web", {"update": {"paused": False}})
        world.settled("app", "web", "Running")
        self.replaced(world, before)

    def broken(self, world: World, body: Any, on_failure: str) -> str:
        """An app of which a new template never gets ready; the hash of the good one."""
        world.create("app", body(health=PASSING, update={"deadline": 3, "on_failure": on_failure}))
        world.settled("app", "web", "Running")
        good = world.workload("app", "web").hash
        world.patch("app", "web", {"health": FAILING})
        return good

    def ready_hashes(self, world: World) -> list[str]:
        """The hashes of those that are ready, one for each."""
        return [i.hash for i in world.instances(world.workload("app", "web").ref) if i.ready]

    def test_failed_update_pauses(self, world: World, body: Any) -> None:
        good = self.broken(world, body, "pause")
        world.until(lambda: rollout(world).get("state") == "failed", "the rollout did not fail")
        status = world.settled("app", "web", "Degraded")["status"]
        assert rollout(world)["reason"] == "RolloutStuck"
        assert status["replicas"]["ready"] == 1
        assert self.ready_hashes(world) == [good]
        world.patch("app", "web", {"health": PASSING, "env": {"VERSION": "3"}})
        world.settled("app", "web", "Running")

    def test_failed_update_goes_back(self, world: World, body: Any) -> None:
        good = self.broken(world, body, "rollback")
        world.until(lambda: rollout(world).get("state") == "rolled_back", "it did not go back")
        found = world.settled("app", "web", "Running")
        assert (found["revision"], found["status"]["revision"]) == (2, 1)
        assert found["status"]["reason"] == "RolloutStuck"
        ref = world.workload("app", "web").ref
        world.until(lambda: [i.hash for i in world.instances(ref)] == [good], "something of the new one is left")

    @pytest.mark.parametrize("pull", ["missing", "never"])
    def test_after_going_back_from_an_image_nothing_is_told_of_it(
        self, world: World, body: Any, missing_image: str, pull: str
    ) -> None:
        world.create("app", body(update={"deadline": 3, "on_failure": "rollback"}))
        world.settled("app", "web", "Running")
        good = world.workload("app", "web").hash
        world.patch("app", "web", {"image": missing_image, "pull": pull})
        world.until(lambda: rollout(world).get("state") == "rolled_back", "it did not go back")
        assert world.settled("app", "web", "Running")["status"]["reason"] == "RolloutStuck"
        ref = world.workload("app", "web").ref
        world.until(lambda: [i.hash for i in world.instances(ref)] == [good], "something of the new one is left")
        world.settled("app", "web", "Running")
        running = [e for e in world.events() if e.get("data", {}).get("phase") == "Running"]
        assert {e.get("reason") for e in running} <= {None, "RolloutStuck"}

    def test_failed_update_goes_on_trying(self, world: World, body: Any) -> None:
        good = self.broken(world, body, "continue")
        world.until(lambda: rollout(world).get("reason") == "RolloutStuck", "it is not told that it is stuck")
        assert rollout(world)["state"] == "progressing"
        assert self.ready_hashes(world) == [good]

    @pytest.mark.parametrize("strategy", ["rolling", "recreate"])
    @pytest.mark.parametrize("refused", [{"command": ["/no/such/program"]}, {"user": "nobodyatall"}])
    def test_corrected_template_is_tried_after_a_refused_one(
        self, world: World, body: Any, refused: Any, strategy: str
    ) -> None:
        good = body(update={"strategy": strategy})
        world.create("app", good)
        world.settled("app", "web", "Running")
        try:
            world.patch("app", "web", refused)
        except Unsupported:
            pytest.skip("it is refused before it is stored")
        world.until(lambda: rollout(world).get("state") == "failed", "the rollout did not fail")
        world.restart()
        world.back()
        world.patch("app", "web", {"env": {"VERSION": "3"}, "user": None, "command": good["command"]})
        status = world.settled("app", "web", "Running")["status"]
        assert (status["replicas"]["updated"], status.get("rollout"), status.get("reason")) == (1, None, None)
        assert self.ready_hashes(world) == [world.workload("app", "web").hash]

    def test_refused_template_is_gone_back_from_at_once(self, world: World, body: Any) -> None:
        world.create("app", body(update={"on_failure": "rollback"}))
        world.settled("app", "web", "Running")
        good = world.workload("app", "web").hash
        world.patch("app", "web", {"command": ["/no/such/program"]})
        world.until(lambda: rollout(world).get("state") == "rolled_back", "it did not go back")
        assert world.settled("app", "web", "Running")["status"]["revision"] == 1
        ref = world.workload("app", "web").ref
        world.until(lambda: [i.hash for i in world.instances(ref)] == [good], "something of the new one is left")

    def test_rollback_to_a_revision(self, world: World, body: Any) -> None:
        world.create("app", body())
        world.settled("app", "web", "Running")
        first = world.workload("app", "web").hash
        world.patch("app", "web", {"env": {"VERSION": "2"}})
        world.settled("app", "web", "Running")
        world.process.gateway.apps.rollback(call(), "web", 1)
        assert world.settled("app", "web", "Running")["revision"] == 3
        ref = world.workload("app", "web").ref
        world.until(lambda: [i.hash for i in world.instances(ref)] == [first], "something of the new one is left")


class Sharing(Contract):
    """Several on one cluster."""

    def test_projects_are_apart(self, world: World, body: Any) -> None:
        world.create("app", body(replicas=2), "blue")
        world.create("app", body(), "red")
        world.settled("app", "web", "Running", "blue")
        world.settled("app", "web", "Running", "red")
        assert {o.ref.project: len(o.instances) for o in world.observe()} == {"blue": 2, "red": 1}
        assert len(world.replicas("web", "blue")) == 2
        theirs = world.show("app", "web", "red")["id"]
        with pytest.raises(NotFound):
            world.show("app", theirs, "blue")
        with pytest.raises(NotFound):
            world.delete("app", theirs, "blue")
        world.deleted("app", "web", "blue")
        assert world.settled("app", "web", "Running", "red")["id"] == theirs
        assert len(world.observe()) == 1

    def test_two_gateways_leave_each_other_alone(
        self, world: World, tmp_path: Path, cluster_body: Mapping[str, Any], body: Any
    ) -> None:
        other = World(tmp_path / "second", cluster_body, self.patience, self.glance)
        try:
            other.register()
            for each in (world, other):
                each.create("app", body(replicas=2))
            for each in (world, other):
                each.settled("app", "web", "Running")
                assert [len(o.instances) for o in each.observe()] == [2]
            kept = {i.native_id for i in other.instances(other.workload("app", "web").ref)}
            world.deleted("app", "web")
            other.patch("app", "web", {"labels": {"look": "again"}})
            other.settled("app", "web", "Running")
            assert {i.native_id for i in other.instances(other.workload("app", "web").ref)} == kept
            assert world.events("OrphanFound") == other.events("OrphanFound") == []
        finally:
            self.leave(other)


class AdapterContract(Accounts, Lifecycle, Healing, Operating, Updating, Sharing):
    """All of it."""


class Watcher:
    """Looks at a workload over and over, in a thread, and notes how many are there and ready. It looks with
    the engine's own eyes, which know what is being stopped."""

    def __init__(self, world: World, ref: WorkloadRef) -> None:
        self.there: list[int] = []
        self.ready: list[int] = []
        self.hashes: list[int] = []
        self._world, self._ref = world, ref
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watcher:
        self._thread.start()
        self._world.until(lambda: self.there, "nothing was seen")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        adapter = self._world.engines_own
        while not self._stop.wait(0.002):
            found = [i for i in adapter.observe(self._ref)[0].instances if i.state != "removing"]
            self.there.append(len(found))
            self.ready.append(sum(i.ready for i in found))
            self.hashes.append(len({i.hash for i in found}))


def status_with(world: World, noun: Any, *reasons: str) -> Any:
    """The status of `web`, once it gives one of these reasons."""
    status = world.show(noun, "web")["status"]
    return status if status.get("reason") in reasons else None


def rollout(world: World) -> Any:
    """The rollout of `web` as it stands; empty when there is none."""
    return world.show("app", "web")["status"].get("rollout", {})


def world_ref(world: World, id: str) -> WorkloadRef:
    """A reference to an app that no record knows."""
    cluster = world.cluster()["id"]
    return WorkloadRef(
        installation=world.installation, cluster=cluster, project="default", noun="app", id=id, name="stranger"
    )


def world_workload(world: World, template: Template) -> Any:
    """An app that no record knows."""
    from zun_coe.model import Workload, template_hash

    return Workload(ref=world_ref(world, new_id()), template=template, hash=template_hash(template))


def apply_until_there(world: World, workload: Any, *, stay: bool = True) -> None:
    """Ask the cluster for a workload behind the gateway's back, until an instance runs (or was begun)."""
    with world.adapter() as adapter:

        def step() -> bool:
            (seen,) = adapter.observe(workload.ref)
            if any(i.state == "running" or not stay for i in seen.instances):
                return True
            outcome = adapter.apply(workload, seen)
            return not stay and isinstance(outcome, Again | Done)

        world.until(step, "it was not begun")
