"""The namespace of a project: made when it is first needed, and never taken over from others."""

from __future__ import annotations

from threading import Lock

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes import manifest, naming, paths
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.converging import Json
from zun_coe.adapters.kubernetes.hardening import ENFORCE, Level, level_of
from zun_coe.errors import Absent, Invalid, Unavailable
from zun_coe.model import WorkloadRef


class Namespaces:
    """Thread-safe. That a namespace is there is remembered, with what it enforces; a call that finds it gone says so
    by `forget`."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self._client, self._connection = client, connection
        self._levels: dict[str, Level] = {}
        self._lock = Lock()

    @property
    def expected(self) -> Level:
        """What a namespace that is not known yet enforces."""
        with self._lock:
            known = self._levels.get(self._connection.namespace or "")
        return known or ("" if self._connection.namespace else _level(self._connection.pod_security))

    def ensure(self, project: str) -> bool:
        """Have the project's namespace; False while one of that name is on its way out. Raises `Invalid` where it
        is somebody else's, or the one that was named at registration is not there."""
        if self._connection.namespace is not None:
            return True
        name = naming.namespace(self._connection.installation, project)
        with self._lock:
            if name in self._levels:
                return True
        found = self._found(name)
        if found is None:
            found = self._made(name, project)
        if found["metadata"].get("deletionTimestamp"):
            return False
        self._must_be_ours(name, found)
        self._note(name, self._labelled(name, found))
        return True

    def level(self, ref: WorkloadRef) -> Level:
        """What the namespace of a workload enforces. It is made where it is missing, and may be called for once."""
        if ref.place is not None:
            return ""
        name = self._connection.namespace or naming.namespace(self._connection.installation, ref.project)
        with self._lock:
            if (known := self._levels.get(name)) is not None:
                return known
        if self._connection.namespace is None:
            self.ensure(ref.project)
        elif (found := self._found(name)) is not None:
            self._note(name, found)
        with self._lock:
            return self._levels.get(name, "")

    def forget(self, project: str) -> None:
        """It may not be there any more."""
        with self._lock:
            self._levels.pop(naming.namespace(self._connection.installation, project), None)

    def refresh(self) -> Level:
        """Learn anew what namespaces enforce, for others may change it; what one does that is not known yet."""
        with self._lock:
            self._levels.clear()
        if (shared := self._connection.namespace) and (found := self._found(shared)) is not None:
            self._note(shared, found)
        return self.expected

    def _note(self, name: str, found: Json) -> None:
        with self._lock:
            self._levels[name] = level_of(found)

    def _labelled(self, name: str, found: Json) -> Json:
        """It, with the label of the level that the operator wants; where none is named, what is there stays."""
        wanted = _level(self._connection.pod_security)
        if not wanted or level_of(found) == wanted:
            return found
        return self._client.patch(paths.path("Namespace", name), {"metadata": {"labels": {ENFORCE: wanted}}})

    def _found(self, name: str) -> Json | None:
        try:
            return self._client.get(paths.path("Namespace", name))
        except Absent:
            return None

    def _made(self, name: str, project: str) -> Json:
        """A new one, or the one that somebody else made just now: another worker, or another process."""
        try:
            return self._client.create(paths.collection("Namespace"), self._rendered(name, project))
        except Unavailable:
            found = self._found(name)
            if found is None:
                raise
            return found

    def _must_be_ours(self, name: str, found: Json) -> None:
        installation = (found["metadata"].get("labels") or {}).get(naming.INSTALLATION)
        if installation != self._connection.installation:
            raise Invalid(f"There is a namespace {name} already, made by others.", evidence={"namespace": name})

    def _rendered(self, name: str, project: str) -> Json:
        labels = naming.of_project(self._connection.installation, self._connection.cluster, project)
        level = _level(self._connection.pod_security)
        enforced = {ENFORCE: level} if level else {}
        metadata = {
            "name": name,
            "labels": labels | {"app.kubernetes.io/managed-by": manifest.MANAGED_BY} | enforced,
            "annotations": {naming.PROJECT_NAME: project},
        }
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _level(setting: str) -> Level:
    return level_of({"metadata": {"labels": {ENFORCE: setting}}})
