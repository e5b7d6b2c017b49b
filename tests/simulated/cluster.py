"""A cluster in memory: the backend that a simulated adapter talks to.

It outlives gateways, as real clusters do, since the test holds it. It orchestrates by itself: rolling
updates with surge, replicas that are replaced, restart policies. No thread runs in it: time passes for
a workload when somebody looks at it, and for all of them while somebody listens for hints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Condition
from threading import Event as StopEvent

from tests.simulated.container import Container, Pace
from tests.simulated.faults import Faults
from tests.simulated.group import Group
from tests.simulated.hints import Hints, Listener
from tests.simulated.nodes import Nodes
from tests.simulated.program import FOREVER, Image
from zun_coe.errors import Absent, Unavailable
from zun_coe.model import Node, Observation, OperationSupport, Template, Workload, WorkloadRef

Scope = tuple[str, str]
Key = tuple[str, str]
# How long a listener may be deaf to `stop`, in seconds.
ATTENTION = 0.1
ONE_NODE = (Node(name="node-1", address="192.0.2.1", cpus=4.0, memory=16 << 30),)


class SimulatedCluster:
    """Thread-safe; no call blocks but those that say so. `images` holds those that are special; all others
    are there at once; those `refused` no workload may have. `overrides` as in `ClusterInfo`. `clock`: seconds that
    never go back.

    What a test does behind everybody's back is in `tests.simulated.outside`."""

    def __init__(
        self,
        nodes: tuple[Node, ...] = ONE_NODE,
        *,
        seed: int = 0,
        pace: Pace | None = None,
        room: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.identity = f"simulated-{seed}"
        self.nodes = Nodes(nodes, room)
        self.faults = Faults(seed)
        self.pace = pace or Pace()
        self.images: dict[str, Image] = {}
        self.refused: set[str] = set()
        self.overrides: dict[str, OperationSupport] = {}
        self.volumes: set[tuple[Scope, str]] = set()
        self.changed = Condition()
        self.clock = clock
        self._began = (datetime.now(UTC), clock())
        self._groups: dict[Scope, dict[Key, Group]] = {}
        self._numbered: dict[str, Group] = {}
        self._pulled: dict[str, float] = {}
        self._numbers = count(1)
        self._hints = Hints(self.faults)

    # What an adapter asks for.

    def declare(self, workload: Workload) -> int | None:
        """Follow a workload from now on. The port that keeps it from that; None when it was taken on."""
        with self.changed:
            ref = workload.ref
            group = self.group(ref)
            if taken := self.nodes.taken(workload, group):
                return taken
            if group is None:
                group = Group(workload, self)
                self._groups.setdefault(_scope(ref), {})[_key(ref)] = group
            self.volumes |= {(_scope(ref), id) for id in workload.volumes.values()}
            group.endpoints = self.nodes.publish(group, workload)
            group.declare(workload, self.clock())
            self.touched(group)
            return None

    def erase(self, ref: WorkloadRef) -> float | None:
        """Let a workload go. The seconds until there is more to see; None when nothing is left of it."""
        with self.changed:
            group = self.group(ref)
            if group is None:
                return None
            group.erase(self.clock())
            self.touched(group)
            return None if group.gone else max(group.next_at(self.clock()) - self.clock(), 0.01)

    def read(self, ref: WorkloadRef) -> Observation:
        """One workload as it is now. The work is that of its own containers, however many others there are."""
        with self.changed:
            group = self.group(ref)
            if group is None:
                return Observation(ref=ref)
            self.pass_time(group)
            return group.observation()

    def read_all(self, installation: str, cluster: str, label_key: bytes = b"") -> list[Observation]:
        """Everything of one installation and one cluster of it."""
        with self.changed:
            groups = self.groups((installation, cluster))
            for group in groups:
                self.pass_time(group)
            return [g.observation() for g in groups if not g.gone]

    def erase_volume(self, installation: str, cluster: str, id: str) -> None:
        """Forget a volume; no-op where there is none. Raises `Unavailable` while a workload uses it."""
        scope = (installation, cluster)
        with self.changed:
            if any(id in g.workload.volumes.values() for g in self.groups(scope)):
                raise Unavailable(f"the volume {id} is in use", reason="VolumeUnavailable")
            self.volumes.discard((scope, id))

    def hints(self, installation: str, cluster: str, stop: StopEvent) -> Iterator[WorkloadRef | None]:
        """Whatever may have changed, until `stop` is set. Blocks between hints."""
        listener = Listener((installation, cluster))
        with self.changed:
            self._hints.listeners.append(listener)
        try:
            while not stop.is_set():
                hint = self._next_hint(listener)
                if hint is not None:
                    yield hint
        finally:
            with self.changed:
                self._hints.listeners.remove(listener)

    @contextmanager
    def holding(self, native_id: str) -> Iterator[tuple[Container, float]]:
        """One container, to be looked at or changed, and the time. Raises `Absent`."""
        with self.changed:
            group = self._numbered.get(native_id.partition(".")[0])
            if group is not None:
                self.pass_time(group)
            if group is None or native_id not in group.containers:
                raise Absent(f"there is no container {native_id}")
            yield group.containers[native_id], self.clock()
            self.pass_time(group)

    # What a group asks for: see `Site`.

    def new_container(self, group: Group, slot: int, hash: str, template: Template, now: float) -> Container:
        """See `Site`."""
        ref, secrets = group.ref, group.workload.secrets
        if not group.number:
            group.number = str(next(self._numbers))
        self._numbered[group.number] = group
        return Container(
            native_id=f"{group.number}.{next(self._numbers)}",
            name=f"{ref.name}-{slot}" if ref.noun == "app" else ref.name,
            slot=slot,
            hash=hash,
            template=template,
            pace=self.pace,
            moment=self._moment,
            env=template.env | {k: secrets.get(v, "") for k, v in template.env_secrets.items()},
            created=now,
        )

    def place(self, group: Group) -> str | None:
        """See `Site`."""
        return self.nodes.place(group)

    def leave(self, group: Group, host: str) -> None:
        """See `Site`."""
        self.nodes.leave(group, host)

    def image(self, name: str, now: float) -> tuple[Image, float]:
        """See `Site`."""
        image = self.images.get(name, Image())
        if image.missing:
            return image, FOREVER
        return image, self._pulled.setdefault(name, now + image.pull)

    # What those who act from outside need.

    def group(self, ref: WorkloadRef) -> Group | None:
        """The workload's group, while `changed` is held."""
        return self._groups.get(_scope(ref), {}).get(_key(ref))

    def groups(self, scope: Scope | None = None) -> list[Group]:
        """All groups, or those of an installation and cluster, while `changed` is held."""
        scopes = self._groups.values() if scope is None else [self._groups.get(scope, {})]
        return [group for groups in scopes for group in groups.values()]

    def pass_time(self, group: Group) -> None:
        """Let everything happen in a group that was due, while `changed` is held."""
        group.reconcile(self.clock())
        self.touched(group)

    def touched(self, group: Group) -> None:
        """A group may have changed, while `changed` is held: whoever waits is told."""
        self._hints.schedule(group, self.clock())
        if group.gone:
            self.drop(group)
        if group.news():
            self._hints.tell(group.ref)
        self.changed.notify_all()

    def drop(self, group: Group) -> None:
        """Forget a group as it is, while `changed` is held."""
        self._groups[_scope(group.ref)].pop(_key(group.ref), None)
        self._numbered.pop(group.number, None)
        self.nodes.withdraw(group)

    def fetch_again(self, image: str) -> None:
        """What was pulled of an image is gone from the nodes."""
        self._pulled.pop(image, None)

    def _next_hint(self, listener: Listener) -> WorkloadRef | None:
        with self.changed:
            for group in self._hints.due(self.clock()):
                self.pass_time(group)
            if not listener.hints:
                self.changed.wait(max(min(self._hints.next_at - self.clock(), ATTENTION), 0.0))
            return listener.hints.popleft() if listener.hints else None

    def _moment(self, at: float) -> datetime:
        date, began = self._began
        return date + timedelta(seconds=at - began)


def _scope(ref: WorkloadRef) -> Scope:
    return ref.installation, ref.cluster


def _key(ref: WorkloadRef) -> Key:
    return ref.noun, ref.id
