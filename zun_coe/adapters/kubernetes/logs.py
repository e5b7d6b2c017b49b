"""What the containers of pods print, as lines.

The server keeps the output of the container that is there and of the one before it, and does not tell stdout
from stderr."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from zun_coe.adapters import LogLine, LogOptions
from zun_coe.adapters.kubernetes import naming, paths, wire
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.streaming import Stream
from zun_coe.errors import Absent, Invalid

CUT = 16 * 1024
"""Bytes of a part of a long line: where runtimes cut them, too."""
# The longest time in front of a line, with nanoseconds and an offset.
_STAMP_ROOM = 40
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?")
_NOTHING_YET = re.compile(r"waiting to start|does not have a host assigned|not available|not found$")


class _Container(wire.Wire, frozen=True, kw_only=True):
    name: str
    tty: bool = False


class _Spec(wire.Wire, frozen=True, kw_only=True):
    containers: tuple[_Container, ...] = ()


class _Pod(wire.Wire, frozen=True, kw_only=True):
    metadata: wire.Metadata = wire.Metadata()
    spec: _Spec = _Spec()
    status: wire.PodStatus = wire.PodStatus()


class PodLogs:
    """The output of one container of a pod (`adapters.LogStream`): of its last run, and of the one before where
    that has printed nothing so far. When it is followed it ends with the container's run. To be iterated once."""

    def __init__(
        self, client: Client, path: str, instance: str, container: str, tty: bool, options: LogOptions
    ) -> None:
        self._client, self._path, self._instance = client, path, instance
        self._container, self._tty, self._options = container, tty, options
        self._lock, self._closed = Lock(), False
        self._stream: Stream | None = None
        self._earlier = False

    def __iter__(self) -> Iterator[LogLine]:
        if self._earlier and self._silent():
            yield from self._read({"previous": "true"})
        yield from self._read({"follow": "true"} if self._options.follow else {})

    def close(self) -> None:
        """End the iteration. Idempotent; from any thread."""
        with self._lock:
            self._closed = True
            if self._stream is not None:
                self._stream.close()

    def look_back(self) -> None:
        """There was a run before the last one."""
        self._earlier = True

    def _silent(self) -> bool:
        return not any(self._blocks({"container": self._container, "tailLines": 1}, patient=False))

    def _read(self, how: dict[str, Any]) -> Iterator[LogLine]:
        decoder, since = Lines(self._instance, tty=self._tty), self._options.since
        params = log_params(self._container, self._options) | how
        for block in self._blocks(params, patient="follow" in how):
            yield from (line for line in decoder.feed(block) if _wanted(line, since))
        if not self._closed:
            yield from (line for line in decoder.end() if _wanted(line, since))

    def _blocks(self, params: dict[str, Any], *, patient: bool) -> Iterator[bytes]:
        stream = self._client.stream(self._path, params, patience=None if patient else self._client.timeout)
        with self._lock:
            self._stream = stream
            if self._closed:
                return
        try:
            yield from stream.blocks()
        except Invalid as error:
            if not _NOTHING_YET.search(str(error)):
                raise


class Lines:
    """Cuts what the server sends into lines: each has its time in front, and of one that the runtime has cut each
    part may have, in the middle of the text (servers before 1.22)."""

    def __init__(self, instance: str, *, tty: bool) -> None:
        self._instance, self._tty = instance, tty
        self._buffer = bytearray()
        self._at: datetime | None = None

    def feed(self, block: bytes) -> Iterator[LogLine]:
        """The lines, or parts of them, that are whole with this block."""
        self._buffer += block
        while len(self._buffer) > _STAMP_ROOM + CUT or b"\n" in self._buffer:
            yield self._next()

    def end(self) -> Iterator[LogLine]:
        """What came last without a line end."""
        if self._buffer:
            yield self._next()

    def _next(self) -> LogLine:
        stamp = _STAMP.match(self._buffer)
        at = _moment(stamp[1]) if stamp else None
        start = stamp.end() if stamp and at else 0
        self._at = at or self._at
        end = self._buffer.find(b"\n", start, start + CUT + 1)
        text = bytes(self._buffer[start : end if end >= 0 else start + CUT])
        del self._buffer[: start + len(text) + (end >= 0)]
        whole = end >= 0
        return LogLine(
            self._instance,
            "stdout",
            self._at,
            text.removesuffix(b"\r") if self._tty and whole else text,
            partial=not whole,
        )


def pod_logs(client: Client, namespace: str, native_id: str, container: str, options: LogOptions) -> PodLogs:
    """The output of a container. Asks for the pod, and for its output when that is read. Raises `Absent` where the
    pod is gone, even if another one has its name, or the container, and `Invalid` where one of stdout and stderr is
    asked for."""
    if options.stream is not None:
        raise Invalid("Kubernetes does not tell stdout from stderr; leave the stream out to get both.")
    pod, uid = naming.pod_of(native_id)
    path = paths.path("Pod", pod, namespace)
    found = client.read(path, _Pod)
    if found.metadata.uid != uid:
        raise Absent(f"This {pod} is gone; another one has its name.")
    spec = next((c for c in found.spec.containers if c.name == container), None)
    if spec is None:
        raise Absent(f"{pod} has no container {container}.")
    logs = PodLogs(client, f"{path}/log", pod, container, spec.tty, options)
    status = next((s for s in found.status.container_statuses if s.name == container), None)
    if status is not None and status.last_state.terminated is not None:
        logs.look_back()
    return logs


def log_params(container: str, options: LogOptions) -> dict[str, Any]:
    """What to ask the server for. Pure. It counts `since` in whole seconds, so that there may be too much."""
    params: dict[str, Any] = {"container": container, "timestamps": "true"}
    if options.tail is not None:
        params["tailLines"] = options.tail
    if options.since is not None:
        params["sinceTime"] = options.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return params


def _moment(stamp: bytes) -> datetime | None:
    """None where it only looks like a time."""
    try:
        return datetime.fromisoformat(stamp.decode()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _wanted(line: LogLine, since: datetime | None) -> bool:
    return since is None or line.at is None or line.at >= since
