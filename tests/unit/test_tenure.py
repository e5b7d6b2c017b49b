"""Whoever has lost a cluster changes nothing in it any more, wherever in a step it was when that happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import msgspec
import pytest

from tests.contract.world import call
from tests.crash.clockwork import Site, hand_turned, quick_folder
from tests.crash.place import Place
from tests.crash.scenarios import VOLUME
from tests.crash.story import begin
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, KIND, SCHEME, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.adapters import Connection, Outcome
from zun_coe.config import Settings
from zun_coe.engine.acting import Conditional, Key
from zun_coe.engine.reconciler import Result
from zun_coe.engine.tenure import Tenure
from zun_coe.errors import Fenced, KeyExists, KeyNotFound, RevisionConflict
from zun_coe.model import Observation, Status, Workload
from zun_coe.process import Process
from zun_coe.store import Delete, Put
from zun_coe.store.records import encode, event_key, intent_key, status_key


@pytest.fixture
def place() -> Iterator[Place]:
    with hand_turned(), quick_folder() as folder:
        story = begin(Site(folder), lambda story: None)
        yield Place(story)
        story.site.close()


def given_back(place: Place) -> None:
    """The engine has stopped the cluster's threads; the lease is good still."""
    place.runner.stop()


def out_of_time(place: Place) -> None:
    """The cluster is no longer surely ours, and nobody has noticed yet."""
    place.ownership.release(place.runner.cluster.id)


def lost_and_taken_again(place: Place) -> None:
    """The lease was lost, and the cluster came back to this process under a new one."""
    former = place.runner
    place.ownership._lose()
    place.site.running.catch_up()
    place.engine._rebalance()
    assert place.runner is not former


def taken_away(place: Place) -> None:
    """The store has given the lease up, of which this process knows nothing yet."""
    lease = place.ownership._lease
    assert lease is not None
    place.process.store.revoke(lease)


LOSSES = [given_back, out_of_time, lost_and_taken_again]
AGAIN = Result(after=0.0, failed=True)


def creation(place: Place) -> Key:
    place.story.create("app", "web")
    return place.key("app", "web")


def deletion(place: Place) -> Key:
    key = creation(place)
    place.story.settle()
    place.story.delete("app", "web")
    return key


def deletion_of_a_volume(place: Place) -> Key:
    place.story.create("container", "job", mounts=VOLUME)
    place.story.settle()
    key = place.key("volume", "data")
    place.story.delete("container", "job")
    place.story.settle()
    place.process.gateway.volumes.delete(call(), "data")
    return key


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("due", [creation, deletion, deletion_of_a_volume])
def test_a_step_that_was_under_way_changes_nothing(
    place: Place, due: Callable[[Place], Key], loss: Callable[[Place], None]
) -> None:
    key = due(place)
    place.forget()
    assert place.work_on(key, lambda: loss(place)) == AGAIN, "whoever has it now goes on"
    assert place.changes == []


@pytest.mark.parametrize("due", [creation, deletion, deletion_of_a_volume])
def test_without_a_loss_it_does(place: Place, due: Callable[[Place], Key]) -> None:
    key = due(place)
    place.forget()
    place.work_on(key, lambda: None)
    assert len(place.changes) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_what_was_forgotten_is_left_to_the_next_one(place: Place, loss: Callable[[Place], None]) -> None:
    creation(place)
    place.story.settle()
    place.site.cluster.faults.away = True
    place.story.turn()
    place.story.delete("app", "web", force=True)
    place.story.turn()
    place.site.cluster.faults.away = False
    read = place.site.cluster.read_all

    def read_all(*scope: str) -> Any:
        place.site.cluster.read_all = read  # type: ignore[method-assign]  # once is enough
        loss(place)
        return read(*scope)

    place.site.cluster.read_all = read_all  # type: ignore[method-assign]  # the moment at which it is lost
    place.forget()
    with pytest.raises(Fenced):
        place.runner._survey()
    assert place.changes == []
    place.site.cluster.read_all = read  # type: ignore[method-assign]  # as it was
    place.engine._rebalance()


def test_a_lease_that_is_renewed_late_delays_nothing_until_the_next_resync(place: Place) -> None:
    key, clock, queue = creation(place), place.ownership._clock, place.runner.queue
    place.site.running.catch_up()
    place.ownership._clock = lambda: float("inf")
    assert queue.get(0.0) == key
    place.runner._settle(key, place.work_on(key, lambda: None))
    queue.done(key)
    place.ownership._clock = clock
    assert place.changes == []
    assert key in queue._due


