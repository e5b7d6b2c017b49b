"""The revisions of an app as the engine needs them: the one in effect, the one before it, and how long each is kept.

The gateway writes them and the engine removes them, since only the engine knows which of them may be needed again."""

from __future__ import annotations

from typing import cast

import msgspec

from zun_coe.engine.acting import Key, Ledger, Tools
from zun_coe.errors import Invalid
from zun_coe.model import Intent, Observation, Revision, Status, effective_hash, revision_of, wanted_hash, whole
from zun_coe.model.references import older_revisions
from zun_coe.store import At, Delete, Operation, Put
from zun_coe.store.records import encode, revision_key

# How many go with one transaction.
_ROOM = 50
# The states of a rollout in which nothing more is replaced.
_HELD = ("failed", "paused")


class Revisions:
    """Reads from the copy and removes from the store, on behalf of one cluster."""

    def __init__(self, tools: Tools, ledger: Ledger) -> None:
        self._tools, self._ledger = tools, ledger

    def of(self, intent: Intent, status: Status, seen: Observation) -> tuple[Revision, Revision | None]:
        """The revision in effect and the one that it replaces (None: none), each under the hash that its replicas
        carry. Raises `Invalid` where the one to go back to is not kept any more."""
        wanted, rollout = self._wanted(intent), status.rollout
        if rollout is None or rollout.from_ is None:
            return wanted, None
        reached = self._kept(intent, rollout.from_, status.hash)
        if reached is not None and asked_for(intent, status, seen) == status.hash != wanted.hash:
            return reached, wanted if rollout.state == "rolled_back" else None
        if rollout.state != "rolled_back":
            return wanted, reached
        raise Invalid(f"Revision {rollout.from_}, which it went back to, is not kept any more.", "InvalidSpec")

    def learn(self, intent: Intent, status: Status, seen: Observation) -> None:
        """Keep what the images of a revision were resolved to when its first replica was made. Raises
        `RevisionConflict` where the gateway wrote the revision meanwhile."""
        if intent.noun != "app":
            return
        told = {i.hash: i.digests for i in reversed(seen.instances) if i.digests and i.state != "removing"}
        numbers = {wanted_hash(intent): intent.revision} if told else {}
        if status.revision:
            numbers.setdefault(status.hash, status.revision)
        for hash_, number in numbers.items():
            entry = self._tools.cache.get(revision_key(intent.project, intent.id, number))
            if entry is None or hash_ not in told or hash_ in cast(Revision, entry.value).digests:
                continue
            record = cast(Revision, entry.value)
            known = {h: d for h, d in record.digests.items() if h in (record.hash, *record.restarts)}
            learned = msgspec.structs.replace(record, digests=known | {hash_: told[hash_]})
            self._ledger.commit([At(entry.key, entry.revision)], [Put(entry.key, encode(learned))])

    def volumes(self, intent: Intent, status: Status) -> frozenset[str]:
        """The ids of the volumes of what is wanted, and of what runs or may run again."""
        older = (self._kept(intent, number, "") for number in older_revisions(intent, status))
        ids = (id for record in older if record for id in (record.volumes or {}).values())
        return frozenset((*intent.volumes.values(), *ids))

    def prune(self, key: Key, intent: Intent, status: Status) -> None:
        """Remove the oldest ones beyond the number that is kept, never those that are in effect or may be."""
        entries = self._tools.cache.list(f"revision/{key.project}/{key.id}/") if intent.noun == "app" else []
        if len(entries) <= self._tools.settings.revisions:
            return
        numbers = [cast(Revision, e.value).number for e in entries]
        gone = expendable(numbers, intent, status, self._tools.settings.revisions)
        operations: list[Operation] = [Delete(revision_key(key.project, key.id, number)) for number in gone]
        for first in range(0, len(operations), _ROOM):
            self._ledger.commit([], operations[first : first + _ROOM])

    def _wanted(self, intent: Intent) -> Revision:
        wanted = revision_of(intent)
        kept = self._kept(intent, intent.revision, wanted.hash) if intent.noun == "app" else None
        return msgspec.structs.replace(wanted, digests=kept.digests) if kept else wanted

    def _kept(self, intent: Intent, number: int, hash_: str) -> Revision | None:
        entry = self._tools.cache.get(revision_key(intent.project, intent.id, number))
        if entry is None:
            return None
        return msgspec.structs.replace(whole(cast(Revision, entry.value), intent), hash=hash_)


def asked_for(intent: Intent, status: Status, seen: Observation) -> str:
    """The hash of the revision that is asked for: the one in effect, unless that was refused, or lacks something, and
    nothing of it is there. Then what runs is still healed and scaled, which the other one would be in the way of. Pure.
    """
    effective, rollout = effective_hash(intent, status), status.rollout
    if rollout is None or rollout.from_ is None or rollout.hash != effective or rollout.state not in _HELD:
        return effective
    hashes = {seen.hash, *(i.hash for i in seen.instances)}
    # While it is paused nothing is replaced, whatever else is there.
    there = effective in hashes or (rollout.state == "paused" and not hashes <= {"", status.hash})
    return effective if there or rollout.cause not in ("refused", "missing") else status.hash


def expendable(numbers: list[int], intent: Intent, status: Status, limit: int) -> list[int]:
    """Which of the revisions are no longer needed: all but the newest `limit`, what is wanted, and what runs or may run
    again. Pure."""
    kept = older_revisions(intent, status) | set(sorted(numbers)[-limit:] if limit > 0 else ())
    return [number for number in sorted(numbers) if number not in kept and number < intent.revision]
