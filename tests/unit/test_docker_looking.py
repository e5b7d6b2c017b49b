"""Looks at containers that an engine keeps to itself for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.real.waiting import wait_until
from tests.unit.docker_answers import inspected
from zun_coe.native.docker.looking import Looks
from zun_coe.native.docker.recall import Glance, glance
from zun_coe.native.runtime import Found

UP = {"State": "running", "Status": "Up 3 minutes"}
DIED = {"Action": "die", "id": "1", "Actor": {"Attributes": {"exitCode": "3"}}}


class Engine:
    """One container; it can be inspected while `free` is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.asked = 0
        self.state: dict[str, Any] = {"Status": "running"}  # with the engine's default: never started again
        self.looks = Looks(self.inspect, 2)

    def inspect(self, id: str) -> Mapping[str, Any]:
        """Blocks until it is free."""
        self.asked += 1
        assert self.free.wait(30)
        return inspected(self.state, Id=id)

    def look(self, exact: bool = True) -> Found:
        """What a look shows; the list tells that it runs, all the time."""
        listed: dict[str, Glance] = {"1": glance(UP, 1.0)}
        return self.looks.at(listed, {}, self.looks.turn, exact=exact)["1"]


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.free.set()
    made.looks.close()


def test_an_end_is_shown_before_it_can_be_inspected(engine: Engine) -> None:
    assert (engine.look().state, engine.look().held) == ("running", False)
    before = engine.asked
    assert engine.look(exact=False).state == "running"
    assert engine.asked == before
    engine.free.clear()
    engine.looks.heard(DIED)
    for exact in (True, True, False):
        seen = engine.look(exact)
        assert (seen.state, seen.exit_code, seen.held) == ("exited", 3, True)
    assert engine.asked == before + 1
    engine.state = {"Status": "exited", "ExitCode": 3, "OOMKilled": True}
    engine.free.set()
    wait_until(lambda: not engine.look().held, 10)
    assert (engine.look().state, engine.look().oom_killed) == ("exited", True)


def test_an_end_says_nothing_once_events_may_have_been_missed(engine: Engine) -> None:
    engine.look()
    engine.looks.heard(DIED)
    engine.looks.listening()
    before = engine.asked
    assert engine.look(exact=False).state == "running"
    assert engine.asked == before


def test_what_the_engine_shows_counts_more_than_an_end_that_was_told(engine: Engine) -> None:
    engine.look()
    engine.looks.heard(DIED)
    assert engine.look().state == "running"
    engine.free.clear()
    looking = threading.Thread(target=engine.look)
    looking.start()
    wait_until(lambda: engine.asked == 3, 10)
    assert looking.is_alive()  # nothing tells of an end any more: it waits for the engine
    engine.free.set()
    looking.join(10)
    assert not looking.is_alive()
