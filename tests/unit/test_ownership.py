"""Who has which cluster: the fair share as a pure rule, and the lease against a real store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event as StopEvent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import Clock
from tests.real.waiting import wait_until
from zun_coe.engine.ownership import Moves, Ownership, assign, balance, living, reaching
from zun_coe.errors import Fenced, OutcomeUnknown, StoreUnavailable
from zun_coe.model import Cluster, Host, Service
from zun_coe.store import Batch, Condition, Held, Lease, Operation, Page, Put, Record, Store
from zun_coe.store.records import decode, owner_key, service_key, utc_now
from zun_coe.store.sqlite import SqliteStore

TTL = 10.0


class Unreliable(Store):
    """A real store behind a connection that can be cut, or that loses answers."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.away = False
        self.lose_answer = False
        self.leases: list[Lease] = []

    def get(self, key: str) -> Record | None:
        return self._call(lambda: self.inner.get(key))

    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        return self._call(lambda: self.inner.list(prefix, limit=limit, after=after, revision=revision))

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        revision = self._call(lambda: self.inner.transact(conditions, operations))
        if self.lose_answer:
            self.lose_answer = False
            raise OutcomeUnknown("the answer was lost")
        return revision

    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        return self.inner.watch(prefix, since, stop)

    def grant(self, ttl: float) -> Lease:
        lease = self._call(lambda: self.inner.grant(ttl))
        self.leases.append(lease)
        return lease

    def renew(self, lease: Lease) -> None:
        self._call(lambda: self.inner.renew(lease))

    def revoke(self, lease: Lease) -> None:
        self._call(lambda: self.inner.revoke(lease))

    def compact(self, before: int) -> None:
        self.inner.compact(before)

    def close(self) -> None:
        self.inner.close()

    def _call(self, call: Callable[[], object]) -> object:  # type: ignore[type-arg]  # the type of the call's answer is that of its caller
        if self.away:
            raise StoreUnavailable("the store is away")
        return call()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "state.db") as store:
        yield store  # type: ignore[misc]  # entering gives the store itself back


@pytest.fixture
def store(real: SqliteStore) -> Unreliable:
    return Unreliable(real)


@pytest.fixture
def lost() -> list[frozenset[str]]:
    return []


@pytest.fixture
def mine(store: Unreliable, clock: Clock, lost: list[frozenset[str]]) -> Ownership:
    """An engine that has a lease; its thread is not running: tests take its turns."""
    ownership = Ownership(store, "mine", TTL, clock, on_lost=lost.append)
    ownership.beat()
    return ownership


@pytest.fixture
def other(real: SqliteStore, clock: Clock) -> Ownership:
    """Another engine on the same store, whose connection is well."""
    ownership = Ownership(real, "other", TTL, clock)
    ownership.beat()
    return ownership


def test_cluster_belongs_to_one_engine(mine: Ownership, other: Ownership, real: SqliteStore) -> None:
    held = mine.acquire("c")
    assert held == mine.guard("c") == Held(owner_key("c"), held.lease if held else 0)
    assert other.acquire("c") is None
    assert mine.owned() == {"c"}
    assert mine.valid("c")
    assert not other.valid("c")
    record = real.get(owner_key("c"))
    assert record is not None
    assert record.value == b"mine"


def test_acquiring_again_gives_the_same(mine: Ownership) -> None:
    assert mine.acquire("c") == mine.acquire("c") is not None


def test_released_cluster_is_free_for_others(mine: Ownership, other: Ownership) -> None:
    mine.acquire("c")
    mine.release("c")
    mine.release("c")
    assert not mine.valid("c")
    assert mine.owned() == frozenset()
    with pytest.raises(Fenced):
        mine.guard("c")
    assert other.acquire("c") is not None


def test_guard_fences_the_writes_of_the_former_owner(mine: Ownership, other: Ownership, real: SqliteStore) -> None:
    guard = mine.acquire("c")
    assert guard is not None
    real.transact([guard], [Put("status/x", b"1")])
    mine.release("c")
    with pytest.raises(Fenced):
        real.transact([guard], [Put("status/x", b"2")])
    other.acquire("c")
    with pytest.raises(Fenced):
        real.transact([guard], [Put("status/x", b"2")])


def test_lease_is_trusted_for_less_than_its_time_only(mine: Ownership, clock: Clock) -> None:
    mine.acquire("c")
    clock.now += TTL * 0.79
    assert mine.valid("c")
    clock.now += TTL * 0.02
    assert not mine.valid("c")
    assert mine.owned() == frozenset()
    assert mine.acquire("d") is None
    with pytest.raises(Fenced):
        mine.guard("c")