def test_a_tenure_ends_for_good(place: Place) -> None:
    cluster = place.runner.cluster.id
    tenure = Tenure(place.ownership, cluster)
    tenure.check()
    tenure.over.set()
    assert place.ownership.valid(cluster)
    with pytest.raises(Fenced):
        tenure.check()
    Tenure(place.ownership, cluster).check()


def test_a_tenure_is_over_when_the_lease_is_no_longer_trusted(place: Place) -> None:
    tenure = Tenure(place.ownership, place.runner.cluster.id)
    place.ownership._clock = lambda: float("inf")
    assert not tenure.over.is_set()
    with pytest.raises(Fenced):
        tenure.check()


def test_adapters_ask_the_tenure_under_which_they_were_opened(place: Place) -> None:
    check = place.runner._adapter._adapter.connection.check
    assert check is not None
    check()
    lost_and_taken_again(place)
    with pytest.raises(Fenced):
        check()
    newer = place.runner._adapter._adapter.connection.check
    assert newer is not None
    newer()


def test_a_cluster_that_is_lost_while_it_is_opened_is_not_begun_with(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, opened = place.engine, place.engine._opened
    place.ownership._lose()
    place.site.running.catch_up()

    def slow(*given: Any) -> Any:
        adapter = opened(*given)
        place.ownership._lose()
        return adapter

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_opened", slow)
        engine._rebalance()
    assert engine.runners() == []
    place.site.running.catch_up()
    engine._rebalance()
    assert len(engine.runners()) == 1


class TestWrites:
    """Nothing is written on behalf of a cluster but under the conditions on which it was decided."""

    @pytest.fixture
    def key(self, place: Place) -> Key:
        key = creation(place)
        place.story.settle()
        return key

    def status(self, place: Place, key: Key) -> tuple[Status, int | None]:
        return place.runner._ledger.status(key, Status())

    @pytest.mark.parametrize("loss", [out_of_time, taken_away])
    def test_a_status_is_not_written_for_somebody_else(
        self, place: Place, key: Key, loss: Callable[[Place], None]
    ) -> None:
        ledger, (status, revision) = place.runner._ledger, self.status(place, key)
        loss(place)
        with pytest.raises(Fenced):
            ledger.write_status(key, msgspec.structs.replace(status, message="late"), revision)
        assert ledger.status(key, Status()) == (status, revision)

    def test_a_status_does_not_overwrite_another(self, place: Place, key: Key) -> None:
        ledger, (status, revision) = place.runner._ledger, self.status(place, key)
        ledger.write_status(key, msgspec.structs.replace(status, message="first"), revision)
        with pytest.raises(RevisionConflict):
            ledger.write_status(key, msgspec.structs.replace(status, message="second"), revision)
        assert ledger.status(key, Status())[0].message == "first"

    def test_a_first_status_does_not_overwrite_another(self, place: Place, key: Key) -> None:
        before = self.status(place, key)
        with pytest.raises(KeyExists):
            place.runner._ledger.write_status(key, Status(), None)
        assert self.status(place, key) == before

    def test_what_is_gone_gets_no_status(self, place: Place, key: Key) -> None:
        _, revision = self.status(place, key)
        store = place.process.store
        place.process.cache.wait_for(store.transact([], [Delete(intent_key(*key))]))
        with pytest.raises(KeyNotFound):
            place.runner._ledger.write_status(key, Status(), revision)

    def test_a_deletion_that_was_changed_meanwhile_is_not_finalised(self, place: Place, key: Key) -> None:
        place.story.delete("app", "web")
        ledger = place.runner._ledger
        entry = ledger.intent(key)
        assert entry is not None
        store = place.process.store
        store.transact([], [Put(entry.key, encode(msgspec.structs.replace(entry.value, labels={"a": "b"})))])
        event = place.process.gateway.views.events(None)[0].event
        with pytest.raises(RevisionConflict):
            ledger.finalise(key, entry, event, tombstone=None)
        assert store.get(entry.key) is not None
        assert store.get(status_key(*key)) is not None

    def test_what_goes_with_it_may_be_more_than_one_transaction_takes(self, place: Place, key: Key) -> None:
        place.story.delete("app", "web")
        ledger, store = place.runner._ledger, place.process.store
        entry = ledger.intent(key)
        assert entry is not None
        names = [f"tombstone/c/app/{n:03}" for n in range(300)]
        for first in range(0, 300, 100):
            place.process.cache.wait_for(store.transact([], [Put(n, b"{}") for n in names[first : first + 100]]))
        event = place.process.gateway.views.events(None)[0].event
        ledger.finalise(key, entry, event, tombstone=None, extra=[Conditional(Delete(name)) for name in names])
        assert store.list("tombstone/c/").records == ()
        assert store.get(entry.key) is None

    @pytest.mark.parametrize("loss", [out_of_time, taken_away])
    def test_nothing_is_finalised_for_somebody_else(
        self, place: Place, key: Key, loss: Callable[[Place], None]
    ) -> None:
        place.story.delete("app", "web")
        ledger = place.runner._ledger
        entry = ledger.intent(key)
        assert entry is not None
        loss(place)
        event = place.process.gateway.views.events(None)[0].event
        with pytest.raises(Fenced):
            ledger.finalise(key, entry, event, tombstone=None)
        with pytest.raises(Fenced):
            ledger.commit([], [Delete(entry.key)])
        with pytest.raises(Fenced):
            ledger.tell_once(event, "it")
        assert place.process.store.get(entry.key) is not None

    def test_the_same_is_told_once(self, place: Place, key: Key) -> None:
        ledger, store = place.runner._ledger, place.process.store
        event = place.process.gateway.views.events(None)[0].event
        ledger.tell_once(event, "it")
        told = store.get(event_key(event.project, "it", 0))
        assert told is not None
        ledger.tell_once(event, "it")
        assert store.get(told.key) == told


class Noted(SimulatedAdapter):
    """It hangs in `apply` while `gate` is closed, and notes who of its kind was opened, and how many calls were
    under way when it was closed. Those that only the gateway opens are none of its business."""

    opened: ClassVar[list[Noted]]
    gate: ClassVar[Event]

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.under_way = 0
        self.closed: list[int] = []
        if connection.check is not None:
            self.opened.append(self)

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        self.under_way += 1
        self.gate.wait()
        self.under_way -= 1
        return super().apply(workload, seen)

    def close(self) -> None:
        self.closed.append(self.under_way)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """One whose only cluster hangs in a call, for longer than a test lasts."""
    Noted.opened, Noted.gate = [], Event()
    monkeypatch.setitem(adapters.kinds(), KIND, Noted)
    monkeypatch.setitem(CLUSTERS, "slow", SimulatedCluster())
    process = Process(
        Settings(store=f"sqlite:///{tmp_path / 'state.db'}", resync=0.5, backend_timeout=300.0, workers=2)
    )
    process.start()
    views = process.gateway.views
    process.gateway.clusters.create(call(), {"name": "here", "kind": KIND, "endpoint": f"{SCHEME}slow"})
    wait_until(lambda: views.named("cluster", "default", "here").status.phase == "Ready", 30, "it is ready")
    process.gateway.apps.create(call(), {"name": "web", "cluster": "here", "image": "web:1"})
    wait_until(lambda: Noted.opened[0].under_way, 30, "it hangs")
    yield process
    Noted.gate.set()
    process.stop()


def test_a_cluster_is_given_back_when_the_last_call_to_it_has_ended(
    gateway: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = gateway.engine
    assert engine is not None
    released: list[tuple[str, list[int]]] = []
    (adapter,) = Noted.opened
    release = engine.ownership.release

    def noted(cluster: str) -> None:
        released.append((cluster, list(adapter.closed)))
        release(cluster)

    monkeypatch.setattr(engine.ownership, "release", noted)
    cluster = engine.runners()[0].cluster.id
    engine._end(cluster)
    engine._end(cluster)
    assert engine.ownership.valid(cluster)
    Noted.gate.set()
    wait_until(lambda: released, 30, "it is given back")
    assert released == [(cluster, [0])]


def test_a_cluster_is_opened_anew_when_the_last_call_to_it_has_ended(gateway: Process) -> None:
    engine = gateway.engine
    assert engine is not None
    engine._end(engine.runners()[0].cluster.id, release=False)
    engine._rebalance()
    (former,) = Noted.opened
    assert former.closed == []
    Noted.gate.set()
    wait_until(lambda: len(Noted.opened) == 2, 30, "it is opened again")
    assert former.closed == [0]
