"""Log streams that block, read by threads of their own and handed to the event loop.

One thread reads one instance. It is held back when nobody takes what it has read, and ended when the
client goes: memory is bounded whatever a container writes and however slowly a client reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import Condition, Thread

from zun_coe.adapters import LogLine, LogOptions, LogStream
from zun_coe.api.problems import TooManyStreams
from zun_coe.api.wakeups import Waiter
from zun_coe.errors import BackendError, Unavailable
from zun_coe.gateway import LogSources
from zun_coe.model import Instance

BUFFER = 1 << 20
"""Bytes that are read ahead for one client."""
LEAST = 64 * 1024
"""Bytes that are read ahead of one instance, however many there are."""
_OVERHEAD = 200
"""Bytes that a line takes besides its text."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream of an instance is there; its lines follow."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an instance."""

    instance: Instance
    line: LogLine


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream of an instance has ended, with an error where it could not be read."""

    instance: Instance
    error: BackendError | None = None


Item = Opened | Line | Ended


def size_of(item: Item) -> int:
    """The bytes that an item takes, roughly."""
    return _OVERHEAD + (len(item.line.text) if isinstance(item, Line) else 0)


class Channel:
    """From threads that put to one coroutine that takes. Bounded: `put` blocks while there are `size` bytes in it.
    `waiter` is woken when there is something to take."""

    def __init__(self, waiter: Waiter, size: int = BUFFER) -> None:
        self._waiter, self._size = waiter, size
        self._items: list[Item] = []
        self._held = 0
        self._room = Condition()
        self._closed = False

    def put(self, item: Item) -> bool:
        """Whether anybody still takes. Blocks while there is no room; for reading threads."""
        with self._room:
            self._room.wait_for(lambda: self._closed or self._held < self._size)
            if self._closed:
                return False
            self._items.append(item)
            self._held += size_of(item)
            first = len(self._items) == 1
        if first:
            self._waiter.wake()
        return True

    def take(self) -> list[Item]:
        """Everything that is there by now."""
        with self._room:
            items, self._items, self._held = self._items, [], 0
            self._room.notify_all()
        return items

    async def next(self) -> list[Item]:
        """Everything that is there, as soon as there is anything."""
        while not (items := self.take()):
            await self._waiter.wait(None)
        return items

    def close(self) -> None:
        """Nobody takes any more. Idempotent."""
        with self._room:
            self._closed = True
            self._room.notify_all()


class Places:
    """How many streams may be open at once in this process, and in each project. For the event loop only."""

    def __init__(self, limit: int, per_project: int) -> None:
        self._limit, self._per_project = limit, per_project
        self._taken: Counter[str] = Counter()

    def of(self, project: str) -> Share:
        """The places of a project."""
        return Share(self, project)

    @property
    def most(self) -> int:
        """How many one project may have, if nobody else has any."""
        return min(self._limit, self._per_project)

    def free(self, project: str) -> int:
        """How many are left for a project."""
        return min(self._limit - self._taken.total(), self._per_project - self._taken[project])

    def change(self, project: str, number: int) -> None:
        """So many more (or fewer) of a project are taken."""
        self._taken[project] += number
        if not self._taken[project]:
            del self._taken[project]


class Share:
    """The places of one project. For the event loop only."""

    def __init__(self, places: Places, project: str) -> None:
        self._places, self._project = places, project

    def check(self, number: int) -> None:
        """Raises `TooManyStreams` when there are not so many left."""
        if number > self._places.most:
            told = f"It takes {number} streams, and a project has {self._places.most} at most"
            raise TooManyStreams(f"{told}. Read the logs of one container at a time.")
        if number > self.free:
            raise TooManyStreams("As many streams are open as may be, of this project or of all. Try again later.")

    def take(self, number: int = 1) -> None:
        """Raises `TooManyStreams` when there are not so many left."""
        self.check(number)
        self._places.change(self._project, number)

    @property
    def free(self) -> int:
        """How many are left."""
        return self._places.free(self._project)

    def give(self, number: int = 1) -> None:
        """Give places back."""
        self._places.change(self._project, -number)


class Reader:
    """A thread that reads one instance into a channel."""

    def __init__(self, instance: Instance, sources: LogSources, options: LogOptions, channel: Channel) -> None:
        self.instance, self._sources, self._options, self._channel = instance, sources, options, channel
        self._stream: LogStream | None = None
        self._thread = Thread(target=self._run, name=f"logs-{instance.native_id[:12]}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """End it, also while it waits for a line. To be called after the channel was closed."""
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        error: BackendError | None = None
        try:
            self._read()
        except BackendError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  # whatever it is, the client is told that the lines end here
            error = Unavailable(f"Its log can't be read: {raised}")
        self._channel.put(Ended(self.instance, error))

    def _read(self) -> None:
        stream = self._stream = self._sources.open(self.instance, self._options)
        try:
            if self._channel.put(Opened(self.instance)):
                for line in stream:
                    if not self._channel.put(Line(self.instance, line)):
                        return
        finally:
            stream.close()
