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
from zun_coe.native.paths import FEWEST, Sound, is_silence, is_suspect
from zun_coe.native.replicas import Probed

_FIRST_DELAY = 0.2
# The share of a probe's time in which it has to be connected.
_CONNECTING = 0.9
# How often, in seconds, a container that falls silent has the others of its host probed at once.
_NUDGES = 5.0
# How long after those were asked it is asked again.
_TOGETHER = 0.5
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

    def __init__(
        self, changed: Changed, reach: Reach = ELSEWHERE, suspected: Callable[[], None] = lambda: None
    ) -> None:
        self._changed, self._reach, self._suspected = changed, reach, suspected
        self._sounds: defaultdict[str, dict[str, Sound]] = defaultdict(dict)
        self._suspects: frozenset[str] = frozenset()
        self._nudged_at: dict[str, float] = {}
        self._tasks: dict[str, tuple[Target, asyncio.Task[None]]] = {}
        self._scores: dict[str, Probed] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def results(self) -> Mapping[str, Probed]:
        """What is known now, by the container's id."""
        with self._lock:
            return dict(self._scores)

    def suspects(self) -> frozenset[str]:
        """The hosts to which the way is suspected (see `paths`): the last verdicts of what is there stand."""
        return self._suspects

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
        self._nudges: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
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
                self._sounds[target.host].pop(target.id, None)
                with self._lock:
                    self._scores.pop(target.id, None)
        for host in self._suspects:  # what is gone tells nothing of the way any more
            self._judge(host, asyncio.get_running_loop().time())
        for target in wanted.values():
            if target.id not in self._tasks:
                self._tasks[target.id] = target, asyncio.get_running_loop().create_task(self._follow(target))

    async def _follow(self, target: Target) -> None:
        """Probe one container for as long as it is wanted."""
        clock = asyncio.get_running_loop().time
        score = Score(clock(), clock(), probed=replace(target.last, run=target.started_at))
        delay, nudged = _FIRST_DELAY, False
        while True:
            async with self._shares[target.ref.project], self._free:
                error, silent = await self._probe(target)
            first = self._listened(target, score, clock(), silent=silent)
            before = score
            if not (silent and (first or nudged or target.host in self._suspects)):
                score = score.after(error, target.health, clock(), datetime.now(UTC))
            with self._lock:
                self._scores[target.id] = score.probed
            if before.probed.health != score.probed.health:
                self._changed(target.ref)
            delay = min(delay * 1.5, target.health.interval)
            pause = delay if score.probed.health == "starting" else target.health.interval
            nudged = await self._pause(target, min(pause, target.health.timeout + _TOGETHER) if first else pause)

    def _listened(self, target: Target, score: Score, clock: float, *, silent: bool) -> bool:
        """Note whether a container that has answered before did so again. True for the first silence of one that is
        not alone on its host: it counts for nothing before the others were asked, which is done at once."""
        sounds = self._sounds[target.host]
        known = sounds.get(target.id)
        if known is None and score.probed.health != "healthy" and (silent or score.probed.health == "starting"):
            return False
        begun = clock if known is None or known.silent_since is None else known.silent_since
        period = target.health.interval + target.health.timeout
        sounds[target.id] = Sound(target.ref.id, begun if silent else None, period)
        self._judge(target.host, clock)
        first = silent and (known is None or known.silent_since is None) and len(sounds) >= FEWEST
        if first and clock - self._nudged_at.get(target.host, float("-inf")) >= _NUDGES:
            self._nudged_at[target.host] = clock
            self._nudges[target.host].set()
            self._nudges[target.host].clear()
        return first

    def _judge(self, host: str, clock: float) -> None:
        suspect = is_suspect(self._sounds[host].values(), clock)
        if suspect != (host in self._suspects):
            self._suspects = self._suspects | {host} if suspect else self._suspects - {host}
            self._suspected()

    async def _pause(self, target: Target, seconds: float) -> bool:
        """Until the next probe is due; whether that is sooner since another container of the host is silent."""
        try:
            await asyncio.wait_for(self._nudges[target.host].wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _probe(self, target: Target) -> tuple[str | None, bool]:
        """None for success, else what was tried and what went wrong; and whether there was no answer at all."""
        http, place = target.health.http, _place(target.address, target.port)
        url = f"http://{place}/{http.path.removeprefix('/')}" if http is not None else ""
        silent = False
        try:
            async with asyncio.timeout(target.health.timeout):
                said = await self._ask(target, url)
        except TimeoutError:
            said, silent = f"no answer within {target.health.timeout:g} s", http is None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, Denied) as error:
            said, silent = str(error) or type(error).__name__, is_silence(error)
            if isinstance(error, httpx.ConnectTimeout):
                said = f"no connection within {target.health.timeout:g} s"
        except Exception as error:  # noqa: BLE001  # else nobody probed it any more, and its last verdict stood for good
            _log.exception("probe failed", target=target.id)
            said = type(error).__name__
        return said and f"{f'GET {url}' if url else f'TCP connection to {place}'}: {said}", silent

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
        # That nobody takes the connection is told from that nobody answers on it.
        limits = httpx.Timeout(target.health.timeout, connect=target.health.timeout * _CONNECTING)
        async with self._client.stream("GET", there, headers=headers, timeout=limits) as answer:
            return None if 200 <= answer.status_code < 400 else f"HTTP status {answer.status_code}"

    async def _connect(self, target: Target, address: str) -> str | None:
        _, writer = await asyncio.open_connection(address, target.port)
        writer.close()
        return None


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
