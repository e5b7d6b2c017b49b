"""The etcd store, on real servers that are killed, frozen and cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import msgspec
import pytest

from tests.contract.store import StoreContract, at_once, now, watching
from tests.real.certificates import Authority
from tests.real.etcd import Etcd, Member, Wire
from tests.real.waiting import wait_until
from zun_coe.errors import Compacted, OutcomeUnknown, StoreError, StoreUnavailable
from zun_coe.store import Delete, Missing, Put, Store, open_store
from zun_coe.store.cache import Cache
from zun_coe.store.etcd import EtcdStore
from zun_coe.store.etcd.client import fault

_names = count()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One server for all tests that do it no harm; each has a namespace of its own."""
    started = Etcd(tmp_path_factory.mktemp("etcd"))
    yield started
    started.close()


@pytest.fixture
def store(etcd: Etcd) -> Iterator[Store]:
    with open_store(etcd.url(f"test-{next(_names)}")) as opened:
        yield opened


class TestContract(StoreContract):
    """Everything that every store does."""


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Etcd]:
    """A server of the test's own."""
    started = Etcd(tmp_path)
    yield started
    started.close()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Etcd]:
    """Three servers of the test's own."""
    started = Etcd(tmp_path, 3)
    yield started
    started.close()


@pytest.fixture
def cable(etcd: Etcd) -> Iterator[Wire]:
    laid = Wire(etcd.endpoints[0])
    yield laid
    laid.close()


@pytest.fixture
def cabled(cable: Wire) -> Iterator[Store]:
    """A store at the other end of `cable`."""
    with EtcdStore([cable.endpoint], namespace=f"test-{next(_names)}/") as opened:
        yield opened


def written(store: Store, key: str, value: bytes) -> int:
    """The revision at which a key got a value, after as many tries as it takes."""

    def attempt() -> int:
        try:
            return store.transact([], [Put(key, value)])
        except StoreError:
            return 0

    return wait_until(attempt, 30, f"{key} is written")


def leader(etcd: Etcd) -> Member:
    return wait_until(lambda: next((one for one in etcd.members if one.running and one.leads), None), 20)


# Namespaces


def test_namespaces_do_not_see_each_other(etcd: Etcd) -> None:
    with open_store(etcd.url("ns")) as one, open_store(etcd.url("ns0")) as other, open_store(etcd.url("")) as plain:
        since = one.create("a", b"1")
        other.create("a", b"2")
        plain.create("a", b"3")
        last = one.create("b", b"4")
        assert [record.value for record in one.list("").records] == [b"1", b"4"]
        assert [record.value for record in other.list("").records] == [b"2"]
        with watching(one, "", since) as watch:
            watch.until(last)
        assert watch.changes == [("b", b"4")]


@pytest.mark.parametrize(
    "url", ["etcd://", "etcd://h:1?ca=/x", "etcds://h:1?what=1", "etcd://h:x", "etcd://user@h:1", "redis://h"]
)
def test_urls_that_name_no_etcd(url: str) -> None:
    with pytest.raises(ValueError, match=r"etcd|port"):
        open_store(url)


# A server that is away


def test_a_server_that_is_not_there(etcd: Etcd, tmp_path: Path) -> None:
    with EtcdStore(["127.0.0.1:1"]) as store:
        for call in (lambda: store.get("a"), lambda: store.create("a", b""), lambda: store.grant(5)):
            with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
                call()
        with pytest.raises(StoreUnavailable):
            list(store.watch("", 1, threading.Event()))


def test_another_endpoint_is_taken(etcd: Etcd) -> None:
    with EtcdStore(["127.0.0.1:1", *etcd.endpoints], namespace=f"test-{next(_names)}/") as store:
        revision = store.create("a", b"1")
        assert store.get("a").value == b"1"
        with watching(store, "", revision - 1) as watch:
            watch.until(revision)
        assert watch.changes == [("a", b"1")]


def test_a_server_that_is_killed_and_comes_back(single: Etcd) -> None:
    with open_store(single.url("")) as store:
        since = store.create("a", b"1")
        with watching(store, "", since) as watch:
            wait_until(lambda: watch.heard, 10)
            single.members[0].kill()
            with pytest.raises(StoreUnavailable):
                store.get("a")
            with pytest.raises(StoreUnavailable):
                store.update("a", b"2", since)
            wait_until(lambda: watch.error, 10, "The watch tells that the store is away")
        assert isinstance(watch.error, StoreUnavailable)
        single.members[0].start()
        single.ready()
        assert store.get("a").value == b"1"
        with watching(store, "", watch.position) as again:
            again.until(written(store, "b", b"2"))
        assert watch.changes + again.changes == [("b", b"2")]


