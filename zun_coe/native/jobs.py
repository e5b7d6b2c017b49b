"""Slow calls in threads of their own, so that a step of a workload never waits for one, and hears when it has ended."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import structlog

from zun_coe.errors import BackendError, Fenced, Unavailable

_log = structlog.get_logger(__name__)

Ended = Callable[[BackendError | None], None]


@dataclass(frozen=True)
class _Job:
    key: Hashable
    project: str
    call: Callable[[], None]
    ended: Ended


class Jobs:
    """At most one job for each key, `limit` at once and `each` at once of one project, so that no project can keep
    the others waiting. What waits for its turn has no thread, and projects take turns. The threads do not hold up the
    end of the process: what is cut off is found half done and taken up again. Thread-safe."""

    def __init__(self, limit: int, each: int) -> None:
        self._limit, self._each = limit, each
        self._lock = threading.Lock()  # over all of these
        self._known: set[Hashable] = set()
        self._waiting: dict[str, deque[_Job]] = {}
        self._busy: Counter[str] = Counter()
        self._threads = 0

    def start(self, key: Hashable, project: str, call: Callable[[], None], ended: Ended) -> bool:
        """Whether it was accepted: not when one with this key has not ended. `ended` is called in the job's thread,
        with the error or None, once the key is free again. Raises `Unavailable` where the machine has no room for a
        single thread."""
        job = _Job(key, project, call, ended)
        with self._lock:
            if key in self._known:
                return False
            self._known.add(key)
            self._waiting.setdefault(project, deque()).append(job)
            self._hire()
            if not self._threads and key in self._known:
                self._forget(job)
                raise Unavailable("The gateway's machine has no room for another thread.", "Error")
        return True

    def running(self, key: Hashable) -> bool:
        """Whether a job with this key has not ended."""
        with self._lock:
            return key in self._known

    def under_way(self) -> frozenset[Hashable]:
        """The keys of all that has not ended."""
        with self._lock:
            return frozenset(self._known)

    def _hire(self) -> None:
        """Threads for what may run now. Where the machine has no room for more, those that there are see to it."""
        while self._threads < self._limit and (job := self._next()) is not None:
            try:
                threading.Thread(target=self._work, args=(job,), name="job", daemon=True).start()
            except RuntimeError:
                self._waiting.setdefault(job.project, deque()).appendleft(job)
                self._release(job)
                return
            self._threads += 1

    def _next(self) -> _Job | None:
        """The longest waiting job of the next project that may have another one run."""
        project = next((name for name in self._waiting if self._busy[name] < self._each), None)
        if project is None:
            return None
        waiting = self._waiting.pop(project)
        job = waiting.popleft()
        if waiting:
            self._waiting[project] = waiting  # behind all the others
        self._busy[project] += 1
        return job

    def _work(self, job: _Job | None) -> None:
        while job is not None:
            self._carry_out(job)
            with self._lock:
                self._release(job)
                job = self._next()
                if job is None:
                    self._threads -= 1

    def _carry_out(self, job: _Job) -> None:
        error = _outcome(job)
        with self._lock:
            self._known.discard(job.key)
        try:
            job.ended(error)
        except Exception:  # noqa: BLE001  # the thread is there for other jobs, too
            _log.exception("end of a job not heard", key=str(job.key))

    def _release(self, job: _Job) -> None:
        self._busy[job.project] -= 1
        if not self._busy[job.project]:
            del self._busy[job.project]

    def _forget(self, job: _Job) -> None:
        """It is not done after all."""
        self._known.discard(job.key)
        self._waiting[job.project].remove(job)
        if not self._waiting[job.project]:
            del self._waiting[job.project]


def together(calls: Sequence[Callable[[], None]]) -> None:
    """Make some calls at once, the first of them in this thread, and wait for all. Raises what one of them raised. As
    with `Jobs` the threads do not hold up the end of the process."""
    errors: list[BaseException] = []

    def make(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # it is raised where the others are waited for
            errors.append(error)

    threads = [threading.Thread(target=make, args=(call,), name="job", daemon=True) for call in calls[1:]]
    started = []
    for thread, call in zip(threads, calls[1:], strict=True):
        try:
            thread.start()
            started.append(thread)
        except RuntimeError:  # the machine has no room for another one
            make(call)
    for call in calls[:1]:
        make(call)
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]


def _outcome(job: _Job) -> BackendError | None:
    """What the job fails with, None where it goes well."""
    try:
        job.call()
    except BackendError as failure:
        return failure
    except Fenced as failure:  # another process has the cluster now, and sees to it
        return Unavailable(str(failure), "Error")
    except Exception as failure:  # noqa: BLE001  # whatever it is, the key must become free and somebody must hear of it
        _log.exception("job failed", key=str(job.key))
        return Unavailable(f"The gateway itself failed ({type(failure).__name__}); its log says more.", "Error")
    return None
