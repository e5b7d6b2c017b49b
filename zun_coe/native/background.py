"""What goes on besides the steps of workloads: images on their way, and delays until something is tried again."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from zun_coe.adapters import Wait
from zun_coe.adapters.delays import doubled
from zun_coe.errors import BackendError, Denied, Invalid
from zun_coe.model import Instance, Workload, WorkloadRef
from zun_coe.native.jobs import Jobs
from zun_coe.native.runtime import Runtime

FIRST_RETRY = 5.0
LAST_RETRY = 300.0
# So much is remembered at most; what was forgotten is only asked for, or done, once more.
_MANY = 5000


@dataclass(frozen=True)
class Demand:
    """An image that a template of a workload needs on a host."""

    host: str
    image: str
    policy: str
    ref: WorkloadRef
    hash: str
    auth: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """One pull at a time for each host, image, project and login."""
        login = hashlib.sha256(msgspec.json.encode(self.auth, order="sorted")).hexdigest() if self.auth else ""
        return self.host, self.image, self.ref.project, login

    @property
    def who(self) -> tuple[str, str]:
        """Whose demand it is; another template of the same workload asks anew."""
        return self.ref.id, self.hash


@dataclass
class _Record:
    waiting: dict[tuple[str, str], WorkloadRef] = field(default_factory=dict)
    served: dict[tuple[str, str], None] = field(default_factory=dict)
    tried: set[tuple[str, str]] = field(default_factory=set)
    failures: int = 0
    error: BackendError | None = None
    retry_at: float = 0.0


class Pulls:
    """Images on their way to hosts, and how it went. In memory: after a start of the process a pull is
    simply asked for again. `always`: whatever the policy of a template is, the registry is asked with the login
    of the project, so that an image which lies on a host serves only those who may pull it. Thread-safe."""

    def __init__(
        self,
        hint: Callable[[WorkloadRef], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        always: bool = False,
    ) -> None:
        self._hint, self._clock, self._always = hint, clock, always
        self._jobs = Jobs(limit=64, each=8)
        self._records: dict[tuple[str, str, str, str], _Record] = {}
        self._lock = threading.Lock()

    def want(self, demand: Demand, runtime: Runtime) -> Wait | None:
        """None when the image is there as the policy asks, else what is being waited for: the pull, or the
        time to try again after one that failed. Starts the pull; does not wait for it. Raises `Invalid`
        when it is not there and is never to be pulled."""
        policy = "always" if self._always else demand.policy
        with self._lock:
            if policy == "always" and demand.who in self._record(demand).served:
                return None
        if policy != "always" and runtime.has_image(demand.image):
            return None
        if policy == "never":
            message = f"The image {demand.image} is not on {demand.host}, and pull is never."
            raise Invalid(message, "ImageNotFound", {"image": demand.image, "host": demand.host})
        return self._pull(demand, runtime)

    def forget(self, demand: Demand) -> None:
        """The image is not there although it was pulled: pull it again when it is wanted next."""
        with self._lock:
            self._record(demand).served.pop(demand.who, None)

    def _pull(self, demand: Demand, runtime: Runtime) -> Wait:
        with self._lock:
            record = self._record(demand)
            left = record.retry_at - self._clock()
            if record.error is not None and left > 0 and demand.who in record.tried:
                return _in_vain(demand, record.error, left)
            failed = record.error if demand.who in record.tried else None
            if demand.who not in record.tried:
                record.failures = 0
            record.tried.add(demand.who)
            record.waiting[demand.who] = demand.ref
        self._jobs.start(
            demand.key,
            demand.ref.project,
            lambda: runtime.pull(demand.image, demand.auth),
            lambda error: self._ended(demand, error),
        )
        if failed is not None:  # until it has gone well, what went wrong is what there is to tell
            return _in_vain(demand, failed, FIRST_RETRY)
        return Wait(FIRST_RETRY, "Pulling", f"Pulling {demand.image} on {demand.host}.")

    def _ended(self, demand: Demand, error: BackendError | None) -> None:
        with self._lock:
            record = self._record(demand)
            waiting, record.waiting = record.waiting, {}
            record.error = error
            if error is None:
                record.failures, record.tried = 0, set()
                record.served |= dict.fromkeys(waiting)
                _limit(record.served)
            else:
                delay = doubled(FIRST_RETRY, record.failures, LAST_RETRY)
                record.retry_at, record.failures = self._clock() + delay, record.failures + 1
        for ref in waiting.values():
            self._hint(ref)

    def _record(self, demand: Demand) -> _Record:
        """What is known of a demand's image. Those asked for last are kept, and those that somebody waits for."""
        record = self._records[demand.key] = self._records.pop(demand.key, _Record())
        oldest = next(iter(self._records))
        if len(self._records) > _MANY and not self._records[oldest].waiting:
            del self._records[oldest]
        return record


