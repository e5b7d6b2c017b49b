"""Whether a host answers: which calls tell, since when it does not, and for how long it is left alone then."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from zun_coe.errors import BackendError, Denied, Unavailable

# How long a host that hung is left alone, so that not every step waits for it.
HUNG_FOR = 5.0
# A call that took so long hung.
_LONG = 1.0
_TELLING = frozenset({"BackendUnreachable", "PermissionDenied"})


def tells_of_host(error: BackendError, *, deciding: bool) -> bool:
    """Whether a failed call says that the host is unreachable. `deciding`: the call asked for the list of what is
    there, or who answers. Any other one may take too long because of what it asks for (a container to be created on
    a busy host, one that the engine holds on to), or be denied to one tenant; of those only a connection that could
    not be made counts. Pure."""
    if not isinstance(error, Unavailable | Denied) or error.reason not in _TELLING:
        return False
    return bool(error.evidence.get("connecting")) or (deciding and error.evidence.get("call") != "inspect")


class Reachability:
    """Whether one host answers. `turned` is called whenever that is otherwise than it was. Thread-safe."""

    def __init__(
        self,
        turned: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._turned, self._clock, self._now = turned, clock, now
        self._since, self._last = now(), clock()
        self._trouble: BackendError | None = None
        self._distrust: str | None = None
        self._hung_until = 0.0
        self.heard = False

    @property
    def reachable(self) -> bool:
        """Whether it answered when it was last asked (and was asked)."""
        return self.heard and self._trouble is None and self._distrust is None

    @property
    def trouble(self) -> BackendError | None:
        """Why it did not answer when it was last asked, or is not to be asked."""
        return Unavailable(self._distrust, "BackendChanged") if self._distrust is not None else self._trouble

    @property
    def since(self) -> datetime | None:
        """Since when it has been unreachable; None while it is not."""
        return None if self.reachable else self._since

    def recall(self, since: datetime) -> None:
        """It had not answered to a former process since then. To be called before it is asked."""
        self._since = since
        self._last = self._clock() - max(0.0, (self._now() - since).total_seconds())

    def silent_for(self) -> float:
        """Seconds since it last answered, also to a former process of the gateway as far as that told."""
        return self._clock() - self._last

    def distrust(self, why: str | None) -> None:
        """Another engine answers than it should, so that nothing is asked of it but who it is; None: no more."""
        was, self._distrust = self._distrust, why
        if (was is None) != (why is None):
            self._since = self._now()
            self._turned()

    def guard(self, *, identifies: bool = False) -> None:
        """Raises `Unavailable` while the host is known to hang or, unless the call only `identifies` it, is
        distrusted."""
        if self._distrust is not None and not identifies:
            raise Unavailable(self._distrust, "BackendChanged")
        if self._trouble is not None and self._clock() < self._hung_until:
            raise Unavailable(self._trouble.message, self._trouble.reason, self._trouble.evidence)

    def answered(self) -> None:
        """It has answered who it is, or what is there."""
        was, self._trouble = self._trouble, None
        if self._distrust is None:
            self.heard, self._last = True, self._clock()
        if was is not None:
            self._turned()

    def failed(self, error: BackendError, took: float) -> None:
        """It could not be asked; `took`: for so many seconds the call had waited."""
        was, self._trouble = self._trouble, error
        if was is None:
            self._since = self._now() if self.heard else self._since
            self._turned()
        if took >= _LONG:
            self._hung_until = self._clock() + HUNG_FOR
