"""Everything of one workload in a simulated cluster, and how it follows what was declared."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from msgspec.structs import replace

from tests.simulated.container import Container
from tests.simulated.program import FOREVER, Image
from tests.simulated.rolling import Plan, plan
from zun_coe.model import Endpoint, Observation, Template, Workload, WorkloadRef
from zun_coe.model.status import stays_exited


class Site(Protocol):
    """What a group needs of its cluster."""

    def new_container(self, group: Group, slot: int, hash: str, template: Template, now: float) -> Container:
        """A container that is neither placed nor begun."""

    def place(self, group: Group) -> str | None:
        """The node for one more container of the group; None where there is no room."""

    def leave(self, group: Group, host: str) -> None:
        """A container of the group is gone from its node."""

    def image(self, name: str, now: float) -> tuple[Image, float]:
        """An image, and when it is there: pulling begins when it is first asked for."""


class Group:
    """The containers of one workload. Guarded by the lock of its cluster."""

    def __init__(self, workload: Workload, site: Site) -> None:
        self.workload = workload
        self.endpoints: tuple[Endpoint, ...] = ()
        self.containers: dict[str, Container] = {}
        self.hosts: Counter[str] = Counter()
        self.erased = False
        self.scheduled = FOREVER
        self.number = ""
        self._told: object = None
        self._site = site
        # The templates that replicas may have to be made from, by hash.
        self._templates = {workload.hash: workload.template}
        self._restarts = workload.restarts

    @property
    def ref(self) -> WorkloadRef:
        """Whose it is."""
        return self.workload.ref

    @property
    def gone(self) -> bool:
        """Whether nothing is left of something that was to go."""
        return self.erased and not self.containers

    def declare(self, workload: Workload, now: float) -> None:
        """Follow this from now on. Idempotent."""
        self.workload, self.erased = workload, False
        self._templates[workload.hash] = workload.template
        if workload.standalone and not self._live():
            self._create(1, workload.hash, now)
        if workload.previous and workload.previous_hash:
            self._templates[workload.previous_hash] = workload.previous
        self.reconcile(now)
        if workload.standalone:
            self._steer(now)
            self.reconcile(now)

    def erase(self, now: float) -> None:
        """Let everything end."""
        self.erased = True
        self._advance(now)
        for container in self._live():
            container.stop(now, remove=True)
        self.reconcile(now)

    def reconcile(self, now: float) -> None:
        """Let everything happen that was due, and make the next moves for as long as there are any."""
        self._advance(now)
        while not self.erased and self._move(now):
            self._advance(now)

    def next_at(self, now: float) -> float:
        """When something happens next by itself."""
        patience = self.workload.update.min_ready
        settling = (c.ready_since + patience for c in self.containers.values() if c.ready)
        times = [c.next_at for c in self.containers.values()]
        return min([*times, *(at for at in settling if at > now)], default=FOREVER)

    def news(self) -> bool:
        """Whether anything that can be observed changed since this was asked last."""
        now = [self.workload.hash, self.workload.wanted, self.endpoints]
        now += [(c.native_id, c.state, c.ready, c.restarts, c.reason, c.template) for c in self.containers.values()]
        before, self._told = self._told, now
        return now != before

    def observation(self) -> Observation:
        """As an adapter shows it."""
        instances = tuple(c.instance() for c in self.containers.values())
        newest = (i for i in instances if i.hash == self.workload.hash)
        refused = next((i for i in newest if i.reason == "InvalidSpec"), None)
        return Observation(
            ref=self.ref,
            native=(f"group/{self.ref.name}", *(c.name for c in self.containers.values())),
            hash=self.workload.hash,
            desired=self.workload.wanted,
            instances=instances,
            endpoints=self.endpoints,
            reason=refused.reason if refused else None,
            message=refused.message if refused else None,
        )

    def _live(self) -> list[Container]:
        return [c for c in self.containers.values() if c.live]

    def _advance(self, now: float) -> None:
        for container in list(self.containers.values()):
            container.advance(now)
            if container.state == "pending" and not self.erased:
                self._begin(container, now)
            if container.state == "gone":
                del self.containers[container.native_id]
                if container.host is not None:
                    self._site.leave(self, container.host)

    def _move(self, now: float) -> bool:
        """One round of moves; whether there was any."""
        if self.workload.standalone:
            return False
        live = self._live()
        patience = self.workload.update.min_ready
        available = [c.ready and now >= c.ready_since + patience for c in live]
        moves = plan(self.workload, live, available, len(self.containers) - len(live))
        for number in moves.remove:
            live[number].stop(now, remove=True)
        for slot, hash in moves.create:
            self._create(slot, hash, now)
        return moves != Plan()

    def _create(self, slot: int, hash: str, now: float) -> None:
        template = self._templates.get(hash, self.workload.template)
        container = self._site.new_container(self, slot, hash, template, now)
        self.containers[container.native_id] = container
        self._begin(container, now)

    def _begin(self, container: Container, now: float) -> None:
        image, pulled = self._site.image(container.template.image, now)
        container.host = container.host or self._site.place(self)
        if container.host is None:
            container.wait("Unschedulable", "No node has room for it.")
        elif image.missing or (container.template.pull == "never" and pulled > now):
            container.wait("ImageNotFound", f"There is no image {container.template.image}.")
        elif self.workload.standalone and self.workload.desired_state == "stopped":
            container.state = "exited"
            container.stopped = True
        else:
            container.begin(image, pulled, now)

    def _steer(self, now: float) -> None:
        """Bring a standalone container to the state and the limits that are wanted, where it is."""
        workload = self.workload
        for container in self._live():
            container.resize(replace(container.template, cpu=workload.template.cpu, memory=workload.template.memory))
            if workload.restarts != self._restarts and workload.desired_state == "running":
                container.start(now)
            else:
                self._set_state(container, now)
        self._restarts = workload.restarts

    def _set_state(self, container: Container, now: float) -> None:
        match self.workload.desired_state, container.state:
            case "stopped", "running" | "paused" | "restarting" if not container.stopped:
                container.stop(now)
            case "paused", "running":
                container.pause()
            case "running", "paused":
                container.unpause(now)
            case "running", "exited" if container.stopped or self._should_run(container):
                container.start(now)

    def _should_run(self, container: Container) -> bool:
        return not stays_exited(container.template.restart, container.exit_code)
