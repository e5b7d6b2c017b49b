"""The costliest bodies of a megabyte, one after the other: how soon each is answered, and what that costs others.

The others are GETs of one app, every two milliseconds, on a connection of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

import httpx

from benchmarks.harness import Finding, Goal, Scale
from benchmarks.subject import Subject, fill, subject
from zun_coe.api.parsing import MAX_VALUES

NAME = "bodies"
SIZE = 1024 * 1024
PAUSE = 0.002
_HEAD = '{"name":"a","image":"b","cluster":"bench",'
_MANY: Mapping[str, tuple[str, str, int, str]] = {
    "numbers": ('"command":[', "1", 1, "]}"),
    "fractions": ('"command":[', "1.5e300", 1, "]}"),
    "texts": ('"command":[', '"a"', 1, "]}"),
    "long texts": ('"command":[', f'"{"a" * 30}"', 1, "]}"),
    "unknown keys": ("", '"key%d":1', 1, "}"),
    "repeated keys": ("", '"replicas":1', 1, "}"),
    "environment": ('"env":{', f'"A{"_" * 20}%d":"b"', 1, "}}"),
    "wrong environment": ('"env":{', '"%d a":{}', 1, "}}"),
    "labels": ('"labels":{', '"-%d":"/"', 1, "}}"),
    "wrong ports": ('"ports":[', "{}", 1, "]}"),
    "ports": ('"ports":[', '{"port":%d}', 2, "]}"),
    "sidecars": ('"sidecars":[', '{"x":1,"y":[1]}', 4, "]}"),
    "mounts": ('"mounts":[', '{"path":"/%d","volume":{"name":"b"}}', 4, "]}"),
}
"""What is before, what is repeated, how many values that holds, and what is behind."""
JSON = {"Content-Type": "application/json"}


def run(scale: Scale) -> Sequence[Finding]:
    """The slowest shape, and the longest that another request was delayed beside any of them."""
    rounds = scale.pick(5, 1)
    with subject(simulated=True) as running, running.client() as api:
        (id,) = fill(running, 1, replicas=1)
        quiet = _alone(running, id, rounds)
        times, delays = dict[str, float](), dict[str, float]()
        for name, body in shapes(SIZE).items():
            found = [_send(running, api, id, body) for _ in range(rounds)]
            times[name] = median(taken for taken, _ in found)
            delays[name] = median(longest for _, longest in found) - quiet
    return [
        _slowest("a body of 1 MiB, the slowest shape", times, 300.0),
        _slowest("another request beside it, the longest delay", delays, 50.0),
    ]


def shapes(size: int) -> Mapping[str, bytes]:
    """Bodies of so many bytes: what costs most to read, to check, and to explain. Those of `_MANY` have nearly as many
    values as are read at all, and are filled up with spaces; more of them are refused before they are read."""

    def filled(part: str, before: str = "", behind: str = "") -> bytes:
        return (before + part * ((size - len(before) - len(behind)) // len(part)) + behind).encode()

    one = {
        "depth": filled("[", '{"command":'),
        "braces": filled('{"a":'),
        "too many numbers": filled("1,", _HEAD + '"command":[', "1]}"),
        "too many texts": filled('"a",', _HEAD + '"command":[', '"a"]}'),
        "a long number": filled("1", _HEAD + '"replicas":', "}"),
        "escapes": filled("\\u0041", _HEAD + '"image":"', '"}'),
        "half characters": filled("\\ud800", _HEAD + '"image":"', '"}'),
        "backslashes": filled("\\\\", _HEAD + '"image":"', '"}'),
        "spaces": filled(" ", _HEAD, '"replicas":"1"}'),
        "bytes of no text": filled("\u00ff", _HEAD + '"image":"', '"}')[: size // 2] + b"\xff" * (size // 2),
    }
    return one | {name: _many(*parts).ljust(size).encode() for name, parts in _MANY.items()}


def _many(before: str, part: str, values: int, behind: str) -> str:
    """A part that holds so many values, again and again. `%d` in it is its number."""
    count = MAX_VALUES // values - 10
    return _HEAD + before + ",".join(part.replace("%d", str(number)) for number in range(count)) + behind


def _send(running: Subject, api: httpx.Client, id: str, body: bytes) -> tuple[float, float]:
    """How long its answer took, and the longest that another request took meanwhile."""
    with _others(running, id) as longest:
        started = time.perf_counter()
        answer = api.post("/v1/apps", content=body, headers=JSON)
        taken = time.perf_counter() - started
    if answer.status_code not in range(400, 500):
        raise RuntimeError(f"{answer.status_code} for {body[:60]!r}")
    return taken, max(longest, default=0.0)


def _alone(running: Subject, id: str, rounds: int) -> float:
    """The longest that the other requests take while nothing else happens for as long as a body may take."""
    found = []
    for _ in range(rounds):
        with _others(running, id) as longest:
            time.sleep(0.3)
        found.append(max(longest, default=0.0))
    return median(found)


@contextmanager
def _others(running: Subject, id: str) -> Iterator[Sequence[float]]:
    """How long each of the other requests takes, from now on."""
    taken, stop, began = list[float](), threading.Event(), threading.Event()

    def ask() -> None:
        with running.client() as api:
            api.get(f"/v1/apps/{id}")
            began.set()
            while not stop.wait(PAUSE):
                started = time.perf_counter()
                api.get(f"/v1/apps/{id}").raise_for_status()
                taken.append(time.perf_counter() - started)

    thread = threading.Thread(target=ask)
    thread.start()
    began.wait()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()


def _slowest(case: str, found: Mapping[str, float], goal: float) -> Finding:
    name = max(found, key=lambda name: found[name])
    return Finding(NAME, f"{case} ({name})", found[name] * 1000, "ms", goal=Goal(goal, "at most"))
