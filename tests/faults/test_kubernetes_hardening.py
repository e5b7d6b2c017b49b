"""Namespaces that enforce a Pod Security Standard, and what ran before the gateway knew of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.world import CLUSTER, World
from tests.faults.api_server import ApiServer, sending, writes
from tests.faults.stored import Stored
from tests.native.workloads import app
from zun_coe.adapters import Done
from zun_coe.adapters.kubernetes import adapter as adapters
from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.adapter import KubernetesAdapter
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.hardening import ENFORCE
from zun_coe.adapters.kubernetes.namespaces import Namespaces
from zun_coe.model import Template, Workload, template_hash

RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
RUNTIME_DEFAULT = {"seccompProfile": {"type": "RuntimeDefault"}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Stored]:
    started = Stored(tmp_path)
    yield started
    started.close()


def workload(noun: Any = "app", image: str = "none") -> Workload:
    made = app(Template(image=image))
    ref = msgspec.structs.replace(made.ref, installation="i", cluster="c", noun=noun)
    return msgspec.structs.replace(made, ref=ref)


def settle(adapter: KubernetesAdapter, wanted: Workload) -> None:
    for _ in range(5):
        if adapter.apply(wanted, None) == Done():
            return
    raise AssertionError("it does not come to rest")


def pod_of(server: Stored, noun: str) -> dict[str, Any]:
    (body,) = server.of("deployments" if noun == "app" else "pods")
    found: dict[str, Any] = body["spec"]["template"]["spec"] if noun == "app" else body["spec"]
    return found


@pytest.mark.parametrize("noun", ["app", "container"])
def test_what_ran_before_is_not_changed_until_its_template_is(
    server: Stored, noun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(adapters, "security", lambda *_: "")
        settle(KubernetesAdapter(server.connection()), workload(noun))
    assert "securityContext" not in pod_of(server, noun)
    asked, upgraded = len(server.asked), KubernetesAdapter(server.connection(pod_security="restricted"))
    settle(upgraded, workload(noun))
    assert [w for w in writes(server.asked[asked:]) if "/deployments/" in w or "/pods/" in w] == []
    assert "securityContext" not in pod_of(server, noun)
    if noun == "app":
        settle(KubernetesAdapter(server.connection()), workload(noun, image="other"))
        assert pod_of(server, noun)["securityContext"] == RUNTIME_DEFAULT | {"runAsNonRoot": True}


def test_a_profile_that_somebody_takes_away_is_drift(server: Stored) -> None:
    adapter = KubernetesAdapter(server.connection())
    settle(adapter, workload())
    del pod_of(server, "app")["securityContext"]
    settle(KubernetesAdapter(server.connection()), workload())
    assert pod_of(server, "app")["securityContext"] == RUNTIME_DEFAULT


@pytest.mark.parametrize("noun", ["app", "container"])
def test_a_namespace_that_is_restricted_is_given_what_it_asks_for(server: Stored, noun: Any) -> None:
    adapter = KubernetesAdapter(server.connection(pod_security="restricted"))
    assert adapter.describe().versions["kubernetes"]["pod_security"] == "restricted"
    settle(adapter, workload(noun))
    pod = pod_of(server, noun)
    assert pod["securityContext"] == RUNTIME_DEFAULT | {"runAsNonRoot": True}
    assert [c["securityContext"] for c in pod["containers"]] == [RESTRICTED]
    (namespace,) = [n for n in server.of("namespaces") if naming.INSTALLATION in n["metadata"].get("labels", {})]
    assert namespace["metadata"]["labels"][ENFORCE] == "restricted"


def test_a_namespace_of_others_tells_what_it_enforces(server: Stored) -> None:
    labels = {ENFORCE: "restricted"}
    server.objects["namespaces", "", "theirs"] = {"metadata": {"name": "theirs", "uid": "u", "labels": labels}}
    adapter = KubernetesAdapter(server.connection(namespace="theirs"))
    assert adapter.describe().versions["kubernetes"]["pod_security"] == "restricted"
    settle(adapter, workload())
    assert pod_of(server, "app")["securityContext"]["runAsNonRoot"] is True
    # A level that is raised later changes nothing of what runs.
    labels[ENFORCE] = "privileged"
    assert adapter.describe().versions["kubernetes"]["pod_security"] == "privileged"
    settle(adapter, workload())
    assert pod_of(server, "app")["securityContext"]["runAsNonRoot"] is True


def test_a_namespace_that_is_there_is_given_the_label(tmp_path: Path) -> None:
    server = ApiServer(tmp_path)
    made = {"kind": "Namespace", "metadata": {"name": "n", "labels": {naming.INSTALLATION: "i"}}}
    server.on("GET|PATCH /api/v1/namespaces/", sending(made))
    connection = server.connection(pod_security="baseline")
    client = Client(connection)
    assert Namespaces(client, connection).ensure("p")
    (patched,) = [asked for asked in server.asked if asked.method == "PATCH"]
    assert json.loads(patched.body) == {"metadata": {"labels": {ENFORCE: "baseline"}}}
    client.close()
    server.close()


def warns(server: Stored, texts: list[str]) -> None:
    """From now on it takes Deployments with these headers."""
    answer = server._answer

    def warning(handler: Any) -> None:
        end_headers = handler.end_headers

        def end() -> None:
            for text in texts:
                handler.send_header("Warning", text)
            end_headers()

        handler.end_headers = end
        answer(handler)
        del handler.end_headers

    server.on("PATCH .*/deployments/", warning)


def test_what_the_server_warns_of_is_told(server: Stored) -> None:
    texts = ['299 - "would violate PodSecurity \\"restricted:latest\\": seccompProfile"', '299 - "deprecated"']
    warns(server, texts)
    adapter, wanted = KubernetesAdapter(server.connection()), workload()
    settle(adapter, wanted)
    for look in (wanted.ref, None):
        (seen,) = adapter.observe(look)
        assert seen.warnings == ('would violate PodSecurity "restricted:latest": seccompProfile', "deprecated")
    texts.clear()
    template = Template(image="other")
    settle(adapter, msgspec.structs.replace(wanted, template=template, hash=template_hash(template)))
    assert adapter.observe(wanted.ref)[0].warnings == ()


def test_what_the_server_warns_of_is_an_event(server: Stored, tmp_path: Path) -> None:
    warns(server, ['299 - "deprecated in v1.99"'])
    credentials = {"ca_cert": server.authority.certificate, "token": "abc"}
    world = World(tmp_path / "world", {"kind": "kubernetes", "endpoint": server.endpoint, "credentials": credentials})
    try:
        world.register()
        world.create("app", {"name": "web", "cluster": CLUSTER, "image": "none"})
        world.until(lambda: world.events("BackendWarning"), "nobody is told")
        (event,) = world.events("BackendWarning")
        assert (event["subject_name"], event["message"]) == ("web", "The cluster warns: deprecated in v1.99")
        assert event["data"] == {"warnings": ["deprecated in v1.99"]}
    finally:
        world.process.stop()
