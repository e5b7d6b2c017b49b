"""Probes over HTTP and TCP, which a bare runtime does not have: run by the gateway, with the meaning that
Docker gives to interval, timeout, retries and start period.

A container is `starting` until a probe succeeds. It is `unhealthy` after `retries` failures one after the other,
`interval` seconds apart; those within `start_period` seconds of its start do not count. While it is starting it
is probed more often than that, so that it is seen soon, but only one failure for each interval counts."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import httpx
import structlog

from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import Denied
from zun_coe.model import Health, WorkloadRef
from zun_coe.native.replicas import Probed

_FIRST_DELAY = 0.2
_AT_ONCE = 64
# The most of one project, so that none keeps the probes of others waiting.
_AT_ONCE_EACH = 32

Changed = Callable[[WorkloadRef], None]


_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Target:
    """What to probe: a container in this run (`started_at`), at an address and port. `last`: the verdict that stands
    until there is another. `trusted`: an admin said where its host is, so that it may be anywhere."""

    id: str
    host: str
    ref: WorkloadRef
    started_at: datetime | None
    address: str
    port: int
    health: Health
    last: Probed = field(default_factory=Probed, compare=False)
    trusted: bool = False


@dataclass(frozen=True)
class Score:
    """How a container has done so far. `failures` counts those that count; times are seconds of the
    loop's clock: `began` and `counted_at`, when the last failure counted."""

    began: float
    counted_at: float
    failures: int = 0
    probed: Probed = field(default_factory=Probed)

    def after(self, error: str | None, health: Health, clock: float, now: datetime) -> Score:
        """The score after one more probe; `error` None: it succeeded. Pure."""
        if error is None:
            since = self.probed.since if self.probed.health == "healthy" else now
            return replace(self, failures=0, counted_at=clock, probed=Probed("healthy", since, run=self.probed.run))
        told = replace(self.probed, output=error)
        early = clock - self.began < health.start_period
        starting = self.probed.health == "starting"
        if starting and (early or clock - self.counted_at < health.interval):
            return replace(self, probed=told)
        failures = self.failures + 1
        if failures >= health.retries:
            since = self.probed.since if self.probed.health == "unhealthy" else now
            told = Probed("unhealthy", since, error, self.probed.run)
        return replace(self, failures=failures, counted_at=clock, probed=told)


class Prober:
    """Probes containers in a thread of its own, which is started with the first target. Thread-safe."""

    def __init__(self, changed: Changed, reach: Reach = ELSEWHERE) -> None:
        self._changed, self._reach = changed, reach
        self._tasks: dict[str, tuple[Target, asyncio.Task[None]]] = {}
        self._scores: dict[str, Probed] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def results(self) -> Mapping[str, Probed]:
        """What is known now, by the container's id."""
        with self._lock:
            return dict(self._scores)

    def watch(self, targets: Iterable[Target], within: Callable[[Target], bool]) -> None:
        """Probe these, and of what is `within` nothing else any more. One that was started anew since
        begins anew. Returns at once."""
        wanted = {target.id: target for target in targets}
        with self._lock:
            if wanted and self._loop is None:
                self._start()
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._arrange, wanted, within)

    def close(self) -> None:
        """End all probing and the thread. Idempotent."""
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="probes", daemon=True)
        self._thread.start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self._client = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._shares: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE_EACH))
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:  # without any, `gather` asks for a loop of the thread's own
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(self._client.aclose())
        loop.close()

    def _arrange(self, wanted: Mapping[str, Target], within: Callable[[Target], bool]) -> None:
        for target, task in list(self._tasks.values()):
            if wanted.get(target.id) != target and (target.id in wanted or within(target)):
                task.cancel()
                del self._tasks[target.id]
                with self._lock:
                    self._scores.pop(target.id, None)
        for target in wanted.values():
            if target.id not in self._tasks:
                self._tasks[target.id] = target, asyncio.get_running_loop().create_task(self._follow(target))

    async def _follow(self, target: Target) -> None:
        """Probe one container for as long as it is wanted."""
        clock = asyncio.get_running_loop().time
        score = Score(clock(), clock(), probed=replace(target.last, run=target.started_at))
        delay = _FIRST_DELAY
        while True:
            async with self._shares[target.ref.project], self._free:
                error = await self._probe(target)
            before, score = score, score.after(error, target.health, clock(), datetime.now(UTC))
            with self._lock:
                self._scores[target.id] = score.probed
            if before.probed.health != score.probed.health:
                self._changed(target.ref)
            delay = min(delay * 1.5, target.health.interval)
            await asyncio.sleep(delay if score.probed.health == "starting" else target.health.interval)

    async def _probe(self, target: Target) -> str | None:
        """None for success, else what was tried and what went wrong."""
        http, place = target.health.http, _place(target.address, target.port)
        url = f"http://{place}/{http.path.removeprefix('/')}" if http is not None else ""
        try:
            async with asyncio.timeout(target.health.timeout):
                said = await self._ask(target, url)
        except TimeoutError:
            said = f"no answer within {target.health.timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, Denied) as error:
            said = str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001  # else nobody probed it any more, and its last verdict stood for good
            _log.exception("probe failed", target=target.id)
            said = type(error).__name__
        return said and f"{f'GET {url}' if url else f'TCP connection to {place}'}: {said}"

    async def _ask(self, target: Target, url: str) -> str | None:
        """Connect to the addresses that the target has now, one after the other, until one can be reached. Raises
        `Denied`, `OSError`, `httpx.HTTPError`."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        if not target.trusted:
            for address in addresses:
                self._reach.check("it", address)
        for address in addresses[:-1]:
            with suppress(OSError, httpx.ConnectError):
                return await (self._get(target, url, address) if url else self._connect(target, address))
        return await (self._get(target, url, addresses[-1]) if url else self._connect(target, addresses[-1]))

    async def _get(self, target: Target, url: str, address: str) -> str | None:
        there = httpx.URL(url).copy_with(host=address)
        headers = {"Host": _place(target.address, target.port)}
        async with self._client.stream("GET", there, headers=headers, timeout=target.health.timeout) as answer:
            return None if 200 <= answer.status_code < 400 else f"HTTP status {answer.status_code}"

    async def _connect(self, target: Target, address: str) -> str | None:
        _, writer = await asyncio.open_connection(address, target.port)
        writer.close()
        return None


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
