"""What the status says when working on something fails: in the gateway itself, for one workload alone, or for a
deletion. Nobody has to read the log to hear that there is something to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.contract.world import World, call, shown
from tests.simulated import SimulatedAdapter, SimulatedCluster
from tests.simulated.fixtures import endpoint_of
from zun_coe.engine.acting import Key
from zun_coe.engine.workqueue import WorkQueue
from zun_coe.errors import Denied, Unavailable
from zun_coe.gateway import Settle
from zun_coe.store.records import status_key
from zun_coe.vault import Undecryptable, Vault

APP = {"name": "web", "cluster": "here", "image": "web:1", "stop_timeout": 0}
MOUNT = {"path": "/data", "volume": {"name": "data"}}


@pytest.fixture
def world(tmp_path: Path, simulated: SimulatedCluster) -> Iterator[World]:
    world = World(tmp_path, {"kind": "simulated", "endpoint": endpoint_of(simulated)})
    world.register()
    yield world
    world.close()


@pytest.fixture
def broken() -> Iterator[pytest.MonkeyPatch]:
    """What a test breaks, apart from what its fixtures have put in place, so that it can be undone alone."""
    patch = pytest.MonkeyPatch()
    yield patch
    patch.undo()


def failing(broken: pytest.MonkeyPatch, name: str, error: Exception, *, about: str | None = "web") -> None:
    """A method of the adapter fails from now on, about a workload or a volume of this name (None: all at once)."""
    real: Callable[..., Any] = getattr(SimulatedAdapter, name)

    def fail(adapter: Any, *args: Any) -> Any:
        subject = args[0] if args else None
        subject = getattr(subject, "ref", subject)
        if getattr(subject, "name", subject) == about:
            raise error
        return real(adapter, *args)

    broken.setattr(SimulatedAdapter, name, fail)


def with_reason(world: World, noun: Any, reason: str, name: str = "web") -> dict[str, Any]:
    """Its status, once it gives this reason."""

    def look() -> Any:
        status = world.show(noun, name)["status"]
        return status if status.get("reason") == reason else None

    return cast("dict[str, Any]", world.until(look, f"the status does not say {reason}"))


def volume(world: World) -> Any:
    return shown(world.process.gateway.volumes.show(call(), "data"))["status"]


@pytest.mark.parametrize("noun", ["app", "container"])
@pytest.mark.parametrize("method", ["observe", "apply"])
def test_an_exception_is_the_reason(
    world: World, broken: pytest.MonkeyPatch, method: str, noun: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(broken, method, IndexError("somebody's secret"))
    world.create(noun, APP)
    world.create("app", APP | {"name": "other"})
    status = with_reason(world, noun, "Error")
    id = status["evidence"]["request_id"]
    assert id in status["message"]
    assert "IndexError" in status["message"]
    assert "somebody's secret" not in str(status)
    assert id in "".join(capsys.readouterr()), "the log is searched for it"
    told = [e for e in world.events() if e.get("reason") == "Error" and e["subject_name"] == "web"]
    assert len(told) == 1, "however often it is tried"
    world.settled("app", "other", "Running")
    broken.undo()
    assert "reason" not in world.settled(noun, "web", "Running")["status"]


def test_an_exception_over_what_runs_is_told_beside_that_it_runs(world: World, broken: pytest.MonkeyPatch) -> None:
    world.create("app", APP)
    world.settled("app", "web", "Running")
    failing(broken, "apply", KeyError("labels"))
    world.patch("app", "web", {"labels": {"tier": "front"}})
    assert with_reason(world, "app", "Error")["phase"] == "Running"
    broken.undo()
    world.until(lambda: "reason" not in world.show("app", "web")["status"], "it is told although it is over")


def test_a_change_that_could_not_be_looked_at_has_not_settled(world: World, broken: pytest.MonkeyPatch) -> None:
    """It runs as it did before the change, which is not what was asked for."""
    world.create("app", APP)
    world.settled("app", "web", "Running")
    failing(broken, "observe", KeyError("nodes"))
    generation = world.patch("app", "web", {"replicas": 2})["generation"]
    status = with_reason(world, "app", "Error")
    assert status["observed_generation"] < generation
    settle = Settle("app", "default", world.show("app", "web")["id"], generation)
    assert world.process.gateway.settled(settle) is None
    assert world.process.gateway.settled(replace(settle, grace=0)) is not None, "with the reason, after the grace"


def test_the_diagnosis_says_it(world: World, broken: pytest.MonkeyPatch) -> None:
    failing(broken, "observe", IndexError())
    world.create("app", APP)
    status = with_reason(world, "app", "Error")
    told = shown(world.process.gateway.apps.diagnosis(call(), "web"))
    assert (told["reason"], told["message"]) == ("Error", status["message"])
    assert "Nothing is wrong" not in told["summary"]


def test_a_key_that_was_lost(world: World, broken: pytest.MonkeyPatch) -> None:
    """What runs is seen as it is; what to do next is what nobody can know."""
    world.process.gateway.secrets.create(call(), {"name": "db", "data": {"password": "x"}})
    world.create("app", APP | {"env_secrets": {"PASSWORD": "db/password"}})
    world.settled("app", "web", "Running")

    def lost(vault: Vault, sealed: str) -> Any:
        raise Undecryptable("no encryption key at hand opens this; was a key removed too early?")

    broken.setattr(Vault, "open", lost)
    world.patch("app", "web", {"replicas": 2})
    status = with_reason(world, "app", "Error")
    assert "no encryption key at hand opens this" in status["message"]
    assert status["replicas"]["ready"] == 1
    broken.undo()
    world.settled("app", "web", "Running")


@pytest.mark.parametrize("error", [Denied("no entry to the namespace"), Unavailable("the call came to nothing")])
def test_a_backend_that_fails_for_one_workload_alone(
    world: World, broken: pytest.MonkeyPatch, error: Denied | Unavailable
) -> None:
    failing(broken, "observe", error)
    world.create("app", APP)
    assert with_reason(world, "app", error.reason)["message"] == str(error)
    assert world.cluster()["status"]["phase"] == "Ready"


@pytest.mark.parametrize("method", ["observe", "apply"])
def test_what_a_backend_asks_to_be_left_alone_for_is_heeded(
    world: World, broken: pytest.MonkeyPatch, method: str
) -> None:
    least: list[float] = []
    failed = WorkQueue.failed

    def note(queue: WorkQueue[Key], key: Key, **how: Any) -> float:
        least.append(how.get("least", 0.0))
        return failed(queue, key, **how)

    broken.setattr(WorkQueue, "failed", note)
    failing(broken, method, Unavailable("too many requests", "Error", retry_after=77.0))
    world.create("app", APP)
    world.until(lambda: least, "it does not fail")
    assert set(least) == {77.0}


@pytest.mark.parametrize("method", ["describe", "observe"])
def test_an_exception_over_a_whole_cluster(world: World, broken: pytest.MonkeyPatch, method: str) -> None:
    world.create("app", APP)
    world.settled("app", "web", "Running")
    failing(broken, method, KeyError("nodes"), about=None)
    world.restart()
    status = world.until(lambda: (s := world.cluster()["status"]).get("reason") == "Error" and s, "it does not say so")
    assert status["evidence"]["request_id"] in status["message"]
    broken.undo()
    world.until(lambda: "reason" not in world.cluster()["status"], "it is not told to be well again")
    assert world.cluster()["status"]["phase"] == "Ready"


def test_a_status_that_can_not_be_read_is_tried_with_delays(world: World, broken: pytest.MonkeyPatch) -> None:
    """As a newer version may have written one: the copy keeps what it had, so that every write comes too late."""
    world.create("app", APP)
    world.settled("app", "web", "Running")
    id, delayed, failed = world.show("app", "web")["id"], Counter[str](), WorkQueue.failed

    def count(queue: WorkQueue[Key], key: Key, **how: Any) -> float:
        delayed[key.id] += 1
        return failed(queue, key, **how)

    broken.setattr(WorkQueue, "failed", count)
    target, store = status_key("app", "default", id), world.process.store
    record = store.get(target)
    assert record is not None
    store.update(target, b'{"phase": "Unheard"}', record.revision)
    world.patch("app", "web", {"replicas": 2})
    world.until(lambda: delayed[id] > 1, "it is tried without any delay")
    newest = store.get(target)
    assert newest is not None
    store.update(target, record.value, newest.revision)
    world.settled("app", "web", "Running")


@pytest.mark.parametrize("noun", ["app", "container"])
def test_a_deletion_that_can_not_go_on_says_why(world: World, broken: pytest.MonkeyPatch, noun: Any) -> None:
    world.create(noun, APP)
    world.settled(noun, "web", "Running")
    failing(broken, "remove", Denied("deleting is not allowed"))
    world.delete(noun, "web")
    status = with_reason(world, noun, "PermissionDenied")
    assert (status["phase"], status["message"]) == ("Deleting", "deleting is not allowed")
    blocked = f"{noun.title()}DeletionBlocked"
    world.until(lambda: world.events(blocked), "no event tells of it")
    assert len(world.events(blocked)) == 1
    broken.undo()
    world.deleted(noun, "web")


def test_a_deletion_while_the_cluster_is_away_says_why(world: World, simulated: SimulatedCluster) -> None:
    world.create("app", APP | {"mounts": [MOUNT]})
    world.settled("app", "web", "Running")
    world.create("container", APP | {"name": "job"})
    world.settled("container", "job", "Running")
    simulated.faults.away = True
    world.away()
    world.delete("app", "web")
    world.delete("container", "job")
    assert with_reason(world, "app", "BackendUnreachable")["phase"] == "Deleting"
    assert with_reason(world, "container", "BackendUnreachable", "job")["phase"] == "Deleting"
    assert [len(world.events(f"{noun}DeletionBlocked")) for noun in ("App", "Container")] == [1, 1]
    simulated.faults.away = False
    for noun in ("App", "Container"):
        world.until(lambda noun=noun: world.events(f"{noun}Deleted"), f"the {noun} is not gone")


def test_a_volume_that_can_not_be_deleted_says_why(world: World, broken: pytest.MonkeyPatch) -> None:
    world.create("app", APP | {"mounts": [MOUNT]})
    world.settled("app", "web", "Running")
    world.deleted("app", "web")
    failing(broken, "remove_volume", Unavailable("it is in use", "VolumeUnavailable"), about="data")
    settle = world.process.gateway.volumes.delete(call(), "data").settle
    world.until(lambda: volume(world).get("reason"), "the volume does not say why it stays")
    told = volume(world)
    assert (told["phase"], told["reason"], told["message"]) == ("Deleting", "VolumeUnavailable", "it is in use")
    assert len(world.events("VolumeDeletionBlocked")) == 1
    broken.undo()
    assert settle is not None
    world.until(lambda: world.process.gateway.settled(settle), "the volume is not gone")
