"""Deployments that somebody else made and an app takes over: what is in the way, what is kept, whose the pods are."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.unit.kubernetes_specs import TARGET, apps, workload
from tests.unit.test_kubernetes_parsing import FOREIGN, of_kind
from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes import naming, wire
from zun_coe.adapters.kubernetes.adoption import is_as_kept, kept, lost
from zun_coe.adapters.kubernetes.claiming import TEMPLATE, claimed, is_adopted, original
from zun_coe.adapters.kubernetes.converging import key_of, plan, stamped
from zun_coe.adapters.kubernetes.difference import differences
from zun_coe.adapters.kubernetes.foreign import examined, field_of, judged, of_deployment
from zun_coe.adapters.kubernetes.freshness import Freshness
from zun_coe.adapters.kubernetes.managing import given_up, ours, scaled_by
from zun_coe.adapters.kubernetes.manifest import render
from zun_coe.adapters.kubernetes.owners import Owners
from zun_coe.adapters.kubernetes.parts import of_pod
from zun_coe.adapters.kubernetes.survey import Listed, observation, sorted_out
from zun_coe.model import Adopted, Port, Template, Workload, template_hash

CONNECTION = Connection(installation="gw-1", cluster="prod", kind="kubernetes")
OTHERS = "5f6d7c8b9"
"""Kubernetes' own name for the template of somebody else's."""
ROLLED_OUT = {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 3}


def objection(live: Any, scalers: Any, connection: Any) -> str | None:
    """The first reason against it."""
    return next(iter(judged(live, scalers, connection).refused), None)


def somebodys(**metadata: Any) -> dict[str, Any]:
    """A Deployment that is there, rolled out."""
    live = copy.deepcopy(FOREIGN)
    live["metadata"] |= {"uid": "u-1", "generation": 2} | metadata
    return live | {"status": dict(ROLLED_OUT)}


def taking(live: dict[str, Any], **fields: Any) -> Workload:
    """The app that takes a Deployment over, with other fields than it had."""
    found, otherwise = examined(live)
    assert otherwise == ()
    metadata = live["metadata"]
    adopted = Adopted(
        namespace=metadata["namespace"],
        name=metadata["name"],
        place=str(naming.Place(metadata["namespace"], metadata["name"], found.main)),
        hash=template_hash(found.template),
        native=kept(live, OTHERS),
    )
    app = workload(found.template, replicas=found.replicas, update=found.update, placement=found.placement)
    ref = msgspec.structs.replace(app.ref, place=adopted.place)
    template = msgspec.structs.replace(found.template, **fields)
    return msgspec.structs.replace(
        app, ref=ref, adopted=adopted, template=template, hash=template_hash(template), labels=dict(found.labels)
    )


def deployment(app: Workload) -> dict[str, Any]:
    (found,) = of_kind(render(app, TARGET), "Deployment")
    return found


def test_its_pods_stay_as_they_are() -> None:
    live = somebodys()
    found = deployment(taking(live))
    del live["spec"]["template"]["metadata"]["creationTimestamp"]
    assert found["spec"]["template"] == live["spec"]["template"]
    assert found["spec"]["selector"] == live["spec"]["selector"]
    assert found["metadata"]["name"] == "shop"
    assert found["metadata"]["labels"].items() >= {"app": "shop", naming.ID: workload().ref.id}.items()
    assert is_as_kept(live, taking(live).adopted.native)  # type: ignore[union-attr]  # it is adopted


def test_services_and_secrets_are_not_made_where_they_are_not_asked_for() -> None:
    assert [o["kind"] for o in render(taking(somebodys()), TARGET)] == ["Deployment"]


def test_the_next_rollout_brings_our_labels_and_keeps_theirs() -> None:
    live = somebodys()
    template = live["spec"]["template"]
    template["metadata"] |= {"annotations": {"scrape": "yes"}, "labels": {"app": "shop", "app.kubernetes.io/name": "s"}}
    app = taking(live, image="shop:2")
    found = deployment(app)["spec"]["template"]
    wanted = {"app": "shop", "app.kubernetes.io/name": "s", naming.ID: app.ref.id, naming.HASH: app.hash}
    assert found["metadata"]["labels"].items() >= wanted.items()
    assert found["metadata"]["annotations"] == {
        "scrape": "yes",
        naming.PROJECT_NAME: app.ref.project,
        naming.PLACE: "prod/shop/shop",
    }
    assert [(c["name"], c["image"]) for c in found["spec"]["containers"]] == [("shop", "shop:2"), ("log", "log:1")]
    assert not {"enableServiceLinks", "automountServiceAccountToken"} & found["spec"].keys()


def test_going_back_to_the_first_revision_is_going_back_to_what_was_there() -> None:
    app = taking(somebodys())
    first = deployment(app)
    assert deployment(msgspec.structs.replace(app, replicas=7))["spec"]["template"] == first["spec"]["template"]


def test_what_is_published_leads_to_all_of_its_pods() -> None:
    (service,) = of_kind(render(taking(somebodys(), ports=(Port(port=80, publish="auto"),)), TARGET), "Service")
    assert (service["spec"]["type"], service["spec"]["selector"]) == ("NodePort", {"app": "shop"})


def test_labels_that_only_others_set_stay() -> None:
    live = somebodys(labels={"app": "shop", "app.kubernetes.io/managed-by": "Helm"})
    labels = deployment(taking(live))["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "Helm"
    assert labels["app.kubernetes.io/name"] == "web"


@settings(max_examples=30)
@given(apps())
def test_what_we_could_have_made_can_be_taken_over(of: Workload) -> None:
    """Without what has names of ours: claims, Secrets, and the labels by which replicas are spread."""
    template = msgspec.structs.replace(of.template, env_secrets={}, mounts=(), sidecars=())
    placement = msgspec.structs.replace(of.placement, spread=None)
    live = deployment(msgspec.structs.replace(of, template=template, placement=placement))
    live["metadata"] |= {"uid": "u-1"}
    found, otherwise = examined(live)
    assert otherwise == ()
    assert (found.replicas, found.update) == (of.wanted, of.update)
    app = taking(live)
    assert app.hash == app.adopted.hash  # type: ignore[union-attr]  # it is adopted
    assert lost(deployment(app), live) == ()
    assert differences({"spec": {"template": live["spec"]["template"]}}, deployment(app)) == ()


@pytest.mark.parametrize(
    ("where", "what", "pointer"),
    [
        (("template", "spec"), {"initContainers": [{"name": "a", "image": "a"}]}, "/spec/template/spec/initContainers"),
        (("strategy",), {"type": "Other"}, "/spec/strategy/type"),
        ((), {"surge": 1}, "/spec/surge"),
    ],
)
def test_what_cannot_be_said_is_told(where: tuple[str, ...], what: dict[str, Any], pointer: str) -> None:
    live = somebodys()
    at = live["spec"]
    for step in where:
        at = at[step]
    at |= what
    assert pointer in [d.pointer for d in examined(live)[1]]
    refused = of_deployment(live, [], CONNECTION).refused
    assert any(told.startswith(field_of(pointer)) for told in refused)


def test_claims_secrets_and_logins_are_in_the_way() -> None:
    live = somebodys()
    pod = live["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data"}})
    pod["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": "/data"})
    pod["containers"][0]["env"].append({"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}})
    pod["imagePullSecrets"] = [{"name": "login"}]
    told = " ".join(d.pointer for d in examined(live)[1])
    assert all(part in told for part in ("/volumes", "/env", "/imagePullSecrets")), told


HPA = {"metadata": {"name": "busy"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}}}
OTHER_HPA = {"metadata": {"name": "busy"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "other"}}}


def scaled(manager: str, subresource: str | None = None) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return entry | ({"subresource": subresource} if subresource else {})


@pytest.mark.parametrize(
    ("metadata", "scalers", "why"),
    [
        ({}, [], None),
        ({}, [OTHER_HPA], None),
        ({}, [HPA], "The autoscaler busy decides"),
        ({"managedFields": [scaled("kube-controller-manager")]}, [], "An autoscaler (kube-controller-manager)"),
        ({"managedFields": [scaled("keda", "scale")]}, [], "An autoscaler (keda)"),
        ({"managedFields": [scaled("kubectl", "scale"), scaled("kubectl-create")]}, [], None),
        ({"namespace": "kube-system"}, [], "Kubernetes itself"),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, [], "being deleted"),
        ({"ownerReferences": [{"kind": "Shop", "name": "a"}]}, [], "The Shop a controls it"),
        ({"labels": {naming.INSTALLATION: "gw-1"}}, [], "labels of this gateway"),
        ({"labels": {naming.INSTALLATION: "gw-2"}}, [], "Another gateway"),
        ({"generation": 3}, [], "not rolled out"),
    ],
)
def test_what_speaks_against_it(metadata: dict[str, Any], scalers: list[Any], why: str | None) -> None:
    told = objection(somebodys(**metadata), scalers, CONNECTION)
    assert (told is None) == (why is None), told
    assert why is None or (told is not None and why in told)


def test_one_that_is_paused_or_half_done_is_left_alone() -> None:
    live = somebodys()
    assert (
        objection(live | {"status": ROLLED_OUT | {"replicas": 5}}, [], CONNECTION)
        == "Its last change is not rolled out yet."
    )
    live["spec"]["paused"] = True
    assert objection(live, [], CONNECTION) == "It is paused."


def test_what_is_told_of_it() -> None:
    found = of_deployment(somebodys(creationTimestamp="2026-01-02T03:04:05Z"), [], CONNECTION)
    assert (found.images, found.replicas, found.ready, found.refused) == (("shop:1", "log:1"), 4, 3, ())
    assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert "may not tell" in str(of_deployment(somebodys(), None, CONNECTION).refused)


# Whose its pods are, before any of them has a label of ours.


def pod(name: str, template: str, owner: str = "shop", namespace: str = "prod", **labels: str) -> wire.Pod:
    owners = [{"kind": "ReplicaSet", "name": f"{owner}-{template}", "uid": "r"}]
    metadata = {"name": name, "namespace": namespace, "uid": name, "ownerReferences": owners}
    metadata |= {"labels": {"app": "shop", TEMPLATE: template} | labels}
    return msgspec.convert({"metadata": metadata, "spec": {"containers": [{"name": "shop"}]}}, wire.Pod)


def test_its_pods_are_told_by_their_replica_set() -> None:
    live = stamped(deployment(taking(somebodys())))
    assert is_adopted(live)
    found = [
        pod("a", OTHERS),
        pod("b", "0000"),
        pod("c", OTHERS, owner="shop-x"),
        pod("d", OTHERS, **{naming.ID: "other"}),
        pod("e", OTHERS, namespace="elsewhere"),
    ]
    hashes = {p.metadata.name: p.metadata.labels.get(naming.HASH, "") for p in claimed(live | at("prod"), found)}
    assert hashes == {"a": original(live).hash, "b": ""}


def at(namespace: str) -> dict[str, Any]:
    return {"metadata": stamped(deployment(taking(somebodys())))["metadata"] | {"namespace": namespace}}


def test_it_is_observed_as_any_other() -> None:
    app = taking(somebodys())
    live = deployment(app) | at("prod")
    pods = list(claimed(live, [pod("a", OTHERS), pod("b", "0000")]))
    ((ref, found),) = sorted_out(Listed(deployments=[live], pods=pods)).items()
    assert ref == app.ref
    seen = observation(ref, found)
    assert seen.hash == app.hash
    assert [i.hash for i in seen.instances] == [app.hash, ""]


def test_its_main_container_is_the_one_that_it_was() -> None:
    """Others may have been put before it in the meantime."""
    live = deployment(taking(somebodys())) | at("prod")
    spec = wire.PodSpec(containers=(wire.Container(name="proxy"), wire.Container(name="shop")))
    (found,) = claimed(live, [msgspec.structs.replace(pod("a", OTHERS), spec=spec)])
    assert [(part.spec.name, part.main) for part in of_pod(found, ())] == [("shop", True), ("proxy", False)]


def test_what_happens_to_its_pods_is_heard_of() -> None:
    owners, ref = Owners(Freshness()), taking(somebodys()).ref
    owners.keep(("Deployment", "prod", "shop"), ref)
    told = wire.ObjectReference(kind="Pod", namespace="prod", name=f"shop-{OTHERS}-x7c2d")
    assert owners.of(told) == ref
    assert owners.of(msgspec.structs.replace(told, name=f"shop-x-{OTHERS}-x7c2d")) is None
    assert owners.of(msgspec.structs.replace(told, kind="ReplicaSet", name=f"shop-{OTHERS}")) == ref


def test_nothing_is_left_to_send_once_it_is_ours() -> None:
    wanted = render(taking(somebodys()), TARGET)
    (body,) = map(stamped, wanted)
    live = {key_of(body): body | {"metadata": body["metadata"] | {"uid": "u-1"}}}
    assert plan(wanted, live).changes == ()


# Who has set which field.

CONTAINER = 'k:{"name":"a"}'
THEIRS = {
    "manager": "kubectl",
    "operation": "Update",
    "fieldsV1": {
        "f:metadata": {"f:annotations": {".": {}, "f:note": {}}, "f:labels": {"f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {CONTAINER: {".": {}, "f:tty": {}}}}},
        },
    },
}
OURS = {
    "manager": "zun-coe",
    "operation": "Apply",
    "fieldsV1": {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {CONTAINER: {".": {}}}}}},
    },
}
STATUS = {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {"f:replicas": {}}}}


def test_others_give_up_what_is_ours_and_keep_the_rest() -> None:
    assert ours([THEIRS, OURS]) == OURS["fieldsV1"]
    left = given_up([THEIRS, STATUS, OURS], ours([OURS]))
    tree = {"f:template": {"f:spec": {"f:containers": {CONTAINER: {"f:tty": {}}}}}}
    assert left == [
        THEIRS | {"fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:note": {}}}, "f:spec": tree}},
        STATUS,
        OURS,
    ]
    assert given_up(left, ours([OURS])) == left
    assert given_up([OURS | {"manager": "kubectl"}], ours([OURS])) == []
    assert scaled_by([THEIRS, STATUS]) is None


def test_another_template_is_another_revision() -> None:
    app = taking(somebodys(), env={"LEVEL": "debug"})
    assert app.adopted is not None
    assert app.hash != app.adopted.hash == template_hash(taking(somebodys()).template)
    assert isinstance(app.template, Template)


def test_all_reasons_are_told_and_who_else_manages_it() -> None:
    helm = {"annotations": {"meta.helm.sh/release-name": "shop"}, "generation": 3}
    argo = {"annotations": {"argocd.argoproj.io/tracking-id": "site:apps/Deployment:shop/web"}}
    verdict = judged(somebodys(**helm), None, CONNECTION)
    assert len(verdict.refused) == 2
    assert "release shop" in verdict.warnings[0]
    assert "site" in judged(somebodys(**argo), [], CONNECTION).warnings[0]
    assert judged(somebodys(), [], CONNECTION).warnings == ()


@pytest.mark.parametrize(
    ("pointer", "field"),
    [
        ("/spec/template/spec/containers/0/image", "spec.template.spec.containers[0].image"),
        ("/metadata/labels/app.kubernetes.io~1name", "metadata.labels[app.kubernetes.io/name]"),
    ],
)
def test_fields_are_named_as_kubernetes_does(pointer: str, field: str) -> None:
    assert field_of(pointer) == field
