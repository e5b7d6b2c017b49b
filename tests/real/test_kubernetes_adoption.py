"""Deployments of a real Kubernetes that kubectl made and an app takes over, with pods that run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from tests.contract.world import World, call, shown
from tests.real.waiting import wait_until
from zun_coe.adapters import Foreign
from zun_coe.adapters.kubernetes import naming, paths
from zun_coe.adapters.kubernetes.adapter import KubernetesAdapter
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.manifest import Target, render
from zun_coe.errors import Absent, Denied, Invalid, Unprocessable
from zun_coe.gateway import Query
from zun_coe.model import Adopted, Workload, WorkloadRef, template_hash

if TYPE_CHECKING:
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node

Json = dict[str, Any]
PATIENCE = 90.0
SCRIPT = 'echo "level $LEVEL"; exec sleep 3600'
LABELS = {"app": "web", "app.kubernetes.io/name": "web"}
OURS = {"installation": "gw-9", "cluster": "c-9"}


class Kubectl:
    """Somebody with kubectl in a namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        from kubernetes import client

        self.namespace = namespace
        # The models of the package refuse pods that are just being made.
        self._reader = Client(plane.connection())
        self.apps, self.core = client.AppsV1Api(plane.client()), client.CoreV1Api(plane.client())
        self.scaling = client.AutoscalingV1Api(plane.client())

    def close(self) -> None:
        """Go away."""
        self._reader.close()

    def apply(self, body: Mapping[str, Any]) -> None:
        """As `kubectl apply` does on the client's side: the whole of it is noted down in an annotation."""
        noted = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body)}
        metadata = body["metadata"] | {"annotations": noted}
        whole = dict(body) | {"metadata": metadata}
        self.apps.create_namespaced_deployment(self.namespace, whole, field_manager="kubectl-client-side-apply")

    def change(self, name: str, body: Mapping[str, Any]) -> None:
        """As `kubectl patch` does."""
        self.apps.patch_namespaced_deployment(name, self.namespace, body, field_manager="kubectl-patch")

    def deployment(self, name: str) -> Json:
        """As it is."""
        return self._reader.get(paths.path("Deployment", name, self.namespace))

    def names(self) -> set[str]:
        """Of all Deployments."""
        return {d["metadata"]["name"] for d in self._all("Deployment")}

    def pods(self) -> dict[str, Json]:
        """Those that are not on their way out, by uid."""
        found = self._all("Pod")
        return {p["metadata"]["uid"]: p for p in found if "deletionTimestamp" not in p["metadata"]}

    def ready(self, name: str, replicas: int) -> bool:
        """Whether it is rolled out."""
        found = self.deployment(name)
        status = found["status"]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(seen and status.get("readyReplicas") == status.get("updatedReplicas") == replicas)

    def _all(self, kind: str) -> Sequence[Json]:
        return self._reader.list(paths.collection(kind, self.namespace), dict[str, Any]).items


def written(image: str, name: str = "web", **pod: Any) -> Json:
    """A Deployment as people write one."""
    container = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", SCRIPT],
        "env": [{"name": "LEVEL", "value": "low"}, {"name": "OLD", "value": "1"}],
        "ports": [{"containerPort": 80}],
    }
    template = {
        "metadata": {"labels": LABELS | {"version": "1"}, "annotations": {"note": "kept"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1} | pod,
    }
    spec = {"replicas": 2, "revisionHistoryLimit": 3, "selector": {"matchLabels": LABELS}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": LABELS}, "spec": spec}


@pytest.fixture
def kubectl(kubernetes: ControlPlane, namespace: str) -> Iterator[Kubectl]:
    kubectl = Kubectl(kubernetes, namespace)
    yield kubectl
    kubectl.close()


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, kubernetes: ControlPlane) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("adoption"), kubernetes.body(), PATIENCE)
    world.register()
    yield world
    world.close()


def adopt(world: World, namespace: str, native: str = "web", **fields: Any) -> Any:
    return world.adopt({"adopt": {"namespace": namespace, "name": native}, "cluster": "here"} | fields)


def workloads(world: World, namespace: str) -> list[Any]:
    query = Query(filters={"namespace": namespace})
    gateway = world.process.gateway
    judge = partial(gateway.apps.judge, valid=lambda body: ())
    return list(shown(gateway.clusters.workloads(call(), "here", query, judge))["workloads"])


