"""POST: how many apps are taken on in a second, each of them on the disk before it is acknowledged, and how
soon many apps that come at once all run."""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from benchmarks.bare import bare_connexion
from benchmarks.harness import Finding, Goal, Scale, beside, in_turns, until
from benchmarks.load import load
from benchmarks.subject import CLUSTER, Subject, folder, subject
from tests.real.etcd import Etcd
from zun_coe.store import Missing, Put, Store, open_store

NAME = "writes"
CONNECTIONS = 8
CLIENTS = 16
FRAMEWORK = 1270
"""POSTs a second that Connexion alone takes on the machine that the goals were set for: elsewhere its share counts."""


def run(scale: Scale) -> Sequence[Finding]:
    """On SQLite and on etcd, then the apps that come at once."""
    return [*_on_sqlite(scale), *_on_etcd(scale), *_at_once(scale)]


def _on_sqlite(scale: Scale) -> Sequence[Finding]:
    with folder() as place, open_store(f"sqlite:///{place}/bare.db") as bare, subject(simulated=True) as running:
        return _posts(scale, running, bare, "SQLite", 300)


def _on_etcd(scale: Scale) -> Sequence[Finding]:
    with ExitStack() as stack:
        place: Path = stack.enter_context(folder())
        etcd = Etcd(place)
        stack.callback(etcd.close)
        bare = stack.enter_context(open_store(etcd.url("bare")))
        running = stack.enter_context(
            subject(simulated=True, store=etcd.url("gateway"), encryption_keys=Fernet.generate_key().decode())
        )
        return _posts(scale, running, bare, "etcd", 150)


def _posts(scale: Scale, running: Subject, bare: Store, store: str, goal: float) -> Sequence[Finding]:
    """POSTs while the engine works on what was posted, next to the store alone taking what a POST writes, and to
    the web framework alone, which checks a body and writes nothing."""
    lasting = scale.pick(5, 1)
    body = _body("app-%d")
    numbers = itertools.count()
    with bare_connexion() as framework:
        found = in_turns(
            scale.pick(3, 1),
            {
                "posts": lambda: _posted(running.url, body, lasting, running),
                "framework": lambda: _posted(framework, body, lasting),
                "bare": lambda: _bare(bare, numbers, lasting),
            },
        )
    case = f"acknowledged POSTs of apps, {store}"
    told = functools.partial(beside, NAME, case, "/s", found["posts"])
    share = Goal(round(goal / FRAMEWORK, 2), "at least", "ratio")
    return [
        told(found["bare"], "the store alone", Goal(goal, "at least"), "engine at work"),
        told(found["framework"], "Connexion alone", share, "engine at work"),
    ]


def _posted(url: str, body: str, lasting: int, running: Subject | None = None) -> float:
    rate = load(url, [f"POST /v1/apps {body}"], seconds=lasting, connections=CONNECTIONS).rate
    if running is not None:
        until(lambda: running.do("phases").keys() <= {"Running"}, 300, "All apps run", pause=0.2)
    return rate


def _bare(store: Store, numbers: itertools.count[int], lasting: float) -> float:
    """Transactions of the same shape: two names that must be new, four records of the same size."""
    end = time.monotonic() + lasting

    def write(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            number = next(numbers)
            sizes = {"intent": 900, "name": 36, "revision": 500, "event": 400}
            puts = [Put(f"{family}/bare/{number}", b"x" * size) for family, size in sizes.items()]
            store.transact([Missing(puts[0].key), Missing(puts[1].key)], puts)
            count += 1
        return count

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return sum(pool.map(write, range(CONNECTIONS))) / lasting


def _at_once(scale: Scale) -> Sequence[Finding]:
    count = scale.pick(500, 20)
    times = []
    for _ in range(scale.pick(3, 1)):
        with subject(simulated=True) as running:
            times.append(_until_all_run(running, count))
    case = f"{count} apps created at once until all run"
    return [Finding(NAME, case, median(times), "s", goal=Goal(10, "at most"))]


def _until_all_run(running: Subject, count: int) -> float:
    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda share: _send(running.url, share), [range(n, count, CLIENTS) for n in range(CLIENTS)]))
    with running.client() as api:
        page: dict[str, str | int] = {"limit": 1000, "phase": "Running"}
        until(lambda: len(api.get("/v1/apps", params=page).json()["apps"]) == count, 120, "All run", pause=0.05)
    return time.monotonic() - started


def _send(url: str, numbers: range) -> None:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    for number in numbers:
        connection.request("POST", "/v1/apps", _body(f"app-{number}"), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 202:
            raise RuntimeError(f"POST: {answer.status}")
    connection.close()


def _body(name: str) -> str:
    return json.dumps({"name": name, "cluster": CLUSTER, "image": "web:1"})
