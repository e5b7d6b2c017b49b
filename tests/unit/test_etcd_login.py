"""A token of etcd is asked for once for all who wait for it, also where the member that is asked hangs."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType

import pytest

from tests.clock import Clock
from tests.real.waiting import wait_until
from zun_coe.errors import StoreUnavailable
from zun_coe.store.etcd.login import YOUNG, Login

CALLERS = 5


class Door:
    """A lock that counts who has come to it."""

    def __init__(self) -> None:
        self.came = 0
        self._lock, self._counting = Lock(), Lock()

    def __enter__(self) -> None:
        with self._counting:
            self.came += 1
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()


class Member:
    """What is asked for tokens. It answers once all callers wait for it."""

    def __init__(self, error: StoreUnavailable | None = None) -> None:
        self.asked, self._error, self.door = 0, error, Door()

    def __call__(self, name: str, password: str) -> str:
        self.asked += 1
        wait_until(lambda: self.door.came >= CALLERS, 30, "not all are waiting")
        if self._error is not None:
            raise self._error
        return f"token {self.asked}"


def all_at_once(login: Login, member: Member) -> list[Future[str]]:
    login._lock = member.door  # type: ignore[assignment]  # as good as one
    with ThreadPoolExecutor(CALLERS) as threads:
        return [threads.submit(login.token, member) for _ in range(CALLERS)]


def test_all_get_the_one_token() -> None:
    member = Member()
    assert [one.result() for one in all_at_once(Login("us", "secret"), member)] == ["token 1"] * CALLERS
    assert member.asked == 1


def test_all_who_wait_for_a_member_that_fails_hear_of_it_at_once() -> None:
    login, member = Login("us", "secret"), Member(StoreUnavailable("it hangs"))
    for one in all_at_once(login, member):
        with pytest.raises(StoreUnavailable, match="it hangs"):
            one.result()
    assert member.asked == 1
    assert login.token(lambda name, password: f"{name} {password}") == "us secret", "whoever comes later asks anew"


def test_a_token_that_grows_old_is_asked_for_anew() -> None:
    clock = Clock()
    login = Login("us", "secret", clock)
    assert login.token(lambda name, password: "first") == "first"
    assert login.token(lambda name, password: "second") == "first"
    clock.now += YOUNG + 1
    assert login.token(lambda name, password: "second") == "second"
    login.forget("first")
    assert login.token(lambda name, password: "third") == "second"
    login.forget("second")
    assert login.token(lambda name, password: "third") == "third"
