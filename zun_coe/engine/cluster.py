"""A cluster's own record: reaching it, describing it, pinning its identity, forgetting it. One thread's work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, cast

import msgspec

from zun_coe.adapters import Adapter
from zun_coe.engine import telling
from zun_coe.engine.acting import Conditional, Key, Ledger, Tools
from zun_coe.engine.identity import all_exchanged, exchanged, marked, parts, pinned_now, told
from zun_coe.engine.measuring import MeasuredAdapter
from zun_coe.errors import BackendError, Unavailable
from zun_coe.model import Cluster, ClusterStatus, CredentialsStatus, Event, Intent
from zun_coe.model.evidence import capped, capped_info, cut
from zun_coe.store import Delete
from zun_coe.store.cache import Entry
from zun_coe.store.records import utc_now

# How much older than the truth `as_of` may get before it is written for its own sake.
_STALE = timedelta(seconds=20)
_WARNED_BEFORE = timedelta(days=14)
# Reasons that may take turns while a cluster is away, and say the same to those who follow events.
_AWAY = frozenset({"BackendUnreachable", "Error"})


class ClusterKeeper:
    """Keeps the status of one cluster. Used by one thread."""

    def __init__(self, tools: Tools, ledger: Ledger, cluster: Cluster, adapter: Adapter | MeasuredAdapter) -> None:
        self._tools, self._ledger, self._adapter = tools, ledger, adapter
        self._key = Key("cluster", cluster.project, cluster.id)
        self._answered: datetime | None = None

    @property
    def record(self) -> Cluster | None:
        """The registration as it is now; None: it is gone."""
        entry = self._ledger.intent(self._key)
        return cast(Cluster, entry.value) if entry else None

    @property
    def _generation(self) -> int:
        record = self.record
        return record.generation if record else 0

    @property
    def blocked(self) -> bool:
        """Whether nothing may be applied: another engine answers than the one that was pinned."""
        return self._status()[0].reason == "BackendChanged"

    @property
    def trouble(self) -> BackendError | None:
        """Why the cluster's backend may not be asked now, None where nothing is known against it."""
        status = self._status()[0]
        if status.phase not in ("Unreachable", "Failed") or status.reason is None:
            return None
        return Unavailable(f"The cluster: {status.message or status.phase}", status.reason)

    @property
    def unseen(self) -> timedelta:
        """For how long the cluster has told nothing, give or take 20 seconds; none where it never has."""
        as_of = self._status()[0].as_of
        return utc_now() - as_of if as_of else timedelta()

    def describe(self) -> None:
        """Ask the cluster what it is and keep the answer. Raises `BackendError` after having kept that."""
        try:
            info = capped_info(self._adapter.describe())
        except BackendError as error:
            self.failed(error)
            raise
        before, _ = self._status()
        now, pinned, found = utc_now(), parts(before.identity), parts(info.identity)
        others = exchanged(pinned, found, self._accepted)
        wrong = self._imposter(pinned, found, others)
        messages = {} if wrong else {name: told(name, pinned, id) for name, id in others.items()}
        self._adapter.distrust(messages)
        status = msgspec.structs.replace(
            before,
            observed_generation=self._generation,
            info=before.info if wrong else marked(info, messages, now),
            credentials=self._credentials(before),
            identity=before.identity if wrong else pinned_now(pinned, found, others, self._hosts),
            others=others,
        )
        if wrong:
            status = _reached(status, now, "Failed", *wrong)
        elif not _has_to_prove_itself(before):
            status = _reached(status, now, "Ready")
        self._write(status)

    def answered(self) -> None:
        """The cluster told just now what runs there."""
        before, _ = self._status()
        now = self._answered = utc_now()
        after = msgspec.structs.replace(before, observed_generation=self._generation)
        if _has_to_prove_itself(before):
            after = _reached(after, now, "Ready")
        elif not before.reachable or before.as_of is None or now - before.as_of > _STALE:
            after = msgspec.structs.replace(after, reachable=True, as_of=now)
        self._write(after)

    def failed(self, error: BackendError) -> None:
        """The cluster could not be asked. What was known of it stays, with the time when it was known."""
        before, _ = self._status()
        after = msgspec.structs.replace(
            before,
            phase="Unreachable",
            observed_generation=self._generation,
            reachable=False,
            as_of=self._answered or before.as_of,
            credentials=self._credentials(before),
        )
        known = before.phase, before.reason, before.evidence.get("machine")
        if known != ("Unreachable", error.reason, error.evidence.get("machine")):  # else only the wording differs
            after = msgspec.structs.replace(
                after, reason=error.reason, message=cut(str(error)), evidence=capped(error.evidence)
            )
        self._write(after)

    def broken(self, error: BackendError) -> None:
        """The gateway failed over what the cluster told. What was known of it stays."""
        before, _ = self._status()
        self._write(
            msgspec.structs.replace(
                before,
                phase="Failed" if before.phase == "Pending" else before.phase,
                observed_generation=self._generation,
                reason=error.reason,
                message=cut(str(error)),
                evidence=capped(error.evidence),
            )
        )

    def forget(self) -> bool:
        """Forget a cluster that is marked for deletion, if it carries nothing; with force what it carries is
        forgotten first, without asking it. Whether it is gone."""
        entry = self._ledger.intent(self._key)
        if entry is None:
            return True
        cluster = cast(Cluster, entry.value)
        if cluster.deletion is None:
            return False
        carried = self._carried(cluster.id)
        if carried and not cluster.deletion.force:
            return False
        for key, found in carried:
            record = cast(Intent, found.value)
            event = telling.event(
                record, key.noun, f"{key.noun.title()}Deleted", "Its cluster was forgotten.", utc_now()
            )
            self._ledger.finalise(key, found, event, tombstone=None)
        event = telling.event(cluster, "cluster", "ClusterDeleted", "It is gone.", utc_now())
        stones = self._tools.cache.list(f"tombstone/{cluster.id}/")
        self._ledger.finalise(
            self._key, entry, event, tombstone=None, extra=[Conditional(Delete(e.key)) for e in stones]
        )
        return True

    def _carried(self, cluster: str) -> list[tuple[Key, Entry]]:
        found = []
        for noun in ("app", "container", "volume"):
            for entry in self._tools.cache.list(f"intent/{noun}/"):
                record = cast(Intent, entry.value)
                if record.cluster == cluster:
                    found.append((Key(noun, record.project, record.id), entry))
        return found

    def _status(self) -> tuple[ClusterStatus, int | None]:
        return self._ledger.status(self._key, ClusterStatus())

    def _write(self, after: ClusterStatus) -> None:
        before, expected = self._status()
        entry = self._ledger.intent(self._key)
        if after == before or entry is None:
            return
        self._ledger.write_status(
            self._key, after, expected, _told(cast(Cluster, entry.value), before, after, utc_now())
        )

    def _credentials(self, before: ClusterStatus) -> CredentialsStatus | None:
        """When they expire. Whoever was warned of that very moment is not warned again."""
        expires_at, known = self._adapter.expires_at(), before.credentials
        if expires_at is None:
            return None
        warned = known is not None and known.warned and known.expires_at == expires_at
        return CredentialsStatus(expires_at=expires_at, warned=warned or utc_now() >= expires_at - _WARNED_BEFORE)

    def _imposter(
        self, pinned: Mapping[str, str], found: Mapping[str, str], others: Mapping[str, str]
    ) -> tuple[str, str] | None:
        """What is wrong with the identity found: all of it is another than the one pinned, or one of it is that of
        another cluster. Of two that were registered at the same time, and both found it, the older one keeps it."""
        if all_exchanged(pinned, others):
            name = min(others)
            return "BackendChanged", f"{name} was {pinned[name]} and is {others[name]} now; nothing is applied."
        for entry in self._tools.cache.list("status/cluster/"):
            if entry.key.endswith(f"/{self._key.id}"):
                continue
            taken = set(parts(cast(ClusterStatus, entry.value).identity).values()) & set(found.values())
            if taken and not (taken <= set(pinned.values()) and self._is_older_than(entry)):
                return "BackendChanged", f"The engine {taken.pop()} is registered as another cluster already."
        return None

    @property
    def _accepted(self) -> Mapping[str, str]:
        record = self.record
        return record.accepted if record else {}

    @property
    def _hosts(self) -> set[str]:
        record = self.record
        return {host.name for host in record.hosts} if record else set()

    def _is_older_than(self, status: Entry) -> bool:
        """Whether this cluster was registered before the one that a status is of."""
        record, other = self.record, self._tools.cache.get(status.key.replace("status/", "intent/", 1))
        if record is None or other is None:
            return record is not None
        rival = cast(Cluster, other.value)
        return (record.created_at, record.id) < (rival.created_at, rival.id)