EMPTY = {"f:resources", "f:securityContext"}
"""Objects that the server made of nothing, and that hold nothing: whoever made the Deployment keeps those."""


def held_by_others(deployment: Json) -> set[str]:
    """The fields of what the Deployment is to be that not only the gateway has a say in."""
    entries = [e for e in deployment["metadata"]["managedFields"] if e["manager"] != "zun-coe"]
    return {name for e in entries for name in leaves(e["fieldsV1"].get("f:spec", {}))}


def leaves(fields: Json) -> Iterator[str]:
    for name, inner in fields.items():
        yield from leaves(inner) if inner else [name]


def hashes(kubectl: Kubectl) -> set[str]:
    """Kubernetes' own names for the templates of the pods."""
    return {p["metadata"]["labels"]["pod-template-hash"] for p in kubectl.pods().values()}


def levels(kubectl: Kubectl) -> list[str]:
    return [
        v["value"] for p in kubectl.pods().values() for v in p["spec"]["containers"][0]["env"] if v["name"] == "LEVEL"
    ]


def test_the_life_of_an_app_that_was_taken_over(world: World, kubectl: Kubectl, kubernetes_node: Node) -> None:
    kubectl.apply(written(kubernetes_node.image))
    wait_until(lambda: kubectl.ready("web", 2), PATIENCE, "it runs")
    before, came_with = set(kubectl.pods()), hashes(kubectl)
    (listed,) = workloads(world, kubectl.namespace)
    assert (listed["kind"], listed["name"], listed["replicas"], listed["ready"]) == ("Deployment", "web", 2, 2)
    assert listed["adoptable"], listed["reason"]

    app = adopt(world, kubectl.namespace)
    assert (app["name"], app["replicas"], app["adopted"]) == ("web", 2, {"namespace": kubectl.namespace, "name": "web"})
    world.settled("app", "web", "Running")
    assert set(kubectl.pods()) == before
    assert {r["name"] for r in world.replicas("web")} == {"web-1", "web-2"}
    assert workloads(world, kubectl.namespace) == []
    assert held_by_others(kubectl.deployment("web")) <= EMPTY
    assert set(world.logs("app", "web")) == {"level low"}

    world.patch("app", "web", {"replicas": 3})
    world.settled("app", "web", "Running")
    assert before < set(kubectl.pods())
    assert hashes(kubectl) == came_with

    world.restart()
    kubectl.change("web", {"spec": {"replicas": 1}})
    world.until(lambda: world.events("DriftCorrected"), "the drift is not told")
    world.until(lambda: len(kubectl.pods()) == 3 and kubectl.ready("web", 3), "the replicas are not back")

    world.patch("app", "web", {"env": {"LEVEL": "high", "OLD": None}})
    world.settled("app", "web", "Running")
    world.until(lambda: len(world.replicas("web")) == 3, "the old ones are not gone")
    assert levels(kubectl) == ["high"] * 3
    container = kubectl.deployment("web")["spec"]["template"]["spec"]["containers"][0]
    assert (container["name"], container["env"]) == ("server", [{"name": "LEVEL", "value": "high"}])
    template = kubectl.deployment("web")["spec"]["template"]["metadata"]
    assert template["labels"].items() >= (LABELS | {"version": "1", naming.ID: app["id"]}).items()
    assert template["annotations"]["note"] == "kept"
    assert set(world.logs("app", "web")) == {"level high"}

    world.process.gateway.apps.rollback(call(), "web", 1)
    world.settled("app", "web", "Running")
    world.until(lambda: hashes(kubectl) == came_with, "it is not what it was")
    assert levels(kubectl) == ["low"] * 3

    world.deleted("app", "web")
    assert kubectl.names() == set()


