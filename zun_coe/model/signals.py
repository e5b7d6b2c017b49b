"""Names of signals, as container runtimes know them. Pure."""

from __future__ import annotations

import re
import signal

# Those for real-time use are named from their first or their last one (Linux has SIGRTMIN to SIGRTMAX, 31 of them
# for programs): SIGRTMIN+3 is how systemd is asked to halt.
_REAL_TIME = re.compile(r"RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?")


def is_signal(name: str) -> bool:
    """Whether this names a signal, such as SIGTERM or SIGRTMIN+3; without SIG it does too."""
    short = name.removeprefix("SIG")
    return f"SIG{short}" in signal.Signals.__members__ or bool(_REAL_TIME.fullmatch(short))
