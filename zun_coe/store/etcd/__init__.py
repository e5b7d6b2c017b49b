"""The shared store: etcd v3 through its JSON gateway, for any number of gateway processes.

A thin client of our own, since what matters here (several endpoints, what is known after a failure, a watch
that neither ends nor hangs in silence) is what the existing ones leave out. All keys are below a
namespace, so that an etcd can be shared with others."""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event as StopEvent
from urllib.parse import parse_qs, unquote, urlsplit

from zun_coe.errors import Compacted, Fenced, OutcomeUnknown, StoreUnavailable
from zun_coe.store import (
    At,
    Batch,
    Change,
    Condition,
    Held,
    Lease,
    Missing,
    Operation,
    Page,
    Present,
    Put,
    Record,
    Store,
    rules,
)
from zun_coe.store.etcd import wire
from zun_coe.store.etcd.client import Client, TooLarge
from zun_coe.store.etcd.login import Login
from zun_coe.store.etcd.watch import Events, Stream

NAMESPACE = "zun-coe/"
"""What all keys begin with, unless the URL has a path."""
PAGE = 500
"""Records that are asked for at once."""


class EtcdStore(Store):
    """The store in an etcd with these members ("host:port"), with TLS when a context is given.

    Making it connects to nothing; every call tries the members in turn."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        namespace: str = NAMESPACE,
        tls: ssl.SSLContext | None = None,
        login: Login | None = None,
    ) -> None:
        self._client = Client(endpoints, tls, login)
        self._namespace = namespace.encode()

    @classmethod
    def from_url(cls, url: str) -> EtcdStore:
        """The store of `etcd://[user:password@]host:port[,host:port...][/namespace]`, or with TLS of
        `etcds://...?ca=FILE&cert=FILE&key=FILE`. With `password_file=FILE` the password is there, in either. Raises
        `ValueError`, which never has the password in it, and `OSError` for unreadable files."""
        parts = urlsplit(url)
        user, _, hosts = parts.netloc.rpartition("@")
        if parts.scheme not in ("etcd", "etcds") or not hosts:
            raise ValueError("this names no etcd: use etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT...]")
        files = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        known = {"password_file"} | ({"ca", "cert", "key"} if parts.scheme == "etcds" else set())
        if unknown := ", ".join(sorted(files.keys() - known)):
            raise ValueError(f"{parts.scheme}:// takes no {unknown}; it takes {', '.join(sorted(known))}")
        namespace = parts.path.strip("/")
        return cls(
            hosts.split(","),
            namespace=f"{namespace}/" if namespace else NAMESPACE,
            tls=_tls(files) if parts.scheme == "etcds" else None,
            login=_login(user, files.get("password_file")),
        )

    def get(self, key: str) -> Record | None:
        """See `Store`. The value that a majority of the members agrees on."""
        answer = self._client.read("/v3/kv/range", wire.Range(key=self._key(key)), wire.RangeAnswer)
        return self._record(answer.kvs[0]) if answer.kvs else None

    def list(
        self, prefix: str, *, limit: int | None = None, after: str | None = None, revision: int | None = None
    ) -> Page:
        """See `Store`."""
        rules.check_limit(limit)
        if revision is not None and revision < 1:
            raise Compacted(f"revision {revision} is none of this store's")
        first, end = self._span(prefix)
        if after is not None:
            first = max(first, self._key(after) + b"\0")
        found: list[Record] = []
        while True:
            wanted = PAGE if limit is None else min(PAGE, limit - len(found))
            answer = self._range(first, end, wanted, revision)
            revision = revision or answer.header.revision
            found += map(self._record, answer.kvs)
            if not answer.more or len(found) == limit:
                return Page(tuple(found), revision, answer.more)
            first = answer.kvs[-1].key + b"\0"

    def transact(self, conditions: Sequence[Condition], operations: Sequence[Operation]) -> int:
        """See `Store`. The revision is the newest one where the operations changed nothing."""
        rules.check(conditions, operations)
        looks = (wire.Range(key=self._key(one.key), keys_only=True) for one in conditions)
        transaction = wire.Transaction(
            compare=tuple(self._compare(one) for one in conditions),
            success=tuple(self._step(one) for one in operations),
            failure=tuple(wire.Step(request_range=look) for look in looks),
        )
        answer = self._client.write("/v3/kv/txn", transaction, wire.TransactionAnswer)
        if not answer.succeeded:
            raise self._failure(conditions, answer)
        return answer.header.revision

    def watch(self, prefix: str, since: int, stop: StopEvent) -> Iterator[Batch]:
        """See `Store`. An empty batch comes about every second while there is nothing else."""
        first, end = self._span(prefix)
        position, failures = max(since, 1), 0
        while not stop.is_set():
            pool = next(self._client.in_turn())
            headers: dict[str, str] = {}
            try:
                headers = self._client.headers(pool)
                for events in Stream(pool, first, end, position, self._check_kept, headers):
                    batch = self._batch(events)
                    position = batch.revision
                    failures = 0 if batch.changes else failures
                    yield batch
                    if stop.is_set():
                        return
                failures = 0
            except (StoreUnavailable, OutcomeUnknown) as error:
                failures += 1
                if self._client.disbelieve(headers, error) and failures == 1:
                    continue  # with another token
                self._client.avoid(pool)
                if failures > len(self._client.pools):
                    raise StoreUnavailable(str(error)) from error

    def grant(self, ttl: float) -> Lease:
        """See `Store`. etcd's leases have whole seconds, two at least: `ttl` is rounded up."""
        answer = self._client.read("/v3/lease/grant", wire.LeaseGrant(ttl=str(math.ceil(ttl))), wire.LeaseAnswer)
        return Lease(answer.id, float(answer.ttl))

    def renew(self, lease: Lease) -> None:
        """See `Store`."""
        answer = self._client.read("/v3/lease/keepalive", wire.LeaseName(id=str(lease.id)), wire.KeepAliveAnswer)
        if answer.result.ttl <= 0:
            raise Fenced(f"lease {lease.id} is gone")

    def revoke(self, lease: Lease) -> None:
        """See `Store`."""
        with suppress(Fenced):
            self._client.read("/v3/lease/revoke", wire.LeaseName(id=str(lease.id)), wire.Nothing)

    def compact(self, before: int) -> None:
        """See `Store`. For all of this etcd, whoever uses it; the space is free for etcd to use again, but
        its file does not shrink without `etcdctl defrag`."""
        with suppress(Compacted):  # by somebody else, or not there yet
            self._client.read("/v3/kv/compaction", wire.Compaction(revision=str(before)), wire.Nothing)

    def close(self) -> None:
        """See `Store`."""
        self._client.close()

    def _key(self, key: str) -> bytes:
        return self._namespace + rules.encoded(key)

    def _span(self, prefix: str) -> tuple[bytes, bytes]:
        first = self._namespace + prefix.encode()
        return first, rules.prefix_end(first)

    def _range(self, first: bytes, end: bytes, limit: int, revision: int | None) -> wire.RangeAnswer:
        """Some records, at most `limit`: fewer where the gateway cannot carry that many."""
        at = None if revision is None else str(revision)
        while True:
            request = wire.Range(key=first, range_end=end, limit=str(limit), revision=at)
            try:
                return self._client.read("/v3/kv/range", request, wire.RangeAnswer)
            except TooLarge:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)

    def _check_kept(self, revision: int) -> None:
        """Raises `Compacted` when a revision is not kept (or not known: the etcd is another one now)."""
        request = wire.Range(key=self._namespace + b"\0", revision=str(revision))
        self._client.read("/v3/kv/range", request, wire.RangeAnswer)

    def _compare(self, condition: Condition) -> wire.Compare:
        key = self._key(condition.key)
        match condition:
            case Missing():
                return wire.Compare(key=key, target="CREATE", result="EQUAL", create_revision="0")
            case Present():
                return wire.Compare(key=key, target="CREATE", result="GREATER", create_revision="0")
            case At(revision=revision):
                # An absent key compares as 0, so that 0 must not be asked for.
                return wire.Compare(key=key, target="MOD", result="EQUAL", mod_revision=str(revision or -1))
            case Held(lease=lease):
                return wire.Compare(key=key, target="LEASE", result="EQUAL", lease=str(lease or -1))

    def _step(self, operation: Operation) -> wire.Step:
        key = self._key(operation.key)
        if not isinstance(operation, Put):
            return wire.Step(request_delete_range=wire.DeleteRange(key=key))
        lease = None if operation.lease is None else str(operation.lease)
        return wire.Step(request_put=wire.PutKey(key=key, value=operation.value, lease=lease))

    def _failure(self, conditions: Sequence[Condition], answer: wire.TransactionAnswer) -> Exception:
        states = {}
        for one, response in zip(conditions, answer.responses, strict=True):
            for kv in response.response_range.kvs if response.response_range else ():
                states[one.key] = rules.State(kv.mod_revision, kv.lease or None)
        return rules.failure(conditions, states) or OutcomeUnknown("etcd refused a transaction whose conditions hold")

    def _batch(self, events: Events) -> Batch:
        revision, changed = events
        return Batch(revision, tuple(map(self._change, changed)))

    def _change(self, event: wire.WatchEvent) -> Change:
        record = self._record(event.kv)
        return Change(record.key, None if event.type == "DELETE" else record)

    def _record(self, kv: wire.KeyValue) -> Record:
        key = kv.key[len(self._namespace) :].decode()
        return Record(key, kv.value, kv.mod_revision, kv.create_revision)


def _login(user: str, password_file: str | None) -> Login | None:
    name, colon, password = user.partition(":")
    if not user and not password_file:
        return None
    if not name or bool(colon) == bool(password_file):
        raise ValueError("etcd's user has a password: use etcd://USER:PASSWORD@HOST, or USER@ with ?password_file=FILE")
    given = Path(password_file).read_text().rstrip("\n") if password_file else unquote(password)
    return Login(unquote(name), given)


def _tls(files: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.get("ca"))
    if "cert" in files:
        context.load_cert_chain(files["cert"], files.get("key"))
    return context
