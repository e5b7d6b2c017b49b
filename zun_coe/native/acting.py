"""Carries out actions on hosts. Every one of them may be cut off at any point and be done again: what it
made is found by its name, and what it began is taken up by the next step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from zun_coe.adapters import NO_HARDENING, Hardening, Wait
from zun_coe.errors import Absent, BackendError, Unavailable
from zun_coe.model import Template, Workload, WorkloadRef
from zun_coe.native import containers, naming, pause
from zun_coe.native.background import Relapses
from zun_coe.native.drifting import Change
from zun_coe.native.hosts import NativeHost
from zun_coe.native.jobs import Jobs, together
from zun_coe.native.naming import INFRA, MAIN
from zun_coe.native.replicas import Replica, cut_off, leading, missing, orphaned, stale
from zun_coe.native.runtime import ContainerSpec, Found

# How long a step waits, at most, for something in the background that tells when it ends.
UNTIL_TOLD = 5.0


class Acting:
    """The actions of steps on the hosts' runtimes. `hint` is called when something in the background has
    ended; `label_key` signs the labels of what is created, `hardening` restricts it. Thread-safe. Methods return
    None when they are done, or what is being waited for."""

    def __init__(
        self, hint: Callable[[WorkloadRef], None], label_key: bytes = b"", hardening: Hardening = NO_HARDENING
    ) -> None:
        self._hint, self._label_key, self._hardening = hint, label_key, hardening
        self._jobs = Jobs(limit=256, each=64)
        self._starts = Relapses()
        self._failed: dict[str, BackendError] = {}
        self.restarted: dict[str, int] = {}
        self.over: dict[str, datetime | None] = {}
        self.stopped: set[str] = set()

    def removing(self, host: str) -> frozenset[str]:
        """The ids of containers of a host that are on their way out."""
        keys = (key for key in self._jobs.under_way() if isinstance(key, tuple) and key[:2] == ("remove", host))
        return frozenset(str(key[2]) for key in keys)

    def create(self, host: NativeHost, workload: Workload, template: Template, hash_: str, slot: int) -> str:
        """Create and start every container of a replica that is missing; the id of the main one.
        Idempotent. Raises `Absent` with ImageNotFound, or what the runtime refused."""
        made = containers.specs(workload, template, hash_, slot)
        specs = {role: self._completed(spec, host) for role, spec in made.items()}
        names, labels = containers.networks(workload, template), naming.of_owner(workload.ref)
        with host.networks.using(names, labels):
            self._prepare(host, workload, template)
            try:
                return self._create_all(host, template, specs)
            except Absent as error:
                if error.reason == "ImageNotFound":
                    raise
                host.networks.ensure(names, labels, anew=True)
                return self._create_all(host, template, specs)

    def mend(self, host: NativeHost, workload: Workload, replica: Replica) -> Wait | None:
        """Bring a replica to run again: make what is missing of it, start what ended. Idempotent."""
        parts, hash_ = replica.parts, replica.instance.hash
        template = containers.template_of(workload, hash_)
        if orphaned(parts) or any(part.state == "dead" for part in parts.values()):
            self._discard(host, parts)
            return None
        if behind := stale(parts):
            waits = [self.restart(host, replica.ref, part) for part in behind]
            return waits[0]
        if missing(parts) and template is not None:
            self.create(host, workload, template, hash_, replica.instance.slot)
            return None
        self._reconnect(host, workload, cut_off(parts))
        for role in sorted(parts, key=lambda role: role != INFRA):
            if wait := self._start(host, replica.ref, template, parts[role]):
                return wait
        return None

    def _reconnect(self, host: NativeHost, workload: Workload, parts: Sequence[Found]) -> None:
        """Put containers back on the networks that they were taken off, which may be gone by now."""
        labels = naming.of_owner(workload.ref)
        for part in parts:
            ours = [name for name in part.detached if naming.is_network(name, workload.ref.installation)]
            with host.networks.using(ours, labels):
                host.networks.ensure(ours, labels, anew=True)
                host.runtime.reconnect(part.id, containers.aliases(workload))

    def remove(self, host: NativeHost, replica: Replica) -> Wait | None:
        """Stop a replica within its grace, in the background, and remove it. Idempotent."""
        parts = replica.parts
        if all(part.state in ("created", "exited", "dead") for part in parts.values()):
            self._discard(host, parts)
            return None
        key = ("remove", host.name, leading(parts).id)
        return self._background(key, replica.ref, lambda: self._stop_and_discard(host, parts), leading(parts).id)

    def stop(self, host: NativeHost, replica: Replica) -> Wait | None:
        """Stop a container in the background. Idempotent."""
        part = leading(replica.parts)

        def call() -> None:
            self.stopped.add(part.id)  # before it can be seen to have ended, and be started again
            host.runtime.stop(part.id, _grace(part))

        return self._background(("stop", host.name, part.id), replica.ref, call, part.id)

    def restart(self, host: NativeHost, ref: WorkloadRef, part: Found, number: int | None = None) -> Wait | None:
        """Stop and start a container in the background, once for each run of it that was seen; `number`: which of
        its restarts this carries out."""

        def call() -> None:
            seen_before = part.started_at is not None and self.over.get(part.id) == part.started_at
            if seen_before or (number is not None and self.restarted.get(part.id) == number):
                return  # whoever asks did not know yet that it was done
            self._reconnecting(host, ref, part, lambda: host.runtime.restart(part.id, _grace(part)))
            self.over[part.id] = part.started_at
            self.stopped.discard(part.id)
            if number is not None:
                self.restarted[part.id] = number

        return self._background(("restart", host.name, part.id), ref, call, part.id)

    def start(self, host: NativeHost, workload: Workload, replica: Replica) -> Wait | None:
        """Start a container where it is, once it is not being stopped any more: a runtime may still kill what it
        finds running then. Idempotent."""
        part = leading(replica.parts)
        if self._jobs.running(("stop", host.name, part.id)):
            return Wait(UNTIL_TOLD)
        if part.id in self.stopped:  # it ended because somebody asked for that
            self._starts.forget(part.id)
        wait = self._start(host, workload.ref, workload.template, part)
        if wait is None:
            self.stopped.discard(part.id)
        return wait

    def restore(self, host: NativeHost, changes: Sequence[Change]) -> None:
        """Give containers the terms that they are to have. Idempotent."""
        for change in changes:
            if change.limits:
                host.runtime.resize(change.part.id, change.terms.cpu, change.terms.memory)
            if change.policy:
                host.runtime.set_restart(change.part.id, change.terms.restart)

    def kill_off(self, host: NativeHost, replica: Replica) -> None:
        """Remove a replica now, without grace. Idempotent."""
        self._discard(host, replica.parts)

    def forget(self, replica: Replica) -> None:
        """Its containers are to go: drop what was remembered of them."""
        for part in replica.parts.values():
            self.restarted.pop(part.id, None)
            self.over.pop(part.id, None)
            self.stopped.discard(part.id)
            self._starts.forget(part.id)

    def _completed(self, spec: ContainerSpec, host: NativeHost) -> ContainerSpec:
        """The container with what the operator and its host decide."""
        defaults = self._hardening
        return replace(
            spec,
            publish_on=host.publish_on,
            labels=naming.signed(spec.labels, self._label_key),
            pids=defaults.pids,
            no_new_privileges=defaults.no_new_privileges,
            cap_drop=defaults.drop_capabilities,
        )

    def _prepare(self, host: NativeHost, workload: Workload, template: Template) -> None:
        """What a replica's containers need to be there before them."""
        labels = naming.of_owner(workload.ref)
        for native, name in containers.volumes(workload, template).items():
            told = labels | {naming.VOLUME: name, naming.ID: workload.volumes[name]}
            host.runtime.ensure_volume(native, told, None, None)
            host.made_volume(native)
        if template.sidecars and not host.runtime.has_image(pause.IMAGE):
            machine = str(host.info.facts.get("architecture", "x86_64")) if host.info else "x86_64"
            host.runtime.import_image(pause.IMAGE, pause.archive(machine))

    def _create_all(self, host: NativeHost, template: Template, specs: Mapping[str, ContainerSpec]) -> str:
        ids: dict[str, str] = {}
        for role, spec in specs.items():
            join = ids[INFRA] if INFRA in specs and role != INFRA else None
            ids[role] = host.runtime.create(replace(spec, join=join))
            self._started(host, template, ids[role], fresh=True)
        return ids[MAIN]

    def _start(self, host: NativeHost, ref: WorkloadRef, template: Template | None, part: Found) -> Wait | None:
        """Let a container run: one that ends soon after each start only after growing delays."""
        if part.state == "paused":
            host.runtime.unpause(part.id)
        if part.state not in ("created", "exited"):
            return None
        if part.started_at and part.finished_at:
            self._starts.well(part.id, (part.finished_at - part.started_at).total_seconds())
        left = self._starts.due(part.id)
        if left > 0:
            return Wait(left)
        self._starts.replaced(part.id)
        fresh = part.state == "created"
        self._reconnecting(host, ref, part, lambda: self._started(host, template, part.id, fresh=fresh))
        return None

    def _reconnecting(self, host: NativeHost, ref: WorkloadRef, part: Found, call: Callable[[], None]) -> None:
        """Make a call that starts a container; once more where a network of its own was gone, which is created
        again. Raises `Absent` where the container itself is gone."""
        try:
            call()
        except Absent:
            ours = [name for name in part.networks if naming.is_network(name, ref.installation)]
            if not ours:
                raise
            with host.networks.using(ours, naming.of_owner(ref)):
                host.networks.ensure(ours, naming.of_owner(ref), anew=True)
                host.runtime.rejoin(part.id)
                call()

    def _started(self, host: NativeHost, template: Template | None, id: str, *, fresh: bool) -> None:
        """Start it. A new one whose port is taken by something else is removed, to be placed elsewhere."""
        try:
            host.runtime.start(id)
        except Unavailable as error:
            fixed = containers.fixed_ports(template) if template else frozenset()
            if error.reason == "PortConflict" and fixed and fresh:
                host.conflicting(fixed)
                host.runtime.remove(id)
            raise

    def _discard(self, host: NativeHost, parts: Mapping[str, Found]) -> None:
        for role in sorted(parts, key=lambda role: role == INFRA):
            host.runtime.remove(parts[role].id)

    def _stop_and_discard(self, host: NativeHost, parts: Mapping[str, Found]) -> None:
        running = [part for role, part in parts.items() if role != INFRA and part.state != "created"]
        together([partial(self._stop_now, host, part) for part in running])
        self._discard(host, parts)

    def _stop_now(self, host: NativeHost, part: Found) -> None:
        if part.state == "paused":
            host.runtime.unpause(part.id)
        host.runtime.stop(part.id, _grace(part))

    def _background(self, key: tuple[str, ...], ref: WorkloadRef, call: Callable[[], None], id: str) -> Wait | None:
        """Start a job, or wait for the one that is running. Raises, once, what the last one failed with."""
        if (error := self._failed.pop(id, None)) is not None:
            raise error

        def ended(failure: BackendError | None) -> None:
            if failure is not None:
                self._failed[id] = failure
            self._hint(ref)

        self._jobs.start(key, ref.project, call, ended)
        return Wait(UNTIL_TOLD)


def _grace(part: Found) -> int:
    return int(part.labels.get(naming.STOP_TIMEOUT, "10"))