def _limit(known: dict[Any, Any]) -> None:
    """Forget the oldest of what is too much."""
    while len(known) > _MANY:
        del known[next(iter(known))]


def _in_vain(demand: Demand, error: BackendError, seconds: float) -> Wait:
    """Waiting for the next attempt after one that failed. Where the registry said that there is no such image, or
    that it may not be had, nothing can come of the template, although it is tried again."""
    definite = isinstance(error, Invalid | Denied)
    return Wait(seconds, error.reason, error.message, _evidence(demand, error), refused=definite)


def _evidence(demand: Demand, error: BackendError) -> dict[str, Any]:
    return {"image": demand.image, "host": demand.host, **error.evidence}


@dataclass(frozen=True)
class _Relapse:
    count: int = 0
    not_before: float = 0.0


class Relapses:
    """When an unhealthy instance may be replaced, or one that has ended be started: at once the first time, then
    after delays that double from 1 second to 5 minutes, until it has been well for 10 minutes. In memory.
    Thread-safe."""

    WELL = 600.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Hashable, _Relapse] = {}

    def due(self, key: Hashable) -> float:
        """In how many seconds what has this key may be replaced; 0 or less: now."""
        return self._known.get(key, _Relapse()).not_before - self._clock()

    def replaced(self, key: Hashable) -> None:
        """It was replaced just now."""
        with self._lock:
            count = self._known.pop(key, _Relapse()).count
            self._known[key] = _Relapse(count + 1, self._clock() + doubled(1.0, count, LAST_RETRY))
            _limit(self._known)

    def well(self, key: Hashable, seconds: float) -> None:
        """It has been healthy for so long."""
        if seconds >= self.WELL:
            self.forget(key)

    def forget(self, key: Hashable) -> None:
        """Next time it may be done at once again. Idempotent."""
        with self._lock:
            self._known.pop(key, None)


class Ailments:
    """What was wrong with the health of an app's replicas when one was last replaced for it. The one that takes its
    place has to begin first, and until all are well that is still why they are not. In memory. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, Instance] = {}

    def learn(self, workload: Workload, seen: Sequence[Instance]) -> None:
        """See what is wrong now. What was wrong with another template is no matter any more."""
        known = self._known.get(workload.ref.id)
        unhealthy = next((i for i in seen if i.health == "unhealthy" and i.reason and i.hash == workload.hash), None)
        if unhealthy is not None:
            self._known[workload.ref.id] = unhealthy
        elif known is not None and (known.hash != workload.hash or _well(seen) or not workload.wanted):
            self.forget(workload.ref)

    def of(self, ref: WorkloadRef, seen: Sequence[Instance]) -> Instance | None:
        """The replica that tells what is wrong, None where all that there are are well."""
        return None if _well(seen) else self._known.get(ref.id)

    def forget(self, ref: WorkloadRef) -> None:
        """It is gone."""
        self._known.pop(ref.id, None)


def _well(seen: Sequence[Instance]) -> bool:
    return bool(seen) and all(i.ready for i in seen)
