"""Threads of a host, shared by projects."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.real.waiting import wait_until
from zun_coe.native.shares import SharedPool

PATIENCE = 30


def test_a_project_whose_calls_hang_leaves_threads_to_others() -> None:
    pool, hang = SharedPool(ThreadPoolExecutor(4), each=2), threading.Event()
    hanging = [pool.submit("greedy", lambda: hang.wait(PATIENCE)) for _ in range(20)]
    assert pool.submit("modest", lambda: "served").result(PATIENCE) == "served"
    assert not any(future.done() for future in hanging)
    hang.set()
    assert all(future.result(PATIENCE) for future in hanging)
    pool.shutdown()


def test_results_and_errors_arrive() -> None:
    pool = SharedPool(ThreadPoolExecutor(1), each=1)
    with pytest.raises(ZeroDivisionError):
        pool.submit("p", lambda: 1 // 0).result(PATIENCE)
    assert pool.submit("p", lambda: 7).result(PATIENCE) == 7
    pool.shutdown()


def test_what_waits_when_it_is_shut_down_is_not_run() -> None:
    pool, hang, ran = SharedPool(ThreadPoolExecutor(2), each=1), threading.Event(), threading.Event()
    first = pool.submit("p", lambda: hang.wait(PATIENCE))
    wait_until(first.running, PATIENCE)
    pool.submit("p", ran.set)
    pool.shutdown()
    hang.set()
    assert first.result(PATIENCE)
    assert not ran.is_set()


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 3))
def test_everything_is_run_once_and_never_more_at_once_than_allowed(projects: list[str], each: int) -> None:
    pool, lock = SharedPool(ThreadPoolExecutor(8), each), threading.Lock()
    running, most, ran = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0), []

    def call(project: str, number: int) -> None:
        with lock:
            running[project] += 1
            most[project] = max(most[project], running[project])
        with lock:
            running[project] -= 1
            ran.append(number)

    futures = [pool.submit(p, lambda p=p, n=n: call(p, n)) for n, p in enumerate(projects)]
    assert not wait(futures, PATIENCE).not_done
    pool.shutdown()
    assert sorted(ran) == list(range(len(projects)))
    assert max(most.values()) <= each
    assert not pool._waiting
