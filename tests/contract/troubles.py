"""What goes wrong, and what is told of it: the same reason for the same fault, whatever the cluster is.

A new COE writes its `faults.Ways`, a fixture `ways` of the scope `module` that gives them, and two classes that
inherit `AppTroubles` and `ClusterTroubles`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.faults import FAULTS, OTHERS, Fault, Ways
from tests.contract.world import CLUSTER, Body, Report, World, call, shown
from tests.real.registry import Registry
from tests.real.waiting import wait_until
from zun_coe.model.status import Reason


@pytest.mark.timeout(600)
class AppTroubles:
    """What goes wrong with an app or a container. All of it goes wrong at once, each with an app of its own."""

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, ways: Ways, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
        """A gateway on whose cluster everything is wrong that can be."""
        with closing(open_world(tmp_path_factory.mktemp("troubles"), ways, ways.body)) as world:
            for name, fault in _tried(ways).items():
                world.create(fault.noun, body(ways, name, **fault.begin(ways, world)), fault.project)
            yield world

    @pytest.fixture(scope="class")
    @classmethod
    def healed(cls, world: World, ways: Ways) -> None:
        """Everything is ended that can be from outside, while nobody says a word to the gateway."""
        for name, fault in _tried(ways).items():
            told(world, name, fault)
        for fault in _tried(ways).values():
            if fault.heal is not None:
                fault.heal(ways, world)

    @pytest.fixture
    def slow(self, tmp_path: Path) -> Iterator[Registry]:
        """A registry that can be held up without the others."""
        registry = Registry(tmp_path)
        yield registry
        registry.close()

    def test_every_fault_is_tried_or_explained(self, ways: Ways) -> None:
        assert {*ways.cannot, *ways.words} <= {*FAULTS, *OTHERS}
        assert [name for name, why in ways.cannot.items() if not why.endswith(".")] == []

    def test_every_reason_is_some_fault(self) -> None:
        told = {fault.reason for fault in FAULTS.values()} | set(OTHERS.values())
        assert told == set(Reason.__args__) - {"Error"}  # type: ignore[attr-defined]  # typing has no public way to list a Literal

    @pytest.mark.parametrize("name", FAULTS)
    def test_it_is_told(self, world: World, ways: Ways, name: str) -> None:
        fault = _fault(ways, name)
        status = told(world, name, fault)
        _fits(status, fault)
        if fault.noun == "app":
            _fits(diagnosis(world, name, fault.project), fault)

    def test_it_is_told_once(self, world: World, ways: Ways) -> None:
        """A status that takes turns would write an event each time, for as long as the fault lasts."""
        for name, fault in _tried(ways).items():
            told(world, name, fault)
        _crash_again(world)  # what explains a fault may come late, and is told in other words before
        before = len(world.events())
        _crash_again(world)
        events = world.events()
        lasting = {name for name, fault in _tried(ways).items() if not fault.again}
        new = [event for event in events[before:] if not event["type"].startswith("Instance")]
        assert [event for event in new if event["subject_name"] in lasting] == []
        said = Counter((e["subject_name"], e["type"], e["message"]) for e in events if e["type"].startswith("App"))
        assert {what: times for what, times in said.items() if times > 2} == {}

    @pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.heal])
    @pytest.mark.usefixtures("healed")
    def test_it_heals(self, world: World, ways: Ways, name: str) -> None:
        fault = _fault(ways, name)
        found = world.settled(fault.noun, name, "Running", fault.project)
        assert found["generation"] == 1
        assert found["status"].get("reason") is None

    def test_pulling(self, world: World, ways: Ways, slow: Registry) -> None:
        image = slow.push(ways.engine, "slow:1")
        slow.freeze()
        world.create("app", body(ways, "pulling", image=image))
        told(world, "pulling", Fault("Pulling", "slow:1", lambda ways, world: {}))
        assert diagnosis(world, "pulling")["reason"] == "Pulling"
        slow.thaw()
        world.settled("app", "pulling", "Running")
        assert {e["level"] for e in world.events() if e["subject_name"] == "pulling"} == {"info"}


@pytest.mark.timeout(600)
class ClusterTroubles:
    """What goes wrong with a cluster as a whole, each with a gateway of its own."""

    def test_unreachable(self, ways: Ways, tmp_path: Path) -> None:
        with running(tmp_path, ways, ways.fragile_body) as world:
            ways.cut()
            try:
                cluster = status_of_cluster(world, "BackendUnreachable")
                assert (cluster["phase"], cluster["reachable"]) == ("Unreachable", False)
                status, page = world.show("app", "web")["status"], diagnosis(world, "web")
                assert (status["phase"], status["reachable"]) == ("Running", False)
                assert (page["phase"], page["healthy"], page["reason"]) == ("Running", False, "BackendUnreachable")
                assert (page["cluster"]["reachable"], page["cluster"]["reason"]) == (False, "BackendUnreachable")
            finally:
                ways.mend()
            world.until(lambda: world.cluster()["status"]["phase"] == "Ready", "it is not reached again")
            assert world.settled("app", "web", "Running")["status"]["reachable"]
            assert len(world.events("ClusterUnreachable")) == 1

    def test_exchanged(self, ways: Ways, tmp_path: Path) -> None:
        with running(tmp_path, ways, ways.changing_body, describe=1.0) as world:
            ways.exchange()
            assert status_of_cluster(world, "BackendChanged")["phase"] == "Failed"
            before = world.show("app", "web")["status"]
            world.create("app", body(ways, "late"))
            for name in ("late", "web"):
                told_of = diagnosis(world, name)
                assert (told_of["reason"], told_of["healthy"]) == ("BackendChanged", False)
            if ways.change_back():
                world.settled("app", "late", "Running")
                world.settled("app", "web", "Running")
            else:
                assert world.show("app", "web")["status"] == before
                assert diagnosis(world, "late")["phase"] == "Pending"
                assert "late" not in [found.ref.name for found in world.observe()]
            assert len(world.events("BackendChanged")) == 1

    def test_forbidden(self, ways: Ways, tmp_path: Path) -> None:
        if "forbidden" in ways.cannot:
            pytest.skip(ways.cannot["forbidden"])
        fault = Fault("PermissionDenied", ".", lambda ways, world: {}, phases=("Progressing", "Degraded"))
        with running(tmp_path, ways, ways.limited_body) as world:
            right = ways.forbid()
            world.patch("app", "web", {"replicas": 2})
            status = told(world, "web", fault)
            assert right.items() <= status["evidence"].items()
            assert all(word in status["message"] for word in right.values())
            assert len(world.events("AppPermissionDenied")) <= 1
            ways.allow()
            world.settled("app", "web", "Running")


@contextmanager
def running(folder: Path, ways: Ways, cluster: Body, **settings: Any) -> Iterator[World]:
    """A gateway with an app that runs."""
    with closing(open_world(folder, ways, cluster, **settings)) as world:
        world.create("app", body(ways, "web"))
        world.settled("app", "web", "Running")
        yield world


def status_of_cluster(world: World, reason: str) -> Any:
    """The status of the cluster, as soon as this is wrong with it."""

    def look() -> Any:
        status = world.cluster()["status"]
        return status if status.get("reason") == reason else None

    return world.until(look, f"the cluster is not told to be {reason}")


def open_world(folder: Path, ways: Ways, cluster: Body, **settings: Any) -> World:
    """A gateway with a cluster that is ready. That it is slow where everything goes wrong at once is no fault."""
    world = World(folder, cluster, ways.patience, **{"backend_timeout": 60.0, **settings})
    world.register()
    return world


def body(ways: Ways, name: str, **fields: Any) -> dict[str, Any]:
    """The body of an app or a container that runs, but for `fields`."""
    runs = {"image": ways.image, "command": ["sleep", "1000"], "stop_timeout": 1}
    return {"name": name, "cluster": CLUSTER} | runs | fields


def told(world: World, name: str, fault: Fault) -> Any:
    """The status of something, as soon as it tells of the fault."""

    def look() -> Any:
        status = world.show(fault.noun, name, fault.project)["status"]
        return status if _says(status, fault) and status["phase"] in fault.phases else None

    report = Report(world, fault.noun, name, fault.project, f"{name} is not told to be {fault.reason}")
    return wait_until(look, world.patience, report)  # type: ignore[arg-type]  # a report is made when it is shown


def diagnosis(world: World, name: str, project: str = "default") -> Any:
    """What is told of an app on its page."""
    return shown(world.process.gateway.apps.diagnosis(call(project), name))


def _tried(ways: Ways) -> dict[str, Fault]:
    return {name: _fault(ways, name) for name in FAULTS if name not in ways.cannot}


def _fault(ways: Ways, name: str) -> Fault:
    if name in ways.cannot:
        pytest.skip(ways.cannot[name])
    return replace(FAULTS[name], says=ways.words.get(name, FAULTS[name].says))


def _says(told: Any, fault: Fault) -> bool:
    return told.get("reason") == fault.reason and bool(re.search(fault.says, told.get("message", ""), re.I))


def _fits(told: Any, fault: Fault) -> None:
    assert _says(told, fault), told
    evidence = told.get("evidence", {})
    assert {key for key, value in fault.evidence.items() if not re.search(value, str(evidence.get(key)))} == set()


def _crash_again(world: World) -> None:
    """Wait until the app that crashes has done so again."""
    before = _crashes(world)
    world.until(lambda: _crashes(world) > before, "it crashes no more", 400)


def _crashes(world: World) -> int:
    """How often the app that crashes was started again."""
    return sum(replica["restarts"] for replica in diagnosis(world, "crash-loop")["containers"])
