"""Looks at containers that the engine has listed: several at once, as few as possible, and never for long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import replace
from typing import Any

from zun_coe.errors import Absent, Unavailable
from zun_coe.native.docker import reading
from zun_coe.native.docker.ends import Ends, ended
from zun_coe.native.docker.failures import translated
from zun_coe.native.docker.recall import Glance, Recall
from zun_coe.native.runtime import Found

# For so many seconds an engine may keep a container to itself that has ended.
_PATIENCE = 0.02
Look = Callable[[str, Glance, int], Found | None]


class Looks:
    """What `inspect` tells of containers, and what it told before. Thread-safe. `parallelism`: containers that are
    inspected at once. `digest`: what a registry knows an image as, given its id and the reference to it."""

    def __init__(
        self,
        inspect: Callable[[str], Mapping[str, Any]],
        parallelism: int,
        digest: Callable[[str, str], str | None] = lambda id, reference: None,
    ) -> None:
        self._inspect, self._digest = inspect, digest
        self._pool = ThreadPoolExecutor(parallelism, thread_name_prefix="docker-inspect")
        self._waiting = ThreadPoolExecutor(parallelism, thread_name_prefix="docker-waiting")
        self._held: dict[str, Future[Found | None]] = {}
        self._recall = Recall()
        self._ends = Ends()

    @property
    def turn(self) -> int:
        """To be noted before the engine is asked for the list: see `Recall`."""
        return self._recall.turn

    def forget(self, id: str) -> None:
        """The container was changed by us: inspect it next time."""
        self._recall.forget(id)

    def listening(self) -> None:
        """From now on the engine tells what happens; what it told before may be over."""
        self._ends.clear()

    def heard(self, event: Mapping[str, Any]) -> None:
        """The engine has told this of a container."""
        self._ends.heard(event)

    def at(
        self, listed: Mapping[str, Glance], labels: Mapping[str, str], turn: int, *, exact: bool
    ) -> dict[str, Found]:
        """What there is of those listed, which are all that have these labels; without those that are gone
        meanwhile. `exact` False: those of which the list shows nothing new are not inspected again."""
        self._recall.drop_gone(labels, listed)
        known = {} if exact else {id: f for id, g in listed.items() if (f := self._known(id, g))}
        found = known | self._all({id: g for id, g in listed.items() if id not in known}, turn)
        return {id: found[id] for id in listed if id in found}

    def close(self) -> None:
        """Look no more. Idempotent; does not wait."""
        for pool in (self._pool, self._waiting):
            pool.shutdown(wait=False, cancel_futures=True)

    def _known(self, id: str, seen: Glance) -> Found | None:
        """What is known of it, where neither the list nor an event tells of anything else."""
        return None if self._ends.of(id) else self._recall.recall(id, seen)

    def _all(self, listed: Mapping[str, Glance], turn: int) -> dict[str, Found]:
        """The first in this thread: where it is the only one, to hand it over and wait would take longer."""
        first, others = list(listed.items())[:1], list(listed.items())[1:]
        looks = [self._later(self._pool, self._in_time, id, seen, turn) for id, seen in others]
        try:
            here = [self._in_time(id, seen, turn) for id, seen in first]
            return {found.id: found for found in (*here, *(look.result() for look in looks)) if found}
        finally:
            for look in looks:
                look.cancel()

    def _in_time(self, id: str, seen: Glance, turn: int) -> Found | None:
        """Inspect it. While the engine clears up after a container, or starts it again, it lets nobody do that, for
        seconds where it is busy: after a moment what the list and the events tell has to do."""
        told = ended(self._recall.last(id), seen, self._ends.of(id))
        if told is None:
            return self._one(id, seen, turn)
        look, patience = self._held.get(id), 0.0
        if look is None:
            look, patience = self._later(self._waiting, self._one, id, seen, turn), _PATIENCE
            self._held[id] = look
            look.add_done_callback(lambda _: self._held.pop(id, None))
        try:
            return look.result(patience)
        except Late:
            return told

    def _later(self, pool: ThreadPoolExecutor, look: Look, id: str, seen: Glance, turn: int) -> Future[Found | None]:
        try:
            return pool.submit(look, id, seen, turn)
        except RuntimeError as error:
            raise Unavailable("the connection to the engine is closed") from error

    def _one(self, id: str, seen: Glance, turn: int) -> Found | None:
        end = self._ends.of(id)
        try:
            inspected = self._inspect(id)
        except Absent:
            return None
        self._ends.superseded(id, end)
        with translated("inspect"):
            found = reading.found(inspected)
            image = str(inspected.get("Image") or "")
        if image:
            found = replace(found, digest=self._digest(image, found.image))
        return self._recall.keep(seen, found, turn)