def test_a_server_that_is_frozen(single: Etcd) -> None:
    with open_store(single.url("")) as store:
        revision = store.create("a", b"1")
        with watching(store, "", revision) as watch:
            wait_until(lambda: watch.heard, 10)
            single.members[0].freeze()
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.get("a")
            with pytest.raises(OutcomeUnknown):
                store.update("a", b"2", revision)
            assert time.monotonic() - began < 15
            wait_until(lambda: watch.error, 10, "The watch does not hang")
        single.members[0].thaw()
        single.ready()
        # Whether the write happened is for etcd to say: the value tells, and it is one of the two.
        assert store.get("a").value in (b"1", b"2")


def test_the_leader_of_three_is_killed(three: Etcd) -> None:
    with open_store(three.url("")) as store:
        since = store.create("n", b"0")
        # while another is elected a watch may be told that the store is away
        with watching(store, "n", since, patient=True) as watch:
            written(store, "n", b"1")
            gone = leader(three)
            gone.kill()
            written(store, "n", b"2")
            written(store, "n", b"3")
            gone.start()
            three.ready()
            watch.until(written(store, "n", b"4"))
        values = [value for _, value in watch.changes]
        assert sorted(set(values)) == [b"1", b"2", b"3", b"4"]
        assert values == sorted(values)  # a write whose answer was lost may be there twice
        assert [batch.revision for batch in watch.batches] == sorted({batch.revision for batch in watch.batches})


def value_of(store: Store, key: str) -> bytes:
    """What is at a key, after as many tries as it takes."""

    def attempt() -> bytes | None:
        with suppress(StoreUnavailable):
            return store.get(key).value
        return None

    return wait_until(attempt, 20)


def test_one_of_three_is_frozen(three: Etcd) -> None:
    with open_store(three.url("")) as store:
        since = store.create("a", b"1")
        with watching(store, "a", since, patient=True) as watch:
            wait_until(lambda: watch.heard, 10)
            three.members[0].freeze()  # the one that is asked first, and it may be the one that leads
            assert value_of(store, "a") == b"1"
            watch.until(written(store, "a", b"2"))
        assert watch.changes == [("a", b"2")]
        three.members[0].thaw()


def test_without_a_majority(three: Etcd) -> None:
    with open_store(three.url("")) as store:
        revision = store.create("a", b"1")
        with watching(store, "", revision) as watch:
            wait_until(lambda: watch.heard, 10)
            for member in three.members[:2]:
                member.kill()
            with pytest.raises((StoreUnavailable, OutcomeUnknown)):
                store.update("a", b"2", revision)
            with pytest.raises(StoreUnavailable):
                store.get("a")
            wait_until(lambda: watch.error, 20, "The watch tells that the store is away")
        for member in three.members[:2]:
            member.start()
        three.ready()
        assert store.get("a").value in (b"1", b"2")


# Answers that are lost


def test_an_answer_that_is_lost(cable: Wire, cabled: Store, etcd: Etcd) -> None:
    cabled.create("warm", b"")
    cable.swallow.set()
    with pytest.raises(OutcomeUnknown):
        cabled.transact([Missing("app/1")], [Put("app/1", b'{"write": "w-1"}')])
    with pytest.raises(StoreUnavailable):
        cabled.get("app/1")
    cable.swallow.clear()
    # It did happen, and once: the id of the write inside the value says so.
    found = cabled.get("app/1")
    assert found.value == b'{"write": "w-1"}'
    assert found.revision == found.created


def test_a_write_that_was_never_sent_is_known_to_be_none(cable: Wire, cabled: Store) -> None:
    cable.close()
    with pytest.raises(StoreUnavailable):
        cabled.create("a", b"")


def test_a_write_is_not_sent_twice(cable: Wire, etcd: Etcd) -> None:
    cable.swallow.set()
    namespace = f"test-{next(_names)}"
    with (
        EtcdStore([cable.endpoint, *etcd.endpoints], namespace=f"{namespace}/") as store,
        open_store(etcd.url(namespace)) as direct,
    ):
        before = now(direct)
        with pytest.raises(OutcomeUnknown):
            store.transact([], [Put("a", b"1")])
        assert now(direct) == before + 1
        assert store.get("a").value == b"1"


