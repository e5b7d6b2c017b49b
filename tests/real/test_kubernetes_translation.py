"""What is rendered, as a real API server takes it and stores it: all of it, and nothing differs afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from tests.real.kubernetes import ControlPlane
from tests.real.kubernetes_node import Node
from tests.real.waiting import wait_until
from tests.unit.kubernetes_specs import apps, containers, workload
from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.adoption import lost
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.difference import differences, immutable
from zun_coe.adapters.kubernetes.manifest import Target, render
from zun_coe.adapters.kubernetes.parsing import understood
from zun_coe.errors import Absent
from zun_coe.model import Mount, Port, Template, VolumeSource, Workload

RESOURCES = {
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Pod": "api/v1/namespaces/{}/pods",
    "Secret": "api/v1/namespaces/{}/secrets",
    "Service": "api/v1/namespaces/{}/services",
    "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
}


@pytest.fixture
def server(kubernetes: ControlPlane) -> Iterator[Client]:
    client = Client(kubernetes.connection(installation="gw-1", cluster="prod"))
    yield client
    client.close()


def path(wanted: dict[str, Any]) -> str:
    metadata = wanted["metadata"]
    return f"/{RESOURCES[wanted['kind']].format(metadata['namespace'])}/{metadata['name']}"


def exists(server: Client, wanted: dict[str, Any]) -> bool:
    with suppress(Absent):
        return bool(server.get(path(wanted)))
    return False


def applied(server: Client, wanted: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
    return server.apply(path(wanted), wanted, dry_run=dry_run)


# The namespace is only written into; nothing of an example is left by a dry run.
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(of=apps() | containers())
def test_all_that_is_rendered_is_taken_as_it_is(server: Client, namespace: str, of: Workload) -> None:
    for wanted in render(of, Target(namespace)):
        live = applied(server, wanted, dry_run=True)
        assert differences(wanted, live) == ()
        if wanted["kind"] == "Deployment":
            assert lost(wanted, live) == ()


def test_what_was_stored_is_understood(server: Client, namespace: str) -> None:
    ports = (Port(port=80, name="http", publish="auto"), Port(port=53, protocol="udp"))
    mounts = (Mount(path="/data", volume=VolumeSource(name="data", size="1Gi", class_="standard")),)
    template = Template(image="nginx", ports=ports, mounts=mounts, cpu=0.5, memory="64Mi", env_secrets={"P": "db/p"})
    live = [applied(server, wanted) for wanted in render(workload(template), Target(namespace))]
    kinds: dict[str, list[Any]] = {}
    for stored in live:
        kinds.setdefault(stored["kind"], []).append(stored)
    found = understood(kinds["Deployment"][0], kinds["Service"], kinds["PersistentVolumeClaim"])
    published = found.template.ports[0].publish
    assert isinstance(published, int)
    ports = (msgspec.structs.replace(ports[0], publish=published), ports[1])
    assert found.template == msgspec.structs.replace(template, ports=ports)


CHANGES = [
    ({"env": {"A": "1", "B": "2"}}, {"env": {"B": "2"}}),
    ({"ports": (Port(port=80), Port(port=81, publish="auto"))}, {"ports": (Port(port=80, publish="auto"),)}),
    ({"ports": (Port(port=80, publish=31234),)}, {"ports": (Port(port=80, publish=31235),)}),
    ({"ports": (Port(port=53), Port(port=53, protocol="udp"))}, {"ports": (Port(port=53, protocol="udp"),)}),
    ({"env_secrets": {"P": "db/a", "Q": "db/b"}}, {"env_secrets": {"P": "db/c"}}),
    ({"command": ("a", "b"), "user": "1:2", "tty": True}, {}),
    ({"cpu": 0.5, "memory": "64Mi", "hostname": "a"}, {"cpu": 0.25}),
]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_change_is_seen_made_and_then_seen_no_more(
    server: Client, namespace: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    first, second = (workload(Template(image="nginx", **fields), replicas=0) for fields in (before, after))
    stored = {path(o): applied(server, o) for o in render(first, Target(namespace))}
    for wanted in render(second, Target(namespace)):
        live = stored.get(path(wanted))
        if live is None or differences(wanted, live):
            live = applied(server, wanted)
        assert differences(wanted, live) == ()


def test_labels_that_are_taken_away_go_and_those_of_others_stay(server: Client, namespace: str) -> None:
    target = Target(namespace)
    (first, *_), (second, *_) = (render(workload(replicas=0, labels=labels), target) for labels in ({"tier": "a"}, {}))
    applied(server, first)
    live = server.patch(path(first), {"metadata": {"labels": {"team": "b"}, "annotations": {"note": "c"}}})
    assert differences(first, live) == ()
    assert [d.pointer for d in differences(second, live)] == ["/metadata/labels/tier"]
    live = applied(server, second)
    assert differences(second, live) == ()
    assert (live["metadata"]["labels"].get("tier"), live["metadata"]["labels"]["team"]) == (None, "b")


def test_edits_by_others_are_seen_and_undone(server: Client, namespace: str) -> None:
    wanted = render(workload(replicas=0), Target(namespace))[0]
    applied(server, wanted)
    live = server.patch(path(wanted), {"spec": {"paused": True, "minReadySeconds": 9}})
    assert {d.pointer for d in differences(wanted, live)} == {"/spec/paused", "/spec/minReadySeconds"}
    assert differences(wanted, applied(server, wanted)) == ()


def test_the_first_port_makes_a_service_anew(server: Client, namespace: str) -> None:
    with_port = workload(Template(image="nginx", ports=(Port(port=80),)), replicas=0)
    bare, full = (render(of, Target(namespace))[-1] for of in (workload(replicas=0), with_port))
    live = applied(server, bare)
    assert immutable(full, differences(full, live))
    server.delete(path(bare), propagation="Background")
    wait_until(lambda: not exists(server, bare), 10, "the service is gone")
    assert differences(full, applied(server, full)) == ()


# With nodes that run what was made.


def pods_of(server: Client, namespace: str, of: Workload) -> list[dict[str, Any]]:
    found = server.list(f"/api/v1/namespaces/{namespace}/pods", dict, labels={naming.ID: of.ref.id})
    return [pod for pod in found.items if pod["status"]["phase"] == "Running"]


def test_all_that_mount_a_volume_run_where_it_is(
    server: Client, namespace: str, kubernetes_node: Node, second_kubernetes_node: Node
) -> None:
    mounts = (Mount(path="/data", volume=VolumeSource(name="data", size="1Mi")),)
    template = Template(image=kubernetes_node.image, command=("sleep", "1000"), mounts=mounts, stop_timeout=1)
    first = workload(template, replicas=4)
    other = msgspec.structs.replace(first.ref, id="ffffffff-0000-4000-8000-000000000000", name="other")
    second = msgspec.structs.replace(first, ref=other, replicas=2)
    for of in (first, second):
        for wanted in render(of, Target(namespace)):
            applied(server, wanted)
        wait_until(lambda of=of: len(pods_of(server, namespace, of)) == of.replicas, 60, "the replicas run")
    found = [*pods_of(server, namespace, first), *pods_of(server, namespace, second)]
    assert len({pod["spec"]["nodeName"] for pod in found}) == 1


def test_words_arrive_as_they_were_written(server: Client, namespace: str, kubernetes_node: Node) -> None:
    words = ("$(A)", "$$(A)", "$HOME", "$", "$$", "$é", "$(", "é$(B)$")
    script = 'printf "%s|" "$A" "$0" "$@" >/dev/termination-log'
    template = Template(
        image=kubernetes_node.image,
        command=("sh", "-c", script),
        args=words,
        env={"A": "$(B)$$", "B": "b"},
        restart="never",
    )
    of = workload(template, "container")
    (pod,) = render(of, Target(namespace))
    applied(server, pod)

    def ended() -> str | None:
        (status,) = server.get(path(pod))["status"].get("containerStatuses") or [{}]
        told: str | None = status.get("state", {}).get("terminated", {}).get("message")
        return told

    assert wait_until(ended, 60, "it has ended") == "|".join(("$(B)$$", *words, ""))
