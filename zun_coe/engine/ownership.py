"""Which engine has which cluster: leased keys in the store, and a deadline of our own before theirs.

The store may give a lease away the moment it runs out. So this process stops believing in its lease
earlier than that, by its own monotonic clock, whether or not the store can be asked."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace
from threading import Event, Lock, RLock, Thread
from types import MappingProxyType

import structlog

from zun_coe import __version__
from zun_coe.adapters import kinds
from zun_coe.errors import Fenced, KeyExists, StoreError
from zun_coe.model import Cluster, Service
from zun_coe.store import Delete, Held, Lease, Put, Store
from zun_coe.store.records import encode, owner_key, service_key, utc_now

log = structlog.get_logger()

NOWHERE: Mapping[str, Collection[str]] = MappingProxyType({})
# The share of its time after which a lease is no longer relied on, unless it was renewed.
TRUSTED = 0.8
# What engines know that do not tell which kinds they know.
_FIRST_KINDS = frozenset({"kubernetes", "native"})


@dataclass(frozen=True)
class Moves:
    """What one engine should do so that clusters come to be spread evenly."""

    acquire: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


def assign(
    owners: Mapping[str, str | None], engines: Collection[str], only: Mapping[str, Collection[str]] = NOWHERE
) -> dict[str, str]:
    """Which engine should have each cluster (`owners`: who has it now): as evenly as can be, and as few
    clusters as possible change hands. `only`: the engines that can reach a cluster, where not all can; where
    none of them is there, any engine has it, to tell that. Pure; every engine comes to the same answer. Empty
    without engines."""
    there = frozenset(engines)
    if not there:
        return {}
    able = {c: there & frozenset(only.get(c, ())) or there for c in owners}
    assigned: dict[str, str] = {}
    for group in sorted(set(able.values()), key=lambda group: (len(group), sorted(group))):
        mine = {c: owner for c, owner in owners.items() if able[c] == group}
        assigned |= _spread(mine, group, Counter(assigned.values()))
    return assigned


def _spread(owners: Mapping[str, str | None], engines: Collection[str], busy: Mapping[str, int]) -> dict[str, str]:
    """The same for clusters that all these engines can have. `busy`: how many others each one has."""
    held = {e: sorted(c for c, owner in owners.items() if owner == e) for e in sorted(engines)}
    quota = _quotas({e: len(clusters) for e, clusters in held.items()}, len(owners), busy)
    assigned = {c: e for e, clusters in held.items() for c in clusters[: quota[e]]}
    room = [e for e in held for _ in range(quota[e] - len(held[e]))]
    homeless = (c for c in sorted(owners) if c not in assigned)
    return assigned | dict(zip(homeless, room, strict=True))


def _quotas(held: Mapping[str, int], number: int, busy: Mapping[str, int]) -> Counter[str]:
    """How many of a number of clusters each engine should have, besides those that it is busy with. One after
    the other goes to whoever has the fewest then, and among those to one who holds it already."""
    quota: Counter[str] = Counter()
    queue = [(busy.get(e, 0), not held[e], e) for e in held]
    heapify(queue)
    for _ in range(number):
        count, _, engine = queue[0]
        quota[engine] += 1
        heapreplace(queue, (count + 1, held[engine] <= quota[engine], engine))
    return quota


def balance(
    me: str,
    owners: Mapping[str, str | None],
    engines: Collection[str],
    only: Mapping[str, Collection[str]] = NOWHERE,
) -> Moves:
    """What the engine `me` should acquire (clusters that no living engine has) and release (clusters
    of its own that another should have). `only` as for `assign`. Pure."""
    alive = {me, *engines}
    wanted = assign(owners, alive, only)
    mine = (c for c in sorted(owners) if wanted[c] == me)
    return Moves(
        acquire=tuple(c for c in mine if owners[c] not in alive),
        release=tuple(c for c in sorted(owners) if owners[c] == me and wanted[c] != me),
    )


def reaching(clusters: Iterable[Cluster], services: Iterable[Service]) -> dict[str, frozenset[str]]:
    """For each cluster that not every engine can have, those that can: the ones that know its kind (while a newer
    version is rolled out, not all do), and of a cluster with local sockets those on its machine. Pure."""
    engines = [service for service in services if service.role != "api"]
    able: dict[str, frozenset[str]] = {}
    for cluster in clusters:
        here = engines
        if cluster.local and cluster.machine is not None:
            here = [engine for engine in engines if engine.host == cluster.machine]
        knowing = [engine for engine in here if cluster.kind in (engine.kinds or _FIRST_KINDS)]
        chosen = knowing or here
        if len(chosen) < len(engines) or not chosen:
            able[cluster.id] = frozenset(engine.id for engine in chosen)
    return able


class Ownership:
    """The clusters that this process has, all under one lease that a thread of its own renews.

    While the store is away the thread goes on trying. When the lease is lost everything is dropped at
    once, `on_lost` is told the clusters (in that thread; what it raises is logged), and a new lease is
    taken; what to acquire again is for the caller to decide. Thread-safe."""

    def __init__(
        self,
        store: Store,
        service_id: str,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        role: str = "serve",
        host: str | None = None,
        on_lost: Callable[[frozenset[str]], None] = lambda clusters: None,
    ) -> None:
        self.service_id = service_id
        self._store = store
        self._ttl = ttl
        self._clock = clock
        self._role, self._host = role, host or socket.gethostname()
        self._on_lost = on_lost
        self._started_at = utc_now()
        self._state = Lock()  # over the fields below; never held during a call to the store
        self._turns = RLock()  # one acquire or release at a time, so that a late release takes nothing back
        self._lease: Lease | None = None
        self._deadline = 0.0
        self._owned: set[str] = set()
        self._leaving: set[str] = set()
        self._former: Lease | None = None
        self._stopping = Event()
        self._wake = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Take a lease, if the store is there, and go on renewing it. Call once."""
        self._thread = Thread(target=self._run, args=(self.beat(),), name="ownership", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give everything back, so that another engine takes over at once. Blocks for as long as the
        store's deadline at most; without the store the lease runs out by itself. Idempotent."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()
        with self._state:
            lease, self._lease = self._lease, None
            self._owned.clear()
        for left in (lease, self._former):
            self._revoke(left)
        self._former = None

    def acquire(self, cluster: str) -> Held | None:
        """Take a cluster: the condition for writes on its behalf, or None when another engine has it, or
        the store or the lease is away. Idempotent. Blocks for one or two calls to the store."""
        with self._turns:
            lease = self._usable_lease()
            if lease is None or self._stopping.is_set():
                return None
            if self.valid(cluster):
                return Held(owner_key(cluster), lease.id)
            return self._attempt(cluster, lease)

    def release(self, cluster: str) -> None:
        """Let go of a cluster; no-op when it isn't ours. It is no longer `valid` from the start. When the
        store is away the key is deleted later."""
        with self._state:
            if cluster not in self._owned:
                return
            self._owned.discard(cluster)
        with self._turns:
            if cluster not in self._owned:
                self._leaving.add(cluster)
            self._leave()

    def owned(self) -> frozenset[str]:
        """The clusters that this process may act on now."""
        with self._state:
            return frozenset(self._owned) if self._trusted() else frozenset()

    def valid(self, cluster: str) -> bool:
        """Whether the cluster is surely still ours, by our own clock alone. To be asked before every call
        to a backend; never blocks on the store."""
        with self._state:
            return cluster in self._owned and self._trusted()

    def guard(self, cluster: str) -> Held:
        """The condition for writes on behalf of a cluster. Raises `Fenced` when it isn't ours."""
        with self._state:
            if self._lease is None or cluster not in self._owned or not self._trusted():
                raise Fenced(f"this engine does not have the cluster {cluster}")
            return Held(owner_key(cluster), self._lease.id)

    def beat(self) -> float:
        """One turn of the thread: renew the lease, or take a new one, and tell that this process is
        there. A turn that comes late asks the store all the same: what can be renewed was nobody else's meanwhile.
        The seconds until the next turn is due. Raises nothing."""
        began = self._clock()
        try:
            self._renew(self._lease or self._replace())
        except StoreError as error:
            log.warning("lease not renewed", service=self.service_id, error=str(error))
            if isinstance(error, Fenced) or self._overdue():
                self._lose()
            return self._ttl / 20
        self._leave()
        # From when it was asked for: an answer that took long has used up some of the time.
        return max(began + self._ttl / 3 - self._clock(), self._ttl / 20)

    def _run(self, pause: float) -> None:
        while not self._stopping.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                pause = self.beat()
            except Exception:  # the thread that keeps the lease must live
                log.exception("lease not renewed", service=self.service_id)
                pause = self._ttl / 20

    def _trusted(self) -> bool:
        return self._lease is not None and self._clock() < self._deadline

    def _usable_lease(self) -> Lease | None:
        with self._state:
            return self._lease if self._trusted() else None

    def _overdue(self) -> bool:
        with self._state:
            return self._lease is not None and not self._trusted()

    def _lose(self) -> None:
        with self._state:
            self._former, self._lease = self._lease or self._former, None
            lost, self._owned = frozenset(self._owned), set()
        log.error("lease lost", service=self.service_id, clusters=sorted(lost))
        try:
            self._on_lost(lost)
        except Exception:  # a listener's fault must not end the thread that keeps the lease
            log.exception("on_lost failed")

    def _replace(self) -> Lease:
        # The store may still have the old lease with our keys on it, which would keep everybody out.
        if self._former is not None:
            self._store.revoke(self._former)
            self._former = None
        before = self._clock()
        lease = self._store.grant(self._ttl)
        with self._state:
            self._lease, self._deadline = lease, before + TRUSTED * self._ttl
        return lease

    def _renew(self, lease: Lease) -> None:
        before = self._clock()
        self._store.renew(lease)
        with self._state:
            if self._lease is lease:
                self._deadline = before + TRUSTED * self._ttl
        self._store.transact([], [Put(service_key(self.service_id), encode(self._service()), lease.id)])

    def _service(self) -> Service:
        return Service(
            id=self.service_id,
            role=self._role,
            host=self._host,
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            heartbeat_at=utc_now(),
            clusters=tuple(sorted(self.owned())),
            kinds=tuple(sorted(kinds())),
        )

    def _attempt(self, cluster: str, lease: Lease) -> Held | None:
        self._leaving.discard(cluster)
        try:
            taken = self._take(cluster, lease)
        except StoreError as error:
            log.warning("cluster not acquired", cluster=cluster, error=str(error))
            # It may be taken all the same, and nobody else could have it until it is given back.
            self._leaving.add(cluster)
            self._wake.set()
            return None
        return self._keep(cluster, lease) if taken else None

    def _take(self, cluster: str, lease: Lease) -> bool:
        key, value = owner_key(cluster), self.service_id.encode()
        try:
            self._store.create(key, value, lease.id)
        except KeyExists:
            return self._has(key, value, lease)
        return True

    def _has(self, key: str, value: bytes, lease: Lease) -> bool:
        """Whether the key is there under our own lease: an earlier attempt whose answer was lost."""
        found = self._store.get(key)
        if found is None or found.value != value:
            return False
        try:
            self._store.transact([Held(key, lease.id)], [Put(key, value, lease.id)])
        except Fenced:
            return False
        return True

    def _keep(self, cluster: str, lease: Lease) -> Held | None:
        with self._state:
            if self._lease is not lease or not self._trusted():
                return None
            self._owned.add(cluster)
            return Held(owner_key(cluster), lease.id)

    def _leave(self) -> None:
        """Delete the keys of what was released. What fails is left for the next turn."""
        with self._turns:
            lease = self._usable_lease()
            if lease is None:
                return
            for cluster in sorted(self._leaving):
                key = owner_key(cluster)
                try:
                    self._store.transact([Held(key, lease.id)], [Delete(key)])
                except Fenced:
                    pass  # not ours any more, or never was
                except StoreError:
                    return
                self._leaving.discard(cluster)

    def _revoke(self, lease: Lease | None) -> None:
        if lease is None:
            return
        try:
            self._store.revoke(lease)
        except StoreError as error:
            log.warning("lease left to run out", service=self.service_id, error=str(error))


def living(services: Iterable[Service]) -> frozenset[str]:
    """The ids of the engines among the services that are there."""
    return frozenset(s.id for s in services if s.role != "api")
