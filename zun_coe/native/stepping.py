"""One step of one workload: carries a plan out on the hosts, all of it at once, and says what comes next.

What fails for one host or one replica does not keep the others from going on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace

from zun_coe.adapters import Again, Done, Outcome, Wait
from zun_coe.adapters.images import is_login_for
from zun_coe.errors import Absent, BackendError, Invalid
from zun_coe.model import Template, Workload
from zun_coe.native import containers
from zun_coe.native.acting import Acting
from zun_coe.native.actions import (
    Action,
    Create,
    Mend,
    Pause,
    Plan,
    Remove,
    Restart,
    Restore,
    Start,
    Stop,
    Unpause,
)
from zun_coe.native.background import Demand, Pulls, Relapses
from zun_coe.native.drifting import changes
from zun_coe.native.hosts import NativeHost
from zun_coe.native.naming import container_name
from zun_coe.native.placement import Needs, Refused, place
from zun_coe.native.replicas import Replica, leading
from zun_coe.native.steps import ENDED

# How soon to look again where only something unforeseen can help, or nothing tells of the change.
RETRY = 10.0
POLL = 5.0
SOON = 1.0

Result = Wait | BackendError | None


class Step:
    """Carries out the plan of one workload. Used once, by one thread."""

    def __init__(
        self,
        workload: Workload,
        hosts: Mapping[str, NativeHost],
        replicas: Sequence[Replica],
        acting: Acting,
        pulls: Pulls,
        relapses: Relapses,
    ) -> None:
        self._workload, self._hosts, self._acting = workload, hosts, acting
        self._pulls, self._relapses = pulls, relapses
        self._replicas = {r.instance.native_id: r for r in replicas}
        self._images: dict[tuple[str, str], Future[Wait | None]] = {}

    def claim(self, plan: Plan) -> None:
        """Hold what new replicas take of their hosts, before anybody else plans."""
        for create in [a for a in plan.actions if isinstance(a, Create)]:
            needs = self._needs(create.hash)
            self._hosts[create.host].claim(self._name(create), needs.claim(create.slot))

    def take(self, plan: Plan) -> Outcome:
        """Do all that the plan says. Raises the worst `BackendError` where nothing of it could be done and
        nothing is under way; `Invalid` only for the template that is wanted."""
        later = self._later(plan)
        actions = [action for action in plan.actions if action not in later]
        for action in actions:
            self._fetch(action)
        futures = [self._submit(action) for action in actions]
        results = [self._result(action, future) for action, future in zip(actions, futures, strict=True)]
        return outcome(plan, [*results, *(self._put_off(action) for action in later)])

    def _later(self, plan: Plan) -> list[Create]:
        """New replicas that have to wait for the first of their template, since only that tells what a tag means that
        is to be resolved once: those on other hosts than its own."""
        known = {replica.instance.hash for replica in self._replicas.values()}
        creates = [action for action in plan.actions if isinstance(action, Create) and action.hash not in known]
        unresolved = [c for c in creates if not containers.resolved(self._workload, self._template(c.hash), c.hash)]
        return [create for create in unresolved if create.host != unresolved[0].host]

    def _put_off(self, action: Create) -> Wait:
        self._give_up(action)
        return Wait(SOON)

    def _result(self, action: Action, future: Future[Result]) -> Result:
        """What came of an action. That a replica of another template can't be brought back refuses nothing."""
        wanted = self._workload.standalone or self._made_by(action) == self._workload.hash
        try:
            result = future.result()
        except Invalid as error:
            return error if wanted else Wait(RETRY, error.reason, error.message, error.evidence)
        except BackendError as error:
            return error
        return replace(result, refused=False) if isinstance(result, Wait) and not wanted else result

    def _made_by(self, action: Action) -> str:
        """The hash of the template that an action is to bring to run: where it makes room, of what comes."""
        if isinstance(action, Create):
            return action.hash
        return self._workload.hash if isinstance(action, Remove) and action.update else action.instance.hash

    def _submit(self, action: Action) -> Future[Result]:
        return self._host(action).submit(self._workload.ref.project, lambda: self._carry_out(action))

    def _carry_out(self, action: Action) -> Result:
        key = self._image_key(action)
        try:
            wait = self._images[key].result() if key is not None else None
            if wait is None:
                return self._act(action)
            self._keep_up(action)
        except Absent as error:
            return self._absent(action, error)
        except BackendError as error:
            self._give_up(action)
            if isinstance(action, Create) and error.reason == "PortConflict":
                return self._elsewhere(action, error)
            raise
        self._give_up(action)
        return wait

    def _keep_up(self, action: Action) -> None:
        """While the image of what is new is on its way, which may take long, have the template that ran in full keep up
        the number of those that serve: what of it ended is started, and what has no replica gets one of it. What of
        that fails is tried again with the next step."""
        workload, host = self._workload, self._host(action)
        hash_ = workload.previous_hash
        if hash_ is None or not workload.proven:
            return
        with suppress(BackendError):
            if isinstance(action, Remove) and (it := action.instance).hash == hash_ and it.state in ENDED:
                self._acting.mend(host, workload, self._replicas[it.native_id])
            elif isinstance(action, Create) and self._may_stand_in(host, action, hash_):
                self._acting.create(host, workload, self._template(hash_), hash_, action.slot)

    def _may_stand_in(self, host: NativeHost, create: Create, hash_: str) -> bool:
        """Whether a slot is empty and can have the template of before. An app that is recreated never has two."""
        empty = all(replica.instance.slot != create.slot for replica in self._replicas.values())
        if not empty or create.hash != self._workload.hash or self._workload.update.strategy == "recreate":
            return False
        return all(host.runtime.has_image(demand.image) for demand in self._demands(host.name, hash_))

    def _elsewhere(self, action: Create, error: BackendError) -> Wait | None:
        """A port that it is to have was taken by somebody else. Another host may have it, as the next plan says;
        else what it would say is told at once."""
        found = place(self._needs(action.hash), [host.view() for host in self._hosts.values()])
        if found == action.host:  # it was some other port, of the runtime's own choice
            raise error
        if isinstance(found, Refused):
            return Wait(RETRY, found.reason, found.message, error.evidence, failed=True)
        return None

    def _act(self, action: Action) -> Result:
        host, workload = self._host(action), self._workload
        if isinstance(action, Create):
            id = self._acting.create(host, workload, self._template(action.hash), action.hash, action.slot)
            if workload.standalone:
                self._acting.restarted[id] = workload.restarts
            return None
        replica = self._replicas[action.instance.native_id]
        match action:
            case Remove():
                return self._remove(host, replica)
            case Mend():
                return self._acting.mend(host, workload, replica)
            case Stop():
                return self._acting.stop(host, replica)
            case Restart():
                return self._acting.restart(host, workload.ref, leading(replica.parts), action.number)
            case Start():
                return self._acting.start(host, self._workload, replica)
            case _:
                self._at_once(host, action, replica)
                return None

    def _at_once(self, host: NativeHost, action: Pause | Unpause | Restore, replica: Replica) -> None:
        """What needs no waiting."""
        id = leading(replica.parts).id
        match action:
            case Pause():
                host.runtime.pause(id)
            case Unpause():
                host.runtime.unpause(id)
            case Restore():
                own = self._workload.standalone  # then the template is changed in place, and the hash stays
                template = self._workload.template if own else self._template(replica.instance.hash)
                self._acting.restore(host, changes(replica, template))

    def _remove(self, host: NativeHost, replica: Replica) -> Wait | None:
        if replica.instance.health == "unhealthy":
            self._relapses.replaced((replica.ref.id, replica.instance.slot))
        return self._acting.remove(host, replica)

    def _absent(self, action: Action, error: Absent) -> Result:
        """What the action was about is gone, so the next observation will see; or its image is."""
        self._give_up(action)
        if error.reason != "ImageNotFound":
            return None
        if isinstance(action, Create):
            for demand in self._demands(action.host, action.hash):
                self._pulls.forget(demand)
        return Wait(SOON, "Pulling", error.message, error.evidence, failed=True)

    def _fetch(self, action: Action) -> None:
        """See to the images of what is new, and of what takes the place of something: once for each host."""
        key = self._image_key(action)
        if key is not None and key not in self._images:
            host_name, hash_ = key
            host = self._hosts[host_name]
            self._images[key] = host.submit(self._workload.ref.project, lambda: self._have(host, hash_))

    def _have(self, host: NativeHost, hash_: str) -> Wait | None:
        waits = [self._pulls.want(demand, host.runtime) for demand in self._demands(host.name, hash_)]
        return next((wait for wait in waits if wait is not None), None)

    def _demands(self, host: str, hash_: str) -> list[Demand]:
        template = self._template(hash_)
        named = containers.images(self._workload, template, hash_)
        return [
            Demand(host, image, policy, self._workload.ref, hash_, self._login(template, image))
            for image, policy in named
        ]

    def _login(self, template: Template, image: str) -> Mapping[str, str] | None:
        auth = self._workload.image_auth
        return auth if auth and is_login_for(auth.get("server"), template.image, image) else None

    def _image_key(self, action: Action) -> tuple[str, str] | None:
        if isinstance(action, Create):
            return action.host, action.hash
        if isinstance(action, Remove) and action.update:
            return action.to or self._host(action).name, self._workload.hash
        return None

    def _give_up(self, action: Action) -> None:
        if isinstance(action, Create):
            self._hosts[action.host].unclaim(self._name(action))

    def _host(self, action: Action) -> NativeHost:
        name = action.host if isinstance(action, Create) else action.instance.host
        return self._hosts[name or ""]

    def _template(self, hash_: str) -> Template:
        return containers.template_of(self._workload, hash_) or self._workload.template

    def _needs(self, hash_: str) -> Needs:
        template = self._template(hash_)
        volumes = containers.volumes(self._workload, template)
        return Needs.of(self._workload.ref.id, hash_, template, self._workload.placement, volumes)

    def _name(self, create: Create) -> str:
        return container_name(self._workload.ref, create.slot, create.hash)


