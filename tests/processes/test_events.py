"""Whoever follows events sees each of them once, whatever becomes of the process that is followed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.processes.fleet import Fleet, Member, got, until

EVENTS = 120


class Follower:
    """Reads the stream of one process or another, goes on where it was, and keeps the ids it has seen."""

    def __init__(self, apis: list[Member]) -> None:
        self._apis = apis
        self.seen: list[str] = []
        self.connections = 0
        self.over = threading.Event()
        self._place: str | None = None

    def run(self) -> None:
        """Until told that it is over, noticed at the next event or lost connection."""
        for n in range(10**6):
            with suppress(httpx.TransportError):
                self._follow(self._apis[n % len(self._apis)])
            if self.over.is_set():
                return

    def _follow(self, api: Member) -> None:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._place} if self._place else {})
        with (
            httpx.Client(base_url=api.url, trust_env=False, timeout=30.0) as http,
            http.stream("GET", "/v1/events", headers=headers) as answer,
        ):
            assert answer.status_code == 200, answer.read()
            self.connections += 1
            for id, has_data in _blocks(answer.iter_lines()):
                self._place = id or self._place
                if has_data:
                    self.seen.append(str(id))
                if self.over.is_set():
                    return


def _blocks(lines: Iterator[str]) -> Iterator[tuple[str | None, bool]]:
    """Each block of a stream: its id, and whether it has data."""
    id, data = None, False
    for line in lines:
        if not line:
            yield id, data
            id, data = None, False
        elif line.startswith("id: "):
            id = line.removeprefix("id: ")
        elif line.startswith("data: "):
            data = True


@pytest.mark.parametrize("seed", [1])
def test_each_event_is_seen_once_through_restarts(fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    writer, one, two = fleet.start("api", "api", "api")
    follower = Follower([one, two])
    thread = threading.Thread(target=follower.run, name="follower")
    thread.start()
    try:
        until(lambda: follower.connections, "it follows")
        moments = sorted(chance.sample(range(EVENTS), 4))
        for n in range(EVENTS):
            if n in moments:
                ending = chance.choice([one.kill, one.stop, two.kill, two.stop])
                ending()
                (one if ending in (one.kill, one.stop) else two).start()
            make(writer, f"s{n}")
        told = [e["id"] for e in got(writer, "/v1/events?limit=1000")["events"]]
        until(lambda: len(follower.seen) >= EVENTS, "everything was seen")
    finally:
        follower.over.set()
        make(writer, "last")
        thread.join()
    assert len(told) == EVENTS
    assert follower.seen[:EVENTS] == told
    assert follower.connections > 2


def make(api: Member, name: str) -> None:
    answer = api.http.post("/v1/secrets", json={"name": name, "data": {"a": "b"}})
    assert answer.status_code == 201, answer.text
