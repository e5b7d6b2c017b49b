"""The newest revisions, kept in memory for those who watch."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from zun_coe.store import Batch

KEEP = 256
"""So many revisions are kept; whoever is further behind reads the file."""


class Recent:
    """What the newest revisions changed, each of which has its number. Guarded by the lock of whoever has it."""

    def __init__(self, revision: int) -> None:
        self._before = revision  # the newest revision that is not kept
        self._batches: deque[Batch] = deque()

    def add(self, batches: Sequence[Batch]) -> None:
        """The next revisions, without a gap."""
        self._batches.extend(batches)
        while len(self._batches) > KEEP:
            self._before = self._batches.popleft().revision

    def clear(self, revision: int) -> None:
        """Forget all up to a revision."""
        self._batches.clear()
        self._before = revision

    def after(self, revision: int) -> Sequence[Batch] | None:
        """Everything after a revision; None where that is not kept."""
        if revision < self._before:
            return None
        return list(islice(self._batches, revision - self._before, None))
