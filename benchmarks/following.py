"""What a thousand clients that follow events, and hundreds that wait, cost those who only read."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from statistics import median
from urllib.parse import urlsplit

from benchmarks.harness import Finding, Goal, Scale, beside, in_turns, until
from benchmarks.load import Load, load
from benchmarks.subject import Subject, fill, subject

NAME = "streams"
CHANGES = 2
"""Containers that end in a second. Each of them makes about five events, so that there are ten a second."""


def run(scale: Scale) -> Sequence[Finding]:
    """GETs with and without streams of events that are open, then with and without requests that wait."""
    projects = scale.pick(1000, 50)
    with subject(simulated=True, dev_headers=True) as running:
        ids = fill(running, projects, projects=projects)
        return [*_followed(scale, running, projects, iter(ids)), *_waited(scale, running)]


def _followed(scale: Scale, running: Subject, projects: int, ids: Iterator[str]) -> Sequence[Finding]:
    """Every stream is of a project of its own, in which a container ends now and then."""
    rounds, lasting = scale.pick((5, 6), (1, 1))
    bare, grown, heard = running.memory(), list[float](), list[float]()

    def with_streams() -> Load:
        with Clients(running.url, [_follow(f"p{n}") for n in range(projects)]) as clients:
            until(lambda: clients.answered >= projects, 60, "All streams are open")
            grown.append(running.memory() - bare)
            before = clients.lines
            result = _read(running, ids, lasting)
            heard.append((clients.lines - before) / lasting)
            return result

    def without() -> Load:
        until(lambda: running.do("waiting") == 0, 60, "All streams are closed")
        return _read(running, ids, lasting)

    found = in_turns(rounds, {"with": with_streams, "without": without})
    case = f"beside {projects:,} streams of events, {CHANGES} deaths a second"
    return [
        *_compared(found, case, "the same without streams", Goal(1.5, "at most", "ratio")),
        Finding(NAME, f"memory that {projects:,} streams take", median(grown), "MB"),
        Finding(NAME, "events that went out on them", median(heard), "/s"),
    ]


def _waited(scale: Scale, running: Subject) -> Sequence[Finding]:
    """Each waits for an app that never gets ready."""
    count, lasting = scale.pick((200, 5), (10, 1))
    running.do("create", count=count, prefix="never", image="never:1")
    until(lambda: running.do("phases").get("Progressing", 0) >= count, 60, "They are begun")
    running.do("rest")

    def with_waiting() -> Load:
        with Clients(running.url, [_wait(f"never-{n}") for n in range(count)]):
            until(lambda: running.do("waiting") >= count, 60, "All wait")
            running.do("rest")
            return _get(running, lasting)

    def without() -> Load:
        until(lambda: running.do("waiting") == 0, 60, "Nobody waits any more")
        running.do("rest")
        return _get(running, lasting)

    found = in_turns(scale.pick(5, 1), {"with": with_waiting, "without": without})
    return _compared(found, f"beside {count} requests that wait", "the same without them", None)


def _read(running: Subject, ids: Iterator[str], lasting: int) -> Load:
    """GETs while containers end."""
    some = list(islice(ids, CHANGES * lasting))
    running.begin("die", rate=CHANGES, duration=lasting, ids=some)
    try:
        return _get(running, lasting)
    finally:
        running.end()


def _get(running: Subject, lasting: int) -> Load:
    return load(running.url, ["GET /v1/apps?limit=1"], seconds=lasting, connections=4)


def _compared(found: Mapping[str, list[Load]], case: str, named: str, goal: Goal | None) -> Sequence[Finding]:
    p99 = {side: [one.p99 * 1000 for one in loads] for side, loads in found.items()}
    rate = {side: [one.rate for one in loads] for side, loads in found.items()}
    return [
        beside(NAME, f"p99 of GET one {case}", "ms", p99["with"], p99["without"], named, goal),
        beside(NAME, f"GET one {case}", "/s", rate["with"], rate["without"], named),
    ]


def _follow(project: str) -> bytes:
    return _request("GET /v1/events", {"Accept": "text/event-stream", "X-Zun-Project": project})


def _wait(app: str) -> bytes:
    """A change that changes nothing, with `?wait`."""
    body = json.dumps({})
    headers = {"Content-Type": "application/merge-patch+json", "Content-Length": str(len(body))}
    return _request(f"PATCH /v1/apps/{app}?wait=300", headers) + body.encode()


def _request(line: str, headers: Mapping[str, str]) -> bytes:
    told = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": "gateway"} | dict(headers)).items())
    return f"{line} HTTP/1.1\r\n{told}\r\n".encode()


class Clients:
    """Connections that each send one request and read whatever comes, all in one thread.
    `answered` counts those that got something, `lines` the events that came."""

    def __init__(self, url: str, requests: Sequence[bytes]) -> None:
        self.answered = self.lines = 0
        self._address, self._requests = urlsplit(url), requests
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._all: asyncio.Task[None] | None = None

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        until(lambda: self._all is not None, 10, "The thread runs")
        assert self._all is not None
        self._loop.call_soon_threadsafe(self._all.cancel)
        self._thread.join()

    def _run(self) -> None:
        self._all = self._loop.create_task(self._talk())
        self._loop.run_until_complete(asyncio.wait([self._all]))
        self._loop.close()

    async def _talk(self) -> None:
        gate = asyncio.Semaphore(50)
        await asyncio.gather(*(self._one(request, gate) for request in self._requests))

    async def _one(self, request: bytes, gate: asyncio.Semaphore) -> None:
        async with gate:
            reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
            writer.write(request)
            await writer.drain()
        try:
            first = True
            while chunk := await reader.read(1 << 16):
                self.answered += first
                first = False
                self.lines += chunk.count(b"\ndata: ")
        finally:
            writer.close()
