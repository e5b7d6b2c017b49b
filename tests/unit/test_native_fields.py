"""What the native COE carries, what it refuses, what a registration must say, and how things are named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract import leaves
from tests.native.workloads import app, container, ref
from tests.real.certificates import Authority
from zun_coe.adapters.fields import refusals
from zun_coe.adapters.reach import Reach
from zun_coe.model import (
    ClusterInfo,
    Exec,
    Health,
    HttpGet,
    Mount,
    Node,
    Placement,
    Port,
    Sidecar,
    TcpConnect,
    Template,
    Tmpfs,
    Update,
    VolumeSource,
    Workload,
    WorkloadRef,
)
from zun_coe.native import naming
from zun_coe.native.adapter import NativeAdapter
from zun_coe.native.fields import FIELDS

EXPIRED = dict(zip(("client_cert", "client_key"), Authority().issue("operator", expired=True), strict=True))
LOCAL = Node(name="a", local=True, cpus=4, memory=8 << 30, labels={"disk": "ssd"})
REMOTE = Node(name="b", local=False, cpus=4, memory=8 << 30)
HERE = ClusterInfo(identity="x", nodes=(LOCAL,))
BOTH = ClusterInfo(identity="x", nodes=(LOCAL, REMOTE))


def refuse(workload: Workload, info: ClusterInfo = HERE) -> dict[str, str]:
    return {r.pointer: r.detail for r in refusals(workload, FIELDS, info)}


def test_every_leaf_is_accounted_for_and_nothing_else() -> None:
    assert set(FIELDS) == leaves.of_the_model()


def test_everything_at_once_is_carried() -> None:
    health = Health(http=HttpGet(port=80))
    template = Template(
        image="i",
        command=("a",),
        env={"A": "1"},
        env_secrets={"B": "s/k"},
        hostname="h",
        ports=(Port(port=80, name="web", publish="auto"), Port(port=80, protocol="udp")),
        cpu=0.5,
        memory="64Mi",
        health=health,
        mounts=(Mount(path="/a", volume=VolumeSource(name="v")), Mount(path="/b", tmpfs=Tmpfs(size="1Mi"))),
        networks=("back",),
        stop_signal="SIGINT",
        sidecars=(Sidecar(name="s", image="i", health=Health(exec=Exec(command=("true",)))),),
    )
    placement = Placement(constraints={"disk": "ssd"}, spread="disk")
    assert refuse(app(template, replicas=7, update=Update(max_surge="50%"), placement=placement)) == {}
    plain = msgspec.structs.replace(template, sidecars=(), restart="never")
    assert refuse(container(plain, desired_state="paused")) == {}


def volume(**fields: Any) -> Mount:
    return Mount(path="/a", volume=VolumeSource(name="v", **fields))


@pytest.mark.parametrize(
    ("template", "pointer", "words"),
    [
        ({"memory": "5Mi"}, "/memory", "at least 6Mi"),
        ({"memory": "9Gi"}, "/memory", "the largest has 8192Mi"),
        ({"cpu": 0.001}, "/cpu", "at least 0.01"),
        ({"cpu": 5}, "/cpu", "the largest has 4"),
        ({"gpu": 1}, "/gpu", "No host has 1 GPUs"),
        ({"stop_signal": "SIGNOTHING"}, "/stop_signal", "no signal"),
        ({"restart": "never"}, "/restart", "always started again"),
        ({"networks": ("host", "b")}, "/networks", "no other"),
        ({"networks": ("host",), "hostname": "h"}, "/hostname", "the host's name"),
        ({"networks": ("host",), "ports": (Port(port=1, publish="auto"),)}, "/ports/0/publish", "leave publish out"),
        ({"ports": (Port(port=80, publish=8080),)}, "/ports/0/publish", "2 replicas need as many hosts"),
        ({"ports": (Port(port=1, publish=9), Port(port=2, publish=9))}, "/ports/1/publish", "once for each protocol"),
        ({"ports": (Port(port=1, name="a"), Port(port=2, name="a"))}, "/ports/1/name", "More than one port"),
        (
            {"mounts": (Mount(path="/a", volume=VolumeSource(name="v", size="1Gi")),)},
            "/mounts/0/volume/size",
            "no size",
        ),
        (
            {"mounts": (Mount(path="/a", volume=VolumeSource(name="v", class_="x")),)},
            "/mounts/0/volume/class",
            "one kind",
        ),
        ({"mounts": (Mount(path="/a", tmpfs=Tmpfs(size="0Mi")),)}, "/mounts/0/tmpfs/size", "more than 0"),
        ({"health": Health(exec=Exec(command=("a",)), interval=0)}, "/health/interval", "at least 0.001"),
        ({"health": Health(exec=Exec(command=("a",)), retries=0)}, "/health/retries", "At least one"),
    ],
)
def test_what_is_refused_is_said_where(template: dict[str, Any], pointer: str, words: str) -> None:
    told = refuse(app(Template(image="i", **template), replicas=2))
    assert words in told.get(pointer, ""), told


def test_a_pinned_port_with_as_many_hosts_as_replicas_is_fine() -> None:
    template = Template(image="i", ports=(Port(port=80, publish=8080),))
    assert refuse(app(template, replicas=2), BOTH) == {}


@pytest.mark.parametrize("health", [Health(http=HttpGet(port=80)), Health(tcp=TcpConnect(port=80))])
def test_a_probe_must_reach_its_port(health: Health) -> None:
    hidden = Template(image="i", health=health, ports=(Port(port=80),))
    shown = Template(image="i", health=health, ports=(Port(port=80, publish="auto"),))
    assert refuse(app(hidden)) == {}
    assert any("outside of b" in words for words in refuse(app(hidden), BOTH).values())
    assert refuse(app(shown), BOTH) == {}


def test_placement_that_no_host_meets() -> None:
    told = refuse(app(placement=Placement(constraints={"disk": "tape"}, spread="rack")))
    assert set(told) == {"/placement/constraints", "/placement/spread"}


def test_a_rollout_has_more_time_than_its_replicas_to_prove_themselves() -> None:
    assert set(refuse(app(update=Update(min_ready=60, deadline=60)))) == {"/update/deadline"}
    assert refuse(app(update=Update(min_ready=60, deadline=61))) == {}


def test_an_app_is_not_paused() -> None:
    assert set(refuse(app(desired_state="paused"))) == {"/desired_state"}


def check(body: dict[str, Any], *, admin: bool = True) -> dict[str, str]:
    return {p.pointer: p.detail for p in NativeAdapter.check_registration(body, admin=admin)}


def host(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "endpoint": "tcp://10.0.0.4:2376"} | fields


def test_registrations_that_are_fine() -> None:
    assert check({"hosts": [host(), host(name="b", endpoint="unix:///run/docker.sock")]}) == {}
    assert check({"hosts": [host()], "credentials": {"ca_cert": "x"}}, admin=False) == {}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/hosts"),
        ({"hosts": []}, "/hosts"),
        ({"hosts": [host()], "endpoint": "tcp://a:1"}, "/endpoint"),
        ({"hosts": [host()], "namespace": "n"}, "/namespace"),
        ({"hosts": [host()], "node_endpoint": "n"}, "/node_endpoint"),
        ({"hosts": [host(), host(endpoint="tcp://10.0.0.5:1")]}, "/hosts/1/name"),
        ({"hosts": [host(), host(name="b")]}, "/hosts/1/endpoint"),
        ({"hosts": [host(runtime="lxc")]}, "/hosts/0/runtime"),
        ({"hosts": [host(name="a b")]}, "/hosts/0/name"),
        ({"hosts": [host(endpoint="ssh://a")]}, "/hosts/0/endpoint"),
        ({"hosts": [host(endpoint="tcp://a")]}, "/hosts/0/endpoint"),
        ({"hosts": [host(endpoint="tcp://a:99999")]}, "/hosts/0/endpoint"),
        ({"hosts": [host(endpoint="tcp://u:p@a:1")]}, "/hosts/0/endpoint"),
        ({"hosts": [host(endpoint="unix://relative")]}, "/hosts/0/endpoint"),
        ({"hosts": [host()], "credentials": {"token": "x"}}, "/credentials/token"),
        ({"hosts": [host()], "credentials": {"client_cert": "x"}}, "/credentials"),
        ({"hosts": [host(endpoint="unix:///s")], "credentials": {"ca_cert": "x"}}, "/credentials"),
        ({"hosts": [host()], "credentials": EXPIRED}, "/credentials/client_cert"),
    ],
)
def test_registrations_that_are_not(body: dict[str, Any], pointer: str) -> None:
    assert pointer in check(body)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST.", "a.localhost", "[::1]", "[::ffff:127.0.0.1]"),
        *("0.0.0.0", "169.254.169.254", "[fe80::1]", "127.1", "2130706433", "0x7f000001"),
    ],
)
def test_this_machine_and_its_link_are_for_admins(address: str) -> None:
    body = {"hosts": [host(endpoint=f"tcp://{address}:2376")]}
    assert "/hosts/0/endpoint" in check(body, admin=False)
    assert "/hosts/0/endpoint" not in check(body)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "localhost", "::1", "169.254.169.254", "0.0.0.0", "127.1", "2130706433"]
)
def test_so_are_addresses_of_hosts(address: str) -> None:
    """There is where what they publish is probed."""
    body = {"hosts": [host(address=address)]}
    assert "/hosts/0/address" in check(body, admin=False)
    assert check(body) == {}
    assert check({"hosts": [host(address="10.0.0.4")]}, admin=False) == {}


def test_the_operator_allows_everybody_some_networks() -> None:
    allowed = Reach.of("127.0.0.0/8, ::1/128")
    body = {"hosts": [host(address="127.0.0.1", endpoint="tcp://[::1]:2376")]}
    assert NativeAdapter.check_registration(body, admin=False, reach=allowed) == []
    elsewhere = {"hosts": [host(address="169.254.169.254", endpoint="tcp://localhost:1")]}
    told = NativeAdapter.check_registration(elsewhere, admin=False, reach=allowed)
    assert {p.pointer for p in told} == {"/hosts/0/address", "/hosts/0/endpoint"}


def test_local_sockets_are_for_admins() -> None:
    assert "/hosts/0/endpoint" in check({"hosts": [{"name": "a"}]}, admin=False)


words = st.text("ab-.A_ ", min_size=1, max_size=8)


@given(words, st.none() | words, words, st.none() | words)
def test_no_two_projects_mean_the_same_network(one: str, a: str | None, two: str, b: str | None) -> None:
    first, second = naming.network_name("i" * 32, one, a), naming.network_name("i" * 32, two, b)
    assert (first == second) == ((one, a) == (two, b))


def test_labels_tell_whose_it_is() -> None:
    of: WorkloadRef = ref("web")
    assert naming.ref_of(naming.of_workload(of)) == of
    assert naming.ref_of({"zun.id": "x"}) is None
    assert naming.ref_of(naming.of_workload(of) | {"zun.noun": "pod"}) is None


def test_names_follow_from_ids() -> None:
    of = ref("web", id="01234567-89ab-cdef-0000-000000000000")
    assert naming.container_name(of, 3, "ffffffff00") == "zun-web-0123456789ab-3-ffffffff"
    assert naming.container_name(of, 3, "ffffffff00", "sidecar:log") == "zun-web-0123456789ab-3-ffffffff-log"
    alone = msgspec.structs.replace(of, noun="container")
    assert naming.container_name(alone, 1, "ffffffff00") == "zun-web-0123456789ab"


def test_a_probe_is_kept_in_a_label() -> None:
    health = Health(http=HttpGet(port=80, path="/x"), interval=3)
    assert naming.probe_of(naming.health_label(health)) == health
    assert naming.health_label(Health(exec=Exec(command=("a",)))) == {}
