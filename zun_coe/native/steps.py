"""What to do next for one app: the difference between what is wanted and what is there, as actions. Pure.

An app has slots 1 to N. While a template is being replaced a slot may have two instances, one of each hash;
it never has two of the same hash. Counting is strict: an instance that is still stopping counts as there,
so that there are never more than replicas + surge, and as not ready. `standalone` is the other noun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zun_coe.model import Instance, Template, Workload, share_of
from zun_coe.model.status import available
from zun_coe.native import containers
from zun_coe.native.placement import HostView, Needs, Refused, place

# A process that nothing checks counts in an update only when it has not ended at once.
SETTLE = 1


@dataclass(frozen=True)
class Create:
    """A new instance of a slot, on a host."""

    slot: int
    hash: str
    host: str


@dataclass(frozen=True)
class Remove:
    """Stop an instance within its grace and remove it. `update`: something newer takes its place, so the
    image of that must be there first."""

    instance: Instance
    update: bool = False


@dataclass(frozen=True)
class Mend:
    """Bring an instance to run that was made in part, ended from outside, or lost a part."""

    instance: Instance


@dataclass(frozen=True)
class Stop:
    """Stop in place."""

    instance: Instance


@dataclass(frozen=True)
class Start:
    """Start in place."""

    instance: Instance


@dataclass(frozen=True)
class Restart:
    """Stop and start in place, for the restart with this number."""

    instance: Instance
    number: int


@dataclass(frozen=True)
class Pause:
    """Freeze in place."""

    instance: Instance


@dataclass(frozen=True)
class Unpause:
    """Let go on in place."""

    instance: Instance


@dataclass(frozen=True)
class Resize:
    """Set the limits in place: CPUs and bytes, None for none."""

    instance: Instance
    cpu: float | None
    memory: int | None


Action = Create | Remove | Mend | Stop | Start | Restart | Pause | Unpause | Resize


@dataclass(frozen=True)
class Plan:
    """One converging step. `waiting`: nothing can be done until something turns ready, stops, or comes
    back, at the latest in `due` seconds; `blocked`: why an instance could not be placed."""

    actions: tuple[Action, ...] = ()
    waiting: bool = False
    due: float | None = None
    blocked: Refused | None = None


Seen = Sequence[Instance]


def plan(
    workload: Workload, seen: Seen, hosts: Sequence[HostView], now: datetime, replace: frozenset[str] = frozenset()
) -> Plan:
    """The next step of an app. `seen`: its instances, with state "removing" for those that are on their
    way out; `replace`: native ids of unhealthy instances whose time has come to be replaced. Nothing to do
    and nothing to wait for is an empty plan. The same arguments give the same plan."""
    return _Step(workload, seen, hosts, now, replace).plan()


def broken(instance: Instance) -> bool:
    """Whether an instance does not serve, and not merely is about to be checked."""
    return instance.health == "unhealthy" or instance.state in ("creating", "restarting", "exited", "failed", "paused")


def limits(workload: Workload) -> tuple[int, int]:
    """The surge and the number that may be unavailable, in instances; never both 0."""
    surge = share_of(workload.update.max_surge, workload.wanted, up=True)
    unavailable = share_of(workload.update.max_unavailable, workload.wanted, up=False)
    return surge, unavailable if surge or unavailable else 1


def keeping_order(instance: Instance) -> tuple[bool, bool, bool, str]:
    """Sorts first whichever of several instances is to be kept: one that can be reached, is ready, and
    then the one with the lower id."""
    return instance.state == "removing", instance.state == "unknown", not instance.ready, instance.native_id


@dataclass
class _Step:
    workload: Workload
    seen: Seen
    hosts: Sequence[HostView]
    now: datetime
    replace: frozenset[str]
    actions: list[Action] = field(default_factory=list)
    blocked: Refused | None = None
    waiting: bool = False
    made: set[int] = field(default_factory=set)

    def plan(self) -> Plan:
        wanted, target = self.workload.wanted, self.workload.hash
        self.views = {host.name: host for host in self.hosts}
        self.surge, self.unavailable = limits(self.workload)
        self.going = [i for i in self.seen if i.state == "removing"]
        self.kept = [i for i in self.seen if i.state != "removing"]
        self._drop(self._doubles() + [i for i in self.kept if i.slot > wanted])
        if self.workload.halted:
            self._fill(self._hash_when_halted())
        elif self.workload.update.strategy == "recreate" and self._there(lambda i: i.hash != target):
            self._drop(self._old(), update=True)
            self.waiting = True
        else:
            self._roll()
        self._heal()
        due = min((s for i in self.kept if (s := self._settles_in(i)) is not None), default=None)
        blocked = None if self.going else self.blocked
        return Plan(tuple(self.actions), self.waiting or bool(self.going), due, blocked)

    def _roll(self) -> None:
        target = self.workload.hash
        self._drop([i for i in self._old() if broken(i)], update=True)
        self._fill(target)
        self._trim()
        if not self._old():
            return
        self.waiting = True
        self._drop_replaced()
        self._surge()
        self._drop_unavailable()

    def _fill(self, hash_: str) -> None:
        """An instance for each slot that has none, as far as there is room."""
        stopping = {i.slot for i in self.going if i.hash == hash_}
        occupied = {i.slot for i in self.kept}
        room = self.workload.wanted + self.surge - self._total()
        for slot in (s for s in range(1, self.workload.wanted + 1) if s not in occupied):
            if slot in stopping or len(self.made) >= room:
                self.waiting = True
            elif isinstance(refused := self._create(slot, hash_), Refused):
                self.blocked = self.blocked or refused

    def _drop_replaced(self) -> None:
        """Old instances whose slot has a new one that serves, and further old ones that do not count."""
        serving = {i.slot for i in self._new() if self._available(i)}
        for old in [i for i in self._old() if i.slot in serving]:
            if not old.ready or self._ready() - 1 >= self._floor():
                self._drop([old], update=True)

    def _surge(self) -> None:
        """New instances beside old ones, as many as may be there in addition. Where no host takes one
        because of the old one itself, the old one goes first, one at a time."""
        succeeded = {i.slot for i in self._new()}
        for old in self._old():
            if old.slot in succeeded or old.slot in self.made:
                continue
            if self._total() >= self.workload.wanted + self.surge:
                return
            refused = self._create(old.slot, self.workload.hash)
            if isinstance(refused, Refused):
                self._make_room(old, refused)
                return

    def _make_room(self, old: Instance, refused: Refused) -> None:
        self.blocked = refused
        gone = self.workload.ref.id, old.slot, old.hash
        views = [view.without(*gone) for view in self.views.values()]
        if isinstance(place(self._needs(self.workload.hash), views), Refused):
            return
        self.blocked = None
        settled = all(self._available(i) for i in self._new())
        if settled and not self.going and not self.made and len(self.kept) >= self.workload.wanted:
            self._drop([old], update=True)

    def _drop_unavailable(self) -> None:
        """Old instances that serve and have no successor yet, as many as may be missing."""
        doubled = {i.slot for i in self._new()} | self.made
        for old in [i for i in self._old() if i.slot not in doubled and i.ready]:
            if self._ready() - 1 >= self._floor():
                self._drop([old], update=True)

    def _trim(self) -> None:
        """Where the limits became smaller: new ones beside old ones that are now too many."""
        slots = {i.slot for i in self._old()}
        extra = sorted((i for i in self._new() if i.slot in slots), key=lambda i: (i.ready, -i.slot))
        for instance in extra:
            if len(self.kept) > self.workload.wanted + self.surge and not self._available(instance):
                self._drop([instance])

    def _heal(self) -> None:
        """Replace what stays unhealthy; start what should run and does not."""
        self._drop([i for i in self.kept if i.native_id in self.replace and self._template(i.hash)])
        awry = ("creating", "exited", "failed", "paused")
        self.actions += [Mend(i) for i in self.kept if i.state in awry and self._reachable(i)]

    def _drop(self, instances: Seen, *, update: bool = False) -> None:
        for instance in instances:
            if instance in self.kept and self._reachable(instance):
                self.actions.append(Remove(instance, update))
                self.kept.remove(instance)
                self.going.append(instance)

    def _doubles(self) -> list[Instance]:
        """All but one of those that have both the slot and the hash in common."""
        kept: dict[tuple[int, str], Instance] = {}
        for instance in sorted(self.kept, key=keeping_order):
            kept.setdefault((instance.slot, instance.hash), instance)
        return [i for i in self.kept if i not in kept.values()]

    def _create(self, slot: int, hash_: str) -> Refused | None:
        needs = self._needs(hash_)
        host = place(needs, list(self.views.values()))
        if isinstance(host, Refused):
            return host
        self.views[host] = self.views[host].holding(needs.claim(slot), needs.volumes)
        self.actions.append(Create(slot, hash_, host))
        self.made.add(slot)
        return None

    def _needs(self, hash_: str) -> Needs:
        template = self._template(hash_) or self.workload.template
        volumes = containers.volumes(self.workload, template)
        return Needs.of(self.workload.ref.id, hash_, template, self.workload.placement, volumes)

    def _hash_when_halted(self) -> str:
        """The previous template where it is in use still, else the new one."""
        previous = self.workload.previous_hash
        in_use = self.workload.previous is not None and self._there(lambda i: i.hash == previous)
        return previous if previous is not None and in_use else self.workload.hash

    def _template(self, hash_: str) -> Template | None:
        return containers.template_of(self.workload, hash_)

    def _there(self, condition: Callable[[Instance], bool]) -> bool:
        return any(condition(i) for i in (*self.kept, *self.going))

    def _old(self) -> list[Instance]:
        return sorted((i for i in self.kept if i.hash != self.workload.hash), key=lambda i: i.slot)

    def _new(self) -> list[Instance]:
        return [i for i in self.kept if i.hash == self.workload.hash]

    def _total(self) -> int:
        there = [i for i in (*self.kept, *self.going) if i.slot <= self.workload.wanted]
        return len(there) + len(self.made)

    def _floor(self) -> int:
        return self.workload.wanted - self.unavailable

    def _ready(self) -> int:
        """How many serve: old ones that are ready now, new ones that have been for long enough."""
        return sum(self._available(i) if i.hash == self.workload.hash else i.ready for i in self.kept)

    def _available(self, instance: Instance) -> bool:
        return available(instance, self._min_ready(instance), self.now)

    def _min_ready(self, instance: Instance) -> int:
        least = 0 if instance.health else SETTLE
        return max(self.workload.update.min_ready, least)

    def _settles_in(self, instance: Instance) -> float | None:
        """When a ready instance will have been so for long enough, in seconds; None when nothing waits for it."""
        if not self.waiting or not instance.ready or instance.ready_since is None or self._available(instance):
            return None
        passed = (self.now - instance.ready_since).total_seconds()
        return max(0.0, self._min_ready(instance) - passed)

    def _reachable(self, instance: Instance) -> bool:
        view = self.views.get(instance.host or "")
        return instance.state != "unknown" and view is not None and view.reachable
