"""Answers of the engine that go on for a while: logs, events, pulls.

Each has a connection of its own and can be closed from another thread while somebody reads it. The
framing and cutting into lines is pure."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from threading import Event as StopEvent
from typing import Any, Literal

import requests

from zun_coe.adapters import LogLine, LogOptions, bodies
from zun_coe.errors import TimedOut, Unavailable
from zun_coe.native.docker.failures import translated
from zun_coe.native.docker.reading import moment

_BLOCK = 1 << 16
_HEADER = 8
# Where the engine cuts long lines.
CUT = 16 * 1024
LONGEST = 1 << 20
"""So many bytes without an end are kept until it comes. What engines tell is far shorter; what a container with a
terminal prints need not have any lines."""
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")

StreamName = Literal["stdout", "stderr"]


class Stream:
    """The bytes of one answer. `closed`: somebody asked for its end; `ended`: there is nothing more to read."""

    def __init__(self, call: str, response: requests.Response) -> None:
        self._call = call
        self._response = response
        self._lock = threading.Lock()
        self._reading = False
        self.closed = False
        self.ended = False

    def blocks(self) -> Iterator[bytes]:
        """What comes, as it comes. Blocks. Raises `Unavailable` when the connection breaks."""
        with self._lock:
            self._reading = not self.closed
        try:
            while not self.closed and (block := self._next()):
                yield block
        finally:
            with self._lock:
                self._reading, self.ended = False, True
            self._response.close()

    def close(self) -> None:
        """End it. Idempotent; from any thread; does not wait for the reader."""
        with self._lock:
            if self.closed or self.ended:
                self.closed = True
                return
            self.closed = True
            self._wake()
            if not self._reading:
                self.ended = True
                self._response.close()

    def _next(self) -> bytes:
        try:
            with translated(self._call):
                return bytes(self._response.raw.read1(_BLOCK))
        except Exception:
            if self.closed:
                return b""  # the connection was taken away under the reader's hands, as asked
            raise

    def _wake(self) -> None:
        try:
            self._response.raw.shutdown()
        except (OSError, ValueError, RuntimeError):
            return  # it came to its end by itself meanwhile


class DockerLog:
    """A container's log as lines (`adapters.LogStream`), without the first `skip`. When it is followed
    it ends with the container's run. To be iterated once."""

    def __init__(self, stream: Stream, instance: str, *, tty: bool, skip: int = 0) -> None:
        self._stream = stream
        self._instance = instance
        self._tty = tty
        self._skip = skip

    def __iter__(self) -> Iterator[LogLine]:
        return islice(self._lines(), self._skip, None)

    def close(self) -> None:
        """End the iteration. Idempotent; from any thread."""
        self._stream.close()

    def _lines(self) -> Iterator[LogLine]:
        decoder = Terminal(self._instance) if self._tty else Multiplexed(self._instance)
        for block in self._stream.blocks():
            yield from decoder.feed(block)
        if not self._stream.closed:
            yield from decoder.end()


class Multiplexed:
    """Frames of a container without a terminal: a header of 8 bytes (stream, length), then one message
    of the log with its time in front. A message without a line end is part of a line that goes on."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._buffer = bytearray()

    def feed(self, block: bytes) -> Iterator[LogLine]:
        """The lines that are whole with this block."""
        self._buffer += block
        while len(self._buffer) >= _HEADER:
            end = _HEADER + _kept(int.from_bytes(self._buffer[4:_HEADER], "big"), "a frame of a log")
            if len(self._buffer) < end:
                return
            stream: StreamName = "stderr" if self._buffer[0] == 2 else "stdout"
            message = bytes(self._buffer[_HEADER:end])
            del self._buffer[:end]
            if message:
                yield _line(self._instance, stream, message)

    def end(self) -> Iterator[LogLine]:
        """Nothing: a frame that was cut off tells of a connection that was, and that was raised."""
        return iter(())


class Terminal:
    """The raw bytes of a container with a terminal: lines with their time in front. Of a line that was
    cut, each part has a time in front, in the middle of the text."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._buffer = b""

    def feed(self, block: bytes) -> Iterator[LogLine]:
        """The lines that are whole with this block."""
        *lines, self._buffer = (self._buffer + block).split(b"\n")
        for line in lines:
            yield from self._parts(line.removesuffix(b"\r") + b"\n")
        yield from self._overflow()

    def _overflow(self) -> Iterator[LogLine]:
        """The first parts of a line that has no end yet: of one that grows and grows nothing is kept for long."""
        while (cut := _cut_at(self._buffer)) is not None:
            yield _line(self._instance, "stdout", self._buffer[:cut])
            self._buffer = self._buffer[cut:]
        if len(self._buffer) > LONGEST:
            yield _line(self._instance, "stdout", self._buffer)
            self._buffer = b""

    def end(self) -> Iterator[LogLine]:
        """What came last without a line end."""
        if self._buffer:
            yield from self._parts(self._buffer)
        self._buffer = b""

    def _parts(self, line: bytes) -> Iterator[LogLine]:
        while (cut := _cut_at(line)) is not None:
            yield _line(self._instance, "stdout", line[:cut])
            line = line[cut:]
        yield _line(self._instance, "stdout", line)


