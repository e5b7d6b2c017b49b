"""A Kubernetes whose objects other people change past the gateway."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from tests.contract.world import World, call, shown
from tests.faults.api_server import writes
from zun_coe.adapters.contests import TRIES
from zun_coe.adapters.kubernetes import naming, podspec
from zun_coe.adapters.kubernetes.additions import added, manager_of
from zun_coe.adapters.kubernetes.difference import differences
from zun_coe.errors import Conflict, Unprocessable
from zun_coe.gateway import Query

if TYPE_CHECKING:
    from tests.faults.api_proxy import ApiProxy
    from tests.real.kubernetes import ControlPlane
    from tests.real.kubernetes_node import Node
    from tests.real.kubernetes_outside import Outside

PATIENCE = 60.0
RESYNC = 0.3
LISTINGS = 12
"""So many listings give every app a look of its own."""
NAME = "/Deployment/web-"
POD = "/spec/template/spec"
MAIN = f"{POD}/containers/0"
SIDECAR = {"name": "theirs", "image": "none", "command": ["sleep", "3600"]}
MANAGER = "OpenAPI-Generator"
"""What the API server calls whoever uses the package `kubernetes`."""
KEY = podspec.secret_key("db/password")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, api_proxy: ApiProxy, kubernetes_node: Node) -> Iterator[World]:
    """A gateway with an app that has a little of everything."""
    world = World(tmp_path_factory.mktemp("drift"), api_proxy.body(), PATIENCE, resync=RESYNC)
    world.register()
    world.process.gateway.secrets.create(call(), {"name": "db", "data": {"password": "hunter2"}})
    world.create("app", body(kubernetes_node))
    world.settled("app", "web", "Running")
    yield world
    world.close()


@pytest.fixture
def outside(kubernetes: ControlPlane, world: World) -> Outside:
    from tests.real.kubernetes_outside import Outside

    return Outside(kubernetes, world)


def body(node: Node, name: str = "web", **fields: Any) -> dict[str, Any]:
    more = {"env": {"A": "1"}, "env_secrets": {"P": "db/password"}, "ports": [{"port": 80, "publish": "auto"}]}
    how = {"command": ["sleep", "3600"], "pull": "never", "stop_timeout": 1, "replicas": 2}
    return {"name": name, "cluster": "here", "image": node.image} | how | more | fields


def main(**fields: Any) -> dict[str, Any]:
    """A change of the main container in a template."""
    return template(containers=[{"name": "main", **fields}])


def template(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": fields}}}


def labels(**named: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {key.replace("__", "/").replace("_", "."): value for key, value in named.items()}}}


@dataclass(frozen=True)
class Change:
    """What somebody does, and what is told of it: the object, the pointer in it, and what was found there."""

    what: str
    do: Callable[[Outside], Any]
    told: str
    found: Any = None


def scale(outside: Outside) -> Any:
    scaled = {"spec": {"replicas": 4}}
    return outside.apps.patch_namespaced_deployment_scale(outside.named("web"), outside.namespace, scaled)


CHANGES = [
    Change("image", lambda o: o.change("web", main(image="other:1")), f"{MAIN}/image", "other:1"),
    Change("replicas", scale, "/spec/replicas", 4),
    Change(
        "variable",
        lambda o: o.change("web", main(env=[{"name": "A", "value": "2"}])),
        f"{MAIN}/env/0/value",
        "2",
    ),
    Change(
        "another variable",
        lambda o: o.change("web", main(env=[{"name": "B", "value": "3"}])),
        f"{MAIN}/env/0",
        {"name": "B", "value": "3"},
    ),
    Change(
        "command",
        lambda o: o.change("web", main(command=["sleep", "1800"])),
        f"{MAIN}/command/1",
        "1800",
    ),
    Change(
        "strategy",
        lambda o: o.change("web", {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}}),
        "/spec/strategy/rollingUpdate/maxUnavailable",
        1,
    ),
    Change(
        "label",
        lambda o: o.change("web", {"metadata": {"labels": {"app.kubernetes.io/name": None}}}),
        "/metadata/labels/app.kubernetes.io~1name",
    ),
    Change(
        "own label",
        lambda o: o.change("web", {"metadata": {"labels": {naming.ID: None}}}),
        f"/metadata/labels/{naming.ID.replace('/', '~1')}",
    ),
    Change(
        "owner's label",
        lambda o: o.change("web", {"metadata": {"labels": {naming.INSTALLATION: None}}}),
        f"/metadata/labels/{naming.INSTALLATION.replace('/', '~1')}",
    ),
    Change(
        "port of a service",
        lambda o: o.change_service("web", [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]),
        "/Service/web/spec/ports/0",
    ),
    Change(
        "privileged",
        lambda o: o.change("web", main(securityContext={"privileged": True})),
        f"{MAIN}/securityContext",
        {"privileged": True},
    ),
    Change("args", lambda o: o.change("web", main(args=["1"])), f"{MAIN}/args", ["1"]),
    Change("host network", lambda o: o.change("web", template(hostNetwork=True)), f"{POD}/hostNetwork", True),
    Change(
        "node selector",
        lambda o: o.change("web", template(nodeSelector={"nowhere": "x"})),
        f"{POD}/nodeSelector",
        {"nowhere": "x"},
    ),
    Change(
        "service account",
        lambda o: o.change("web", template(serviceAccountName="admin")),
        f"{POD}/serviceAccount",
        "admin",
    ),
    Change(
        "init container", lambda o: o.change("web", template(initContainers=[SIDECAR])), f"{POD}/initContainers/0", ANY
    ),
    Change("container", lambda o: o.change("web", template(containers=[SIDECAR])), f"{POD}/containers/", ANY),
    Change(
        "a container of another name",
        lambda o: o.change("web", [{"op": "replace", "path": f"{MAIN}/name", "value": "other"}]),
        f"{POD}/containers/0",
        ANY,
    ),
    Change(
        "selector of a service",
        lambda o: o.change_service("web", {"spec": {"selector": {"track": "other"}}}),
        "/Service/web/spec/selector/track",
        "other",
    ),
    Change(
        "addresses of a service",
        lambda o: o.change_service("web", {"spec": {"externalIPs": ["192.0.2.7"]}}),
        "/Service/web/spec/externalIPs",
        ["192.0.2.7"],
    ),
    Change(
        "affinity of a service",
        lambda o: o.change_service("web", {"spec": {"sessionAffinity": "ClientIP"}}),
        "/Service/web/spec/sessionAffinity",
        ANY,
    ),
    Change(
        "another port of a service",
        lambda o: o.change_service("web", {"spec": {"ports": [{"port": 81, "name": "more"}]}}),
        "/Service/web/spec/ports/",
        ANY,
    ),
    Change(
        "another value in a secret",
        lambda o: o.change_secret(f"{o.named('web')}-env", {"stringData": {"more": "x"}}),
        "/data/more",
        "***",
    ),
    Change(
        "a secret for ever", lambda o: o.change_secret(f"{o.named('web')}-env", {"immutable": True}), "/immutable", True
    ),
    Change("service", lambda o: o.drop("service", "web"), "/Service/web"),
    Change("secret", lambda o: o.drop("secret", f"{o.named('web')}-env"), "/Secret/web-"),
    Change(
        "value of a secret",
        lambda o: o.change_secret(f"{o.named('web')}-env", {"stringData": {KEY: "hunter3"}}),
        f"/data/{KEY}",
        "***",
    ),
    Change("deployment", lambda o: o.drop("deployment", o.named("web")), NAME),
]


def corrections(world: World, name: str = "web") -> list[Any]:
    """What was told of an app's drift."""
    return [event for event in world.events("DriftCorrected") if event["subject_name"] == name]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_change_is_told_once_and_put_right(world: World, outside: Outside, change: Change) -> None:
    world.settled("app", "web", "Running")
    before = len(corrections(world))
    change.do(outside)
    (event,) = world.until(lambda: corrections(world)[before:], f"{change.what} is not told of")
    told = next(d for d in event["data"]["differences"] if change.told in d["pointer"])
    assert told.get("found") == change.found
    assert told.get("manager") in (None, MANAGER)
    assert "manager" in told or change.found is None or change.do is scale  # servers before 1.22 record no scaling
    world.until(lambda: not otherwise(world, outside), lambda: str(otherwise(world, outside)))
    # It takes several writes: what somebody changes between them is written over before anybody has seen it.
    ref = world.workload("app", "web").ref
    world.until(lambda: not world.engines_own.observe(ref)[0].drift, "the gateway is still at it")
    world.settled("app", "web", "Running")
    assert len(corrections(world)[before:]) == 1


