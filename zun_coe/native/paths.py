"""Whether the way to a host is to blame, and not what runs there, when its containers answer no probes. Pure.

A gateway that has lost a network would otherwise find everything beyond it unhealthy and replace all of it at once,
while the engines say that it runs. An answer of any kind, a refused connection too, shows that the way is well."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from dataclasses import dataclass

import httpx

FEWEST = 2
"""So many containers have to fall silent at least: one tells nothing of the way."""
ALONE = 120.0
"""For how many seconds the way is suspected where all of them are of one workload, which may be what hangs."""
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT})


@dataclass(frozen=True)
class Sound:
    """How a container answers that has answered before. `workload`: whose it is; `silent_since`: of the first of
    its last probes that got no answer, on a clock of seconds, None where the last one got one; `period`: so many
    seconds lie between two answers at most."""

    workload: str
    silent_since: float | None
    period: float


def is_silence(error: BaseException) -> bool:
    """Whether a probe that failed so could not even connect, or find the address. What accepts a connection and says
    nothing is there, and hangs."""
    if isinstance(error, httpx.ConnectTimeout | socket.gaierror):
        return True
    chain = [error, error.__cause__, error.__context__]
    return any(isinstance(cause, OSError) and cause.errno in _NO_WAY for cause in chain)


def is_suspect(sounds: Collection[Sound], clock: float) -> bool:
    """Whether most containers of a host fell silent together."""
    silent = [sound for sound in sounds if sound.silent_since is not None]
    if len(silent) < FEWEST or 2 * len(silent) <= len(sounds):
        return False
    since = [sound.silent_since or 0.0 for sound in silent]
    if max(since) - min(since) > max(sound.period for sound in silent):
        return False
    several = len({sound.workload for sound in silent}) > 1
    return several or clock - min(since) <= ALONE
