"""The rules that both stores share, as pure functions: limits, ranges of keys, and who is told what when
conditions fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zun_coe.errors import Fenced, KeyExists, KeyNotFound, RevisionConflict, StoreError
from zun_coe.store import MAX_BYTES, MAX_OPERATIONS, At, Condition, Held, Missing, Operation, Present, Put

_ROOM = MAX_BYTES - 50_000
_MOST = MAX_OPERATIONS - 8


@dataclass(frozen=True, slots=True)
class State:
    """What conditions look at in a key that is there."""

    revision: int
    lease: int | None


def check(conditions: Sequence[Condition], operations: Sequence[Operation]) -> None:
    """Raises `ValueError` for a transaction that one of the stores could not carry."""
    if told := excess(conditions, operations):
        raise ValueError(told)
    written = [operation.key for operation in operations]
    if len(set(written)) < len(written):
        raise ValueError("a transaction writes each key once")
    puts = [operation for operation in operations if isinstance(operation, Put)]
    if any(put.lease is not None and put.lease <= 0 for put in puts):
        raise ValueError("a lease's id is above zero")


def excess(conditions: Sequence[Condition], operations: Sequence[Operation]) -> str | None:
    """What of a transaction is more than one has room for, None where nothing is."""
    if len(conditions) > MAX_OPERATIONS or len(operations) > MAX_OPERATIONS:
        return f"a transaction has at most {MAX_OPERATIONS} conditions and {MAX_OPERATIONS} operations"
    values = sum(len(one.value) for one in operations if isinstance(one, Put))
    keys = sum(len(encoded(one.key)) for one in operations) + 2 * sum(len(encoded(one.key)) for one in conditions)
    if keys + values > MAX_BYTES:
        return f"a transaction has at most {MAX_BYTES} bytes, this one has {keys + values}"
    return None


def packs(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    """The operations, as many at once as a transaction with a few conditions has room for."""
    pack: list[Operation] = []
    room = _ROOM
    for operation in operations:
        size = len(encoded(operation.key)) + (len(operation.value) if isinstance(operation, Put) else 0)
        if pack and (size > room or len(pack) == _MOST):
            yield pack
            pack, room = [], _ROOM
        pack.append(operation)
        room -= size
    if pack:
        yield pack


def encoded(key: str) -> bytes:
    """A key's bytes. Raises `ValueError` for what can't be a key."""
    if not key:
        raise ValueError("a key is not empty")
    return key.encode()


def check_limit(limit: int | None) -> None:
    """Raises `ValueError` for a page without room."""
    if limit is not None and limit < 1:
        raise ValueError("a page has room for at least one record")


def failure(conditions: Sequence[Condition], states: Mapping[str, State]) -> StoreError | None:
    """The error of the first condition that does not hold, where a lost lease comes before all else;
    None when all hold. `states` has the keys that are there."""
    ordered = sorted(conditions, key=lambda condition: not isinstance(condition, Held))
    return next((error for one in ordered if (error := _failure(one, states.get(one.key)))), None)


def _failure(condition: Condition, state: State | None) -> StoreError | None:
    key = condition.key
    match condition:
        case Held(lease=lease) if state is None or state.lease != lease:
            return Fenced(f"{key} is no longer held by lease {lease}")
        case Missing() if state is not None:
            return KeyExists(f"{key} is there already")
        case At() | Present() if state is None:
            return KeyNotFound(f"{key} is not there")
        case At(revision=revision) if state is not None and state.revision != revision:
            return RevisionConflict(f"{key} is at revision {state.revision}, not at {revision}")
    return None


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`, which is UTF-8: no byte of it is 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"