def test_what_others_note_is_theirs(world: World, api_proxy: ApiProxy, outside: Outside) -> None:
    """Their notes are neither undone nor fought over, nor told of, also those that make new pods, as those of `kubectl
    rollout restart` do; and then rest costs no write."""
    world.settled("app", "web", "Running")
    before, revisions = len(corrections(world)), len(outside.replica_sets("web"))
    theirs = {"labels": {"their/label": "x"}, "annotations": {"their/annotation": "y"}}
    outside.change("web", {"metadata": theirs, "spec": {"template": {"metadata": theirs}}})
    outside.change_service("web", {"metadata": theirs})
    world.until(lambda: is_rolled_out(outside), "their template is not rolled out")
    world.settled("app", "web", "Running")
    deployment, service = outside.deployment("web"), outside.service("web")
    assert writes_at_rest(world, api_proxy) == []
    for now, then in ((outside.deployment("web"), deployment), (outside.service("web"), service)):
        assert now["metadata"].get("generation") == then["metadata"].get("generation")
        assert ours(now) == ours(then)
        assert all(theirs[kind].items() <= now["metadata"][kind].items() for kind in theirs)
    assert len(corrections(world)) == before
    # A change of ours leaves theirs as it is.
    world.patch("app", "web", {"env": {"A": "9"}})
    world.settled("app", "web", "Running")
    template = outside.deployment("web")["spec"]["template"]["metadata"]
    assert all(theirs[kind].items() <= template[kind].items() for kind in theirs)
    assert len(outside.replica_sets("web")) == revisions + 2


