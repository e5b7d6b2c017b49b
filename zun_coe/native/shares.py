"""Threads that projects share: none keeps the others waiting, however much it has to do at once."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


class SharedPool:
    """An executor of which each project uses `each` threads at most; what it has beyond that waits for threads of
    its own only. With more threads than `each` a project whose calls all hang leaves some to others.
    Thread-safe."""

    def __init__(self, executor: Executor, each: int) -> None:
        self._executor, self._each = executor, each
        self._lock = Lock()
        self._running: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)

    def submit(self, project: str, call: Callable[[], T]) -> Future[T]:
        """Have the call made for a project. Never blocks. A future that is cancelled before its turn is not run."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                _complete(future, call)
            finally:
                self._next(project)

        with self._lock:
            waits = self._running[project] >= self._each
            if waits:
                self._waiting[project].append(run)
            else:
                self._running[project] += 1
        if not waits:
            self._executor.submit(run)
        return future

    def shutdown(self) -> None:
        """Start nothing any more; calls under way end by themselves. Idempotent."""
        with self._lock:
            self._waiting.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _next(self, project: str) -> None:
        """A thread of the project is free: its longest waiting call is next, if there is one."""
        with self._lock:
            waiting = self._waiting.get(project)
            if waiting:
                following = waiting.popleft()
            else:
                self._waiting.pop(project, None)
                self._running[project] -= 1
                self._running += Counter()  # without those that have nothing
                return
        try:
            self._executor.submit(following)
        except RuntimeError:  # it was shut down: nothing follows
            return


def _complete(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  # as executors do: it is for whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(result)
