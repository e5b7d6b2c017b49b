"""The messages of etcd's JSON gateway that the store uses, as types.

The gateway ignores fields that it does not know and compares with 0 instead, so that requests are made
from these types and never by hand. Bytes are base64 on the wire, 64-bit numbers are strings there, and
what is zero, false or empty is left out of an answer."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from zun_coe.model import prepare

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What goes over the wire."""


class Header(Message, frozen=True):
    """What every answer begins with."""

    revision: int = 0


class KeyValue(Message, frozen=True):
    """A key as it is stored. A deletion has the key and `mod_revision` only."""

    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0


class Range(Message, frozen=True):
    """Read one key, or all from `key` up to `range_end`."""

    key: bytes
    range_end: bytes | None = None
    limit: str | None = None
    revision: str | None = None
    keys_only: bool = False


class RangeAnswer(Message, frozen=True):
    """What was read."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False


class PutKey(Message, frozen=True):
    """Set one key."""

    key: bytes
    value: bytes
    lease: str | None = None


class DeleteRange(Message, frozen=True):
    """Delete one key."""

    key: bytes


class Compare(Message, frozen=True):
    """One condition: `target` names the one of the last four fields that is compared."""

    key: bytes
    target: str
    result: str
    create_revision: str | None = None
    mod_revision: str | None = None
    version: str | None = None
    lease: str | None = None


class Step(Message, frozen=True):
    """One operation of a transaction."""

    request_range: Range | None = None
    request_put: PutKey | None = None
    request_delete_range: DeleteRange | None = None


class Transaction(Message, frozen=True):
    """What is done if all comparisons hold, and if not."""

    compare: tuple[Compare, ...]
    success: tuple[Step, ...]
    failure: tuple[Step, ...]


class StepAnswer(Message, frozen=True):
    """The answer to one operation; those to puts and deletions are of no use."""

    response_range: RangeAnswer | None = None


class TransactionAnswer(Message, frozen=True):
    """Which of the two was done."""

    header: Header
    succeeded: bool = False
    responses: tuple[StepAnswer, ...] = ()


class Compaction(Message, frozen=True):
    """Forget what is older than a revision."""

    revision: str


class LeaseGrant(Message, frozen=True):
    """A new lease of whole seconds."""

    ttl: str = msgspec.field(name="TTL")


class LeaseName(Message, frozen=True):
    """A lease to renew or to end."""

    id: str = msgspec.field(name="ID")


class LeaseAnswer(Message, frozen=True):
    """A lease, and the time that it really has; 0 when it is gone."""

    id: int = msgspec.field(name="ID", default=0)
    ttl: int = msgspec.field(name="TTL", default=0)


class KeepAliveAnswer(Message, frozen=True):
    """One message of the stream of renewals."""

    result: LeaseAnswer = LeaseAnswer()


class Authenticate(Message, frozen=True):
    """A user and the password."""

    name: str
    password: str


class AuthenticateAnswer(Message, frozen=True):
    """What is to be sent with each request from now on."""

    token: str = ""


class Nothing(Message, frozen=True):
    """An answer that is not looked at."""


class WatchCreate(Message, frozen=True):
    """Watch a range of keys from a revision on."""

    key: bytes
    range_end: bytes
    start_revision: str
    fragment: bool


class WatchRequest(Message, frozen=True):
    """The only message that is sent on a watch."""

    create_request: WatchCreate


class WatchEvent(Message, frozen=True):
    """A key that was put, or deleted (`type` DELETE)."""

    kv: KeyValue
    type: str = "PUT"


class WatchResult(Message, frozen=True):
    """A part of the stream; with `fragment` the next one belongs to the same revision."""

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: tuple[WatchEvent, ...] = ()


class StreamFault(Message, frozen=True):
    """Why a stream ended, or was refused."""

    message: str = ""
    code: int = msgspec.field(default=2, name="grpc_code")


class WatchLine(Message, frozen=True):
    """One line of the stream."""

    result: WatchResult | None = None
    error: StreamFault | None = None


class Fault(Message, frozen=True):
    """An answer that is an error: of a stream within `error`, else outside. In etcd 3.4 that is a string as well.
    The HTTP status differs between versions; message and code do not."""

    message: str = ""
    code: int = 2
    error: StreamFault | str | None = None

    @property
    def of_stream(self) -> StreamFault | None:
        """What is told in the way of streams."""
        return self.error if isinstance(self.error, StreamFault) else None


def encode(message: Message) -> bytes:
    """A request's body."""
    return msgspec.json.encode(message)


def decode(body: bytes, type_: type[T]) -> T:
    """An answer. Raises `msgspec.MsgspecError` for what is none."""
    return msgspec.json.decode(body, type=type_, strict=False)


prepare(Message)