def is_rolled_out(outside: Outside) -> bool:
    found = outside.deployment("web")
    status, wanted = found["status"], found["spec"]["replicas"]
    left = [name for name in outside.names("pods") if name.startswith(outside.named("web"))]
    return len(left) == wanted and bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas") == wanted
    )


def shown_of(world: World) -> list[Any]:
    """The instances that the gateway knows of, those on their way out among them."""
    return list(world.process.gateway.views.named("app", "default", "web").status.instances)


def ours(object: dict[str, Any]) -> list[Any]:
    """When the gateway wrote to an object, and what of it is the gateway's."""
    entries = object["metadata"]["managedFields"]
    return [(e["time"], e["fieldsV1"]) for e in entries if e["manager"] == naming.FIELD_MANAGER]


def writes_at_rest(world: World, proxy: ApiProxy) -> list[str]:
    """What is written while every app gets a look of its own."""
    since = len(proxy.asked)

    def listed() -> int:
        everything = [a for a in proxy.asked[since:] if a.path == "/apis/apps/v1/deployments"]
        return len([a for a in everything if "watch" not in a.params])

    world.until(lambda: listed() > LISTINGS, "nobody looks")
    return writes(proxy.asked[since:])


def test_rest_costs_nothing(world: World, api_proxy: ApiProxy, outside: Outside) -> None:
    world.settled("app", "web", "Running")
    world.until(lambda: is_rolled_out(outside), "old pods are left")
    world.until(lambda: len(shown_of(world)) == 2, "old pods are shown")
    before = len(world.events())
    assert writes_at_rest(world, api_proxy) == []
    assert len(world.events()) == before


def test_going_back_takes_the_former_replica_set_up_again(
    world: World, kubernetes_node: Node, outside: Outside
) -> None:
    world.create("app", body(kubernetes_node, "back", replicas=1))
    world.settled("app", "back", "Running")
    (first,) = outside.replica_sets("back")
    world.patch("app", "back", {"env": {"A": "2"}})
    world.settled("app", "back", "Running")
    assert len(outside.replica_sets("back")) == 2
    world.process.gateway.apps.rollback(call(), "back", 1)
    assert world.settled("app", "back", "Running")["revision"] == 3
    sets = outside.replica_sets("back")
    assert len(sets) == 2
    (again,) = [one for one in sets if one["metadata"]["uid"] == first["metadata"]["uid"]]
    revision = "deployment.kubernetes.io/revision"
    assert again["metadata"]["annotations"][revision] == "3"
    assert outside.deployment("back")["metadata"]["annotations"][revision] == "3"
    (pod,) = outside.pods("back")
    assert pod["metadata"]["labels"]["pod-template-hash"] == first["metadata"]["labels"]["pod-template-hash"]
    world.deleted("app", "back")