def test_template_drift_of_what_was_taken_over_is_put_right(
    world: World, kubectl: Kubectl, kubernetes_node: Node
) -> None:
    kubectl.apply(written(kubernetes_node.image))
    wait_until(lambda: kubectl.ready("web", 2), PATIENCE, "it runs")
    adopt(world, kubectl.namespace, name="shop")
    world.settled("app", "shop", "Running")
    came_with = hashes(kubectl)
    changed = {"containers": [{"name": "server", "env": [{"name": "LEVEL", "value": "odd"}]}]}
    kubectl.change("web", {"spec": {"template": {"spec": changed}}})
    world.until(lambda: world.events("DriftCorrected"), "the drift is not told")
    world.until(lambda: hashes(kubectl) == came_with and kubectl.ready("web", 2), "the template is not back")
    world.settled("app", "shop", "Running")

    world.deleted("app", "shop", keep=True)
    assert kubectl.ready("web", 2)


def refusal(world: World, namespace: str, name: str = "web", **fields: Any) -> Unprocessable:
    with pytest.raises(Unprocessable) as caught:
        adopt(world, namespace, name, **fields)
    apps = shown(world.process.gateway.apps.list(call(), Query()))["apps"]
    assert apps == []
    return caught.value


def test_what_an_app_cannot_be_is_refused_and_nothing_is_written(
    world: World, kubectl: Kubectl, namespace: str
) -> None:
    image = "nowhere/nothing:1"
    volume = {"name": "settings", "configMap": {"name": "settings"}}
    kubectl.apply(written(image, "setup", initContainers=[{"name": "setup", "image": image}], volumes=[volume]))
    still = written(image, "still") | {}
    still["spec"]["replicas"] = 0
    kubectl.apply(still)
    wait_until(lambda: kubectl.deployment("still")["status"].get("observedGeneration"), PATIENCE, "it is seen")
    told = {"kind": "Deployment", "name": "still"}
    scaler = {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1"} | told}
    kubectl.scaling.create_namespaced_horizontal_pod_autoscaler(
        namespace, {"metadata": {"name": "busy"}, "spec": scaler}
    )
    assert "busy" in refusal(world, namespace, "still").problems[0].detail
    kubectl.scaling.delete_namespaced_horizontal_pod_autoscaler("busy", namespace)
    kubectl.change("setup", {"spec": {"replicas": 0}})
    wait_until(lambda: kubectl.deployment("setup")["status"].get("replicas", 0) == 0, PATIENCE, "it is empty")

    refused = refusal(world, namespace, "setup")
    fields = {d["field"] for d in refused.extra["differences"]}
    assert {"spec.template.spec.initContainers", "spec.template.spec.volumes"} <= fields
    kubectl.change("still", {"spec": {"paused": True}})
    assert "paused" in refusal(world, namespace, "still").problems[0].detail
    assert refusal(world, namespace, "nothing").problems[0].pointer == "/adopt/name"
    reasons = {w["name"]: w.get("reason") for w in workloads(world, namespace)}
    assert reasons == {"setup": reasons["setup"], "still": ANY}
    assert reasons["still"].startswith("It is paused.")
    assert "initContainers" in reasons["setup"]
    assert kubectl.deployment("still")["metadata"]["labels"] == LABELS


def test_the_system_and_the_daemons_are_shown_and_not_taken(world: World, kubectl: Kubectl, namespace: str) -> None:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
    spec = {"selector": {"matchLabels": LABELS}, "template": template}
    kubectl.apps.create_namespaced_daemon_set(namespace, {"metadata": {"name": "every"}, "spec": spec})
    kubectl.apps.create_namespaced_stateful_set(
        namespace, {"metadata": {"name": "state"}, "spec": spec | {"serviceName": "s", "replicas": 0}}
    )
    kubectl.core.create_namespaced_pod(namespace, {"metadata": {"name": "alone"}, "spec": template["spec"]})
    found = {w["name"]: (w["kind"], w["adoptable"]) for w in workloads(world, namespace)}
    assert found == {"alone": ("Pod", False), "every": ("DaemonSet", False), "state": ("StatefulSet", False)}


# One step at a time.


@pytest.fixture
def adapter(kubernetes: ControlPlane) -> Iterator[KubernetesAdapter]:
    adapter = KubernetesAdapter(kubernetes.connection(**OURS))
    yield adapter
    adapter.close()


ID, OTHER_ID = "12345678-0000-4000-8000-000000000000", "87654321-0000-4000-8000-000000000000"


def taking(adapter: KubernetesAdapter, namespace: str, name: str = "web", id: str = ID) -> Workload:
    """The app that takes a Deployment over."""
    offer = adapter.offer(namespace, name)
    hash_ = template_hash(offer.template)
    ref = WorkloadRef(**OURS, project="p", noun="app", id=id, name="taken", place=offer.place)
    adopted = Adopted(namespace=namespace, name=name, place=offer.place, hash=hash_, native=dict(offer.native))
    return Workload(
        ref=ref,
        template=offer.template,
        hash=hash_,
        replicas=offer.replicas,
        update=offer.update,
        placement=offer.placement,
        labels=dict(offer.labels),
        adopted=adopted,
    )


def empty(kubectl: Kubectl, name: str = "web") -> None:
    """A Deployment without pods, which is rolled out at once."""
    body = written("nowhere/nothing:1", name)
    body["spec"]["replicas"] = 0
    kubectl.apply(body)
    wait_until(lambda: kubectl.deployment(name)["status"].get("observedGeneration"), PATIENCE, "it is seen")


def test_what_was_changed_meanwhile_is_left_alone(adapter: KubernetesAdapter, kubectl: Kubectl, namespace: str) -> None:
    empty(kubectl)
    app = taking(adapter, namespace)
    more = {"containers": [{"name": "server", "env": [{"name": "NEW", "value": "1"}]}]}
    kubectl.change("web", {"spec": {"template": {"spec": more}}})
    before = kubectl.deployment("web")
    with pytest.raises(Invalid, match="was changed"):
        adapter.apply(app, None)
    after = kubectl.deployment("web")
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], before["metadata"]["labels"])
    assert "f:image" in held_by_others(after)
    kubectl.apps.delete_namespaced_deployment("web", namespace)
    empty(kubectl)
    with pytest.raises(Invalid, match="is not the one"):
        adapter.apply(app, None)


