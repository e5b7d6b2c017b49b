"""Containers: standalone ones with all their actions, and the replicas of apps as far as they allow any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from zun_coe.adapters import DeleteInstance, Kill
from zun_coe.errors import Conflict, FieldProblem, NotFound, Unprocessable
from zun_coe.gateway.backends import Backends
from zun_coe.gateway.calls import Answer, Call, Settle, backend_answer, check_preconditions
from zun_coe.gateway.entries import Found
from zun_coe.gateway.resources import Once, Tools
from zun_coe.gateway.views import Replica, Resource, phase_of
from zun_coe.gateway.workloads import Workloads
from zun_coe.gateway.writing import Change, replaced
from zun_coe.model import Instance, Intent, Status, Support, ref_of
from zun_coe.model.signals import is_signal

# For each action: the states (as wanted by the user) in which it can be done, and the state that it asks for.
_ACTIONS: Mapping[str, tuple[frozenset[str], str]] = {
    "start": (frozenset({"stopped"}), "running"),
    "stop": (frozenset({"running", "paused"}), "stopped"),
    "pause": (frozenset({"running"}), "paused"),
    "unpause": (frozenset({"paused"}), "running"),
    "restart": (frozenset({"running"}), "running"),
}

_PAUSED = "Only containers of their own can be paused"
# What to do to an app instead of to its replica.
_INSTEAD = {
    "change": "Change the app",
    "start": "Start the app (desired_state: running)",
    "stop": "Stop the app (desired_state: stopped)",
    "restart": "Restart the app",
    "pause": _PAUSED,
    "unpause": _PAUSED,
}


class Containers(Workloads):
    """The use cases of containers."""

    noun: ClassVar[str] = "container"

    def __init__(self, tools: Tools, backends: Backends) -> None:
        super().__init__(tools)
        self._backends = backends

    def show(self, call: Call, ref: str) -> Answer:
        """A standalone container, or the replica of an app (by its id, or <app>-<slot>), which is not waited for."""
        found = self._any(call, ref)
        return self._shown(found, 200, None if isinstance(found, Replica) else self._watched(call, found))

    def delete(self, call: Call, ref: str, *, force: bool = False, keep: bool = False, volumes: bool = False) -> Answer:
        """Delete a standalone container, or the replica of an app, which then is replaced. Of a replica nothing can
        be forgotten, kept or taken along: that is decided for its app as a whole."""
        call.principal.must_write()
        found = self._any(call, ref)
        if isinstance(found, Replica):
            check_preconditions(call, found.app.intent.generation)
            _must_be_plain(found, force=force, keep=keep, volumes=volumes)
            adapter = self._able(found.app, DeleteInstance, "delete")
            return backend_answer(call, found.app.intent.cluster, lambda: self._delete_replica(call, found, adapter))
        return super().delete(call, ref, force=force, keep=keep, volumes=volumes)

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Answer:
        """Labels, and cpu and memory where the cluster can change them in place."""
        self._standalone(call, ref, "change")
        return super().patch(call, ref, body)

    def act(self, call: Call, ref: str, action: str, *, signal: str | None = None) -> Answer:
        """start, stop, restart, pause, unpause: write down what is wanted. kill: send the signal now."""
        call.principal.must_write()
        operation, body = f"container.{action}/{ref}", {"signal": signal}
        if action == "kill":
            return backend_answer(
                call,
                self._cluster_of(self._any(call, ref)),
                lambda: self._once(
                    call, operation, body, lambda once: self._kill(call, ref, signal or "SIGKILL", once)
                ),
            )

        def attempt(once: Once) -> Answer:
            return self._write_action(call, self._standalone(call, ref, action), action, once)

        return self._once(call, operation, body, attempt)

    def find_any(self, call: Call, ref: str) -> Resource | Replica:
        """A container of either sort, for what reads from it."""
        return self._any(call, ref)

    def _write_action(self, call: Call, found: Resource, action: str, once: Once) -> Answer:
        intent: Intent = found.intent
        check_preconditions(call, intent.generation)
        self._must_live(found)
        self._must_support(found, action)
        allowed, wanted = _ACTIONS[action]
        phase = phase_of(found)
        ended = phase in ("Exited", "Failed") and intent.desired_state == "running"
        applies = intent.desired_state in allowed and not (action == "pause" and ended)
        if not applies and not (action == "start" and ended):
            raise Conflict(f"{intent.name} is {phase} and asked to be {intent.desired_state}; {action} does not apply.")
        change = Change()
        # A start counts as a restart: that a process ended is then no reason to leave it so.
        restarts = intent.restarts + (action in ("start", "restart"))
        new = replaced(intent, desired_state=wanted, restarts=restarts, **self._written(call, intent, change))
        change.tell(self._event(call, f"Container{action.title()}", new, f"{action.title()} was asked for."))
        return self._rewrite(call, found, new, change, once)

    def _kill(self, call: Call, ref: str, signal: str, once: Once) -> Answer:
        if not is_signal(signal):
            detail = f"{signal} is no signal; use a name such as SIGTERM, SIGHUP or SIGRTMIN+3."
            raise Unprocessable(detail, [FieldProblem("/signal", detail)])
        found = self._any(call, ref)
        resource = found.app if isinstance(found, Replica) else found
        self._must_live(resource)
        instance = found.instance if isinstance(found, Replica) else self._instance(found)
        if instance is None or phase_of(found) not in ("Running", "Restarting", "Paused"):
            raise Conflict(f"It is {phase_of(found)}; only what runs can be sent a signal.")
        self._able(resource, Kill, "kill").kill(self._ref(resource), instance.native_id, signal)
        settle = None if isinstance(found, Replica) else self._settle(found)
        answer = Answer(202, self._views.body(found), {"Location": f"/v1/containers/{found.id}"}, settle)
        self._tell(call, found, "ContainerKilled", f"{signal} was sent.", once, answer)
        return answer

    def _delete_replica(self, call: Call, found: Replica, adapter: Any) -> Answer:
        adapter.delete_instance(self._ref(found.app), found.instance.native_id)
        app = found.app.intent
        settle = Settle("app", app.project, app.id, app.generation, deleted=True, replica=found.id)
        answer = Answer(202, self._views.body(found), settle=settle)
        self._tell(call, found, "ContainerDeleted", "Deletion was asked for; the app replaces it.")
        return answer

    def _cluster_of(self, found: Found) -> str:
        resource = found.app if isinstance(found, Replica) else found
        return str(resource.intent.cluster)

    def _instance(self, found: Resource) -> Instance | None:
        return next(iter(found.status.instances), None)

    def _must_be_changeable(self, old: Intent, new: Intent, status: Status) -> None:
        fields = type(old.template).__struct_fields__
        changed = [f for f in fields if getattr(old.template, f) != getattr(new.template, f)]
        fixed = [f for f in changed if f not in ("cpu", "memory")]
        if old.desired_state != new.desired_state:
            fixed.append("desired_state")
        if fixed:
            how = "use start, stop, pause and unpause" if fixed == ["desired_state"] else "create a new container"
            problems = [FieldProblem(f"/{name}", f"It can't change; {how}.") for name in fixed]
            raise Unprocessable("Of a container labels, cpu and memory can change.", problems)
        found = self._views.get("container", old.id)
        if changed and found is not None:
            self._must_support(found, "resize", *[f"/{name}" for name in changed])

    def _must_support(self, found: Resource, operation: str, *pointers: str) -> None:
        cluster = self._views.cluster_status(found.intent.cluster)
        support = cluster.info.operations.get(operation) if cluster.info else None
        if support is None or support.support is Support.NONE:
            note = support.note if support else "its cluster was never described"
            detail = f"{operation} can't be done here: {note}."
            raise Unprocessable(detail, [FieldProblem(p, detail) for p in pointers])

    def _able(self, resource: Resource, protocol: type[Any], operation: str) -> Any:
        adapter = self._backends.adapter(resource.intent.cluster)
        if not isinstance(adapter, protocol):
            raise Unprocessable(f"{operation} can't be done on this cluster.")
        return adapter

    def _ref(self, resource: Resource) -> Any:
        return ref_of(self._tools.installation, resource.intent)

    def _tell(
        self,
        call: Call,
        found: Found,
        type: str,
        message: str,
        once: Once | None = None,
        answer: Answer | None = None,
    ) -> None:
        intent = found.app.intent if isinstance(found, Replica) else found.intent
        change = Change()
        event = self._event(call, type, intent, message, container=found.id)
        change.tell(replaced(event, subject=intent.noun))
        if once is not None and answer is not None:
            once(change, answer)
        self._tools.writer.commit(change)

    def _standalone(self, call: Call, ref: str, what: str) -> Resource:
        found = self._any(call, ref)
        if isinstance(found, Replica):
            app = found.app.intent.name
            raise Conflict(f"It is a replica of the app {app}. {_INSTEAD[what]}; a replica can be killed or deleted.")
        return found

    def _any(self, call: Call, ref: str) -> Resource | Replica:
        try:
            return self._find(call, ref)
        except NotFound:
            replica = self._views.replica(ref) or self._by_slot(call, ref)
            if replica is None or replica.app.intent.project != call.principal.project:
                raise
            return replica

    def _by_slot(self, call: Call, ref: str) -> Replica | None:
        name, _, slot = ref.rpartition("-")
        app = self._views.named("app", call.principal.project, name) if slot.isdigit() else None
        if app is None:
            return None
        replicas = [r for r in self._views.replicas(app) if r.instance.slot == int(slot)]
        ready = [r for r in replicas if r.instance.ready]
        return next(iter(ready or replicas), None)


def _must_be_plain(found: Replica, **given: bool) -> None:
    """Raises `Unprocessable` for what the deletion of a replica can't be asked for."""
    app = found.app.intent.name
    detail = f"It is a replica of the app {app}, which replaces it: leave this out, or delete the app."
    if problems := [FieldProblem(f"/{name}", detail) for name, wanted in given.items() if wanted]:
        raise Unprocessable("A replica is not deleted so.", problems)
