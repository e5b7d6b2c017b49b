"""Writes whose answer the store loses, on the way there or on the way back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event as StopEvent

import pytest

from tests.contract.world import call, shown
from zun_coe.config import Settings
from zun_coe.errors import NameTaken, OutcomeUnknown
from zun_coe.gateway import Gateway, Query
from zun_coe.process import Process
from zun_coe.store import Batch, Condition, Lease, Operation, Page, Record, Store, open_store


class LosingStore(Store):
    """A store that loses the answers to the next writes of the API. `losses`: for each, whether it happened."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.losses: deque[bool] = deque()

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        ours = any(one.key.startswith("event/") for one in operations)
        if not (ours and self.losses):
            return self._store.transact(conditions, operations)
        if self.losses.popleft():
            self._store.transact(conditions, operations)
        raise OutcomeUnknown("the answer was lost")

    def get(self, key: str) -> Record | None:
        return self._store.get(key)

    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        return self._store.list(prefix, limit=limit, after=after, revision=revision)

    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        return self._store.watch(prefix, since, stop)

    def grant(self, ttl: float) -> Lease:
        return self._store.grant(ttl)

    def renew(self, lease: Lease) -> None:
        self._store.renew(lease)

    def revoke(self, lease: Lease) -> None:
        self._store.revoke(lease)

    def compact(self, before: int) -> None:
        self._store.compact(before)

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def store(tmp_path: Path) -> LosingStore:
    return LosingStore(open_store(f"sqlite:///{tmp_path / 'state.db'}"))


@pytest.fixture
def gateway(tmp_path: Path, store: LosingStore) -> Iterator[Gateway]:
    process = Process(Settings(store=f"sqlite:///{tmp_path / 'state.db'}"), "api", store)
    process.start()
    yield process.gateway
    process.stop()


SECRET = {"name": "s", "data": {"a": "b"}}


@pytest.mark.parametrize("losses", [[True], [False], [False, True], [False, False]])
def test_it_happens_once_and_is_acknowledged(gateway: Gateway, store: LosingStore, losses: list[bool]) -> None:
    store.losses.extend(losses)
    assert gateway.secrets.create(call(), SECRET).status == 201
    assert told(gateway) == ["SecretCreated"]
    store.losses.extend(losses)
    assert gateway.secrets.delete(call(), "s").status == 204
    assert told(gateway) == ["SecretCreated", "SecretDeleted"]
    assert shown(gateway.secrets.list(call(), Query()))["secrets"] == []


def test_the_same_key_gives_the_same_answer(gateway: Gateway, store: LosingStore) -> None:
    store.losses.append(True)
    first = gateway.secrets.create(call(idempotency_key="k"), SECRET)
    again = gateway.secrets.create(call(idempotency_key="k"), SECRET)
    assert shown(first) == shown(again)
    assert told(gateway) == ["SecretCreated"]


def test_what_stays_unknown_is_said_so(gateway: Gateway, store: LosingStore) -> None:
    store.losses.extend([False] * 3)
    with pytest.raises(OutcomeUnknown):
        gateway.secrets.create(call(), SECRET)
    assert gateway.secrets.create(call(), SECRET).status == 201


def test_somebody_elses_name_is_no_success(gateway: Gateway, store: LosingStore) -> None:
    gateway.secrets.create(call(), SECRET)
    store.losses.append(False)
    with pytest.raises(NameTaken):
        gateway.secrets.create(call(), SECRET)


def told(gateway: Gateway) -> list[str]:
    return [e["type"] for e in shown(gateway.events.list(call(), Query()))["events"]]
