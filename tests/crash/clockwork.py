"""A whole gateway process whose engine is turned by hand: no threads of the engine, no waiting, and a time
of its own. The same turns make the same changes in the same order, so that each can be ended in turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.contract.world import CLUSTER, call
from tests.crash.life import Life, MortalAdapter, MortalStore
from tests.simulated import CLUSTERS, KIND, SCHEME, Image, Pace, SimulatedCluster
from tests.simulated.program import FOREVER
from zun_coe import adapters, engine
from zun_coe.config import Settings
from zun_coe.engine.watcher import ClusterRunner
from zun_coe.errors import BackendError
from zun_coe.model import is_settled
from zun_coe.process import Process
from zun_coe.store import Lease
from zun_coe.store.sqlite import SqliteStore

# What one turn of the engine lasts, in seconds of the site's own time.
TURN = 1.0
_MOST_TURNS = 100
_numbers = count(1)


class HandTurned(ClusterRunner):
    """A cluster's runner without threads."""

    now: Any = None

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._reconciler._clock = type(self).now
        self.queue._clock = lambda: type(self).now().timestamp()

    def start(self) -> None:
        """Nothing goes on by itself."""

    def turn(self) -> None:
        """What all of its threads do in a round: look at the cluster, then work off what is due."""
        try:
            self._survey()
        except BackendError as error:
            self._away(error)
        while (key := self.queue.get(timeout=0.0)) is not None:
            try:
                self._settle(key, self._try(key))
            finally:
                self.queue.done(key)


class Here:
    """A thread's work, done by whoever starts it."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...] = (), **_: Any) -> None:
        self.start = partial(target, *args)

    def is_alive(self) -> bool:
        """It has ended, or has not begun."""
        return False

    def join(self, timeout: float | None = None) -> None:
        """There is nothing to wait for."""


class Site:
    """A simulated cluster and a store's file, and the process that has them now. Both outlive it."""

    new_life: type[Life] = Life

    def __init__(self, folder: Path, pace: Pace | None = None) -> None:
        self.folder, self.time = folder, 0.0
        self.name = f"site-{next(_numbers)}"
        self.cluster = SimulatedCluster(pace=pace or Pace(start=1.0, ready=1.0, stop=1.0), clock=lambda: self.time)
        self.cluster.images["broken:1"] = Image(ready=False)
        CLUSTERS[self.name] = self.cluster
        self._began = datetime.now(UTC)
        self.settings = Settings(store=f"sqlite:///{folder / 'state.db'}", lease=600.0, resync=600.0, describe=600.0)
        self.process: Clockwork | None = None
        self.leases: list[Lease] = []

    @property
    def running(self) -> Clockwork:
        """The process that is there."""
        assert self.process is not None
        return self.process

    def now(self) -> datetime:
        """The date at this place."""
        return self._began + timedelta(seconds=self.time)

    def boot(self, life: Life | None = None) -> Clockwork:
        """Start a process. Raises `Killed` where its life ends that early."""
        self.process = Clockwork(self, life or self.new_life())
        self.process.start()
        return self.process

    def drop(self) -> None:
        """The process is gone, without a last word. The leases that it had run out before another starts."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.drop()
        self.leases += process.life.leases
        process.life.leases.clear()

    def register(self) -> None:
        """Register the cluster and reach it."""
        body = {"name": CLUSTER, "kind": KIND, "endpoint": SCHEME + self.name, "public": True}
        self.running.process.gateway.clusters.create(call(), body)
        self.running.turn()

    def close(self) -> None:
        """End everything."""
        self.drop()
        del CLUSTERS[self.name]


class Clockwork:
    """One process at a site."""

    def __init__(self, site: Site, life: Life) -> None:
        self.site, self.life = site, life
        self._store = SqliteStore(site.folder / "state.db")
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The gateway."""
        assert self._process is not None
        return self._process

    @property
    def runners(self) -> list[HandTurned]:
        """What runs the clusters that it has."""
        assert self.process.engine is not None
        return [runner for runner in self.process.engine.runners() if isinstance(runner, HandTurned)]

    def start(self) -> None:
        """Read the store, take a lease, and take the clusters that there are."""
        adapters.kinds()[KIND] = MortalAdapter.of(self.life)  # type: ignore[index]  # for tests it is a dict
        HandTurned.now = staticmethod(self.site.now)
        while self.site.leases:
            self._store.revoke(self.site.leases.pop())
        self._process = Process(self.site.settings, store=MortalStore(self._store, self.life))
        self.process.cache.start()
        assert self.process.engine is not None
        self.process.engine.ownership.beat()
        self.process.engine._rebalance()

    def turn(self) -> None:
        """Let the engine do what is due now, then let time pass."""
        assert self.process.engine is not None
        self.process.engine._rebalance()
        for runner in self.runners:
            runner.turn()
        self.site.time += TURN

    def settle(self) -> None:
        """Turn until everything has come to its end and nothing more is written."""
        for _ in range(_MOST_TURNS):
            before = self.process.cache.revision
            self.turn()
            if self.process.cache.revision == before and self._at_rest():
                return
        pytest.fail(f"it did not settle: {[(r.noun, r.intent.name, r.status.phase) for r in self._all()]}")

    def catch_up(self) -> None:
        """What goes on besides the engine: the lease is renewed, and the copy of the store sees all of it."""
        if self.process.engine is not None:
            self.process.engine.ownership.beat()
        self.process.cache.wait_for(self._store.list("meta/", limit=1).revision)

    def drop(self) -> None:
        """Nothing of it goes on."""
        self.life.dead = True
        if self._process is not None:
            self._process.cache._stop.set()
        self._store.close()
        if self._process is not None:
            self._process.cache.close()

    def _at_rest(self) -> bool:
        found = self._all()
        settled = all(is_settled(r.intent, r.status) for r in found if r.noun in ("app", "container"))
        leaving = any(r.intent.deletion for r in found)
        still = all(group.next_at(self.site.time) == FOREVER for group in self.site.cluster.groups())
        return settled and still and not leaving

    def _all(self) -> list[Any]:
        views = self.process.gateway.views
        nouns = ("app", "container", "volume", "cluster")
        return [resource for noun in nouns for resource in views.ordered(noun, None)]


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory, where there is such a place: what is killed here are processes, not machines."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="zun-", dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@contextmanager
def hand_turned() -> Iterator[None]:
    """Engines that are made meanwhile have runners without threads, and kinds are put back at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "ClusterRunner", HandTurned)
        patch.setattr(engine, "Thread", Here)
        patch.setitem(adapters.kinds(), KIND, MortalAdapter)  # type: ignore[arg-type]  # for tests it is a dict
        yield
