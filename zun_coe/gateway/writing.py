"""How the API writes: everything that one request changes in one transaction, with its events, its
idempotent answer, and a way to tell whether it happened when the store's answer was lost."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import msgspec

from zun_coe.config import Settings
from zun_coe.errors import (
    FieldProblem,
    KeyExists,
    KeyNotFound,
    NameTaken,
    OutcomeUnknown,
    RevisionConflict,
    StoreError,
    StoreUnavailable,
    Unprocessable,
)
from zun_coe.gateway.calls import Answer, Call, Settle
from zun_coe.model import Adopted, Event, IdempotentAnswer, Value, WorkloadRef
from zun_coe.store import At, Condition, Missing, Operation, Put, Store
from zun_coe.store.cache import Cache
from zun_coe.store.records import decode, encode, event_key, idem_key, intent_key, name_key, new_id, use_key, utc_now
from zun_coe.store.rules import excess
from zun_coe.vault import Vault

ATTEMPTS = 3
"""How often a transaction is sent whose outcome stays unknown."""
AWAY = 5.0
"""Seconds of silence after which the store is not even asked: every thread would wait for its deadline."""
_NAMESAKES = {"app": ("container",), "container": ("app",)}


@dataclass(frozen=True)
class Taken:
    """What a new app takes over. `adopted`: what others have made; `left`: what it was itself until it was let
    go, with the restarts that it had."""

    adopted: Adopted | None = None
    left: WorkloadRef | None = None
    restarts: int = 0


@dataclass
class Change:
    """One transaction in the making. It tells of itself by an event at least, which is there once it happened."""

    write_id: str = field(default_factory=new_id)
    conditions: list[Condition] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def proof(self) -> str:
        """A key that is there if and only if it happened."""
        return event_key(self.events[0].project, self.write_id, 0)

    def put(self, key: str, value: Value, expected: int | None = None) -> None:
        """Write a record: a new one, or one that must be at the revision `expected`."""
        self.conditions.append(Missing(key) if expected is None else At(key, expected))
        self.operations.append(Put(key, encode(value)))

    def name(self, noun: str, project: str, name: str, id: str) -> None:
        """Take a name, which must be free. Apps and containers find each other by their names on the networks of
        their project, so that a name is one of them at most."""
        self.take(name_key(noun, project, name), id)
        self.conditions += [Missing(name_key(other, project, name)) for other in _NAMESAKES.get(noun, ())]

    def take(self, key: str, id: str) -> None:
        """Take a key that one resource can have, which must be free."""
        self.conditions.append(Missing(key))
        self.operations.append(Put(key, id.encode()))

    def refer(self, noun: str, project: str, id: str, revision: int) -> None:
        """Depend on something that was looked at, at this revision: it cannot be deleted at the same time (see
        `zun_coe.store.references`)."""
        self.conditions.append(At(intent_key(noun, project, id), revision))
        self.operations.append(Put(use_key(noun, id), self.write_id.encode()))

    def tell(self, event: Event) -> None:
        """An event of this change, in the same transaction."""
        self.events.append(msgspec.structs.replace(event, n=len(self.events)))


class Writer:
    """Commits changes, and keeps the answers to idempotent requests."""

    def __init__(self, store: Store, cache: Cache, settings: Settings, vault: Vault) -> None:
        self._store, self._cache, self._settings, self._vault = store, cache, settings, vault

    def commit(self, change: Change) -> int:
        """The revision at which it happened. Raises `NameTaken`, `Unprocessable` for what is too much at once (which
        `gateway.limits` finds before, with the field), `RevisionConflict`, `StoreUnavailable`,
        or `OutcomeUnknown` where even a re-read could not tell."""
        self._must_be_there()
        for event in change.events:
            change.operations.append(Put(event_key(event.project, change.write_id, event.n), encode(event)))
        if told := excess(change.conditions, change.operations):
            raise Unprocessable(f"This is more than the state store takes at once ({told}); make it smaller.")
        revision = self._transact(change)
        try:
            self._cache.wait_for(revision)
        except StoreUnavailable as error:
            raise OutcomeUnknown("It was written down, and this process has not seen it yet; read again.") from error
        return revision

    def before(self, call: Call, operation: str, body: Any) -> Answer | None:
        """The answer that the same request got before, if it was made under the same Idempotency-Key.
        Raises `Unprocessable` for the same key with another body."""
        if call.idempotency_key is None:
            return None
        self._must_be_there()
        record = self._store.get(self._idem(call, operation))
        if record is None:
            return None
        kept = decode(record.value, IdempotentAnswer)
        if utc_now() - kept.at > timedelta(seconds=self._settings.idempotency_age):
            with suppress(KeyNotFound):  # somebody else was quicker: whoever cleans up, or the same request
                self._store.delete(record.key, record.revision)
            return None
        if kept.digest not in self._digests(body):
            raise Unprocessable("This Idempotency-Key was used with another body; use a new key for a new request.")
        headers = kept.headers | {"Idempotency-Replayed": "true"}
        return Answer(kept.status, kept.body.encode(), headers, _settle(call, operation, kept))

    def remember(self, change: Change, call: Call, operation: str, body: Any, answer: Answer) -> None:
        """Make the answer part of the change."""
        if call.idempotency_key is None:
            return
        text = (answer.body or b"").decode()
        kept = IdempotentAnswer(
            digest=self._digests(body)[0], status=answer.status, body=text, headers=dict(answer.headers), at=utc_now()
        )
        key = self._idem(call, operation)
        change.conditions.insert(0, Missing(key))
        change.operations.append(Put(key, encode(kept)))

    def _idem(self, call: Call, operation: str) -> str:
        content = [call.principal.user, operation, call.idempotency_key]
        return idem_key(call.principal.project, hashlib.sha256(msgspec.json.encode(content)).hexdigest())

    def _digests(self, body: Any) -> list[str]:
        # Keyed, since a body may hold secrets that are short enough to be guessed.
        return self._vault.fingerprints(msgspec.json.encode(body, order="sorted"))

    def _must_be_there(self) -> None:
        if self._cache.age > AWAY:
            raise StoreUnavailable(f"the store was last heard of {self._cache.age:.0f} s ago")

    def _transact(self, change: Change) -> int:
        """Send it, and again while nobody knows whether it happened: what it begins with and the keys that
        it makes let it happen once only."""
        sent = False
        for _ in range(ATTEMPTS):
            try:
                return self._store.transact(change.conditions, change.operations)
            except OutcomeUnknown:
                sent = True
                found = self._look(change)
            except (KeyExists, KeyNotFound, RevisionConflict) as error:
                found = self._look(change) if sent else None
                if found is None:
                    raise self._explained(change, error) from error
            if found is not None:
                return found
        raise OutcomeUnknown("The store did not confirm the change; read again to see whether it happened.")

    def _look(self, change: Change) -> int | None:
        """The revision at which it happened, None where it has not."""
        try:
            record = self._store.get(change.proof)
        except StoreError as error:
            raise OutcomeUnknown("The store did not answer; read again to see whether it happened.") from error
        return record.created if record is not None else None

    def _explained(self, change: Change, error: StoreError) -> StoreError | NameTaken:
        """Which key was in the way: an idempotency key (somebody else is just doing this) or a name."""
        if isinstance(error, KeyNotFound):  # somebody removed it meanwhile: looking again tells
            return RevisionConflict(str(error))
        if not isinstance(error, KeyExists):
            return error
        for condition in change.conditions:
            if isinstance(condition, Missing) and self._store.get(condition.key) is not None:
                family, *rest = condition.key.split("/")
                if family == "name" and rest[0] != "volume":  # that of a volume is made by a mount, which looks again
                    noun, _, name = rest
                    return name_taken(noun, name, change.events[0].subject)
                return RevisionConflict(f"{family} changed meanwhile")
        return RevisionConflict(str(error))


def name_taken(noun: str, name: str, wanted: str | None = None) -> NameTaken:
    """What to tell whoever wants a name that is of a `noun` already; `wanted`: for which noun it is wanted."""
    other = "An" if noun == "app" else "A"
    detail = f"Another {noun} of this project is named {name}; choose another name."
    if wanted not in (None, noun):
        detail = (
            f"{other} {noun} of this project is named {name}, and others find it by that name; choose another name."
        )
    return NameTaken(detail, [FieldProblem("/name", detail)])


def _settle(call: Call, operation: str, kept: IdempotentAnswer) -> Settle | None:
    """What the answer given before is to be waited for, as it was then."""
    if kept.status != HTTPStatus.ACCEPTED:
        return None
    body = msgspec.json.decode(kept.body)
    return Settle(operation.partition(".")[0], call.principal.project, body["id"], body["generation"])


def replaced(value: Any, **changes: Any) -> Any:
    """A copy of a frozen value with other fields."""
    return msgspec.structs.replace(value, **changes)