def test_renewing_keeps_everything(mine: Ownership, clock: Clock, lost: list[frozenset[str]]) -> None:
    mine.acquire("c")
    for _ in range(10):
        clock.now += mine.beat()
        assert mine.valid("c")
    assert lost == []


def test_store_that_is_away_for_a_moment_loses_nothing(
    mine: Ownership, store: Unreliable, clock: Clock, lost: list[frozenset[str]]
) -> None:
    mine.acquire("c")
    store.away = True
    assert mine.beat() < TTL / 3
    clock.now += TTL / 2
    assert mine.valid("c")
    store.away = False
    mine.beat()
    clock.now += TTL / 2
    assert mine.valid("c")
    assert lost == []


def test_an_answer_that_takes_long_leaves_time_for_the_next_one(
    mine: Ownership, store: Unreliable, clock: Clock, monkeypatch: pytest.MonkeyPatch, lost: list[frozenset[str]]
) -> None:
    """As where one member of an etcd hangs, and the next one is asked after its deadline."""
    mine.acquire("c")
    clock.now += TTL / 3
    with monkeypatch.context() as patch:
        patch.setattr(store, "renew", lambda lease: setattr(clock, "now", clock.now + TTL / 2))
        pause = mine.beat()
    clock.now += pause
    assert mine.valid("c")
    assert lost == []


def test_a_turn_that_comes_late_loses_nothing_that_is_still_there(
    mine: Ownership, clock: Clock, lost: list[frozenset[str]]
) -> None:
    mine.acquire("c")
    clock.now += TTL * 0.9
    assert not mine.valid("c")
    mine.beat()
    assert mine.valid("c")
    assert lost == []


def test_store_that_stays_away_costs_all_clusters_once(
    mine: Ownership, store: Unreliable, clock: Clock, lost: list[frozenset[str]]
) -> None:
    mine.acquire("c")
    mine.acquire("d")
    store.away = True
    for _ in range(3):
        clock.now += TTL
        mine.beat()
    assert lost == [{"c", "d"}]
    assert mine.acquire("e") is None


def test_new_lease_is_taken_and_the_old_one_keeps_nobody_out(
    mine: Ownership, other: Ownership, store: Unreliable, clock: Clock
) -> None:
    """The real store still holds the old lease, as one that was frozen would."""
    mine.acquire("c")
    store.away = True
    clock.now += TTL
    mine.beat()
    store.away = False
    mine.beat()
    other.beat()
    assert len(store.leases) == 2
    assert other.acquire("c") is not None
    assert mine.acquire("d") is not None
    assert mine.guard("d").lease == store.leases[1].id


def test_lease_that_the_store_dropped_is_noticed_at_the_next_turn(
    mine: Ownership, real: SqliteStore, store: Unreliable, lost: list[frozenset[str]]
) -> None:
    mine.acquire("c")
    real.revoke(store.leases[0])
    mine.beat()
    assert lost == [{"c"}]
    mine.beat()
    assert mine.acquire("c") is not None


def test_listener_that_fails_changes_nothing(real: SqliteStore, clock: Clock) -> None:
    def fail(clusters: frozenset[str]) -> None:
        raise RuntimeError("a bug elsewhere")

    ownership = Ownership(real, "mine", TTL, clock, on_lost=fail)
    ownership.beat()
    clock.now += TTL
    ownership.beat()
    assert ownership.acquire("c") is not None


def test_lost_answer_of_acquire_is_cleared_up(mine: Ownership, other: Ownership, store: Unreliable) -> None:
    store.lose_answer = True
    assert mine.acquire("c") is None
    assert mine.owned() == frozenset()
    assert mine.acquire("c") is not None  # taken up, since the key is there under the very lease
    mine.beat()
    assert mine.valid("c")
    assert other.acquire("c") is None


def test_key_whose_answer_was_lost_is_given_back_when_nobody_asks_again(
    mine: Ownership, other: Ownership, store: Unreliable
) -> None:
    store.lose_answer = True
    assert mine.acquire("c") is None
    mine.beat()
    assert other.acquire("c") is not None


def test_release_without_the_store_is_made_good_later(mine: Ownership, other: Ownership, store: Unreliable) -> None:
    mine.acquire("c")
    store.away = True
    mine.release("c")
    assert not mine.valid("c")
    assert other.acquire("c") is None
    store.away = False
    mine.beat()
    assert other.acquire("c") is not None


def test_late_release_does_not_take_back_what_was_acquired_again(mine: Ownership, store: Unreliable) -> None:
    mine.acquire("c")
    store.away = True
    mine.release("c")
    store.away = False
    assert mine.acquire("c") is not None
    mine.beat()
    assert mine.acquire("c") == mine.guard("c")
    store.inner.transact([mine.guard("c")], [Put("status/x", b"1")])


