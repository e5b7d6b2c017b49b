"""Nothing is deleted while somebody begins to refer to it, whichever of the two is quicker, on either store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet

from tests.contract.world import call
from tests.real.etcd import Etcd
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, KIND, SCHEME, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.config import Settings
from zun_coe.errors import RequestError
from zun_coe.process import Process
from zun_coe.store import Condition, Operation
from zun_coe.store.records import encode, revision_key, status_key
from zun_coe.store.references import volume_uses

_names = count(1)
Act = Callable[[], object]
MOUNT = [{"path": "/data", "volume": {"name": "data"}}]


class Held:
    """Lets one thread's next transaction wait, after everything that it depends on was looked at."""

    def __init__(self, process: Process) -> None:
        self.there, self.go = threading.Event(), threading.Event()
        self._held: int | None = None
        self._transact = process.store.transact
        process.store.transact = self.transact  # type: ignore[method-assign]  # for the length of a test

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        if threading.get_ident() == self._held:
            self._held = None
            self.there.set()
            assert self.go.wait(30)
        return self._transact(conditions, operations)

    def during(self, first: Act, second: Act) -> tuple[bool, bool]:
        """Whether each was done, where the second ran between the first one's look and its write."""
        self.there.clear()
        self.go.clear()

        def held() -> bool:
            self._held = threading.get_ident()
            try:
                return _done(first)
            finally:
                self.there.set()

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(held)
            assert self.there.wait(30)
            after = _done(second)
            self.go.set()
            return running.result(60), after


def _done(act: Act) -> bool:
    try:
        act()
    except RequestError:
        return False
    return True


@dataclass
class World:
    """A process with a cluster that runs nothing by itself, since there is no engine once it was described."""

    process: Process
    held: Held

    def app(self, name: str, **fields: Any) -> None:
        body = {"name": name, "cluster": "here", "image": "web:1", "replicas": 1} | fields
        self.process.gateway.apps.create(call(), body)

    def patch(self, name: str, **fields: Any) -> None:
        self.process.gateway.apps.patch(call(), name, fields)

    def there(self, noun: str, name: str) -> bool:
        """Whether it is there, and not on its way out."""
        found = self.process.gateway.views.named(noun, "default", name)
        return found is not None and getattr(found.intent, "deletion", None) is None

    def secret(self, name: str) -> None:
        self.process.gateway.secrets.create(
            call(), {"name": name, "data": {"key": "v", "username": "u", "password": "p"}}
        )


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    started = Etcd(tmp_path_factory.mktemp("etcd"))
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "etcd"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if request.param == "etcd":
        url = request.getfixturevalue("etcd").url(f"references-{next(_names)}")
    settings = Settings(store=url, encryption_keys=Fernet.generate_key().decode(), machine="m")
    monkeypatch.setitem(adapters.kinds(), KIND, SimulatedAdapter)
    monkeypatch.setitem(CLUSTERS, "here", SimulatedCluster())
    process = Process(settings)
    process.start()
    process.gateway.clusters.create(call(), {"name": "here", "kind": KIND, "endpoint": f"{SCHEME}here"})
    views = process.gateway.views
    wait_until(lambda: views.named("cluster", "default", "here").status.phase == "Ready", 30, "it is ready")
    assert process.engine is not None
    process.engine.stop()
    yield World(process, Held(process))
    process.stop()


def deletions(world: World) -> dict[str, Act]:
    gateway = world.process.gateway
    return {
        "secret": lambda: gateway.secrets.delete(call(), "data"),
        "volume": lambda: gateway.volumes.delete(call(), "data"),
        "cluster": lambda: gateway.clusters.delete(call(), "here"),
    }


def references(world: World) -> dict[tuple[str, str], Act]:
    """What makes something refer to the thing, by its noun and how."""
    return {
        ("secret", "environment"): lambda: world.app("new", env_secrets={"A": "data/key"}),
        ("secret", "login"): lambda: world.app("new", image_auth="data"),
        ("secret", "patch"): lambda: world.patch("old", env_secrets={"A": "data/key"}),
        ("secret", "rollback"): lambda: world.process.gateway.apps.rollback(call(), "old", 1),
        ("volume", "mount"): lambda: world.app("new", mounts=MOUNT),
        ("volume", "sidecar"): lambda: world.app("new", sidecars=[{"name": "s", "image": "s:1", "mounts": MOUNT}]),
        ("volume", "patch"): lambda: world.patch("old", mounts=MOUNT),
        ("volume", "rollback"): lambda: world.process.gateway.apps.rollback(call(), "old", 1),
        ("cluster", "app"): lambda: world.app("new"),
    }


