"""The namespace of a project: made when it is first needed, and never taken over from others."""

from __future__ import annotations

from threading import Lock

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes import manifest, naming, paths
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.converging import Json
from zun_coe.errors import Absent, Invalid, Unavailable


class Namespaces:
    """Thread-safe. That a namespace is there is remembered; a call that finds it gone says so by `forget`."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self._client, self._connection = client, connection
        self._there: set[str] = set()
        self._lock = Lock()

    def ensure(self, project: str) -> bool:
        """Have the project's namespace; False while one of that name is on its way out. Raises `Invalid` where it
        is somebody else's, or the one that was named at registration is not there."""
        if self._connection.namespace is not None:
            return True
        name = naming.namespace(self._connection.installation, project)
        with self._lock:
            if name in self._there:
                return True
        found = self._found(name)
        if found is None:
            found = self._made(name, project)
        if found["metadata"].get("deletionTimestamp"):
            return False
        self._must_be_ours(name, found)
        with self._lock:
            self._there.add(name)
        return True

    def forget(self, project: str) -> None:
        """It may not be there any more."""
        with self._lock:
            self._there.discard(naming.namespace(self._connection.installation, project))

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
        metadata = {
            "name": name,
            "labels": labels | {"app.kubernetes.io/managed-by": manifest.MANAGED_BY},
            "annotations": {naming.PROJECT_NAME: project},
        }
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
