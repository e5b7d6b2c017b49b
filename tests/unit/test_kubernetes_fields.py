"""What Kubernetes carries and what it refuses, with the sentence that says what to do instead."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.contract import leaves
from tests.unit.kubernetes_specs import apps, containers, workload
from zun_coe.adapters.fields import refusals
from zun_coe.adapters.kubernetes import syntax
from zun_coe.adapters.kubernetes.fields import FIELDS
from zun_coe.model import (
    ClusterInfo,
    Exec,
    Health,
    Mount,
    Node,
    Placement,
    Port,
    Sidecar,
    Support,
    Template,
    Tmpfs,
    Update,
    VolumeSource,
    Workload,
)

TWO_NODES = ClusterInfo(identity="x", nodes=(Node(name="a"), Node(name="b")))


def refuse(of: Workload, info: ClusterInfo = TWO_NODES) -> dict[str, str]:
    return {r.pointer: r.detail for r in refusals(of, FIELDS, info)}


def exec_health(**fields: Any) -> dict[str, Any]:
    return {"health": Health(**({"exec": Exec(command=("true",))} | fields))}


def volume(**fields: Any) -> dict[str, Any]:
    return {"mounts": (Mount(path="/a", volume=VolumeSource(name="data", **fields)),)}


def test_every_leaf_is_accounted_for_and_nothing_else() -> None:
    assert set(FIELDS) == leaves.of_the_model()


def test_what_is_not_native_is_explained() -> None:
    assert [p for p, c in FIELDS.items() if c.support is not Support.NATIVE and not c.note] == []


@settings(max_examples=50)
@given(apps() | containers())
def test_what_can_be_carried_is_not_refused(of: Workload) -> None:
    assert refuse(of) == {}


@pytest.mark.parametrize(
    ("template", "pointer", "words"),
    [
        ({"stop_signal": "SIGINT"}, "/stop_signal", "from the image"),
        ({"args": ()}, "/image", "give the command too"),
        ({"user": "www-data"}, "/user", "numbers only"),
        ({"user": "1000:www"}, "/user", "numbers only"),
        ({"user": "4294967295"}, "/user", "numbers only"),
        ({"hostname": "Web"}, "/hostname", "lower-case"),
        ({"networks": ("host",), "hostname": "h"}, "/hostname", "the host's name"),
        ({"networks": ("back",)}, "/networks", "leave networks out"),
        ({"networks": ("host", "back")}, "/networks", "no other"),
        ({"networks": ("host",), "ports": (Port(port=1, publish="auto"),)}, "/ports/0/publish", "leave publish out"),
        ({"networks": ("host",), "ports": (Port(port=1),)}, "/ports/0/port", "as many nodes; there are 2"),
        ({"networks": ("host",), "ports": (Port(port=1),)}, "/update/max_unavailable", "has to go first"),
        ({"ports": (Port(port=80, publish=8080),)}, "/ports/0/publish", "30000 to 32767"),
        ({"ports": (Port(port=80, publish=32768),)}, "/ports/0/publish", "30000 to 32767"),
        (
            {"ports": (Port(port=1, publish=30001), Port(port=2, publish=30001))},
            "/ports/1/publish",
            "leads to one port",
        ),
        ({"ports": (Port(port=1), Port(port=1))}, "/ports/0/port", "more than once"),
        ({"ports": (Port(port=1, name="80"),)}, "/ports/0/name", "at least one letter"),
        ({"ports": (Port(port=1, name="a--b"),)}, "/ports/0/name", "two hyphens"),
        ({"ports": (Port(port=1, name="tcp-2"), Port(port=2))}, "/ports/0/name", "More than one port"),
        ({"cpu": 0.001}, "/cpu", "at least 0.01"),
        ({"cpu": 0.1234}, "/cpu", "thousandths"),
        ({"memory": "4Mi"}, "/memory", "at least 6Mi"),
        ({"restart": "never"}, "/restart", "always started again"),
        ({"mounts": (Mount(path="/a", tmpfs=Tmpfs(size="0Mi")),)}, "/mounts/0/tmpfs/size", "more than 0"),
        (volume(size="0Gi"), "/mounts/0/volume/size", "more than 0"),
        (volume(class_="Fast_1"), "/mounts/0/volume/class", "lower-case"),
        (volume(), "/placement/spread", "run on one node"),
        (exec_health(interval=1.5), "/health/interval", "whole seconds"),
        (exec_health(timeout=0.5), "/health/timeout", "at least 1"),
        (exec_health(retries=0), "/health/retries", "At least one"),
        ({"env_secrets": {"P": "db/" + "k" * 253}}, "/env_secrets", "253 characters"),
        ({"sidecars": (Sidecar(name="main", image="s"),)}, "/sidecars/0/name", "another name"),
        ({"sidecars": (Sidecar(name="s", image="s", user="x"),)}, "/sidecars/0/user", "numbers only"),
        ({"sidecars": (Sidecar(name="s", image="s", args=()),)}, "/sidecars/0/image", "give the command too"),
    ],
)
def test_what_is_refused_is_said_where(template: dict[str, Any], pointer: str, words: str) -> None:
    told = refuse(workload(Template(image="i", **template), replicas=3, placement=Placement(spread="zone")))
    assert words in told.get(pointer, ""), told


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"desired_state": "paused"}, "/desired_state", "stop it instead"),
        ({"update": Update(min_ready=60, deadline=60)}, "/update/deadline", "longer than min_ready"),
        ({"update": Update(max_surge="101%")}, "/update/max_surge", "at most 100%"),
        ({"labels": {"a b": "x"}}, "/labels", "none in Kubernetes"),
        ({"labels": {"a": "x y"}}, "/labels", "none in Kubernetes"),
        ({"labels": {"a": "x" * 64}}, "/labels", "none in Kubernetes"),
        ({"labels": {"app.kubernetes.io/name": "x"}}, "/labels", "sets itself"),
        ({"labels": {"zun.openstack.org/id": "x"}}, "/labels", "sets itself"),
        ({"labels": {"volume.zun.openstack.org/x": "x"}}, "/labels", "sets itself"),
        ({"placement": Placement(constraints={"a": "x y"})}, "/placement/constraints", "No node can have"),
        ({"placement": Placement(spread="a b")}, "/placement/spread", "No node can have"),
    ],
)
def test_what_is_refused_besides_the_template(fields: dict[str, Any], pointer: str, words: str) -> None:
    told = refuse(workload(**fields))
    assert words in told.get(pointer, ""), told


def test_paused_containers_are_refused_and_stopped_ones_are_not() -> None:
    assert set(refuse(workload(noun="container", desired_state="paused"))) == {"/desired_state"}
    assert refuse(workload(noun="container", desired_state="stopped")) == {}


def test_one_port_of_the_nodes_can_serve_both_protocols() -> None:
    both = (Port(port=53, publish=30053), Port(port=53, protocol="udp", publish=30053))
    assert refuse(workload(Template(image="i", ports=both))) == {}


def test_with_the_hosts_network_there_is_room_for_one_replica_on_each_node() -> None:
    template = Template(image="i", networks=("host",), ports=(Port(port=80),))
    assert refuse(workload(template, replicas=1)) == {}
    full = workload(template, replicas=2)
    assert set(refuse(full)) == {"/update/max_unavailable"}
    for update in (Update(max_unavailable=1), Update(max_unavailable="50%"), Update(strategy="recreate")):
        assert refuse(msgspec.structs.replace(full, update=update)) == {}


def test_whether_there_is_room_now_is_the_schedulers_to_say() -> None:
    large = Template(image="i", cpu=1000, memory="900Gi", gpu=64)
    assert refuse(workload(large, placement=Placement(constraints={"zone": "nowhere"}, spread="rack"))) == {}


@pytest.mark.parametrize("key", ["a", "A_b.c-1", "example.org/a", "kubernetes.io/hostname", "a" * 63])
def test_label_keys(key: str) -> None:
    assert syntax.is_label_key(key)


@pytest.mark.parametrize("key", ["", "/", "a/", "/a", "-a", "a b", "Example.org/a", "a/b/c", "a" * 64, "a\n"])
def test_what_is_no_label_key(key: str) -> None:
    assert not syntax.is_label_key(key)


@pytest.mark.parametrize(
    ("level", "refused"),
    [
        ("", []),
        ("privileged", []),
        ("baseline", ["/mounts/0/bind", "/networks"]),
        ("restricted", ["/mounts/0/bind", "/networks", "/sidecars/0/user", "/user"]),
    ],
)
def test_what_a_pod_security_standard_does_not_take(level: str, refused: list[str]) -> None:
    versions = {"kubernetes": {"pod_security": level}} if level else {}
    info = msgspec.structs.replace(TWO_NODES, versions=versions)
    sidecar = Sidecar(name="s", image="s", user="0:1000")
    template = Template(
        image="i", user="0", networks=("host",), mounts=(Mount(path="/a", bind="/b"),), sidecars=(sidecar,)
    )
    assert sorted(refuse(workload(template), info)) == refused
    assert refuse(workload(Template(image="i", user="1000")), info) == {}