def prepared(world: World, noun: str) -> None:
    """The thing is there, and an app whose first revision referred to it. Nothing does now."""
    if noun == "secret":
        world.secret("data")
    if noun != "cluster":
        first = {"env_secrets": {"A": "data/key"}} if noun == "secret" else {"mounts": MOUNT}
        world.app("old", **first)
        world.patch("old", **{name: None for name in first})


CASES = [
    ("secret", "environment"),
    ("secret", "login"),
    ("secret", "patch"),
    ("secret", "rollback"),
    ("volume", "mount"),
    ("volume", "sidecar"),
    ("volume", "patch"),
    ("volume", "rollback"),
    ("cluster", "app"),
]


@pytest.mark.parametrize("case", CASES, ids="-".join)
@pytest.mark.parametrize("order", ["deletion first", "reference first"])
def test_of_a_deletion_and_a_new_reference_one_is_refused(world: World, case: tuple[str, str], order: str) -> None:
    noun = case[0]
    prepared(world, noun)
    delete, refer = deletions(world)[noun], references(world)[case]
    if order == "deletion first":
        deleted, referred = world.held.during(delete, refer)
    else:
        referred, deleted = world.held.during(refer, delete)
    assert (deleted, referred) == ((False, True) if order == "deletion first" else (True, False))
    assert world.there(noun, "here" if noun == "cluster" else "data") is referred


def test_the_condition_fails_once_somebody_begins_to_mount_a_volume(world: World) -> None:
    """The engine, which deletes volumes with their last app, writes on the same condition as the API."""
    world.app("old", mounts=MOUNT)
    process = world.process
    volume = process.gateway.views.named("volume", "default", "data")
    assert volume is not None
    before = volume_uses(process.cache, volume.intent)
    assert [user.name for user in before.users] == ["old"]
    world.app("new", mounts=MOUNT)
    after = volume_uses(process.cache, volume.intent)
    assert before.unchanged != after.unchanged
    assert {user.name for user in after.users} == {"old", "new"}


@pytest.mark.parametrize("noun", ["secret", "volume"])
def test_a_revision_that_may_run_again_keeps_what_it_refers_to(world: World, noun: str) -> None:
    prepared(world, noun)
    process = world.process
    old = process.gateway.views.named("app", "default", "old")
    assert old is not None
    status = msgspec.structs.replace(old.status, revision=1, hash="of the first")
    key = status_key("app", "default", old.id)
    process.cache.wait_for(process.store.create(key, encode(status)))
    with pytest.raises(RequestError, match=r"old .*revision 1"):
        deletions(world)[noun]()
    process.cache.wait_for(process.store.delete(revision_key("default", old.id, 1), _at(world, old.id, 1)))
    deletions(world)[noun]()


def _at(world: World, app: str, number: int) -> int:
    record = world.process.store.get(revision_key("default", app, number))
    assert record is not None
    return record.revision


def test_many_refer_to_one_thing_at_once(world: World) -> None:
    """They never get in each other's way: each is written at its first attempt."""
    world.secret("data")
    attempts = count()
    commit = world.process.gateway.apps._tools.writer.commit

    def counted(change: Any) -> int:
        next(attempts)
        return commit(change)

    world.process.gateway.apps._tools.writer.commit = counted  # type: ignore[method-assign]
    world.app("first", mounts=MOUNT, env_secrets={"A": "data/key"})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: world.app(f"app-{n}", mounts=MOUNT, env_secrets={"A": "data/key"}), range(40)))
    assert next(attempts) == 41


def test_two_that_make_the_same_volume_at_once_share_it(world: World) -> None:
    def first() -> None:
        world.app("one", mounts=MOUNT)

    def second() -> None:
        world.app("two", mounts=MOUNT)

    assert world.held.during(first, second) == (True, True)
    one, two = (world.process.gateway.views.named("app", "default", name) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert one.intent.volumes == two.intent.volumes
