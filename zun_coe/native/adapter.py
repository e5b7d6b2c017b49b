"""The native COE as an adapter: slots, steps, rollouts and probes over bare runtimes.

All that it must know is on the hosts, in names and labels. What it keeps in memory (pulls, delays, probes,
what hosts last had) may be lost at any time and only costs a little time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event as StopEvent
from threading import Lock
from typing import Any, ClassVar, TypeVar

from zun_coe.adapters import (
    NOTHING_ALLOWED,
    Adapter,
    Again,
    Connection,
    Done,
    Known,
    LogOptions,
    LogStream,
    Outcome,
    Policy,
    Wait,
)
from zun_coe.adapters.expiry import expiry
from zun_coe.adapters.fields import Accounting
from zun_coe.adapters.hints import Hints
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import Absent, FieldProblem, Unavailable
from zun_coe.model import ClusterInfo, Observation, Workload, WorkloadRef
from zun_coe.native import containers, describing, naming, registration, standalone, steps, watching
from zun_coe.native.acting import Acting
from zun_coe.native.actions import Plan
from zun_coe.native.background import Ailments, Pulls, Relapses
from zun_coe.native.drifting import Drifting
from zun_coe.native.fields import FIELDS
from zun_coe.native.health import Prober
from zun_coe.native.hosts import NativeHost
from zun_coe.native.naming import MAIN
from zun_coe.native.placement import Refused
from zun_coe.native.replicas import Replica, cut_off, leading
from zun_coe.native.runtimes import open_runtime
from zun_coe.native.sources import SOURCES
from zun_coe.native.stepping import POLL, RETRY, SOON, Step
from zun_coe.native.survey import Survey

T = TypeVar("T")
# So many workloads a process that has not the cluster keeps its last look at.
LOOKED_AT = 100

# How soon a running replica that is not ready is looked at again, in seconds, besides all hints.
PROOF = 2.0
# How long after a look at what its runtime is busy with the next one is.
HELD = 0.25


class NativeAdapter(Adapter):
    """Hosts with a bare runtime each. Thread-safe as long as no workload is applied twice at once."""

    fields: ClassVar[Accounting] = FIELDS
    reasons: ClassVar[Mapping[str, str]] = SOURCES

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._hints = Hints()
        self._hosts = {
            host.name: NativeHost(
                host,
                open_runtime(host, connection),
                connection.parallelism,
                self._turned,
                connection.label_key,
                connection.reach,
            )
            for host in connection.hosts
        }
        self._acting = Acting(self._hints.put, connection.label_key, connection.hardening)
        self._pulls = Pulls(self._hints.put, always=connection.always_pull_images)
        self._relapses = Relapses()
        self._ailments = Ailments()
        self._drifting = Drifting()
        self._prober = Prober(self._hints.put, connection.reach, self._turned)
        self._survey = Survey(connection, self._hosts, self._prober, self._acting)
        self._observed: dict[str, tuple[Observation, list[Replica]]] = {}
        self._lingering: set[str] = set()
        self._planning = Lock()
        self._opened_at = datetime.now(UTC)

    @classmethod
    def check_registration(
        cls,
        cluster: Mapping[str, Any],
        *,
        admin: bool,
        reach: Reach = ELSEWHERE,
        policy: Policy = NOTHING_ALLOWED,
    ) -> Sequence[FieldProblem]:
        """See `Adapter.check_registration`."""
        return registration.problems(cluster, admin=admin, reach=reach)

    def renew(self, credentials: Mapping[str, Any]) -> bool:
        """See `Adapter.renew`. Not where connections become encrypted, or are no more."""
        if not all(host.runtime.renew(credentials) for host in self._hosts.values()):
            return False
        self.connection = replace(self.connection, credentials=credentials)
        return True

    def expires_at(self) -> datetime | None:
        """See `Adapter.expires_at`."""
        return expiry(self.connection.credentials.get("client_cert"))

    def recall(self, known: Known) -> None:
        """See `Adapter.recall`: the verdicts of probes, since when hosts are unreachable, and what is on them."""
        self._survey.recall(known.instances)
        for node in known.cluster.info.nodes if known.cluster.info else ():
            if node.name in self._hosts and not node.reachable and node.unreachable_since is not None:
                self._hosts[node.name].reachability.recall(node.unreachable_since)

    def describe(self) -> ClusterInfo:
        """See `Adapter.describe`. Raises `Invalid` where two hosts are the same engine."""
        answers = self._survey.ask(lambda host: host.runtime.info(), decides=True, identifies=True)
        for name, info in answers.items():
            self._hosts[name].learn(info)
        return describing.cluster_info(self._hosts.values(), frozenset(answers), self._prober.suspects())

    def distrust(self, hosts: Mapping[str, str]) -> None:
        """See `Adapter.distrust`. What ran there is unknown, and placed elsewhere after the grace."""
        for name, host in self._hosts.items():
            host.reachability.distrust(hosts.get(name))

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        """See `Adapter.observe`. Of a host that is away, what was last seen there comes as "unknown" until
        the grace is over."""
        connection = self.connection
        labels = naming.ours(connection.installation, connection.cluster)
        if ref is not None:
            labels |= {naming.ID: ref.id}
        groups: dict[WorkloadRef, list[Replica]] = defaultdict(list)
        for replica in self._survey.look(labels, exact=ref is not None):
            groups[replica.ref].append(replica)
        if ref is not None:
            # Whatever a label says of the name, these are the replicas of the id that was asked for.
            return [self._observation(ref, [r for found in groups.values() for r in found])]
        return [self._observation(found, replicas) for found, replicas in groups.items()]

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        """See `Adapter.apply`. Whatever can be done at once is done at once, on all hosts."""
        replicas = self._replicas(workload.ref, seen)
        verdict = self._drifting.look(workload, replicas)
        if verdict.untold:  # the next observation tells it first
            return Again()
        self._prepare(workload, replicas)
        replace, pending = self._relapsed(workload, replicas)
        step = Step(workload, self._hosts, replicas, self._acting, self._pulls, self._relapses)
        with self._planning:
            plan = self._plan(workload, replicas, replace, verdict.altered)
            step.claim(plan)
        outcome = step.take(plan)
        if isinstance(outcome, Done) and verdict.left:
            return self._drifting.waiting(workload.ref, verdict)
        return Wait(pending) if isinstance(outcome, Done) and pending is not None else outcome

    def remove(self, ref: WorkloadRef, seen: Observation | None) -> Outcome:
        """See `Adapter.remove`. Waits for hosts that are away, since they may have something of it."""
        replicas = self._replicas(ref, seen)
        present = [r for r in replicas if r.instance.state != "unknown"]
        for replica in present:
            self._acting.forget(replica)
        results = [future.result() for future in [self._removal(replica) for replica in present]]
        if any(result is not None for result in results):
            return Wait(POLL)
        away = [host.name for host in self._hosts.values() if not host.reachable]
        if away:
            return Wait(RETRY, "BackendUnreachable", f"The host {away[0]} is away and may have something of it.")
        if not self._tidy(ref) and ref.id not in self._lingering:
            self._lingering.add(ref.id)  # once more: the engine may not be done with what went just now
            return Wait(SOON)
        self._lingering.discard(ref.id)
        self._observed.pop(ref.id, None)
        self._ailments.forget(ref)
        self._drifting.forget(ref)
        return Done()

    def remove_volume(self, name: str, id: str, project: str) -> None:
        """See `Adapter.remove_volume`. Raises `Unavailable` also while a host that may have it is away."""
        native = naming.volume_name(id)
        self._survey.tell(lambda host: host.runtime.remove_volume(native))
        away = [h.name for h in self._hosts.values() if not h.reachable and (h.volumes is None or native in h.volumes)]
        if away:
            raise Unavailable(f"The host {away[0]} is away and may have the volume {name}.", "VolumeUnavailable")

    def tidy(self) -> None:
        """See `Adapter.tidy`: networks that nothing uses any more."""
        labels = naming.ours(self.connection.installation, self.connection.cluster)
        self._survey.ask(lambda host: host.tidy(labels) if host.surveyed else None)

    def watch(self, stop: StopEvent) -> Iterator[WorkloadRef | None]:
        """See `Adapter.watch`: events of all hosts, ends of pulls and stops, changes of health."""
        labels = naming.ours(self.connection.installation, self.connection.cluster)
        return watching.watch(self._hosts.values(), labels, self._hints, stop)

    def render(self, workload: Workload) -> list[dict[str, Any]]:
        """See `Adapter.render`. Secrets are masked; ids that are known only later are left out."""
        return containers.render(workload)

    def logs(self, ref: WorkloadRef, native_id: str, options: LogOptions) -> LogStream:
        """See `adapters.Logs`."""
        role = naming.sidecar_role(options.container) if options.container else MAIN

        def call(host: NativeHost, replica: Replica) -> LogStream:
            part = replica.parts.get(role)
            if part is None:
                raise Absent(f"{replica.instance.name} has no container {options.container or MAIN}.")
            return host.runtime.logs(part.id, replica.instance.name, options)

        return self._on(ref, native_id, call)

    def kill(self, ref: WorkloadRef, native_id: str, signal: str) -> None:
        """See `adapters.Kill`. The signal goes to the main container."""
        self._on(ref, native_id, lambda host, replica: host.runtime.kill(leading(replica.parts).id, signal))

    def delete_instance(self, ref: WorkloadRef, native_id: str) -> None:
        """See `adapters.DeleteInstance`. Without grace."""
        with suppress(Absent):
            self._on(ref, native_id, self._acting.kill_off)
            self._hints.put(ref)

    def close(self) -> None:
        """See `Adapter.close`. What runs in the background ends by itself."""
        self._prober.close()
        for host in self._hosts.values():
            host.close()

    def _turned(self) -> None:
        """A host is away that was not, or back: a moment later, so that one which comes and goes costs little."""
        self._hints.put_after(None, SOON)

    def _observation(self, ref: WorkloadRef, replicas: list[Replica]) -> Observation:
        instances = sorted((r.instance for r in replicas), key=lambda i: (i.slot, i.created_at is None, i.name))
        hashes = Counter(i.hash for i in instances)
        told = self._ailments.of(ref, instances)
        observation = Observation(
            ref=ref,
            native=tuple(part.name for r in replicas for part in r.parts.values()),
            hash=hashes.most_common(1)[0][0] if hashes else "",
            instances=tuple(instances),
            reason=told.reason if told else None,
            message=told.message if told else None,
            evidence=dict(told.evidence) if told else {},
            drift=self._drifting.told(ref),
        )
        self._observed[ref.id] = observation, replicas
        if not self.connection.owned:  # whoever has the cluster hears what is gone
            for oldest in list(self._observed)[:-LOOKED_AT]:
                self._observed.pop(oldest, None)
        self._look_again(replicas)
        return observation

    def _look_again(self, replicas: Sequence[Replica]) -> None:
        """A replica that has to prove itself first turns ready by the passing of time alone, and of one that its
        runtime is busy with more is known soon."""
        for replica in replicas if self.connection.owned else ():
            if any(part.held for part in replica.parts.values()):
                self._hints.put_after(replica.ref, HELD)
            instance = replica.instance
            if instance.state == "running" and not instance.ready and instance.health != "unhealthy":
                self._hints.put_after(replica.ref, PROOF)

    def _replicas(self, ref: WorkloadRef, seen: Observation | None) -> list[Replica]:
        """The replicas behind an observation; a new look where it is not the last one of this adapter."""
        known = self._observed.get(ref.id)
        if seen is None or known is None or known[0] is not seen:
            self.observe(ref)
            known = self._observed[ref.id]
        return known[1]

    def _prepare(self, workload: Workload, replicas: Sequence[Replica]) -> None:
        """Ask the hosts for what placement must know, where something is to be placed."""
        staying = [r for r in replicas if workload.standalone or self._stays(r)]
        there = sum(r.instance.hash == workload.hash or workload.standalone for r in staying)
        if there >= workload.wanted:
            return
        self._survey.complete()
        if containers.volumes(workload, workload.template):
            self._survey.volumes()

    def _stays(self, replica: Replica) -> bool:
        return self._hosts[replica.instance.host or ""].host.schedulable

    def _plan(
        self, workload: Workload, replicas: Sequence[Replica], replace: frozenset[str], altered: frozenset[str]
    ) -> Plan:
        views = [host.view() for host in self._hosts.values()]
        instances = [r.instance for r in replicas]
        lost = frozenset(r.instance.native_id for r in replicas if cut_off(r.parts))
        if not workload.standalone:
            return steps.plan(workload, instances, views, datetime.now(UTC), replace, lost, altered)
        if not instances and (unheard := self._unheard()):
            return Plan(waiting=True, blocked=Refused("BackendUnreachable", f"Nothing was heard of {unheard} yet."))
        acting = self._acting
        over = {
            r.instance.native_id: r.instance.started_at
            for r in replicas
            if r.parts and acting.over.get(r.instance.native_id, r) == leading(r.parts).started_at
        }
        memory = standalone.Memory(dict(acting.restarted), frozenset(acting.stopped), over, lost, altered)
        return standalone.plan(workload, instances, views, memory)

    def _unheard(self) -> str | None:
        """A host that may have a container and had no time to say so since this adapter was opened."""
        if (datetime.now(UTC) - self._opened_at).total_seconds() > self.connection.host_grace:
            return None
        return next((host.name for host in self._hosts.values() if not host.reachability.heard), None)

    def _relapsed(self, workload: Workload, replicas: Sequence[Replica]) -> tuple[frozenset[str], float | None]:
        """The unhealthy instances to replace now, and in how many seconds the next one is due."""
        if workload.standalone:
            return frozenset(), None
        self._ailments.learn(workload, [r.instance for r in replicas])
        now = datetime.now(UTC)
        due: set[str] = set()
        pending: list[float] = []
        for instance in (r.instance for r in replicas):
            key = workload.ref.id, instance.slot
            if instance.ready and instance.ready_since is not None:
                self._relapses.well(key, (now - instance.ready_since).total_seconds())
            elif instance.health == "unhealthy":
                left = self._relapses.due(key)
                due.update({instance.native_id} if left <= 0 else ())
                pending += [left] if left > 0 else []
        return frozenset(due), min(pending, default=None)

    def _removal(self, replica: Replica) -> Future[Wait | None]:
        host = self._hosts[replica.instance.host or ""]
        return host.submit(replica.ref.project, lambda: self._acting.remove(host, replica))

    def _tidy(self, ref: WorkloadRef) -> bool:
        """Remove the networks of its project that nothing uses any more. Whether none is left that only
        something of the engine's own can be using."""
        labels = naming.of_owner(ref)

        def call(host: NativeHost) -> bool:
            left = host.networks.release(host.runtime.networks(labels))
            return not left or any(c.state not in ("removing", "dead") for c in host.find(labels, exact=False))

        return all(self._survey.ask(call).values())

    def _on(self, ref: WorkloadRef, native_id: str, call: Callable[[NativeHost, Replica], T]) -> T:
        """Make a call where an instance is. Where nothing is found by what is known of it, that may be outdated: its
        containers may have been made anew. Then once more after a look. Raises `Absent`."""
        known = _with_id(self._observed.get(ref.id, (None, []))[1], native_id)
        if known is not None:
            with suppress(Absent):
                return self._call(known, call)
        self.observe(ref)
        found = _with_id(self._observed[ref.id][1], native_id)
        if found is None:
            raise Absent(f"{ref.name} has no instance {native_id}.")
        return self._call(found, call)

    def _call(self, replica: Replica, call: Callable[[NativeHost, Replica], T]) -> T:
        host = self._hosts[replica.instance.host or ""]
        return host.call(lambda: call(host, replica))


def _with_id(replicas: Sequence[Replica], native_id: str) -> Replica | None:
    return next((r for r in replicas if r.instance.native_id == native_id), None)
