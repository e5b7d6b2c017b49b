"""One watch of etcd, read from its JSON gateway.

etcd says nothing while nothing happens, and neither does a member that hangs. So a stream that was silent
for a while is given up and opened again where it was: what answers is alive. The stream is lines of JSON,
which the chunks of HTTP know nothing of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import urllib3
from urllib3.exceptions import ReadTimeoutError

from zun_coe.errors import Compacted, OutcomeUnknown
from zun_coe.store.etcd import wire
from zun_coe.store.etcd.client import FutureRevision, fault, translated

SILENCE = 0.9
"""Seconds without a message after which a stream is opened again."""
HEADERS = {
    "Content-Type": "application/json",
    "Grpc-Metadata-hasleader": "true",  # ends the stream when the member has lost the others
}

Events = tuple[int, list[wire.WatchEvent]]
"""A revision, and everything it did to the keys that are watched."""


@dataclass
class Stream:
    """What happens to the keys from `key` up to `end` after `since`, until there is silence.

    `check_kept` raises `Compacted` when a revision that it is given is no longer kept; `headers` tell who asks."""

    pool: urllib3.HTTPConnectionPool
    key: bytes
    end: bytes
    since: int
    check_kept: Callable[[int], None]
    headers: Mapping[str, str] = field(default_factory=dict)
    _behind: bool = field(default=False, init=False)

    def __iter__(self) -> Iterator[Events]:
        """First (`since`, nothing), when the stream is there; then whole revisions. It ends after a silence;
        raises `Compacted`, or `StoreUnavailable` or `OutcomeUnknown` when the connection or the member fails."""
        with translated(self.pool):
            response = self._open()
            try:
                yield from self._revisions(response)
            finally:
                response.close()

    def _open(self) -> urllib3.BaseHTTPResponse:
        create = wire.WatchCreate(key=self.key, range_end=self.end, start_revision=str(self.since + 1), fragment=True)
        response = self.pool.urlopen(
            "POST",
            "/v3/watch",
            body=wire.encode(wire.WatchRequest(create_request=create)),
            headers={**HEADERS, **self.headers},
            timeout=urllib3.Timeout(connect=SILENCE, read=SILENCE),
            redirect=False,
            preload_content=False,
        )
        if response.status != 200:
            with response:
                raise fault(response.read())
        return response

    def _revisions(self, response: urllib3.BaseHTTPResponse) -> Iterator[Events]:
        events: list[wire.WatchEvent] = []
        created = False
        try:
            for result in map(_result, _lines(response)):
                if result.created:
                    created = True
                    self._behind = result.header.revision != self.since
                    yield self.since, []
                events += result.events
                if events and not result.fragment:
                    self._check()
                    yield from _by_revision(events)
                    events = []
        except ReadTimeoutError:
            if not created:
                raise
            self._check()
            return
        raise OutcomeUnknown("etcd ended the watch")

    def _check(self) -> None:
        """etcd reports a compaction only for what is older than the compacted revision, and drops the deletions
        of that one too: a stream that began behind asks, once, if it missed any."""
        if self._behind:
            try:
                self.check_kept(self.since)
            except FutureRevision:
                raise
            except Compacted as error:
                raise Compacted(str(error), self.since + 1) from error
            self._behind = False


def _by_revision(events: list[wire.WatchEvent]) -> Iterator[Events]:
    for revision, group in groupby(events, key=lambda event: event.kv.mod_revision):
        yield revision, list(group)


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    buffer = bytearray()
    for chunk in response.stream(1 << 16):
        buffer += chunk
        *lines, rest = buffer.split(b"\n")
        buffer = rest
        yield from map(bytes, filter(None, lines))


def _result(line: bytes) -> wire.WatchResult:
    message = wire.decode(line, wire.WatchLine)
    if message.result is None:
        raise OutcomeUnknown(f"etcd ended the watch: {message.error.message if message.error else line!r}")
    if message.result.compact_revision:
        raise Compacted("what happened after that revision is no longer kept", message.result.compact_revision)
    if message.result.canceled:
        raise OutcomeUnknown(f"etcd ended the watch: {message.result.cancel_reason}")
    return message.result
