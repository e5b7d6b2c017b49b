"""Sends what a plan says, and helps what should have ended.

Every call is conditional: on the object's uid for what is deleted, on its version for what others have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from threading import BoundedSemaphore

from zun_coe.adapters.kubernetes import managing, naming, paths, survey
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.converging import Erase, Json, Key, Plan, Send, Strip, key_of
from zun_coe.adapters.kubernetes.drifting import Insisted
from zun_coe.adapters.kubernetes.finding import Finder, Sight
from zun_coe.adapters.kubernetes.namespaces import Namespaces
from zun_coe.adapters.kubernetes.owners import Owners
from zun_coe.errors import Absent, Invalid, Unavailable
from zun_coe.model import WorkloadRef

REMINDING = 10
"""How often a kubelet is reminded of a pod, in seconds."""


SERVICES = 2
"""So many Services are made or deleted at once: all of them change the one record that a cluster's addresses are in,
where those that come second have to try again."""


class Sender:
    """Changes a cluster. Thread-safe as long as no workload is changed twice at once."""

    def __init__(
        self, client: Client, finder: Finder, namespaces: Namespaces, insisted: Insisted, owners: Owners
    ) -> None:
        self._client, self._finder, self._insisted, self._owners = client, finder, insisted, owners
        self._namespaces = namespaces
        self._services = BoundedSemaphore(SERVICES)
        self._warnings: dict[str, dict[Key, Sequence[str]]] = {}

    def warnings(self, id: str) -> tuple[str, ...]:
        """What the server warned of when the objects of a workload were last sent, each once."""
        told = self._warnings.get(id, {}).values()
        return tuple(dict.fromkeys(text for texts in told for text in texts))

    def forget(self, id: str) -> None:
        """A workload goes."""
        self._warnings.pop(id, None)

    def carry_out(self, ref: WorkloadRef, step: Plan, live: dict[Key, Json]) -> bool:
        """Send what a plan says, and keep what became of it in `live`. False where something must be gone first."""
        namespace = self._finder.namespace_of(ref)
        if ref.place is None and not self._namespaces.ensure(ref.project):
            return False
        for change in step.changes:
            if isinstance(change, Erase):
                self.erase(namespace, change)
                self._owners.release(ref, change.kind)
        try:
            changed: set[Key] = set()
            for change in step.changes:
                if isinstance(change, Erase) or (key := key_of(change.object)) in changed:
                    continue
                live[key] = self._send(ref, change, live)
                if isinstance(change, Strip) and not _is_stripped(change, live[key]):
                    changed.add(key)  # meanwhile, by others: it is planned for anew, before anything is applied
        except Absent as error:
            self._namespaces.forget(ref.project)
            raise Unavailable(f"The namespace {namespace} is not there any more.", "Error", error.evidence) from error
        return not any(isinstance(change, Erase) for change in step.changes)

    def let_go(self, sight: Sight) -> None:
        """Forget the pods that are kept for nothing, and have those remembered that should have ended."""
        for pod in survey.overdue(sight.found):
            place = paths.path("Pod", pod.metadata.name, pod.metadata.namespace)
            self._client.delete(place, propagation="Background", grace=0, uid=pod.metadata.uid)
        for pod in survey.forgotten(sight.found):
            now = sight.found.at.replace(second=sight.found.at.second // REMINDING * REMINDING, microsecond=0)
            metadata = {"uid": pod.metadata.uid, "annotations": {naming.REMINDED: now.isoformat()}}
            with suppress(Absent):
                place = paths.path("Pod", pod.metadata.name, pod.metadata.namespace)
                self._client.patch(place, {"metadata": metadata})

    def erase(self, namespace: str, step: Erase) -> None:
        """Have this very object deleted. Idempotent."""
        self._insisted.forget(step.uid)
        with self._one_of_few(step.kind):
            self._client.delete(paths.path(step.kind, step.name, namespace), uid=step.uid)

    def _one_of_few(self, kind: str) -> AbstractContextManager[object]:
        return self._services if kind == "Service" else nullcontext()

    def _send(self, ref: WorkloadRef, change: Send | Strip, live: Mapping[Key, Json]) -> Json:
        """Have an object as a change says; it as it is then. What has lost our labels is given back as it is: it is
        to be planned for first."""
        object, where = change.object, paths.path_of(change.object)
        known = key_of(object) in live
        # Nobody else has a name that was made from the id of something that has just been made.
        own = self._owners.is_new(ref) and ref.id[:8] in object["metadata"]["name"]
        there = None if known or own else self._finder.there(object)
        self._owners.send(ref, object["kind"])
        if there is not None and _stripped(object, there):
            return there
        if object["kind"] == "Secret":
            self._finder.doubt(ref)
        if isinstance(change, Strip):
            answer = self._strip(change)
            self._owners.hold(ref, answer)
            return answer
        warnings: list[str] = []
        with self._one_of_few(object["kind"]):
            answer = self._client.apply(where, object, warnings=warnings)
        self._owners.hold(ref, answer)
        self._warnings[ref.id] = self._warnings.get(ref.id, {}) | {key_of(object): warnings}
        self._insisted.learn(change, answer, new=not known and there is None)
        return answer

    def _strip(self, change: Strip) -> Json:
        """The object without what others added; as it is now where it was changed since it was looked at, so that it
        is planned for anew."""
        try:
            answer = self._client.patch(paths.path_of(change.object), change.patch)
        except Unavailable as error:
            if error.evidence.get("reason") != "Conflict":
                raise
            return self._client.get(paths.path_of(change.object))
        self._insisted.learn(change, answer, new=False)
        return answer


def _is_stripped(change: Strip, there: Json) -> bool:
    """Whether an object is as a patch left it, which carries our digest."""
    digests = [(o["metadata"].get("annotations") or {}).get(naming.APPLIED) for o in (change.object, there)]
    return digests[0] == digests[1]


def _stripped(object: Json, there: Json) -> bool:
    """Whether an object is ours by all but some labels, which somebody took from it. Raises `Invalid` where its name
    is somebody else's: that is never taken over."""
    labels, expected = there["metadata"].get("labels") or {}, object["metadata"]["labels"]
    wrong = [name for name in (*naming.OWNERSHIP, naming.ID) if labels.get(name) != expected.get(name)]
    lost = not any(name in labels for name in wrong)
    if wrong and lost and managing.ours(there["metadata"].get("managedFields") or ()):
        return True
    if any(name in naming.OWNERSHIP for name in wrong):
        kind, name = key_of(object)
        namespace = object["metadata"]["namespace"]
        told = f"There is a {kind} {name} in the namespace {namespace} already, made by others."
        raise Invalid(told, evidence={"kind": kind, "name": name, "namespace": namespace})
    return False
