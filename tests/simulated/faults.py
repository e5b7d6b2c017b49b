"""What goes wrong on the way to a simulated cluster: told beforehand for a test, or by chance with a seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

from zun_coe.errors import BackendError, TimedOut, Unavailable


class Faults:
    """Latencies, failures, hangs, and hints that get lost. Thread-safe. Change what you like at any time.

    `latency`: the least and the most seconds that a call takes. `rates`: how likely a call fails with
    each error before it did anything. `lost_answers`: how likely a call fails with `TimedOut` after it
    did its work. `dropped`, `repeated`: how likely a hint is. `away`: nobody can be reached.
    `calls` counts the calls of each name."""

    def __init__(self, seed: int = 0) -> None:
        self.latency = (0.0, 0.0)
        self.rates: dict[type[BackendError], float] = {}
        self.lost_answers = 0.0
        self.dropped = 0.0
        self.repeated = 0.0
        self.away = False
        self.calls: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = Lock()
        self._before: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self._after: defaultdict[str, deque[Exception]] = defaultdict(deque)
        self._flowing = Event()
        self._flowing.set()

    def fail_next(self, call: str, error: Exception | None = None, times: int = 1, *, after: bool = False) -> None:
        """The next calls of this name (describe, observe, apply, remove, logs, …) fail; `after`: once they
        did their work, so that only the answer is lost."""
        told = self._after if after else self._before
        told[call].extend([error or Unavailable("a fault that the test asked for")] * times)

    def hang(self) -> None:
        """From now on no call comes back before its deadline, or `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        """End `hang`; calls that wait go on."""
        self._flowing.set()

    @contextmanager
    def around(self, call: str, timeout: float) -> Iterator[None]:
        """A call that takes `timeout` seconds at most."""
        self.calls[call] += 1
        Event().wait(min(self._draw(*self.latency), timeout))
        if not self._flowing.wait(timeout):
            raise TimedOut(f"{call} did not answer within {timeout} s")
        if self.away:
            raise Unavailable("the simulated cluster is away")
        self._raise_told(self._before, call)
        for error, rate in self.rates.items():
            if self._happens(rate):
                raise error(f"{call} failed by chance")
        yield
        self._raise_told(self._after, call)
        if self._happens(self.lost_answers):
            raise TimedOut(f"the answer of {call} was lost")

    def copies(self) -> int:
        """How often a hint arrives."""
        return 0 if self._happens(self.dropped) else 1 + self._happens(self.repeated)

    def _raise_told(self, told: defaultdict[str, deque[Exception]], call: str) -> None:
        with self._lock:
            error = told[call].popleft() if told[call] else None
        if error is not None:
            raise error

    def _draw(self, low: float, high: float) -> float:
        with self._lock:
            return self._random.uniform(low, high)

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._draw(0, 1) < rate
