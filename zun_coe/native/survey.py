"""Looks at all hosts at once: what replicas there are, and which hosts do not answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from zun_coe.adapters import Connection
from zun_coe.errors import BackendError, TimedOut
from zun_coe.model import Health, Instance, WorkloadRef
from zun_coe.native import naming
from zun_coe.native.acting import Acting
from zun_coe.native.health import Prober, Target
from zun_coe.native.hosts import NativeHost
from zun_coe.native.replicas import Place, Probed, Replica, gather, unreachable
from zun_coe.native.runtime import Found

T = TypeVar("T")


class Survey:
    """What there is on the hosts of one cluster. Thread-safe."""

    def __init__(self, connection: Connection, hosts: Mapping[str, NativeHost], prober: Prober, acting: Acting) -> None:
        self._connection, self._hosts = connection, hosts
        self._prober, self._acting = prober, acting
        self._verdicts: Mapping[str, Instance] = {}
        self._recalled: Mapping[WorkloadRef, Sequence[Instance]] = {}

    def recall(self, instances: Mapping[WorkloadRef, Sequence[Instance]]) -> None:
        """What was known of instances before: their verdicts stand until there are new ones, and those on hosts
        that are unreachable are there until those answer."""
        self._recalled = instances
        every = (instance for found in instances.values() for instance in found)
        self._verdicts = {instance.native_id: instance for instance in every if instance.health is not None}

    def ask(self, call: Callable[[NativeHost], T], *, decides: bool = False, identifies: bool = False) -> dict[str, T]:
        """What each host answers, by its name, asked all at once; those that fail are left out. Raises the
        first error when none answers. `decides`, `identifies`: see `NativeHost.call`."""
        answers, errors = self._ask(call, decides=decides, identifies=identifies)
        if errors and not answers:
            raise next(iter(errors.values()))
        return answers

    def tell(self, call: Callable[[NativeHost], T]) -> dict[str, T]:
        """Have each host do something; the answers of those that did. Raises what a host that is reachable has
        refused, since others say nothing of that one."""
        answers, errors = self._ask(call)
        refused = [error for name, error in errors.items() if self._hosts[name].reachable or not answers]
        if refused:
            raise refused[0]
        return answers

    def _ask(
        self, call: Callable[[NativeHost], T], *, decides: bool = False, identifies: bool = False
    ) -> tuple[dict[str, T], dict[str, BackendError]]:
        """The answers and the failures. A host that is the only one is asked in this thread: to hand that over
        would only take longer."""
        answers: dict[str, T] = {}
        errors: dict[str, BackendError] = {}
        alone = len(self._hosts) == 1
        how = {"decides": decides, "identifies": identifies}
        futures = {n: h.ask(partial(call, h), **how) for n, h in self._hosts.items() if not alone}
        for name, host in self._hosts.items():
            try:
                if alone:
                    answers[name] = host.call(partial(call, host), **how)
                else:
                    answers[name] = self._result(name, futures[name])
            except BackendError as error:
                errors[name] = error
        return answers, errors

    def look(self, labels: Mapping[str, str], *, exact: bool) -> list[Replica]:
        """All replicas with these labels, those last seen on hosts that are away among them. Raises
        `Unavailable` when no host answers."""
        leaving = {name: self._acting.removing(name) for name in self._hosts}
        found = self.ask(lambda host: host.find(labels, exact=exact), decides=True)
        for name, containers in found.items():
            self._hosts[name].saw(containers, labels)
            self._hosts[name].surveyed |= naming.ID not in labels
        now, probed = datetime.now(UTC), self._prober.results()
        replicas: list[Replica] = []
        for name, host in self._hosts.items():
            # What was gone by the time that the host had answered was on its way out when it was listed.
            removing = leaving[name] | self._acting.removing(name)
            place = Place(name, host.address, name in found, removing, probed, host.ended(), self._verdicts, host.ahead)
            known = found[name] if name in found else self._remembered(host, labels)
            replicas += gather(known, place, now)
            if name not in found and not host.reachability.heard:
                replicas += self._unheard(host, labels)
        self._probe(replicas, labels, frozenset(found))
        return replicas

    def complete(self) -> None:
        """Make sure that every host that answers was looked at as a whole, so that placement knows what is
        there, and how large it is. Asks those only that were not yet."""
        ours = naming.ours(self._connection.installation, self._connection.cluster)
        if all(host.surveyed and host.info is not None for host in self._hosts.values()):
            return

        def call(host: NativeHost) -> None:
            if host.info is None:
                host.learn(host.runtime.info())
            if not host.surveyed:
                host.saw(host.find(ours, exact=False), ours)
                host.surveyed = True

        self.ask(call, decides=True)

    def volumes(self) -> None:
        """Ask every host which volumes of ours it has; of one that is away, what it last said stands."""
        ours = naming.ours(self._connection.installation, self._connection.cluster)
        for name, volumes in self.ask(lambda host: host.runtime.volumes(ours)).items():
            self._hosts[name].saw_volumes(volume.name for volume in volumes)

    def _result(self, name: str, future: Future[T]) -> T:
        try:
            return future.result(self._connection.timeout + 1)
        except Late as error:
            future.cancel()
            raise TimedOut(f"The host {name} did not answer in time.", evidence={"host": name}) from error

    def _remembered(self, host: NativeHost, labels: Mapping[str, str]) -> list[Found]:
        """Of a host that is unreachable: its replicas until the grace is over; containers of their own for good."""
        known = host.last_seen(labels)
        if self._within_grace(host):
            return known
        return [found for found in known if found.labels.get(naming.NOUN) == "container"]

    def _unheard(self, host: NativeHost, labels: Mapping[str, str]) -> list[Replica]:
        """The same of a host that has not answered since this process has the cluster."""
        only, within = labels.get(naming.ID), self._within_grace(host)
        refs = [r for r in self._recalled if only in (None, r.id) and (within or r.noun == "container")]
        return [
            Replica(ref, unreachable(instance), {})
            for ref in refs
            for instance in self._recalled[ref]
            if instance.host == host.name
        ]

    def _within_grace(self, host: NativeHost) -> bool:
        return host.reachability.silent_for() <= self._connection.host_grace

    def _probe(self, replicas: Sequence[Replica], labels: Mapping[str, str], answered: frozenset[str]) -> None:
        if not self._connection.owned:
            return
        targets = [t for replica in replicas for t in self._targets(replica, answered)]
        about = labels.get(naming.ID)
        self._prober.watch(targets, lambda t: t.host in answered and (about is None or t.ref.id == about))

    def _targets(self, replica: Replica, answered: frozenset[str]) -> list[Target]:
        host = self._hosts[replica.instance.host or ""]
        if host.name not in answered:
            return []
        targets = []
        for role, part in replica.parts.items():
            health = naming.probe_of(part.labels)
            if health is not None and part.state == "running":
                where = _reached_at(host, replica, port_of(health))
                if where is not None:
                    last = replica.probed.get(role) or Probed()
                    targets.append(
                        Target(part.id, host.name, replica.ref, part.started_at, *where, health, last, host.trusted)
                    )
        return targets


def port_of(health: Health) -> int:
    """The port that a probe over the network goes to."""
    probe = health.http or health.tcp
    assert probe is not None  # only these two are probed by the gateway
    return probe.port


def _reached_at(host: NativeHost, replica: Replica, port: int) -> tuple[str, int] | None:
    """Where the gateway reaches a port of a replica: at its own address on this machine, else where it is
    published, None where it is not."""
    own = replica.instance.address
    bindings = [b for part in replica.parts.values() for b in part.bindings]
    if host.local:
        return own or "127.0.0.1", port
    published = next((b.host_port for b in bindings if b.port == port and b.host_port), None)
    if published is None and own is None:
        published = port
    return (host.address, published) if published else None
