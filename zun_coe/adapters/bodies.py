"""Bodies of answers that backends give: bounded in size and in time, since a backend may belong to anybody."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
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


def lines(blocks: Iterable[bytes], longest: int, what: str, call: str) -> Iterator[bytes]:
    """What comes in pieces as lines, without their ends; what comes after the last end is a line, too. Takes no longer
    for a line that comes in many pieces. Raises `Unavailable` where one has more than `longest` bytes; `what` it is."""
    rest = bytearray()
    for block in blocks:
        *ended, last = block.split(b"\n")
        for text in ended:
            yield bytes(rest) + text
            rest.clear()
        rest += last
        if len(rest) > longest:
            raise Unavailable(f"{what} has more than {longest} bytes", evidence={"call": call})
    if rest:
        yield bytes(rest)
