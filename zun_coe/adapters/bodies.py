"""Bodies of answers that backends give: bounded in size and in time, since a backend may belong to anybody."""

from __future__ import annotations

import time
from typing import Protocol

from zun_coe.errors import TimedOut, Unavailable

LARGEST = 64 << 20
BLOCK = 1 << 16


class Response(Protocol):
    """An answer whose headers were read (as urllib3 has it)."""

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """What has come, at most so many bytes; nothing at the end. Blocks, for as long as one read may."""

    def close(self) -> None:
        """Give the connection up."""

    def release_conn(self) -> None:
        """Give the connection back."""


def whole(response: Response, call: str, deadline: float, who: str = "the backend") -> bytes:
    """The whole body; the connection can be used again. `deadline`: on the monotonic clock; `who`: who answers.

    Raises `Unavailable` for more than `LARGEST` bytes and `TimedOut` after the deadline, as well as what the
    response raises. The connection is closed then."""
    parts, size = [], 0
    try:
        while block := response.read1(BLOCK, decode_content=True):
            parts.append(block)
            size += len(block)
            if size > LARGEST:
                message = f"{who}'s answer has more than {LARGEST >> 20} MiB"
                raise Unavailable(message, "Error", {"call": call, "message": message})
            if time.monotonic() > deadline:
                raise TimedOut(f"{who} did not answer in time", evidence={"call": call})
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(parts)