def test_a_watch_goes_on_after_every_cut(cable: Wire, cabled: Store, etcd: Etcd) -> None:
    since = cabled.create("n", b"")
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.05):
            cable.cut()

    revisions: list[int] = []
    with (
        EtcdStore(etcd.endpoints, namespace=cabled._namespace.decode()) as direct,  # type: ignore[attr-defined]
        watching(cabled, "", since, patient=True) as watch,  # it may be cut again and again until it gives up
    ):
        cutting = threading.Thread(target=cut)
        cutting.start()
        try:
            for n in range(200):
                revisions.append(direct.transact([], [Put("n", b"%d" % n), Put(f"k/{n}", b"")]))
        finally:
            done.set()
            cutting.join()
        watch.until(revisions[-1])
    assert [batch.revision for batch in watch.batches] == revisions
    assert all(len(batch.changes) == 2 for batch in watch.batches)


@pytest.mark.parametrize("between", [0, 1, 5])
def test_compaction_while_cut_off(store: Store, between: int) -> None:
    since = store.create("a", b"1")
    for n in range(between):
        store.create(f"k/{n}", b"")
    last = store.transact([], [Put("a", b"2"), Put("b", b"1")])
    store.compact(last)
    with watching(store, "", since) as watch:
        wait_until(lambda: watch.error, 10, "The watch tells of the compaction")
    assert isinstance(watch.error, Compacted)
    assert watch.error.oldest == last


# The copy of a process


def test_a_copy_outlives_its_server(single: Etcd) -> None:
    """Killed, changed by another while this process was cut off, compacted: the copy is true again."""
    with (
        closing(Wire(single.endpoints[0])) as wired,
        EtcdStore([wired.endpoint], namespace="copy/") as store,
        EtcdStore(single.endpoints, namespace="copy/") as direct,
        closing(Cache(store)) as cache,
    ):
        cache.start()
        cache.wait_for(store.transact([], [Put("meta/a", b"1"), Put("meta/b", b"1")]))
        single.members[0].kill()
        wait_until(lambda: cache.age > 2, 10, "The copy grows old")
        assert cache.get("meta/a").value == "1"
        wired.swallow.set()
        single.members[0].start()
        single.ready()
        last = direct.transact([], [Put("meta/a", b"2"), Delete("meta/b")])
        direct.compact(direct.transact([], [Put("meta/c", b"1")]))
        wired.swallow.clear()
        cache.wait_for(last + 1, timeout=15)
        assert {entry.key: entry.value for entry in cache.list("")} == {"meta/a": "2", "meta/c": "1"}
        wait_until(lambda: cache.age < 2, 10, "The copy is young again")


# TLS


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    authority = Authority()
    ca, cert, key = authority.save(tmp_path, "gateway", "127.0.0.1")
    with closing(Etcd(tmp_path, tls=authority)) as etcd:
        url = f"etcds://{etcd.endpoints[0]}/tls?ca={ca}"
        with open_store(f"{url}&cert={cert}&key={key}") as store:
            since = store.create("a", b"1")
            with watching(store, "", since) as watch:
                watch.until(store.update("a", b"2", since))
        with open_store(url) as nobody, pytest.raises(StoreUnavailable):
            nobody.get("a")
        with open_store(f"etcds://{etcd.endpoints[0]}/tls") as distrustful, pytest.raises(StoreUnavailable):
            distrustful.get("a")


# Users


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """A server that wants a user and a password; there is one who may use the namespace `zun`."""
    started = Etcd(tmp_path_factory.mktemp("guarded"))
    started.authenticate("zun", "gate@way", "p:a/s s")
    yield started
    started.close()


def url_of(etcd: Etcd, user: str, namespace: str = "zun") -> str:
    return f"etcd://{user}@{etcd.endpoints[0]}/{namespace}"


WHO = "gate%40way:p%3Aa%2Fs%20s"


class TestContractWithUsers(StoreContract):
    """Everything that every store does, with a user who may do nothing outside of the namespace."""

    @pytest.fixture
    def store(self, guarded: Etcd) -> Iterator[Store]:
        with open_store(url_of(guarded, WHO, f"zun/{next(_names)}")) as opened:
            yield opened