def test_a_rollout_that_is_undone_by_others_is_told_and_put_right(
    world: World, kubernetes_node: Node, outside: Outside
) -> None:
    """`kubectl rollout undo` brings the annotations of the older template back, our digest among them."""
    world.create("app", body(kubernetes_node, "undone", replicas=1, env_secrets={}))
    world.settled("app", "undone", "Running")
    (first,) = outside.replica_sets("undone")
    world.patch("app", "undone", {"env": {"A": "2"}})
    world.settled("app", "undone", "Running")
    template = first["spec"]["template"]
    del template["metadata"]["labels"]["pod-template-hash"]
    older = {"/spec/template": template, "/metadata/annotations": first["metadata"]["annotations"]}
    outside.change("undone", [{"op": "replace", "path": path, "value": value} for path, value in older.items()])
    (event,) = world.until(lambda: corrections(world, "undone"), "it is not told of")
    told = next(d for d in event["data"]["differences"] if d["pointer"].endswith("/env/0/value"))
    assert (told["wanted"], told["found"], told["manager"]) == ("2", "1", MANAGER)
    assert MANAGER in event["message"]
    world.until(lambda: variables(outside, "undone") == {"A": "2"}, "it is not put right")
    world.deleted("app", "undone")


def variables(outside: Outside, app: str) -> dict[str, str]:
    (container,) = outside.deployment(app)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def test_who_changes_it_again_and_again_is_not_fought(world: World, kubernetes_node: Node, outside: Outside) -> None:
    world.create("app", body(kubernetes_node, "fought", replicas=1, env_secrets={}))
    world.settled("app", "fought", "Running")

    def status() -> Any:
        return world.show("app", "fought")["status"]

    def contested() -> bool:
        if "track" not in outside.service("fought")["spec"]["selector"]:
            outside.change_service("fought", {"spec": {"selector": {"track": "other"}}})
        return bool(status().get("reason") == "Contested")

    world.until(contested, "nobody says that it comes back")
    assert sum(event["count"] for event in corrections(world, "fought")) == TRIES
    assert MANAGER in status()["message"]
    assert "/Service/fought/spec/selector/track" in status()["message"]
    # What is wanted besides is had all the same.
    world.patch("app", "fought", {"env": {"A": "2"}})
    world.until(lambda: variables(outside, "fought") == {"A": "2"}, "another change waits for it")
    world.until(lambda: "track" not in outside.service("fought")["spec"]["selector"], "it is never put right")
    world.until(lambda: "reason" not in status(), "it is told of for ever")
    world.deleted("app", "fought")


