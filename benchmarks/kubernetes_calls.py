"""What one call costs by way of the `kubernetes` package, next to the same call without it.

Only the caller's own processor time counts, and the server is a process of its own: its threads would have the caller
wait for the interpreter, in turns that differ each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3

from benchmarks.harness import Finding, Goal, Scale, in_turns
from benchmarks.subject import folder
from tests.faults.api_server import ApiServer, sending
from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.transport import Transport
from zun_coe.adapters.tls import client_context

NAME = "kubernetes-calls"
PATH = "/apis/apps/v1/namespaces/n/deployments/web"
CONTAINERS = [{"name": f"c{n}", "image": "busybox", "env": [{"name": f"V{n}", "value": "x" * 40}]} for n in range(10)]
DEPLOYMENT = {"metadata": {"name": "web", "resourceVersion": "1"}, "spec": {"template": {"containers": CONTAINERS}}}
REVIEW = {"kind": "SelfSubjectRulesReview", "spec": {"namespace": "n"}}
MOST_MORE = 100.0
"""Microseconds that the package may add to a call."""

Call = Callable[[], Any]


def run(scale: Scale) -> Sequence[Finding]:
    """Reading, applying and creating an object of 2 KB, in turns."""
    rounds, calls = scale.pick(20, 2), scale.pick(20, 5)
    with _server() as server, closing(Client(server)) as ours, closing(_bare(server)) as bare:
        cases: dict[str, Callable[[Client], Any]] = {
            "read": lambda client: client.get(PATH),
            "apply": lambda client: client.apply(PATH, DEPLOYMENT),
            "ask": lambda client: client.ask(PATH, REVIEW, dict),
        }
        return [_finding(case, partial(call, ours), partial(call, bare), rounds, calls) for case, call in cases.items()]


def _finding(case: str, ours: Call, bare: Call, rounds: int, calls: int) -> Finding:
    ours(), bare()  # connections and imports
    found = in_turns(rounds, {"ours": lambda: _cost(ours, calls), "bare": lambda: _cost(bare, calls)})
    more = median(a - b for a, b in zip(found["ours"], found["bare"], strict=True))
    note = f"{median(found['ours']):.0f} µs in all"
    goal = Goal(MOST_MORE, "at most")
    return Finding(
        NAME, f"what a call ({case}) costs more", more, "µs", median(found["bare"]), "without it", None, goal, note
    )


def _cost(call: Call, times: int) -> float:
    """Microseconds of this thread's processor time for each call."""
    begun = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - begun) / times * 1e6


@contextmanager
def _server() -> Iterator[Connection]:
    """How to reach one that answers everything with the same object."""
    context = get_context("spawn")
    mine, its = context.Pipe()
    with folder() as place:
        process = context.Process(target=_serve, args=(place, its), daemon=True)
        process.start()
        try:
            yield mine.recv()
        finally:
            mine.send(None)
            process.join()


def _serve(place: Path, pipe: Pipe) -> None:
    """Serve until something is sent. The connection to it is sent first."""
    server = ApiServer(place)
    server.on(".", sending(DEPLOYMENT))
    pipe.send(server.connection())
    pipe.recv()
    server.close()


def _bare(server: Connection) -> Client:
    """The same client, whose calls leave the package out."""
    client, options = Client(server), {"ssl_context": client_context(server.credentials["ca_cert"])}
    client._route._transport = _Bare("127.0.0.1", urlsplit(server.endpoint or "").port or 0, 1, options)
    return client


class _Bare(Transport):
    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        timeout: float,
    ) -> urllib3.BaseHTTPResponse:
        sent = None if body is None else msgspec.json.encode(body)
        limit = urllib3.Timeout(total=timeout)
        return self.pool.urlopen(
            method, url, sent, headers, retries=False, redirect=False, timeout=limit, preload_content=False
        )
