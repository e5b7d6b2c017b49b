"""Jobs in the background: fair between projects, with few threads, and no key that is taken for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from threading import Event

import pytest

from tests.real.waiting import wait_until
from zun_coe.errors import BackendError, Fenced, Unavailable
from zun_coe.native.jobs import Jobs, together


def test_a_job_that_was_cut_off_says_so() -> None:
    told: list[BackendError | None] = []
    ended = Event()

    def call() -> None:
        raise Fenced("somebody else has it")

    def end(error: BackendError | None) -> None:
        told.append(error)
        ended.set()

    Jobs(1, 1).start("key", "p", call, end)
    assert ended.wait(30)
    assert [str(error) for error in told] == ["somebody else has it"]


def test_one_project_leaves_places_for_others() -> None:
    """Jobs that hang take no more than their project's share."""
    jobs, hang, served = Jobs(limit=4, each=2), Event(), Event()
    for number in range(8):
        jobs.start(("hanging", number), "greedy", waiting_for(hang), lambda error: None)
    jobs.start("other", "modest", served.set, lambda error: None)
    assert served.wait(30)
    hang.set()
    wait_until(lambda: not jobs.under_way(), 30, "all have ended")


def test_projects_take_turns() -> None:
    jobs, hang = Jobs(limit=1, each=1), Event()
    done: list[str] = []
    for number, project in enumerate(["a", "a", "a", "b", "b"]):
        jobs.start(number, project, waiting_for(hang), partial(told, done, project))
    hang.set()
    wait_until(lambda: len(done) == 5, 30, "all are done")
    assert done == ["a", "a", "b", "a", "b"], "the first one ran before anybody else was there"


def test_what_waits_for_its_turn_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, hang = Jobs(limit=3, each=2), Event()
    done: list[BackendError | None] = []
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def begin(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", begin)
    for number in range(50):
        jobs.start(number, "p", waiting_for(hang), done.append)
    hang.set()
    wait_until(lambda: len(done) == 50, 30, "all are done")
    wait_until(lambda: not any(thread.is_alive() for thread in started), 30, "no thread is left")
    assert len(started) == 2


def test_whoever_does_not_hear_of_an_end_keeps_no_thread() -> None:
    jobs, served = Jobs(limit=1, each=1), Event()
    jobs.start("first", "p", lambda: None, lambda error: [][0])
    jobs.start("second", "p", served.set, lambda error: None)
    assert served.wait(30)


def test_without_room_for_a_thread_no_key_is_taken_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have room again later; where there are threads, the job waits for one of them."""
    jobs, hang, served = Jobs(limit=4, each=4), Event(), Event()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", _no_room)
        with pytest.raises(Unavailable, match="no room for another thread"):
            jobs.start("key", "p", served.set, lambda error: None)
    assert not jobs.under_way()
    jobs.start("hanging", "p", waiting_for(hang), lambda error: None)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", _no_room)
        assert jobs.start("key", "p", served.set, lambda error: None)
    hang.set()
    assert served.wait(30)


def waiting_for(event: Event) -> Callable[[], None]:
    def wait() -> None:
        event.wait(30)

    return wait


def told(done: list[str], project: str, error: BackendError | None) -> None:
    done.append(project)


def _no_room(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_calls_together_hold_up_no_end_of_the_process() -> None:
    """A stop may take as long as its grace is, which the process does not have when it ends itself."""
    seen: list[threading.Thread] = []
    both = threading.Barrier(2)

    def call() -> None:
        both.wait(30)
        seen.append(threading.current_thread())

    together([call, call])
    assert threading.current_thread() in seen
    assert [thread.daemon for thread in seen if thread is not threading.current_thread()] == [True]
    together([])


def test_what_one_of_several_calls_raises_is_raised_when_all_have_ended() -> None:
    ended: list[int] = []

    def fail() -> None:
        raise Unavailable("no")

    with pytest.raises(Unavailable):
        together([partial(ended.append, 1), fail, partial(ended.append, 2)])
    assert sorted(ended) == [1, 2]