def scaler(outside: Outside, app: str, fewest: int) -> Any:
    """An autoscaler, which needs no figures to have its fewest replicas."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": outside.named(app)}
    return {"metadata": {"name": app}, "spec": {"scaleTargetRef": target, "minReplicas": fewest, "maxReplicas": 5}}


def test_an_autoscaler_decides_while_it_is_there(world: World, kubernetes_node: Node, outside: Outside) -> None:
    from kubernetes.client import AutoscalingV1Api

    scalers = AutoscalingV1Api(outside.apps.api_client)
    world.create("app", body(kubernetes_node, "scaled", replicas=1, env_secrets={}))
    world.settled("app", "scaled", "Running")
    scalers.create_namespaced_horizontal_pod_autoscaler(outside.namespace, scaler(outside, "scaled", 3))

    def status() -> Any:
        return world.show("app", "scaled")["status"]

    world.until(lambda: status().get("scaled_by"), "the autoscaler is not told of")
    world.until(lambda: status()["replicas"]["ready"] == 3, "its replicas are not there")
    told = world.settled("app", "scaled", "Running")["status"]
    assert told["scaled_by"] == "HorizontalPodAutoscaler scaled"
    assert "HorizontalPodAutoscaler scaled" in told["message"]
    assert (told["replicas"]["desired"], corrections(world, "scaled")) == (3, [])
    with pytest.raises(Conflict, match="HorizontalPodAutoscaler scaled"):
        world.patch("app", "scaled", {"replicas": 2})
    world.patch("app", "scaled", {"env": {"A": "2"}})
    world.until(lambda: variables(outside, "scaled") == {"A": "2"}, "nothing else can change")
    assert world.settled("app", "scaled", "Running")["replicas"] == 1
    assert outside.deployment("scaled")["spec"]["replicas"] == 3
    # What others change besides is put right as ever.
    outside.change("scaled", template(hostPID=True))
    world.until(lambda: corrections(world, "scaled"), "other changes are not told of")
    world.until(lambda: "hostPID" not in outside.deployment("scaled")["spec"]["template"]["spec"], "it stays")
    assert outside.deployment("scaled")["spec"]["replicas"] == 3
    scalers.delete_namespaced_horizontal_pod_autoscaler("scaled", outside.namespace)
    world.until(lambda: outside.deployment("scaled")["spec"]["replicas"] == 1, "its replicas do not hold again")
    world.until(lambda: "scaled_by" not in status(), "it is told of for ever")
    world.patch("app", "scaled", {"replicas": 2})
    world.settled("app", "scaled", "Running")
    world.deleted("app", "scaled")


def otherwise(world: World, outside: Outside) -> list[Any]:
    """What differs from what the gateway would send."""
    from kubernetes.client import exceptions

    with world.adapter() as adapter:
        wanted = {(o["kind"], o["metadata"]["name"]): o for o in adapter.render(world.workload("app", "web"))}
    try:
        deployment, service = outside.deployment("web"), outside.service("web")
        secret = outside.secret(f"{outside.named('web')}-env")
    except exceptions.ApiException:
        return ["gone"]
    if base64.b64decode(secret["data"][KEY]) != b"hunter2":
        return ["secret"]
    live = {("Deployment", outside.named("web")): deployment, ("Service", "web"): service}
    found = [drift for key, there in live.items() for drift in differences(wanted[key], there)]
    found += [d for key, there in live.items() for d in added(wanted[key], there) if manager_of(there, d.pointer)]
    return [drift for drift in found if not drift.pointer.endswith("~1applied")]  # that is known when it is sent


def test_what_was_let_go_is_listed_and_can_be_the_same_app_again(
    world: World, kubernetes_node: Node, outside: Outside
) -> None:
    """With its id and its pods: nothing restarts."""
    fields = {"env_secrets": {}, "ports": [{"port": 80, "publish": "auto", "name": "http"}], "labels": {"team": "a"}}
    fields["health"] = {"exec": {"command": ["true"]}, "interval": 1, "timeout": 2, "start_period": 2}
    made = world.create("app", body(kubernetes_node, "kept", replicas=1, memory="64Mi", **fields))
    world.settled("app", "kept", "Running")
    world.process.gateway.apps.restart(call(), "kept")
    before = world.settled("app", "kept", "Running")
    world.until(lambda: len(outside.pods("kept")) == 1, "old pods are left")
    (pod,) = outside.pods("kept")
    place = {"namespace": outside.namespace, "name": outside.named("kept")}
    gateway = world.process.gateway
    refused = {"adopt": place, "cluster": "here"}
    with pytest.raises(Unprocessable) as caught:
        world.adopt(refused)
    assert "It is the app kept" in caught.value.problems[0].detail
    gateway.apps.delete(call(), "kept", keep=True)
    world.until(lambda: gateway.views.named("app", "default", "kept") is None, "it is not let go")
    query = Query(filters={"namespace": outside.namespace})
    listed = gateway.clusters.workloads(call(), "here", query, partial(gateway.apps.judge, valid=valid))
    (found,) = [w for w in shown(listed)["workloads"] if w["name"] == place["name"]]
    assert (found["left"], found["adoptable"]) == (True, True), found
    again = world.adopt(refused)
    assert (again["id"], again["name"]) == (made["id"], "kept")
    after = world.settled("app", "kept", "Running")
    same = ("image", "command", "env", "ports", "memory", "labels", "replicas")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert [p["metadata"]["uid"] for p in outside.pods("kept")] == [pod["metadata"]["uid"]]
    assert len([s for s in outside.replica_sets("kept") if s["spec"]["replicas"]]) == 1
    world.deleted("app", "kept")


def valid(body: Any) -> tuple[()]:
    return ()