def _cut_at(line: bytes) -> int | None:
    """Where the engine has cut a line, None where it has not: there the next part begins with its time."""
    stamp = _STAMP.match(line)
    if stamp is None or not _STAMP.match(line, stamp.end() + CUT):
        return None
    return stamp.end() + CUT


def _kept(size: int, what: str) -> int:
    """The size of something that is kept until it is whole. Raises `Unavailable` for what is larger than any is."""
    if size > LONGEST:
        raise Unavailable(f"{what} of the engine has more than {LONGEST} bytes")
    return size


def _line(instance: str, stream: StreamName, message: bytes) -> LogLine:
    at, text = None, message
    if stamp := _STAMP.match(message):
        at, text = _moment(stamp[0]), message[stamp.end() :]
    whole = text.endswith(b"\n")
    return LogLine(instance, stream, at, text[:-1] if whole else text, partial=not whole)


def _moment(stamp: bytes) -> datetime | None:
    return moment(stamp.decode().strip())


def log_params(options: LogOptions) -> dict[str, Any]:
    """What to ask the engine for."""
    params: dict[str, Any] = {
        "stdout": int(options.stream != "stderr"),
        "stderr": int(options.stream != "stdout"),
        "timestamps": 1,
        "follow": int(options.follow),
        "tail": "all" if options.tail is None else str(options.tail),
    }
    if options.since is not None:
        params["since"] = f"{int(options.since.timestamp())}.{options.since.microsecond:06d}000"
    return params


def tail_start(lines: Iterable[LogLine], tail: int) -> tuple[datetime | None, int]:
    """Where the last `tail` lines begin, in the order of their times: a time, and how many lines before them are of
    that very time. Of the lines none is kept: a log may be long."""
    last: deque[datetime | None] = deque()
    before: tuple[datetime | None, int] | None = None
    for line in lines:
        last.append(line.at)
        if len(last) > tail:
            gone = last.popleft()
            before = (gone, before[1] + 1 if before and before[0] == gone else 1)
    if before is None:
        return None, 0
    return last[0], before[1] if before[0] == last[0] else 0


def in_time(lines: Iterable[LogLine], seconds: float) -> Iterator[LogLine]:
    """The lines. Raises `TimedOut` where they have not come to their end after so many seconds."""
    until = time.monotonic() + seconds
    for line in lines:
        yield line
        if time.monotonic() > until:
            raise TimedOut(f"the engine told of a log for longer than {seconds:g} seconds", evidence={"call": "logs"})


def objects(stream: Stream) -> Iterator[Mapping[str, Any]]:
    """JSON objects, one a line, as the engine tells of events and pulls."""
    for line in bodies.lines(stream.blocks(), LONGEST, "a line of the engine", "stream"):
        if line.strip() and not stream.closed:
            yield _object(line)


def _object(line: bytes) -> Mapping[str, Any]:
    with translated("stream"):
        told: dict[str, Any] = json.loads(line)
    return told


def closing(stream: Stream, stop: StopEvent) -> None:
    """Have the stream closed within half a second of `stop` being set; a thread does it, which ends with
    the stream."""

    def watch() -> None:
        while not (stream.closed or stream.ended):
            if stop.wait(0.5):
                stream.close()

    threading.Thread(target=watch, name="docker-events-stop", daemon=True).start()


def until_dropped(events: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The events until the connection ends, in whichever way."""
    try:
        yield from events
    except Unavailable:
        return