def test_a_token_that_is_refused_is_replaced(tmp_path: Path) -> None:
    """A member that restarts knows none of the tokens that it gave."""
    with closing(Etcd(tmp_path)) as etcd:
        etcd.authenticate("zun", "gate@way", "p:a/s s")
        with (
            open_store(url_of(etcd, WHO)) as store,
            watching(store, "", store.create("a", b"1"), patient=True) as watch,
        ):
            for member in etcd.members:
                member.kill()
                member.start()
            etcd.ready()
            wait_until(lambda: _there(store), 20, "etcd answers again")
            watch.until(store.create("b", b"2"))
            assert store.get("a") is not None


def _there(store: Store) -> bool:
    with suppress(StoreUnavailable):
        return store.get("a") is not None
    return False


def test_a_token_grows_old(guarded: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EtcdStore.from_url(url_of(guarded, WHO))
    login = store._client._login
    assert login is not None
    store.get("a")
    first = login._token
    store.get("a")
    assert login._token == first
    monkeypatch.setattr(login, "clock", lambda: time.monotonic() + 1000)
    store.get("a")
    assert login._token not in (first, None)
    store.close()


def test_the_password_may_be_in_a_file(guarded: Etcd, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p:a/s s\n")
    with open_store(f"{url_of(guarded, 'gate%40way')}?password_file={file}") as store:
        assert store.list("").revision > 0


@pytest.mark.parametrize(
    ("user", "told"),
    [("gate%40way:wrong", "name or password is wrong"), ("nobody:x", "name or password is wrong")],
)
def test_a_wrong_password_is_told(guarded: Etcd, user: str, told: str) -> None:
    with open_store(url_of(guarded, user)) as store:
        for call in (lambda: store.get("a"), lambda: store.create("a", b""), lambda: next(store.watch("", 1, STOP))):
            with pytest.raises(StoreUnavailable, match=told):
                call()


STOP = threading.Event()


def test_no_user_is_told(guarded: Etcd) -> None:
    url = url_of(guarded, WHO).replace(f"{WHO}@", "")
    with open_store(url) as store, pytest.raises(StoreUnavailable, match="etcd://USER:PASSWORD@"):
        store.get("a")


def test_what_is_of_others_is_denied(guarded: Etcd) -> None:
    with (
        open_store(url_of(guarded, WHO, "others")) as store,
        pytest.raises(StoreUnavailable, match="permission denied"),
    ):
        store.get("a")


def test_a_user_where_none_is_needed(etcd: Etcd) -> None:
    with open_store(url_of(etcd, WHO, "needless")) as store:
        assert store.create("a", b"") > 0


@pytest.mark.parametrize("url", ["etcd://ann:hunter2@", "etcd://ann:hunter2@h:1?ca=x", "other://ann:hunter2@h:1"])
def test_no_error_has_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"no etcd|takes no|no store") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


# What is large


def test_more_than_the_gateway_carries_at_once(store: Store) -> None:
    """The gateway takes no message of more than 4 MiB from its own server."""
    since = now(store)
    revisions = [store.transact([], [Put(f"k/{n}", bytes(1_000_000))]) for n in range(8)]
    assert [len(record.value) for record in store.list("").records] == [1_000_000] * 8
    with watching(store, "", since) as watch:
        watch.until(revisions[-1])
    assert [batch.revision for batch in watch.batches] == revisions


def test_many_clients_at_once(store: Store) -> None:
    answers = at_once(lambda n: [store.create(f"k/{n}/{i}", b"") for i in range(20)], 8)
    assert all(isinstance(answer, list) for answer in answers)
    assert len(store.list("k/").records) == 160


# Errors by their code


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (14, "etcdserver: no leader", StoreUnavailable),
        (14, "etcdserver: request timed out", OutcomeUnknown),
        (14, "transport is closing", OutcomeUnknown),
        (8, "etcdserver: mvcc: database space exceeded", StoreUnavailable),
        (8, "grpc: received message larger than max (5 vs. 4)", StoreUnavailable),
        (11, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (16, "etcdserver: invalid auth token", StoreUnavailable),
        (7, "etcdserver: permission denied", StoreUnavailable),
        (2, "context deadline exceeded", OutcomeUnknown),
    ],
)
def test_what_an_error_means(code: int, message: str, error: type[StoreError]) -> None:
    plain = {"error": message, "message": message, "code": code}
    of_stream = {"error": {"grpc_code": code, "http_code": 503, "message": message, "http_status": "Unavailable"}}
    for body in plain, of_stream:
        told = fault(msgspec.json.encode(body))
        assert isinstance(told, error)
        assert message in str(told)


def test_the_environment_is_not_asked(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    with open_store(etcd.url("proxy")) as store:
        assert store.create("a", b"") > 0