def test_process_tells_that_it_is_there(mine: Ownership, real: SqliteStore) -> None:
    mine.acquire("c")
    mine.beat()
    record = real.get(service_key("mine"))
    assert record is not None
    service = decode(record.value, Service)
    assert (service.id, service.role, service.clusters) == ("mine", "serve", ("c",))
    before = service.heartbeat_at
    mine.beat()
    record = real.get(service_key("mine"))
    assert record is not None
    assert decode(record.value, Service).heartbeat_at > before
    mine.stop()
    assert real.get(service_key("mine")) is None


def test_stopping_gives_everything_back_at_once(mine: Ownership, other: Ownership, lost: list[frozenset[str]]) -> None:
    mine.acquire("c")
    mine.stop()
    mine.stop()
    assert lost == []
    assert mine.acquire("c") is None
    assert other.acquire("c") is not None


def test_stopping_without_the_store_raises_nothing(mine: Ownership, store: Unreliable) -> None:
    mine.acquire("c")
    store.away = True
    mine.stop()
    assert mine.owned() == frozenset()


def test_two_engines_at_once_never_have_the_same_cluster(mine: Ownership, other: Ownership) -> None:
    taken: list[tuple[str, str]] = []
    start = threading.Barrier(2)

    def take(ownership: Ownership) -> None:
        start.wait()
        for n in range(40):
            if ownership.acquire(f"c{n}"):
                taken.append((f"c{n}", ownership.service_id))

    threads = [threading.Thread(target=take, args=(o,)) for o in (mine, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(c for c, _ in taken) == Counter(f"c{n}" for n in range(40))
    assert mine.owned() | other.owned() == {f"c{n}" for n in range(40)}
    assert not mine.owned() & other.owned()


def test_thread_starts_without_the_store_and_takes_up_when_it_comes(store: Unreliable) -> None:
    store.away = True
    ownership = Ownership(store, "mine", 5.0)
    ownership.start()
    assert ownership.acquire("c") is None
    store.away = False
    wait_until(lambda: ownership.acquire("c"), 10, "the lease did not come")
    ownership.stop()
    assert store.inner.get(owner_key("c")) is None


def test_thread_outlives_what_nobody_foresaw(store: Unreliable, monkeypatch: pytest.MonkeyPatch) -> None:
    ownership = Ownership(store, "mine", 5.0)
    turns: list[int] = []
    original = Ownership.beat

    def beat(self: Ownership) -> float:
        turns.append(1)
        if len(turns) == 2:
            raise ValueError("surprise")
        return original(self) if len(turns) > 1 else 0.0

    monkeypatch.setattr(Ownership, "beat", beat)
    ownership.start()
    wait_until(lambda: ownership.acquire("c"), 10, "the lease did not come")
    ownership.stop()


def service(id: str, role: str, host: str = "h") -> Service:
    return Service(id=id, role=role, host=host, pid=1, version="1", started_at=utc_now(), heartbeat_at=utc_now())


def test_living_engines_are_those_that_run_clusters() -> None:
    assert living([service("a", "api"), service("b", "engine"), service("c", "serve")]) == {"b", "c"}


ENGINES = st.sets(st.sampled_from("ABCDE"), min_size=1)
NAMES = st.integers(0, 30).map("c{:02}".format)
OWNERS = st.dictionaries(NAMES, st.none() | st.sampled_from("ABCDEXY"))
ONLY = st.dictionaries(NAMES, st.sampled_from(["A", "AB", "CD", "E", "XY", ""]).map(frozenset))


def test_new_engine_gets_its_share() -> None:
    owners: dict[str, str | None] = {f"c{n}": "A" for n in range(5)}
    assert balance("A", owners, ["A", "B"]) == Moves(release=("c3", "c4"))
    assert balance("B", owners, ["A", "B"]) == Moves()
    freed = owners | {"c3": None, "c4": None}
    assert balance("B", freed, ["A", "B"]) == Moves(acquire=("c3", "c4"))


def test_clusters_of_a_dead_engine_are_shared_out() -> None:
    owners: dict[str, str | None] = {"c0": "A", "c1": "dead", "c2": "B", "c3": "dead"}
    assert balance("A", owners, ["A", "B"]) == Moves(acquire=("c1",))
    assert balance("B", owners, ["A", "B"]) == Moves(acquire=("c3",))


def test_nothing_to_share_is_fine() -> None:
    assert balance("A", {}, []) == Moves()
    assert assign({"c": None}, []) == {}


@given(OWNERS, ENGINES)
def test_shares_are_even_and_whole(owners: dict[str, str | None], engines: set[str]) -> None:
    assigned = assign(owners, engines)
    assert assigned.keys() == owners.keys()
    counts = [sum(owner == e for owner in assigned.values()) for e in engines]
    assert max(counts) - min(counts) <= 1


@given(OWNERS, ENGINES)
def test_as_little_as_possible_moves(owners: dict[str, str | None], engines: set[str]) -> None:
    kept = sum(owners[c] == e for c, e in assign(owners, engines).items())
    each, over = divmod(len(owners), len(engines))
    held = [sum(owner == e for owner in owners.values()) for e in engines]
    # The best there is: everybody keeps up to the even share, and as many as there is room for keep one more.
    best = sum(min(h, each) for h in held) + min(over, sum(h > each for h in held))
    assert kept == best


@given(OWNERS, ENGINES)
def test_engines_that_act_alone_come_to_an_even_share_and_stay(
    owners: dict[str, str | None], engines: set[str]
) -> None:
    for _ in range(2):
        moves = {e: balance(e, owners, engines) for e in sorted(engines)}
        assert not {c for m in moves.values() for c in m.acquire} & {c for m in moves.values() for c in m.release}
        for engine, move in moves.items():
            owners |= dict.fromkeys(move.release) | dict.fromkeys(move.acquire, engine)
    assert all(balance(e, owners, engines) == Moves() for e in engines)
    assert set(owners.values()) <= engines


def registered(id: str, endpoint: str, machine: str | None = "m") -> Cluster:
    hosts = (Host(name="far", endpoint="tcp://10.0.0.2:2376"), Host(name="near", endpoint=endpoint))
    now = utc_now()
    fields = {"project": "p", "name": id, "kind": "native", "created_at": now, "updated_at": now}
    return Cluster(id=id, hosts=hosts, machine=machine, **fields)


def test_local_sockets_are_reached_by_the_engines_on_their_machine() -> None:
    clusters = [
        registered("socket", "unix:///var/run/docker.sock"),
        registered("address", "tcp://127.0.0.1:2375"),
        registered("older", "unix:///var/run/docker.sock", None),
        registered("nowhere", "unix:///var/run/docker.sock", "n"),
    ]
    services = [
        service("a", "engine", "m"),
        service("b", "api", "m"),
        service("c", "serve", "m"),
        service("d", "engine"),
    ]
    assert reaching(clusters, services) == {"socket": {"a", "c"}, "nowhere": frozenset()}


def test_cluster_goes_to_who_can_reach_it_and_to_anybody_where_nobody_can() -> None:
    owners: dict[str, str | None] = {"c0": None, "c1": None, "c2": None}
    only = {"c0": {"B"}, "c1": {"B"}}
    assert balance("A", owners, ["A", "B"], only) == Moves(acquire=("c2",))
    assert balance("B", owners, ["A", "B"], only) == Moves(acquire=("c0", "c1"))
    assert balance("A", owners, ["A"], only) == Moves(acquire=("c0", "c1", "c2"))


def test_cluster_is_given_to_who_can_reach_it_when_that_one_comes() -> None:
    owners: dict[str, str | None] = {"c0": "A", "c1": "A"}
    only = {"c0": {"B"}}
    assert balance("A", owners, ["A", "B"], only) == Moves(release=("c0",))
    assert balance("B", owners | {"c0": None}, ["A", "B"], only) == Moves(acquire=("c0",))


@given(OWNERS, ENGINES, ONLY)
def test_only_who_can_reach_a_cluster_has_it_if_there_is_one(
    owners: dict[str, str | None], engines: set[str], only: dict[str, frozenset[str]]
) -> None:
    assigned = assign(owners, engines, only)
    assert assigned.keys() == owners.keys()
    for cluster, engine in assigned.items():
        able = engines & only.get(cluster, frozenset()) or engines
        assert engine in able
        fewest = min(list(assigned.values()).count(e) for e in able)
        free = all(engines & only.get(c, frozenset()) == able for c, e in assigned.items() if e == engine)
        assert not free or list(assigned.values()).count(engine) <= fewest + 1


@given(OWNERS, ENGINES, ONLY)
def test_engines_that_act_alone_come_to_rest_with_some_out_of_reach(
    owners: dict[str, str | None], engines: set[str], only: dict[str, frozenset[str]]
) -> None:
    for _ in range(2):
        moves = {e: balance(e, owners, engines, only) for e in sorted(engines)}
        assert not {c for m in moves.values() for c in m.acquire} & {c for m in moves.values() for c in m.release}
        for engine, move in moves.items():
            owners |= dict.fromkeys(move.release) | dict.fromkeys(move.acquire, engine)
    assert all(balance(e, owners, engines, only) == Moves() for e in engines)
    assert set(owners.values()) <= engines
