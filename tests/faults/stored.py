"""An API server that keeps what is applied to it and runs nothing, for what no real one is needed for."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.api_server import ApiServer, Handler, failing, sending, streaming
from tests.faults.json_patch import patched
from zun_coe.gateway.specs import merge

Json = dict[str, Any]

VERSION = "v1.20.2"
_PLACE = re.compile(r"/apis?/(?:[a-z.]+/)?v1(?:/namespaces/(?P<namespace>[^/]+))?/(?P<kinds>[a-z]+)(?:/(?P<name>.+))?")
_NAMESPACE = re.compile(r"/api/v1/namespaces/(?P<name>[^/]+)")
_RIGHTS = {"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}

Key = tuple[str, str, str]
"""The kinds of objects, as `pods`, the namespace, and the name."""


class Stored(ApiServer):
    """Whoever asks may do anything. `objects`: what was applied, to be changed past its back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.objects: dict[Key, Json] = {}
        self._numbers = itertools.count(1)
        self._keep(("namespaces", "", "kube-system"), {"metadata": {"name": "kube-system"}})
        self.on("", self._answer)
        self.on("watch=1", streaming(stay=True))
        self.on("GET /version$", sending({"gitVersion": VERSION}))
        self.on("GET /apis$", sending({"groups": []}))
        self.on("POST .*/selfsubjectrulesreviews", sending({"status": _RIGHTS}))

    def of(self, kinds: str) -> list[Json]:
        """All objects of a kind."""
        return [found for (kind, _, _), found in list(self.objects.items()) if kind == kinds]

    def admitted(self, key: Key, object: Json) -> Json:
        """What admission makes of an object: nothing else."""
        return object

    def _answer(self, handler: Handler) -> None:
        asked = handler.asked
        key = _key(asked.path)
        if asked.method == "GET" and not key[2]:
            return sending({"metadata": {"resourceVersion": "1"}, "items": self._listed(key, asked.params)})(handler)
        if asked.method == "GET":
            return (sending(self.objects[key]) if key in self.objects else failing(404, "not found"))(handler)
        if asked.method == "DELETE":
            found = self.objects.pop(key, None)
            return (failing(404, "not found") if found is None else sending(found))(handler)
        object = json.loads(asked.body)
        if isinstance(object, list):
            object = patched(self.objects[key], object)
            if object["metadata"]["resourceVersion"] != self.objects[key]["metadata"]["resourceVersion"]:
                return sending({"kind": "Status", "code": 409, "reason": "Conflict"}, 409)(handler)
        elif asked.headers.get("Content-Type") == "application/merge-patch+json":
            object = merge(self.objects[key], object)
        key = (*key[:2], key[2] or object["metadata"]["name"])
        object = self.admitted(key, copy.deepcopy(object))
        return sending(object if "dryRun" in asked.params else self._keep(key, object))(handler)

    def _keep(self, key: Key, object: Json) -> Json:
        known = self.objects.get(key, {"metadata": {"uid": f"uid-{next(self._numbers)}"}})
        more = {"uid": known["metadata"]["uid"], "resourceVersion": str(next(self._numbers))}
        self.objects[key] = object | {"metadata": object["metadata"] | more}
        return self.objects[key]

    def _listed(self, key: Key, params: Mapping[str, str]) -> list[Json]:
        kinds, namespace, _ = key
        wanted = dict(pair.split("=", 1) for pair in params.get("labelSelector", "").split(",") if pair)
        return [
            found
            for (kind, place, _), found in list(self.objects.items())
            if kind == kinds and namespace in ("", place) and wanted.items() <= found["metadata"]["labels"].items()
        ]


def _key(path: str) -> Key:
    if place := _NAMESPACE.fullmatch(path):
        return "namespaces", "", place["name"]
    found = _PLACE.fullmatch(path)
    assert found is not None, path
    return found["kinds"], found["namespace"] or "", found["name"] or ""
