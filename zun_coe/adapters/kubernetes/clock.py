"""The clock of an API server, which may be another than the gateway's, as every answer tells it (RFC 9110, "Date").

Nodes are taken to have the same: a cluster whose own clocks differ does not work well by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from zun_coe.adapters.clocks import ahead, steadied

EVERY = 10.0
"""For so many seconds a measurement is good enough."""
SAME = timedelta(seconds=5)
"""A difference up to this is none: the clocks of several servers behind one endpoint differ, too."""
_WRONG = timedelta(days=3650)
_SECOND = timedelta(seconds=1)


class Clock:
    """`ahead`: by how much it is ahead of the gateway's. Thread-safe."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._measured = float("-inf")

    @property
    def now(self) -> datetime:
        """What it shows."""
        return datetime.now(UTC) + self.ahead

    def hear(self, date: str | None, asked: datetime) -> None:
        """An answer has come just now, with this date, to what was asked then."""
        if time.monotonic() - self._measured < EVERY:
            return
        theirs = _moment(date)
        if theirs is None:
            return
        measured = ahead(theirs, asked, datetime.now(UTC), _SECOND)
        if abs(measured) < _WRONG:
            self.ahead = steadied(self.ahead, measured, SAME)
        self._measured = time.monotonic()


def _moment(date: str | None) -> datetime | None:
    try:
        told = parsedate_to_datetime(date or "")
    except (ValueError, OverflowError):
        return None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told
