"""Log lines as they go out, and what a client may ask of them. Pure.

They are text, a JSON object for each line, or (which ends, so it cannot be followed) one JSON list, for clients that
are generated and know of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from zun_coe.adapters import LogLine, LogOptions
from zun_coe.api.negotiating import accepts, preferred
from zun_coe.api.tailing import Ended, Item, Line
from zun_coe.errors import BackendError, FieldProblem, Malformed
from zun_coe.gateway import LogSources
from zun_coe.model import Instance
from zun_coe.model.evidence import cut, named
from zun_coe.model.value import timestamp

TEXT = "text/plain; charset=utf-8"
NDJSON = "application/x-ndjson"
JSON = "application/json"
Form = Literal["text", "lines", "list"]
_FORMS: Mapping[str, Form] = {"text/plain": "text", NDJSON: "lines", JSON: "list"}
_MEDIA_TYPES: Mapping[Form, str] = {"text": TEXT, "lines": NDJSON, "list": JSON}
LONGEST = 1 << 20
"""Bytes of a line of text that is put together from its pieces; of a longer one each part has its beginning anew."""
HELD = 8 << 20
"""Bytes of all lines that are being put together for one client."""
EPOCH = datetime.fromtimestamp(0, UTC)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Wanted:
    """What was asked for. `merged`: of an app, so that each line of text begins with its container."""

    noun: str
    ref: str
    options: LogOptions
    merged: bool
    timestamps: bool
    form: Form

    @property
    def media_type(self) -> str:
        """The content type of the answer."""
        return _MEDIA_TYPES[self.form]


def wanted_of(noun: str, ref: str, params: Mapping[str, Any], accept: str, now: datetime) -> Wanted:
    """What the parameters ask for. Raises `Malformed` for a time that is none, and for a list to be followed."""
    container = params.get("container")
    options = LogOptions(
        follow=params["follow"],
        tail=params.get("tail"),
        since=since_of(params["since"], now) if "since" in params else None,
        stream=params.get("stream"),
        container=None if container == "main" else container,
    )
    return Wanted(
        noun=noun,
        ref=ref,
        options=options,
        merged=noun == "app",
        timestamps=params["timestamps"],
        form=_form_of(accept, follow=params["follow"]),
    )


def _form_of(accept: str, *, follow: bool) -> Form:
    """What the client would rather have; text where it says nothing that could be had."""
    lasting = [media_type for media_type in _FORMS if not (follow and media_type == JSON)]
    best = preferred(accept, lasting)
    if best is None and follow and accepts(accept, JSON):
        detail = f"a list in JSON has an end; to follow accept {NDJSON} or text/plain"
        raise Malformed(f"/follow: {detail}.", [FieldProblem("/follow", detail)])
    return _FORMS[best or "text/plain"]


def since_of(text: str, now: datetime) -> datetime:
    """A time (RFC 3339), or how long ago: `90`, `90s`, `10m`, `2h`, `1d`."""
    try:
        if "-" in text[1:]:
            return _moment(datetime.fromisoformat(text.upper()))
        unit = _UNITS.get(text[-1])
        return max(EPOCH, now - timedelta(seconds=float(text[:-1]) * unit if unit else float(text)))
    except OverflowError:
        return EPOCH
    except ValueError as error:
        detail = f"{named(text)} is no time; use one such as 2026-03-01T12:00:00Z, or how long ago, such as 10m"
        raise Malformed(f"/since: {detail}.", [FieldProblem("/since", detail)]) from error


def _moment(given: datetime) -> datetime:
    """In UTC, and not before 1970: engines count from then, and nothing was written earlier."""
    try:
        return max(EPOCH, given.astimezone(UTC))
    except OverflowError:
        return EPOCH if given.year == 1 else datetime.max.replace(tzinfo=UTC)


class Writer:
    """Lines as they go out. Engines cut long lines; as text, where each line begins with its container or its time,
    they are put together again, since pieces of others may stand between theirs."""

    def __init__(self, wanted: Wanted, sources: LogSources) -> None:
        self._wanted, self._sources = wanted, sources
        self._written = False
        self._pieces: dict[tuple[str, str], list[bytes]] = {}  # of unfinished lines, by instance and stream
        self._held = 0

    def line(self, instance: Instance, line: LogLine) -> bytes:
        """One line of a container."""
        if self._wanted.form != "text":
            return self._json(self._told(instance, line))
        if not self._wanted.merged and not self._wanted.timestamps:
            return line.text + (b"" if line.partial else b"\n")
        return self._put_together(instance, line)

    def rest(self, instance: Instance) -> bytes:
        """What there is of unfinished lines of an instance that writes no more."""
        return b"".join(self._taken(key) for key in list(self._pieces) if key[0] == instance.native_id)

    def failure(self, instance: Instance, error: BackendError) -> bytes:
        """That a container can't be read, in the place of its lines."""
        if self._wanted.form != "text":
            return self._json({"container": self._name(instance), "error": cut(error.message)})
        return f"[{self._name(instance)} can't be read: {cut(error.message)}]\n".encode()

    def end(self) -> bytes:
        """What belongs behind the last line."""
        if self._wanted.form != "list":
            return b"".join(self._taken(key) for key in list(self._pieces))
        return b"]\n" if self._written else b"[]\n"

    def _put_together(self, instance: Instance, line: LogLine) -> bytes:
        key = (instance.native_id, line.stream)
        pieces = self._pieces.setdefault(key, [])
        pieces.append(line.text if pieces else self._beginning(instance, line) + line.text)
        self._held += len(pieces[-1])
        long = sum(map(len, pieces)) >= LONGEST or self._held >= HELD
        return b"" if line.partial and not long else self._taken(key)

    def _beginning(self, instance: Instance, line: LogLine) -> bytes:
        before = f"{self._name(instance)} " if self._wanted.merged else ""
        if self._wanted.timestamps and line.at is not None:
            before += f"{timestamp(line.at.astimezone(UTC))} "
        return before.encode()

    def _taken(self, key: tuple[str, str]) -> bytes:
        text = b"".join(self._pieces.pop(key))
        self._held -= len(text)
        return text + b"\n"

    def _json(self, told: Mapping[str, Any]) -> bytes:
        text = msgspec.json.encode(told)
        if self._wanted.form == "lines":
            return text + b"\n"
        before, self._written = b",\n" if self._written else b"[", True
        return before + text

    def _told(self, instance: Instance, line: LogLine) -> dict[str, Any]:
        told: dict[str, Any] = {"container": self._name(instance), "stream": line.stream}
        if line.at is not None:
            told["time"] = timestamp(line.at.astimezone(UTC))
        told["text"] = line.text.decode("utf-8", "replace")
        return told | ({"partial": True} if line.partial else {})

    def _name(self, instance: Instance) -> str:
        ref = self._sources.ref
        return f"{ref.name}-{instance.slot}" if ref.noun == "app" else ref.name


def must_be_readable(heads: Sequence[Item]) -> None:
    """Raises the error of the first where not one of them can be read."""
    failed = [head.error for head in heads if isinstance(head, Ended) and head.error is not None]
    if failed and len(failed) == len(heads):
        raise failed[0]


def written(item: Item, writer: Writer) -> bytes:
    """An item as it goes out: nothing for what only tells how a stream goes."""
    if isinstance(item, Line):
        return writer.line(item.instance, item.line)
    if isinstance(item, Ended):
        failure = writer.failure(item.instance, item.error) if item.error is not None else b""
        return writer.rest(item.instance) + failure
    return b""