def test_it_is_taken_over_once(adapter: KubernetesAdapter, kubectl: Kubectl, namespace: str) -> None:
    empty(kubectl)
    app, other = taking(adapter, namespace), taking(adapter, namespace, id=OTHER_ID)
    adapter.apply(app, None)
    with pytest.raises(Invalid, match="is not the one"):
        adapter.apply(other, None)
    with pytest.raises(Invalid, match="left by this gateway"):
        adapter.offer(namespace, "web")
    generation = kubectl.deployment("web")["metadata"]["generation"]
    adapter.apply(app, None)
    assert kubectl.deployment("web")["metadata"]["generation"] == generation
    (seen,) = [o for o in adapter.observe(None) if o.ref.id == app.ref.id]
    assert (seen.ref, seen.hash) == (app.ref, app.hash)


def test_a_step_that_was_cut_off_is_taken_up(adapter: KubernetesAdapter, kubectl: Kubectl, namespace: str) -> None:
    empty(kubectl)
    app = taking(adapter, namespace)
    wanted = render(app, Target(namespace))
    prepared = adapter._takeover.prepared(app, wanted, {})
    assert len(prepared) == 1
    assert held_by_others(kubectl.deployment("web")) <= EMPTY
    assert adapter._takeover.prepared(app, wanted, {}) == prepared
    adapter.apply(app, None)
    assert held_by_others(kubectl.deployment("web")) <= EMPTY
    adapter.remove(app.ref, None)
    wait_until(lambda: kubectl.names() == set(), PATIENCE, "it is gone")


def test_only_what_may_be_seen(kubernetes: ControlPlane, kubectl: Kubectl, namespace: str) -> None:
    empty(kubectl)
    rules = [{"apiGroups": ["apps", ""], "resources": ["deployments", "pods"], "verbs": ["get", "list"]}]
    token = kubernetes.token_for("looker", rules, namespace)
    for name in (namespace, None):
        narrow = KubernetesAdapter(kubernetes.connection(token, namespace=name))
        try:
            with pytest.raises(Invalid if name else Denied):
                narrow.offer("default", "web")
            with pytest.raises(Denied):
                narrow.offer(namespace, "web")
            if name:
                (found,) = narrow.foreign()
                assert isinstance(found, Foreign)
                assert "may not tell" in str(found.refused)
        finally:
            narrow.close()
    with pytest.raises(Absent):
        KubernetesAdapter(kubernetes.connection()).offer("default", "web")
