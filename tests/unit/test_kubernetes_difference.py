"""What differs in a live object: what we rendered and nothing else, and what we rendered once."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.kubernetes_specs import TARGET, apps, containers, workload
from zun_coe.adapters.kubernetes.difference import differences, immutable
from zun_coe.adapters.kubernetes.manifest import render
from zun_coe.model import Drift, Mount, Port, Template, VolumeSource, Workload

POD = "/spec/template/spec"
PORTS = (Port(port=80, name="http", publish="auto"), Port(port=53, protocol="udp"))
TEMPLATE = Template(image="nginx", env={"A": "1", "B": "2"}, ports=PORTS, cpu=0.5, memory="128Mi")
CLAIMED = Template(image="i", mounts=(Mount(path="/d", volume=VolumeSource(name="data", size="1Gi")),))


def of_kind(of: Workload, kind: str) -> dict[str, Any]:
    return next(o for o in render(of, TARGET) if o["kind"] == kind)


DEPLOYMENT = of_kind(workload(TEMPLATE, replicas=3), "Deployment")
SERVICE = of_kind(workload(TEMPLATE), "Service")


def served(wanted: dict[str, Any]) -> dict[str, Any]:
    """A Deployment as a server stores it: with what it fills in, in its own order and its own words."""
    live = copy.deepcopy(wanted)
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 2}
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    spec = live["spec"]["template"]["spec"]
    spec |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {}}
    container = spec["containers"][0]
    container["env"].reverse()
    container["ports"].reverse()
    container["resources"]["limits"] = {"memory": "134217728", "cpu": "0.5"}
    container |= {"terminationMessagePath": "/dev/termination-log"}
    live["status"] = {"replicas": 3}
    del live["apiVersion"], live["kind"]  # as in a list
    return live


def edited(change: Any, wanted: dict[str, Any] = DEPLOYMENT) -> tuple[Drift, ...]:
    """What is found after somebody changed the live object."""
    live = served(wanted)
    change(live)
    return differences(wanted, live)


def main(live: dict[str, Any]) -> Any:
    return live["spec"]["template"]["spec"]["containers"][0]


def test_what_the_server_fills_in_is_no_difference() -> None:
    assert differences(DEPLOYMENT, served(DEPLOYMENT)) == ()


def test_what_others_add_is_theirs() -> None:
    def add(live: dict[str, Any]) -> None:
        live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "istio-proxy", "image": "proxy"})
        live["metadata"]["labels"]["team"] = "a"
        live["metadata"]["annotations"]["note"] = "b"

    assert edited(add) == ()


@pytest.mark.parametrize(
    ("change", "pointer", "wanted", "found"),
    [
        (lambda o: o["spec"].update(replicas=5), "/spec/replicas", 3, 5),
        (lambda o: main(o).update(image="evil"), f"{POD}/containers/0/image", "nginx", "evil"),
        (lambda o: main(o)["env"][0].update(value="3"), f"{POD}/containers/0/env/0/value", "2", "3"),
        (
            lambda o: main(o)["env"].pop(0),
            f"{POD}/containers/0/env/1",
            {"name": "B", "value": "2"},
            None,
        ),
        (
            lambda o: main(o)["resources"]["limits"].update(cpu="600m"),
            f"{POD}/containers/0/resources/limits/cpu",
            "500m",
            "600m",
        ),
        (lambda o: o["spec"].update(paused=True), "/spec/paused", False, True),
        (lambda o: o["metadata"]["labels"].pop("app.kubernetes.io/name"), "", "web", None),
    ],
)
def test_what_was_edited_is_told(change: Any, pointer: str, wanted: Any, found: Any) -> None:
    pointer = pointer or "/metadata/labels/app.kubernetes.io~1name"
    assert edited(change) == (Drift(pointer=pointer, wanted=wanted, found=found),)


def test_commands_are_compared_whole_or_word_by_word() -> None:
    wanted = of_kind(workload(Template(image="i", command=("a", "b"))), "Deployment")
    for command, pointers in (
        (["a", "c"], ["command/1"]),
        (["a"], ["command"]),
        (["b", "a"], ["command/0", "command/1"]),
    ):
        live = copy.deepcopy(wanted)
        main(live)["command"] = command
        assert [d.pointer for d in differences(wanted, live)] == [f"{POD}/containers/0/{p}" for p in pointers]


def test_a_port_for_two_protocols_is_two_ports() -> None:
    ports = (Port(port=53), Port(port=53, protocol="udp"))
    wanted = of_kind(workload(Template(image="i", ports=ports)), "Service")
    live = copy.deepcopy(wanted)
    live["spec"]["ports"].reverse()
    assert differences(wanted, live) == ()
    live["spec"]["ports"][0]["targetPort"] = 54
    (drift,) = differences(wanted, live)
    assert (drift.pointer, drift.wanted, drift.found) == ("/spec/ports/0/targetPort", 53, 54)


def test_secrets_tell_where_and_never_what() -> None:
    wanted = of_kind(workload(Template(image="i", env_secrets={"P": "db/p", "Q": "db/q"})), "Secret")
    live = copy.deepcopy(wanted)
    live["data"] = {"db.p": "c3RvbGVu"}
    assert differences(wanted, live) == (
        Drift(pointer="/data/db.p", wanted="***", found="***"),
        Drift(pointer="/data/db.q", wanted="***"),
    )
    del live["data"]
    assert differences(wanted, live) == (Drift(pointer="/data", wanted="***"),)


@pytest.mark.parametrize(("size", "pointers"), [("1Gi", 0), ("1073741824", 0), ("10Gi", 0), ("512Mi", 1)])
def test_a_claim_may_be_larger_than_asked_for(size: str, pointers: int) -> None:
    wanted = of_kind(workload(CLAIMED), "PersistentVolumeClaim")
    live = copy.deepcopy(wanted)
    live["spec"]["resources"]["requests"]["storage"] = size
    assert len(differences(wanted, live)) == pointers


# What was applied before and is wanted no more.


def managed(live: dict[str, Any], fields: dict[str, Any], manager: str = "zun-coe") -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}
    live["metadata"]["managedFields"] = [entry]
    return live


SERVICE_FIELDS: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:tier": {}, "f:app.kubernetes.io/name": {}}},
    "f:spec": {
        "f:ports": {
            'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:nodePort": {}},
            'k:{"port":9090,"protocol":"TCP"}': {".": {}, "f:port": {}},
        },
        "f:selector": {},
    },
}


def stale() -> dict[str, Any]:
    live = copy.deepcopy(SERVICE)
    live["metadata"]["labels"]["tier"] = "front"
    live["spec"]["ports"][0]["nodePort"] = 30080
    live["spec"]["ports"].append({"port": 9090, "protocol": "TCP"})
    return live


def test_what_we_set_once_and_no_longer_want() -> None:
    assert differences(SERVICE, managed(stale(), SERVICE_FIELDS)) == (
        Drift(pointer="/metadata/labels/tier", found="front"),
        Drift(pointer="/spec/ports/0/nodePort", found=30080),
        Drift(pointer="/spec/ports/2", found={"port": 9090, "protocol": "TCP"}),
    )


def test_what_others_set_is_not_ours_to_take_away() -> None:
    assert differences(SERVICE, managed(stale(), SERVICE_FIELDS, "kubectl")) == ()
    assert differences(SERVICE, managed(copy.deepcopy(SERVICE), SERVICE_FIELDS)) == ()


def test_owners_are_set_after_the_rendering() -> None:
    live = copy.deepcopy(SERVICE)
    live["metadata"]["ownerReferences"] = [{"uid": "u"}]
    owned: dict[str, Any] = {"f:metadata": {"f:ownerReferences": {'k:{"uid":"u"}': {".": {}}}}}
    assert differences(SERVICE, managed(live, owned)) == ()


def test_a_claim_is_shared_by_who_says_more_of_it() -> None:
    wanted = of_kind(workload(CLAIMED), "PersistentVolumeClaim")
    live = copy.deepcopy(wanted)
    live["spec"]["storageClassName"] = "fast"
    assert differences(wanted, managed(live, {"f:spec": {"f:storageClassName": {}}})) == ()


def test_a_service_that_gets_its_first_port_has_to_be_made_anew() -> None:
    bare = of_kind(workload(), "Service")
    live = managed(copy.deepcopy(bare), {"f:spec": {"f:clusterIP": {}, "f:type": {}}})
    assert immutable(SERVICE, differences(SERVICE, live))
    assert immutable(bare, differences(bare, SERVICE))
    assert not immutable(SERVICE, differences(SERVICE, managed(stale(), SERVICE_FIELDS)))


def test_pods_are_never_changed_but_for_their_labels() -> None:
    pod = of_kind(workload(noun="container", labels={"a": "b"}), "Pod")
    live = copy.deepcopy(pod)
    live["metadata"]["labels"]["a"] = "c"
    assert not immutable(pod, differences(pod, live))
    live["spec"]["containers"][0]["image"] = "other"
    assert immutable(pod, differences(pod, live))


# Properties.


@settings(max_examples=50)
@given(apps() | containers())
def test_nothing_differs_from_itself(of: Workload) -> None:
    for wanted in render(of, TARGET):
        assert differences(wanted, msgspec.json.decode(msgspec.json.encode(wanted))) == ()


@settings(max_examples=50)
@given(apps(), st.data())
def test_every_leaf_that_is_changed_is_told(of: Workload, data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(render(of, TARGET)))
    wanted = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")}
    live = copy.deepcopy(wanted)
    at: Any = live
    path: list[Any] = []
    while isinstance(at, dict | list) and at:
        path.append(data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at)))))
        at = at[path[-1]]
    parent: Any = live
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = "something else"
    assert differences(wanted, live)
