"""The same Kubernetes without the gateway: the `kubernetes` package, as anybody would use it."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import urllib3
from kubernetes import client, watch

from benchmarks.harness import until
from benchmarks.kubernetes_cluster import Plane
from zun_coe.adapters.kubernetes import naming

NAME = "app.kubernetes.io/name"
APPLY: Mapping[str, Any] = {"field_manager": "direct", "force": True, "_content_type": "application/apply-patch+yaml"}
NAMESPACE = "direct"
PATIENCE = 300.0
_numbers = itertools.count(1)

Json = dict[str, Any]


class Direct:
    """Deployments and their Services, each the same as those of the app that is given as a model by its name."""

    def __init__(self, plane: Plane, model: str) -> None:
        self._apps, self._core = client.AppsV1Api(plane.client()), client.CoreV1Api(plane.client())
        self._deployment = _bare(_only(self._apps.list_deployment_for_all_namespaces, model), "apps/v1", "Deployment")
        self._service = _bare(_only(self._core.list_service_for_all_namespaces, model), "v1", "Service")
        plane.namespace(NAMESPACE)

    def objects(self, replicas: int) -> tuple[str, Json, Json]:
        """A new name, and a Deployment and a Service with it."""
        name = f"direct-{next(_numbers)}"
        deployment, service = (json.loads(text.replace("@", name)) for text in (self._deployment, self._service))
        deployment["spec"]["replicas"] = replicas
        return name, deployment, service

    def start(self, replicas: int) -> str:
        """Apply both; the name. Does not wait for pods."""
        name, deployment, service = self.objects(replicas)
        self._apps.patch_namespaced_deployment(name, NAMESPACE, deployment, **APPLY)
        self._core.patch_namespaced_service(name, NAMESPACE, service, **APPLY)
        return name

    def remove(self, name: str) -> None:
        """Remove both, and wait until the pods are gone."""
        # Its answer is a Status with servers as old as this one, and no Service.
        self._core.delete_namespaced_service(name, NAMESPACE, _preload_content=False)
        self._apps.delete_namespaced_deployment(name, NAMESPACE, propagation_policy="Foreground")
        until(lambda: not self._there(name), PATIENCE, f"{name} is gone", pause=0.2)

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove all that have these names, one after the other as kubectl does, and wait until they are gone."""
        for name in names:
            self._core.delete_namespaced_service(name, NAMESPACE, _preload_content=False)
            self._apps.delete_namespaced_deployment(name, NAMESPACE, propagation_policy="Background")
        until(lambda: not self._left(set(names)), PATIENCE, "all are gone", pause=0.2)

    def _left(self, names: set[str]) -> bool:
        listings = (self._apps.list_namespaced_deployment, self._core.list_namespaced_pod)
        answers = [json.loads(listing(NAMESPACE, _preload_content=False).data) for listing in listings]
        return any(item["metadata"]["labels"].get(NAME) in names for answer in answers for item in answer["items"])

    def _there(self, name: str) -> bool:
        listed = self._apps.list_namespaced_deployment(NAMESPACE, field_selector=f"metadata.name={name}")
        return bool(listed.items)


class Following:
    """Follows all objects of a kind by a bare watch, in a thread. `seen`: when each was first told to be as it is
    looked for, on the machine's monotonic clock, by the name of the app that it is of."""

    def __init__(self, listing: Callable[..., Any], looked_for: Callable[[Any], bool]) -> None:
        self.seen: dict[str, float] = {}
        self._listing, self._looked_for = listing, looked_for
        self._watch, self._changed = watch.Watch(), threading.Condition()

    def __enter__(self) -> Following:
        threading.Thread(target=self._follow, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """The thread ends with what comes next, or with the control plane."""
        self._watch.stop()

    def wait(self, name: str) -> float:
        """When it was; waits for it. Raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: name in self.seen, PATIENCE):
                raise TimeoutError(f"{name} has not been seen within {PATIENCE:g} s")
            return self.seen[name]

    def _follow(self) -> None:
        with suppress(urllib3.exceptions.HTTPError):  # the control plane has ended
            for event in self._watch.stream(self._listing, label_selector=NAME):
                if self._looked_for(event["object"]):
                    with self._changed:
                        self.seen.setdefault(event["object"].metadata.labels[NAME], time.monotonic())
                        self._changed.notify_all()


def readiness(plane: Plane) -> Following:
    """When all replicas of a Deployment are ready."""
    return Following(client.AppsV1Api(plane.client()).list_deployment_for_all_namespaces, _is_ready)


def ends(plane: Plane) -> Following:
    """When a container of an app's only pod has ended."""
    return Following(client.CoreV1Api(plane.client()).list_pod_for_all_namespaces, _has_ended)


def _is_ready(found: Any) -> bool:
    wanted, status = found.spec.replicas, found.status
    return bool(wanted and status.ready_replicas == wanted and status.observed_generation == found.metadata.generation)


def _has_ended(found: Any) -> bool:
    return any(one.restart_count or one.state.terminated for one in found.status.container_statuses or ())


def _only(listing: Callable[..., Any], name: str) -> Json:
    """The one object of that name, as the server has it."""
    (found,) = json.loads(listing(label_selector=f"{NAME}={name}", _preload_content=False).data)["items"]
    return dict(found)


def _bare(found: Mapping[str, Any], version: str, kind: str) -> str:
    """What was asked for, as JSON, without whose it is: with `@` for the name and the id."""
    given = found["metadata"]
    metadata = {name: given[name] for name in ("name", "labels", "annotations")}
    spec = {name: value for name, value in found["spec"].items() if not name.startswith("clusterIP")}
    text = json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
    labels = given["labels"]
    whose = {labels["app.kubernetes.io/instance"]: "@", labels[naming.ID]: "@", labels[naming.NAME]: "@"}
    for old, new in (whose | {labels[naming.INSTALLATION]: "direct"}).items():
        text = text.replace(old, new)
    return text
