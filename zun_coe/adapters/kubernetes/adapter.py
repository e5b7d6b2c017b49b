"""Kubernetes as an adapter: the verbs, which ask what is there, plan, and send what the plan says.

All that it must know is in the cluster. What it keeps in memory (which namespaces are there, what was seen last)
may be lost at any time and only costs a few calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Event as StopEvent
from typing import Any, ClassVar

import msgspec

from zun_coe.adapters import (
    NOTHING_ALLOWED,
    Adapter,
    Again,
    Connection,
    Done,
    Foreign,
    LogOptions,
    LogStream,
    Offer,
    Outcome,
    Policy,
    Wait,
)
from zun_coe.adapters.contests import Contests
from zun_coe.adapters.expiry import expiry
from zun_coe.adapters.fields import Accounting
from zun_coe.adapters.hints import Hints
from zun_coe.adapters.kubernetes import (
    describing,
    manifest,
    naming,
    paths,
    podspec,
    registration,
    strays,
    survey,
    watching,
)
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.converging import (
    BODIES,
    REPLICAS,
    Changed,
    Erase,
    Json,
    Key,
    Plan,
    key_of,
    left_to,
    plan,
)
from zun_coe.adapters.kubernetes.drifting import Insisted, Remembered
from zun_coe.adapters.kubernetes.fields import FIELDS
from zun_coe.adapters.kubernetes.finding import Finder, Sight
from zun_coe.adapters.kubernetes.hardening import Level, security
from zun_coe.adapters.kubernetes.logs import pod_logs
from zun_coe.adapters.kubernetes.namespaces import Namespaces
from zun_coe.adapters.kubernetes.owners import Owners
from zun_coe.adapters.kubernetes.permissions import Permissions
from zun_coe.adapters.kubernetes.sending import Sender
from zun_coe.adapters.kubernetes.settling import Settled, versioned
from zun_coe.adapters.kubernetes.sources import SOURCES
from zun_coe.adapters.kubernetes.takeover import Takeover
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import Denied, FieldProblem, Unavailable
from zun_coe.model import ClusterInfo, Drift, Observation, Workload, WorkloadRef

POLL = 1.0
"""How soon something that is on its way out is looked for again, in seconds, besides all hints."""
LONGEST = 15.0
"""The same, at most, while all changes are told of."""
SETTLING = 0.25
"""For how many seconds something new is left alone: a cluster takes longer to start anything."""
EACH, MOST = 0.05, 0.5
"""While several pods are to become ready, so many seconds for each but one of them are between two looks, and so many
at most: one by one they change nothing that anybody waits for."""
ROUNDS = 4
"""So often a step plans anew at most: what follows an owner is sent when the owner is there."""


class KubernetesAdapter(Adapter):
    """One cluster of Kubernetes. Thread-safe as long as no workload is applied twice at once."""

    fields: ClassVar[Accounting] = FIELDS
    reasons: ClassVar[Mapping[str, str]] = SOURCES

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._client = Client(connection)
        self._permissions = Permissions(self._client, connection.namespace, connection.parallelism)
        self._owners = Owners(self._client.freshness)
        self._finder = Finder(self._client, connection, self._owners)
        self._takeover = Takeover(self._client, connection)
        self._hints, self._settled = Hints(), Settled()
        self._seen: dict[str, tuple[Observation, Sight]] = {}
        self._drift: dict[str, tuple[Drift, ...]] = {}
        self._insisted, self._remembered, self._contests = Insisted(self._client), Remembered(), Contests()
        self._namespaces = Namespaces(self._client, connection)
        self._sender = Sender(self._client, self._finder, self._namespaces, self._insisted, self._owners)

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
        return registration.check_registration(cluster, admin=admin, reach=reach, policy=policy)

    def renew(self, credentials: Mapping[str, Any]) -> bool:
        """See `Adapter.renew`. What is watched goes on, and is resumed with them. A kubeconfig may lead elsewhere:
        then it takes another adapter."""
        connection = replace(self.connection, credentials=credentials)
        if not self._client.renew(connection):
            return False
        self.connection = connection
        self._permissions.forget()
        return True

    def expires_at(self) -> datetime | None:
        """See `Adapter.expires_at`."""
        try:
            session = registration.session(self.connection)
        except Denied:
            return None
        return expiry(session.client_cert, session.token)

    def describe(self) -> ClusterInfo:
        """See `Adapter.describe`."""
        info = describing.describe(self._client, self._permissions)
        return describing.enforcing(info, self._namespaces.refresh())

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        """See `Adapter.observe`."""
        if ref is None:
            return [self._observation(each, found) for each, found in self._finder.all().items()]
        sight = self._finder.one(ref)
        if sight.again is not None:
            self._hints.put_after(ref, sight.again)
        observation = self._observation(ref, sight.found)
        self._hints.space(ref, _patience(observation))
        self._seen[ref.id] = observation, sight
        return [observation]

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        """See `Adapter.apply`. What others have changed is told by an observation before it is put right."""
        if self._settled.holds(workload, seen):
            self._seen.pop(workload.ref.id, None)
            return Done()
        return self._converge(workload, self._sight(workload.ref, seen))

    def remove(self, ref: WorkloadRef, seen: Observation | None) -> Outcome:
        """See `Adapter.remove`. What belongs to a Deployment goes with it, and it goes last; so does what others have
        taken out of it."""
        sight = self._sight(ref, seen)
        left = [o for (kind, _), o in sight.live.items() if kind != "PersistentVolumeClaim"]
        self._remembered.forget(ref.id)
        self._sender.forget(ref.id)
        self._settled.forget(ref.id)
        self._contests.forget(ref.id)
        if any(kind == "Secret" for kind, _ in sight.live):
            self._finder.doubt(ref)
        if not left and not sight.found.pods:
            self._drift.pop(ref.id, None)
            self._owners.forget(ref)
            self._finder.doubt(ref)
            return Done()
        self._sender.let_go(sight)
        for step in (*plan([], sight.live).changes, *self._strays(ref, sight)):
            if isinstance(step, Erase):
                self._sender.erase(self._finder.namespace_of(ref), step)
        self._owners.leave(ref)
        return _waiting(self._goes_in(sight), left, sight)

    def remove_volume(self, name: str, id: str, project: str) -> None:
        """See `Adapter.remove_volume`."""
        namespace, claim = self._finder.namespace(project), naming.volume_name(name, id)
        if users := self._finder.users(namespace, podspec.volume_label(id)):
            raise Unavailable(f"The volume {name} is used by {users[0]}.", "VolumeUnavailable", {"pod": users[0]})
        self._client.delete(paths.path("PersistentVolumeClaim", claim, namespace))

    def watch(self, stop: StopEvent) -> Iterator[WorkloadRef | None]:
        """See `Adapter.watch`."""
        return watching.hints(self._client, self.connection, stop, self._hints, self._owners)

    def render(self, workload: Workload) -> list[dict[str, Any]]:
        """See `Adapter.render`. Secrets are masked; owners are left out, since they are known only later."""
        return manifest.plan(workload, self._target(workload, self._namespaces.expected, ()))

    def logs(self, ref: WorkloadRef, native_id: str, options: LogOptions) -> LogStream:
        """See `adapters.Logs`."""
        place = naming.place_of(ref.place)
        main = place.main if place else podspec.MAIN
        container = main if options.container in (None, podspec.MAIN) else options.container
        return pod_logs(self._client, self._finder.namespace_of(ref), native_id, container, options)

    def delete_instance(self, ref: WorkloadRef, native_id: str) -> None:
        """See `adapters.DeleteInstance`. Within its grace."""
        pod, uid = naming.pod_of(native_id)
        self._client.delete(paths.path("Pod", pod, self._finder.namespace_of(ref)), uid=uid)

    def foreign(self, known: Collection[str] = ()) -> Sequence[Foreign]:
        """See `adapters.Adopts`."""
        return self._takeover.foreign(known)

    def offer(self, namespace: str, name: str) -> Offer:
        """See `adapters.Adopts`."""
        return self._takeover.offer(namespace, name)

    def close(self) -> None:
        """See `Adapter.close`."""
        self._client.close()

    def _goes_in(self, sight: Sight) -> float:
        """In how many seconds what goes is to be looked at again, besides all hints: what is told of needs that only
        where a pod is not gone in its time."""
        if not all(self._owners.follows(kind) for kind in watching.LABELLED):
            return POLL
        return max(POLL, min(survey.leaves_in(sight.found), LONGEST))

    def _strays(self, ref: WorkloadRef, sight: Sight) -> Iterator[Erase]:
        """What runs of an app without its Deployment."""
        if ref.noun != "app":
            return
        yield from strays.loose(sight.found.pods)
        if sight.found.deployment is None and strays.orphaned(sight.found.pods):
            yield from strays.replica_sets(self._finder.replica_sets(ref))

    def _converge(self, workload: Workload, sight: Sight) -> Outcome:
        """One step from what was seen."""
        ref = workload.ref
        self._sender.let_go(sight)
        wanted, live = self._wanted(workload, sight)
        new, changed = self._begins(workload, live), False
        for _ in range(ROUNDS):
            step, left = self._plan(ref, wanted, live)
            if ref.id not in self._drift:
                if self._insisted.ask(step.changed):
                    continue
                if self._is_told(ref, step, wanted, live):
                    return Again()
            if not step.changes:
                break
            if not self._sender.carry_out(ref, step, live):
                return Wait(POLL)
            changed = True
        self._contests.corrected(ref.id, self._drift.pop(ref.id, ()))
        self._remembered.keep(ref.id, wanted, live)
        if step.waiting:
            return _waiting(POLL, [live[key] for key in live if key[1] in step.waiting], sight)
        if changed:
            return Wait(SETTLING) if new else Again()
        return self._at_rest(workload, wanted, sight, left)

    def _at_rest(self, workload: Workload, wanted: Sequence[Json], sight: Sight, left: Sequence[Drift]) -> Outcome:
        """Nothing is to be sent. `left`: what is not as wanted, and is left so for now."""
        if left:
            return self._contests.waiting(workload.ref.id, left)
        self._settled.keep(workload, wanted, sight.found)
        return Done()

    def _wanted(self, workload: Workload, sight: Sight) -> tuple[Sequence[Json], dict[Key, Json]]:
        """What is wanted, and what there is of it."""
        live = dict(sight.live)
        bodies = [object for (kind, _), object in live.items() if kind in BODIES]
        wanted = manifest.render(workload, self._target(workload, self._namespaces.level(workload.ref), bodies))
        live |= self._claims(workload.ref, wanted, live)
        if workload.adopted is not None:
            live |= self._takeover.prepared(workload, wanted, live)
        return left_to(sight.found.scaler, wanted, live), live

    def _is_told(self, ref: WorkloadRef, step: Plan, wanted: Sequence[Json], live: Mapping[Key, Json]) -> bool:
        """Whether the next observation has something to tell before it is put right."""
        if self._is_scaled(step.changed):
            return True
        if drift := (*self._gone(ref, wanted, live), *step.drift):
            self._drift[ref.id] = drift
        return bool(drift)

    def _is_scaled(self, changed: Sequence[Changed]) -> bool:
        """Whether it was an autoscaler that has changed the number of replicas, as the next look will see."""
        return any(
            self._finder.scaler_of(one.there) is not None
            for one in changed
            if one.object["kind"] == "Deployment" and any(d.pointer == REPLICAS for d in one.found)
            if naming.SCALED_BY not in one.object["metadata"]["annotations"]
        )

    def _plan(self, ref: WorkloadRef, wanted: Sequence[Json], live: Mapping[Key, Json]) -> tuple[Plan, Sequence[Drift]]:
        """What to do, and which differences to leave alone for now since they came back too often."""
        known = self._insisted.known
        step = plan(wanted, live, known)
        left = [(one, d) for one in step.changed for d in one.told if self._contests.left(ref.id, d)]
        if not left:
            return step, ()
        kept = {uid: tuple(drifts) for uid, drifts in known.items()}
        for one, drift in left:
            uid = one.there["metadata"]["uid"]
            kept[uid] = (*kept.get(uid, ()), one.found[one.told.index(drift)])
        return plan(wanted, live, kept), [drift for _, drift in left]

    def _claims(self, ref: WorkloadRef, wanted: Sequence[Json], live: Mapping[Key, Json]) -> Mapping[Key, Json]:
        """Those that are there, where one is wanted that nothing of the workload uses yet."""
        missing = any(o["kind"] == "PersistentVolumeClaim" and key_of(o) not in live for o in wanted)
        return {key_of(claim): claim for claim in self._finder.claims(ref)} if missing else {}

    def _begins(self, workload: Workload, live: Mapping[Key, Json]) -> bool:
        """Whether pods are asked for where nothing is, for all that is known. Then nobody is told to look at them for
        a moment: there would be nothing to see, and it would take from what they need to start."""
        known = workload.ref.id in self._drift or any(kind in BODIES for kind, _ in live)
        if known or workload.standalone or not workload.wanted:
            return False
        self._hints.space(workload.ref, SETTLING)
        return True

    def _observation(self, ref: WorkloadRef, found: survey.Found) -> Observation:
        """What there is, with what was learned when it was worked on last. Where time alone changes it, another look
        is due then."""
        if (seconds := survey.next_look(ref, found)) is not None:
            self._hints.put_after(ref, seconds)
        observation = survey.observation(ref, found)
        drift, warnings = self._drift.get(ref.id), self._sender.warnings(ref.id)
        if drift or warnings:
            observation = msgspec.structs.replace(observation, drift=drift or (), warnings=warnings)
        return versioned(observation, found)

    def _target(self, workload: Workload, level: Level, bodies: Sequence[Json]) -> manifest.Target:
        """Where it goes, and how it is rendered there: what was taken over keeps what it came with."""
        how = security(level, workload.hash, bodies) if workload.adopted is None else ""
        namespace, shared = self._finder.namespace_of(workload.ref), self.connection.namespace is not None
        return manifest.Target(namespace, shared=shared, security=how)

    def _sight(self, ref: WorkloadRef, seen: Observation | None) -> Sight:
        """What is behind an observation; a new look where it is not the last one of this adapter."""
        known = self._seen.pop(ref.id, None)
        if seen is None or known is None or known[0] is not seen:
            self.observe(ref)
            known = self._seen.pop(ref.id)
        return known[1]

    def _gone(self, ref: WorkloadRef, wanted: Sequence[Json], live: Mapping[Key, Json]) -> Sequence[Drift]:
        """What others have taken away. What has lost its labels alone is still there."""
        gone = self._remembered.gone(ref.id, wanted, live)
        return [drift for object, drift in gone if self._finder.there(object) is None]


def _waiting(seconds: float, going: Sequence[Json], sight: Sight) -> Wait:
    """To wait until these are gone, and what keeps them, where that is not the server itself."""
    told = strays.kept(going, sight.found.pods, sight.found.at)
    return Wait(seconds, told.reason, told.message, told.evidence) if told else Wait(seconds)


def _patience(seen: Observation) -> float:
    """How many seconds may pass between two looks."""
    missing = (seen.desired or 0) - sum(instance.ready for instance in seen.instances)
    return min(EACH * max(missing - 1, 0), MOST)
