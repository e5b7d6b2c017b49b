"""What to do next for one app: the difference between what is wanted and what is there, as actions. Pure.

An app has slots 1 to N. While a template is being replaced a slot may have two instances, one of each hash;
on hosts that stay it never has two of the same hash. Counting is strict: an instance that is still stopping
counts as there, so that there are never more than replicas + surge, and as not ready.

A host that takes nothing new is being drained: what is on it leaves as an old template does, within the same
limits, but is never taken away unless another host will take its place. While a rollout is halted it may
still move, with its own template, and only with its successor beside it. `standalone` is the other noun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zun_coe.model import Instance, Template, Workload, share_of
from zun_coe.model.status import available
from zun_coe.native import containers
from zun_coe.native.actions import Action, Create, Mend, Plan, Remove, Restore
from zun_coe.native.placement import HostView, Needs, Refused, place

# A process that nothing checks counts in an update only when it has not ended at once.
SETTLE = 1
# The states of what should run and does not, and can be started.
ENDED = ("creating", "exited", "failed", "paused")


Seen = Sequence[Instance]


def plan(
    workload: Workload,
    seen: Seen,
    hosts: Sequence[HostView],
    now: datetime,
    replace: frozenset[str] = frozenset(),
    cut_off: frozenset[str] = frozenset(),
    altered: frozenset[str] = frozenset(),
) -> Plan:
    """The next step of an app. `seen`: its instances, with state "removing" for those that are on their
    way out; `replace`: native ids of unhealthy instances whose time has come to be replaced; `cut_off`: of those that
    run and can't be reached as they are to be; `altered`: of those whose limits or restart policies others changed.
    Nothing to do and nothing to wait for is an empty plan. The same arguments give the same plan."""
    return _Step(workload, seen, hosts, now, replace, cut_off, altered).plan()


def broken(instance: Instance) -> bool:
    """Whether an instance does not serve, and not merely is about to be checked."""
    return instance.health == "unhealthy" or instance.state in ("creating", "restarting", "exited", "failed", "paused")


def limits(workload: Workload) -> tuple[int, int]:
    """The surge and the number that may be unavailable, in instances; never both 0. An app that is recreated
    never has one too many, also while one of its replicas moves."""
    surge = share_of(workload.update.max_surge, workload.wanted, up=True)
    unavailable = share_of(workload.update.max_unavailable, workload.wanted, up=False)
    if workload.update.strategy == "recreate":
        surge = 0
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
    cut_off: frozenset[str]
    altered: frozenset[str]
    actions: list[Action] = field(default_factory=list)
    blocked: Refused | None = None
    waiting: bool = False
    made: set[int] = field(default_factory=set)
    reserved: dict[int, str] = field(default_factory=dict)

    def plan(self) -> Plan:
        wanted, target = self.workload.wanted, self.workload.hash
        self.views = {host.name: host for host in self.hosts}
        self.surge, self.unavailable = limits(self.workload)
        self.going = [i for i in self.seen if i.state == "removing"]
        self.kept = [i for i in self.seen if i.state != "removing"]
        self._drop([i for i in self.kept if i.slot > wanted])
        self._drop_doubles()
        if self.workload.halted:
            self._fill(self._hash_when_halted())
            self._replace()
        elif self.workload.update.strategy == "recreate" and self._there(lambda i: i.hash != target):
            self._drop([i for i in self.kept if i.hash != target], update=True)
            self.waiting = True
        else:
            self._roll()
        self._heal()
        due = min((s for i in self.kept if (s := self._settles_in(i)) is not None), default=None)
        blocked = None if self.going else self.blocked
        return Plan(tuple(self.actions), self.waiting or bool(self.going), due, blocked)

    def _roll(self) -> None:
        for old in [i for i in self._leaving() if broken(i)]:
            self._give_way(old)
        self._fill(self.workload.hash)
        self._trim()
        self._replace()

    def _replace(self) -> None:
        if not self._leaving():
            return
        self.waiting = True
        self._drop_replaced()
        self._surge()
        if not self.workload.halted:
            self._drop_unavailable()

    def _fill(self, hash_: str) -> None:
        """An instance for each slot that has none, as far as there is room."""
        stopping = {i.slot for i in self.going if i.hash == hash_ and not self._drained(i)}
        room = self.workload.wanted + self.surge - self._total()
        later = []
        for slot in self._vacant(hash_):
            if slot in stopping or len(self.made) >= room:
                later.append(slot)
            elif isinstance(refused := self._create(slot, hash_), Refused):
                self.blocked = self.blocked or refused
        later = [slot for slot in later if not any(i.slot == slot for i in self.kept)]
        self.waiting = self.waiting or bool(later)
        for slot in later:
            self._reserve(slot, hash_)

    def _vacant(self, hash_: str) -> list[int]:
        """The slots that have no instance; while a rollout is halted then also those that only have one of the
        template that failed, which does not serve."""
        spare = {i.slot for i in self.kept if self.workload.halted and i.hash == self.workload.hash and broken(i)}
        occupied = {i.slot for i in self.kept}
        held = occupied - spare | {i.slot for i in self.kept if i.hash == hash_}
        slots = [slot for slot in range(1, self.workload.wanted + 1) if slot not in held]
        return sorted(slots, key=lambda slot: (slot in occupied, slot))

    def _drop_replaced(self) -> None:
        """Old instances whose slot has a new one that serves, and further old ones that do not count."""
        serving = {(i.slot, i.hash) for i in self._staying() if self._available(i)}
        for old in [i for i in self._leaving() if (i.slot, self._next(i)) in serving]:
            if not old.ready or self._ready() - 1 >= self._floor():
                self._drop([old], update=not self._drained(old))

    def _surge(self) -> None:
        """New instances beside old ones, as many as may be there in addition. Where no host takes one
        because of the old one itself, the old one goes first, one at a time."""
        succeeded = {(i.slot, i.hash) for i in self._staying()}
        for old in self._leaving():
            if (old.slot, self._next(old)) in succeeded or old.slot in self.made:
                continue
            if self._total() >= self.workload.wanted + self.surge:
                return
            refused = self._create(old.slot, self._next(old))
            if refused is not None:
                self._make_room(old, refused)
                return

    def _make_room(self, old: Instance, refused: Refused) -> None:
        if self._drained(old):
            self.blocked = _stranded(old, refused)
            return
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
        for old in [i for i in self._leaving() if i.slot not in doubled and i.ready]:
            if self._ready() - 1 >= self._floor():
                self._give_way(old)

    def _give_way(self, old: Instance) -> None:
        """Take an old instance away before its successor comes; from a drained host only where that has a place."""
        if not self._drained(old):
            return self._drop([old], update=True)
        host = self._reserve(old.slot, self.workload.hash)
        if isinstance(host, Refused):
            self.blocked = self.blocked or _stranded(old, host)
        else:
            self._drop([old], update=True, to=host)

    def _trim(self) -> None:
        """Where the limits became smaller: new ones beside old ones that are now too many."""
        slots = {i.slot for i in self._leaving()}
        extra = sorted((i for i in self._new() if i.slot in slots), key=lambda i: (i.ready, -i.slot))
        for instance in extra:
            if len(self.kept) > self.workload.wanted + self.surge and not self._available(instance):
                self._drop([instance])

    def _heal(self) -> None:
        """Replace what stays unhealthy; start what should run and does not."""
        for sick in [i for i in self.kept if i.native_id in self.replace and self._template(i.hash)]:
            if not self._drained(sick) or isinstance(self._reserve(sick.slot, sick.hash), str):
                self._drop([sick])
        broken_ones = [i for i in self.kept if i.state in ENDED or i.native_id in self.cut_off]
        mended = [i for i in broken_ones if self._reachable(i) and not self._refused(i)]
        self.actions += [Mend(i) for i in mended]
        changed = (i for i in self.kept if i.native_id in self.altered and i not in mended and self._reachable(i))
        self.actions += [Restore(i) for i in changed]

    def _refused(self, instance: Instance) -> bool:
        """Whether it was never started and can't be. While a rollout is halted it is left as it is, to be looked at:
        what takes its place is another template."""
        new = instance.hash == self.workload.hash and instance.started_at is None
        return self.workload.halted and new and instance.reason == "InvalidSpec"

    def _drop(self, instances: Seen, *, update: bool = False, to: str | None = None) -> None:
        for instance in instances:
            if instance in self.kept and self._reachable(instance):
                self.actions.append(Remove(instance, update, to))
                self.kept.remove(instance)
                self.going.append(instance)

    def _drop_doubles(self) -> None:
        """All but one of those that have the slot and the hash in common, on hosts that stay or on others;
        while too few serve, one that does stays in addition."""
        kept: dict[tuple[int, str, bool], Instance] = {}
        for instance in sorted(self.kept, key=keeping_order):
            kept.setdefault((instance.slot, instance.hash, self._drained(instance)), instance)
        first = {i.native_id for i in kept.values()}
        for extra in [i for i in self.kept if i.native_id not in first]:
            if not extra.ready or self._ready() - 1 >= self._floor():
                self._drop([extra])
            else:
                self.waiting = True

    def _create(self, slot: int, hash_: str) -> Refused | None:
        host = self._reserve(slot, hash_)
        if isinstance(host, Refused):
            return host
        self.actions.append(Create(slot, hash_, host))
        self.made.add(slot)
        return None

    def _reserve(self, slot: int, hash_: str) -> str | Refused:
        """The host that a new instance of a slot will be on; what it takes there is held in this step."""
        if slot in self.reserved:
            return self.reserved[slot]
        needs = self._needs(hash_)
        host = place(needs, list(self.views.values()))
        if isinstance(host, str):
            self.views[host] = self.views[host].holding(needs.claim(slot), needs.volumes)
            self.reserved[slot] = host
        return host

    def _needs(self, hash_: str) -> Needs:
        template = self._template(hash_) or self.workload.template
        volumes = containers.volumes(self.workload, template)
        return Needs.of(self.workload.ref.id, hash_, template, self.workload.placement, volumes)

    def _hash_when_halted(self) -> str:
        """The previous template, also where nothing is left that has it; the new one where only that serves. Those of
        an app that is recreated are never of two."""
        previous, target = self.workload.previous_hash, self.workload.hash
        if previous is None or self.workload.previous is None:
            return target
        if self.workload.update.strategy == "recreate":
            return target if self._there(lambda i: i.hash == target) else previous
        if self._there(lambda i: i.hash == previous):
            return previous
        return target if any(i.hash == target and not broken(i) for i in self.kept) else previous

    def _template(self, hash_: str) -> Template | None:
        return containers.template_of(self.workload, hash_)

    def _there(self, condition: Callable[[Instance], bool]) -> bool:
        return any(condition(i) for i in (*self.kept, *self.going))

    def _leaving(self) -> list[Instance]:
        """What is to be replaced. What has to move to another host comes last: it may have to stay."""
        halted, target = self.workload.halted, self.workload.hash
        moving = [i for i in self.kept if self._drained(i) and (not halted or self._template(i.hash))]
        old = [i for i in self.kept if not self._drained(i) and i.hash != target and not halted]
        return sorted(old, key=lambda i: i.slot) + sorted(moving, key=lambda i: i.slot)

    def _next(self, leaving: Instance) -> str:
        """The hash of what takes its place."""
        return leaving.hash if self.workload.halted else self.workload.hash

    def _staying(self) -> list[Instance]:
        return [i for i in self.kept if not self._drained(i)]

    def _new(self) -> list[Instance]:
        return [i for i in self._staying() if i.hash == self.workload.hash]

    def _drained(self, instance: Instance) -> bool:
        view = self.views.get(instance.host or "")
        return view is not None and not view.schedulable

    def _total(self) -> int:
        there = [i for i in (*self.kept, *self.going) if i.slot <= self.workload.wanted]
        return len(there) + len(self.made)

    def _floor(self) -> int:
        return self.workload.wanted - self.unavailable

    def _ready(self) -> int:
        """How many serve: old ones that are ready now, new ones that have been for long enough."""
        target = self.workload.hash
        new = (i.hash == target and not self._drained(i) for i in self.kept)
        return sum(self._available(i) if is_new else i.ready for i, is_new in zip(self.kept, new, strict=True))

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


def _stranded(instance: Instance, refused: Refused) -> Refused:
    """Why an instance stays on a host that is being drained."""
    message = f"The host {instance.host} is being drained, and replica {instance.slot} has to stay. {refused.message}"
    return Refused("Unschedulable", message)
