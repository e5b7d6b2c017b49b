"""Ends of containers, as the engine's events tell of them: it tells first, and lets nobody inspect the container
until its network and its files are taken down, and again while it starts it anew."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from zun_coe.model.status import stays_exited
from zun_coe.native.docker.recall import Glance
from zun_coe.native.runtime import Found

_LIMIT = 20_000


@dataclass(frozen=True)
class End:
    """How a run of a container ended, and when. `code`: its exit code, None where the engine did not say.
    `oom_killed`: memory had run out in it."""

    code: int | None
    at: datetime | None
    oom_killed: bool = False


@dataclass(frozen=True)
class _Run:
    """What was told of one run of a container: that memory ran out, that somebody sent a signal, its end."""

    oom: bool = False
    signalled: bool = False
    end: End | None = None


class Ends:
    """The ends that were told of and are not known otherwise yet. Thread-safe and bounded."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._told: OrderedDict[str, _Run] = OrderedDict()

    def heard(self, event: Mapping[str, Any]) -> None:
        """Learn from an event. What somebody ended by a signal is left out: it may stay down whatever its policy is."""
        id, action = str(event.get("id") or ""), event.get("Action")
        with self._lock:
            run = self._told.pop(id, _Run())
            if action not in ("start", "destroy"):
                self._told[id] = _after(run, action, event)
            while len(self._told) > self._limit:
                self._told.popitem(last=False)

    def clear(self) -> None:
        """Events may have been missed: what was told before says nothing any more."""
        with self._lock:
            self._told.clear()

    def of(self, id: str) -> End | None:
        """The end of a container that was told of, and of which nothing later is known."""
        with self._lock:
            return self._told.get(id, _Run()).end

    def superseded(self, id: str, end: End | None) -> None:
        """The container was inspected after this end was told: from now on that counts."""
        with self._lock:
            if end is not None and self._told.get(id, _Run()).end is end:
                del self._told[id]


def ended(before: Found | None, now: Glance, end: End | None) -> Found | None:
    """What a line of the list and an event tell of a container that ended, marked as held; None where neither tells
    of that, or nothing is known from before. A restart is counted when the container is inspected. Pure."""
    state, words = now.facts[:2]
    if before is None or not (state == "restarting" or (state == "running" and end)):
        return None
    listed = re.search(r"\((\d+)\)", words)
    code = int(listed[1]) if listed else end.code if end else None
    stays = state == "running" and stays_exited(before.restart, code)
    finished = end.at if end else before.finished_at
    return replace(
        before,
        state="exited" if stays else "restarting",
        exit_code=code,
        oom_killed=end.oom_killed if end else before.oom_killed,
        finished_at=finished,
        held=True,
    )


def _after(run: _Run, action: object, event: Mapping[str, Any]) -> _Run:
    if action == "oom":
        return replace(run, oom=True)
    if action == "kill":
        return replace(run, signalled=True)
    if action == "die" and not run.signalled:
        return replace(run, end=_end(event, run.oom))
    return run


def _end(event: Mapping[str, Any], oom: bool) -> End:
    code = str(((event.get("Actor") or {}).get("Attributes") or {}).get("exitCode", ""))
    at = event.get("time")
    return End(int(code) if code.isdigit() else None, datetime.fromtimestamp(at, UTC) if at else None, oom)