def _has_to_prove_itself(status: ClusterStatus) -> bool:
    """Whether a cluster is not well before it has told what runs there: that it answers is not enough."""
    return status.phase == "Unreachable" or status.reason == "Error"


def _reached(
    before: ClusterStatus,
    now: datetime,
    phase: Literal["Ready", "Failed"],
    reason: str | None = None,
    message: str | None = None,
) -> ClusterStatus:
    """The status of a cluster that answers."""
    return msgspec.structs.replace(
        before, phase=phase, reachable=True, as_of=now, reason=reason, message=message, evidence={}
    )


def _told(cluster: Cluster, before: ClusterStatus, after: ClusterStatus, now: datetime) -> list[Event]:
    events = [*_turn(cluster, before, after, now), *_warning(cluster, before, after, now)]
    return [*events, *_strangers(cluster, before, after, now)]


def _strangers(cluster: Cluster, before: ClusterStatus, after: ClusterStatus, now: datetime) -> list[Event]:
    """That some of its hosts are others, and the rest of it goes on."""
    if after.reason == "BackendChanged":
        return []
    pinned = parts(after.identity)
    new = {name: id for name, id in after.others.items() if before.others.get(name) != id}
    return [
        telling.event(
            cluster,
            "cluster",
            "BackendChanged",
            told(name, pinned, id),
            now,
            level="warning",
            reason="BackendChanged",
            data={"host": name},
        )
        for name, id in sorted(new.items())
    ]


def _warning(cluster: Cluster, before: ClusterStatus, after: ClusterStatus, now: datetime) -> list[Event]:
    """That credentials expire soon, or have."""
    credentials = after.credentials
    if credentials is None or not credentials.warned or credentials == before.credentials:
        return []
    verb = "expire" if credentials.expires_at > now else "expired"
    message = f"Its credentials {verb} at {credentials.expires_at:%Y-%m-%d %H:%M} UTC; PATCH it with new ones."
    return [telling.event(cluster, "cluster", "CredentialsExpiring", message, now, level="warning")]


def _turn(cluster: Cluster, before: ClusterStatus, after: ClusterStatus, now: datetime) -> list[Event]:
    same = (before.phase, before.reachable) == (after.phase, after.reachable)
    wavers = after.phase == "Unreachable" and after.reason in _AWAY
    if same and (before.reason == after.reason or wavers):
        return []
    level = "info" if after.phase == "Ready" else "warning"
    message = f"It is {after.phase}." + (f" {after.message}" if after.message else "")
    type = "BackendChanged" if after.reason == "BackendChanged" else f"Cluster{after.phase}"
    return [telling.event(cluster, "cluster", type, message, now, level=level, reason=after.reason)]
