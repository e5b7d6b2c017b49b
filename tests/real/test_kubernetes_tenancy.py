"""Several projects on one Kubernetes, and one that its owner may use in a single namespace alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.world import World, call
from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.permissions import OWN, WITH_NAMESPACE, rules_for
from zun_coe.errors import NotFound

if TYPE_CHECKING:
    from tests.faults.api_proxy import ApiProxy
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_outside import Outside

PATIENCE = 90.0
# What says who a cluster is and what may be done there, and of its nodes where they are.
ABOUT = re.compile(r"/version|/apis?|/apis?/[a-z0-9.]+(/v[a-z0-9]+)?|/apis/authorization\.k8s\.io/v1/selfsubject\w+")
# Asked for, and not given: the identity of the whole cluster, and its nodes.
ASKED_FOR = {"/api/v1/nodes", "/api/v1/namespaces/kube-system"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, api_proxy: ApiProxy) -> Iterator[World]:
    """A gateway with a public cluster. There is no node: nothing gets ready."""
    world = World(tmp_path_factory.mktemp("tenancy"), api_proxy.body(), PATIENCE)
    world.register()
    yield world
    world.close()


def of(world: World, plane: ControlPlane, project: str, namespace: str = "") -> Outside:
    from tests.real.kubernetes_outside import Outside

    return Outside(plane, world, project, namespace)


def body(name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"name": name, "cluster": "here", "image": "none:1", "pull": "never", "ports": [{"port": 80}]} | fields


def test_each_project_has_a_namespace_of_its_own(world: World, kubernetes: ControlPlane) -> None:
    ids = {project: world.create("app", body(), project)["id"] for project in ("blue", "red")}
    spaces = {project: of(world, kubernetes, project) for project in ids}
    assert spaces["blue"].namespace != spaces["red"].namespace
    for project, there in spaces.items():
        world.until(lambda there=there: there.names("services") == {"web"}, f"nothing is made for {project}")
        (deployment,) = there.deployments()
        assert deployment["metadata"]["labels"][naming.ID] == ids[project]
        namespace = there.core.read_namespace(there.namespace).metadata
        record = world.process.gateway.views.named("cluster", "default", "here")
        expected = naming.of_project(world.installation, record.id, project)
        assert expected.items() <= namespace.labels.items()
        assert namespace.annotations[naming.PROJECT_NAME] == project
    world.deleted("app", "web", "blue")
    assert spaces["blue"].deployments() == []
    assert len(spaces["red"].deployments()) == 1
    world.deleted("app", "web", "red")


def test_what_is_another_projects_is_not_there(world: World) -> None:
    id = world.create("app", body("mine"), "blue")["id"]
    for ref in ("mine", id):
        with pytest.raises(NotFound):
            world.show("app", ref, "red")
        with pytest.raises(NotFound):
            world.logs("app", ref, project="red")
        with pytest.raises(NotFound):
            world.delete("app", ref, "red")
        with pytest.raises(NotFound):
            world.patch("app", ref, {"replicas": 0}, "red")
        with pytest.raises(NotFound):
            world.replicas(ref, "red")
    assert [e for e in world.events() if e["subject_id"] == id and e["project"] != "blue"] == []
    world.deleted("app", "mine", "blue")


@pytest.mark.parametrize("whose", ["nobody's", "another gateway's"])
def test_a_namespace_of_others_is_never_taken_over(world: World, kubernetes: ControlPlane, whose: str) -> None:
    project = whose.partition("'")[0].replace(" ", "-")
    labels = {} if whose == "nobody's" else {naming.INSTALLATION: "another"}
    there = of(world, kubernetes, project)
    made = there.core.create_namespace({"metadata": {"name": there.namespace, "labels": labels}})
    world.create("app", body(), project)
    found = world.until(lambda: refused(world, project), "nothing is told")
    assert found["reason"] == "InvalidSpec"
    assert f"There is a namespace {there.namespace} already, made by others." in found["message"]
    assert there.deployments() == []
    # A Service named kubernetes is made in `default` alone.
    assert there.names("services") == set()
    now = there.core.read_namespace(there.namespace).metadata
    assert (now.uid, now.labels or {}) == (made.metadata.uid, labels)
    told = [e for e in world.events() if e["project"] == project and e["type"] == "AppFailed"]
    assert len(told) <= 1
    world.deleted("app", "web", project)
    assert there.core.read_namespace(there.namespace).metadata.uid == made.metadata.uid
    kubernetes.drop_namespace(there.namespace)


def refused(world: World, project: str) -> Any:
    status = world.show("app", "web", project)["status"]
    return status if status.get("reason") else None


def test_an_object_of_others_is_never_taken_over(world: World, kubernetes: ControlPlane) -> None:
    world.create("app", body("first"), "green")
    there = of(world, kubernetes, "green")
    world.until(lambda: there.names("services") == {"first"}, "nothing is made")
    theirs = {"metadata": {"name": "second"}, "spec": {"ports": [{"port": 99}]}}
    uid = there.core.create_namespaced_service(there.namespace, theirs).metadata.uid
    world.create("app", body("second"), "green")
    status = world.until(lambda: world.show("app", "second", "green")["status"].get("message"), "nothing is told")
    assert "There is a Service second" in status
    assert there.service("second")["spec"]["ports"][0]["port"] == 99
    # When they let the name go, it is ours without another request.
    there.drop("service", "second")
    world.patch("app", "second", {"labels": {"try": "again"}}, "green")
    world.until(lambda: "second" in there.names("services"), "the name is not taken")
    assert there.service("second")["metadata"]["uid"] != uid
    for name in ("first", "second"):
        world.deleted("app", name, "green")


def test_one_namespace_is_enough_and_nothing_is_asked_outside(
    tmp_path: Path, api_proxy: ApiProxy, kubernetes: ControlPlane, namespace: str
) -> None:
    token = kubernetes.token_for("tenant", rules_for((*OWN, *WITH_NAMESPACE)), namespace)
    since = len(api_proxy.asked)
    world = World(tmp_path / "one", api_proxy.body(token, namespace=namespace), PATIENCE)
    try:
        use(world, of(world, kubernetes, "blue", namespace))
    finally:
        world.close()
    asked = {a.path for a in api_proxy.asked[since:] if a.headers.get("Authorization") == f"Bearer {token}"}
    own = re.compile(rf"/api(s/(apps|autoscaling))?/v1/namespaces/{namespace}(/.*)?")
    assert {path for path in asked if not own.fullmatch(path) and not ABOUT.fullmatch(path)} <= ASKED_FOR


def use(world: World, there: Outside) -> None:
    """Two projects do what can be done there, with the same names."""
    world.register()
    data = [{"path": "/data", "volume": {"name": "data", "size": "1Mi"}}]
    for project in ("blue", "red"):
        world.process.gateway.secrets.create(call(project), {"name": "db", "data": {"password": "hunter2"}})
        more = {"env_secrets": {"P": "db/password"}, "mounts": data, "ports": [{"port": 80, "publish": "auto"}]}
        world.create("app", body(**more), project)
        world.create("container", body("job"), project)
    world.until(lambda: len(there.names("services")) == 6, "not all services are there")
    world.until(lambda: len(there.names("pods")) == 4, "not all pods are there")
    assert len(there.deployments()) == 2
    assert len(there.names("claims")) == 2
    for project in ("blue", "red"):
        world.patch("app", "web", {"image": "none:2"}, project)
        world.until(lambda: "none:2" in images(there), "nothing changes")
        world.deleted("container", "job", project)
        world.deleted("app", "web", project)
    assert there.deployments() == []


def images(there: Outside) -> list[str]:
    return [d["spec"]["template"]["spec"]["containers"][0]["image"] for d in there.deployments()]