def outcome(plan: Plan, results: Sequence[Result]) -> Outcome:
    """What a step comes to. Pure. Raises the worst error where it stands alone."""
    errors = [r for r in results if isinstance(r, BackendError)]
    waits = [r for r in results if isinstance(r, Wait)]
    moved = any(r is None for r in results)
    if errors:
        error = min(errors, key=lambda e: not isinstance(e, Invalid))
        if not moved and not waits and not plan.waiting:
            raise error
        refused = isinstance(error, Invalid)
        return Wait(POLL, error.reason, error.message, error.evidence, refused=refused, failed=True)
    if waits:
        return _together(waits)
    if moved:
        return Again()
    if plan.blocked is not None:
        return Wait(RETRY, plan.blocked.reason, plan.blocked.message)
    return Wait(POLL if plan.due is None else plan.due) if plan.waiting else Done()


def _together(waits: Sequence[Wait]) -> Wait:
    """Waiting for several things: what is told is what is refused, else what went wrong, else what is under way."""
    told = min(waits, key=lambda w: (not w.refused, w.reason in (None, "Pulling"), w.reason is None))
    failed, refused = any(w.failed for w in waits), any(w.refused for w in waits)
    seconds = min(w.seconds for w in waits)
    return Wait(seconds, told.reason, told.message, told.evidence, refused=refused, failed=failed)
