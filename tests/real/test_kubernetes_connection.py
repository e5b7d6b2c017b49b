"""A real Kubernetes reached, described and watched, with the rights that docs/kubernetes.md asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.native.workloads import app
from tests.real.components import wait_until
from tests.real.kubernetes import ControlPlane
from tests.real.kubernetes_hints import Heard
from zun_coe.adapters import Done
from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.adapter import KubernetesAdapter
from zun_coe.adapters.kubernetes.client import METADATA, Client
from zun_coe.adapters.kubernetes.describing import describe
from zun_coe.adapters.kubernetes.discovery import discover
from zun_coe.adapters.kubernetes.paths import collection, path, path_of
from zun_coe.adapters.kubernetes.permissions import EVERYWHERE, OWN, WITH_NAMESPACE, Permissions, Right, rules_for
from zun_coe.errors import Absent, Denied, Invalid, Unavailable
from zun_coe.model import Mount, Placement, Port, Support, Template, VolumeSource, WorkloadRef

PAGE = Path(__file__).parents[2] / "docs" / "kubernetes.md"


def ref(name: str = "web", cluster: str = "c") -> WorkloadRef:
    return WorkloadRef(installation="i", cluster=cluster, project="a project", noun="app", id=f"id-{name}", name=name)


@pytest.fixture
def client(kubernetes: ControlPlane) -> Iterator[Client]:
    opened = Client(kubernetes.connection())
    yield opened
    opened.close()


def limited(plane: ControlPlane, name: str, rules: Any, namespace: str | None = None) -> Client:
    """A client with just these rights."""
    token = plane.token_for(name, rules, namespace or "")
    return Client(plane.connection(token, namespace=namespace))


def metadata(namespace: str, name: str = "web", cluster: str = "c") -> dict[str, Any]:
    owner = ref(name, cluster)
    annotations = {naming.PROJECT_NAME: owner.project}
    return {"name": name, "namespace": namespace, "labels": naming.of_workload(owner), "annotations": annotations}


def deployment(namespace: str, name: str = "web", image: str = "none", **where: Any) -> dict[str, Any]:
    """An app's Deployment, of which no pod starts: there is no node that it could start on."""
    meta = metadata(namespace, name, **where)
    pod = {"containers": [{"name": "main", "image": image}], "nodeSelector": {"nobody": "has-this"}}
    template = {"metadata": {"labels": meta["labels"], "annotations": meta["annotations"]}, "spec": pod}
    spec = {"replicas": 2, "selector": {"matchLabels": {naming.ID: f"id-{name}"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def documented() -> dict[str, Any]:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    role: dict[str, Any] = yaml.safe_load(text)
    return role


def run_and_remove(adapter: KubernetesAdapter, project: str) -> None:
    """All that is done to an app which keeps and publishes something, and of which no pod starts: how soon one goes
    is a matter of the node that it was on."""
    mounts = (Mount(path="/data", volume=VolumeSource(name="data", size="1Mi")),)
    template = Template(image="none", env_secrets={"P": "s/p"}, mounts=mounts, ports=(Port(port=80, publish="auto"),))
    nowhere = Placement(constraints={"nobody": "has-this"})
    workload = app(template, volumes={"data": f"v-{project}"}, secrets={"s/p": "hidden"}, placement=nowhere)
    ref = msgspec.structs.replace(workload.ref, installation="i", cluster=project, project=project)
    workload = msgspec.structs.replace(workload, ref=ref)
    wait_until(lambda: adapter.apply(workload, None) == Done())
    (observation,) = wait_until(lambda: [o for o in adapter.observe(ref) if o.instances])
    assert [o.ref for o in adapter.observe(None)] == [ref]
    adapter.delete_instance(ref, observation.instances[0].native_id)
    wait_until(lambda: adapter.remove(ref, None) == Done(), message=lambda: f"What is left: {adapter.observe(ref)}")
    adapter.remove_volume("data", f"v-{project}", project)


class TestRights:
    def test_the_documented_role_is_what_the_gateway_asks_for(self) -> None:
        assert documented()["rules"] == list(rules_for((*OWN, *EVERYWHERE)))

    @pytest.mark.parametrize("without", [None, "nodes", "pods/log"])
    def test_it_suffices(self, kubernetes: ControlPlane, namespace: str, without: str | None) -> None:
        """Also where one of those is left out that the gateway can do without."""
        rules = [rule for rule in documented()["rules"] if rule["resources"] != [without]]
        token = kubernetes.token_for(f"documented-{namespace}", rules)
        adapter = KubernetesAdapter(kubernetes.connection(token, cluster=namespace))
        assert ("missing_rights" in adapter.describe().versions["kubernetes"]) == (without is not None)
        run_and_remove(adapter, namespace)
        adapter.close()
        kubernetes.drop_namespace(naming.namespace("i", namespace))

    def test_rights_in_one_namespace_suffice_there(self, kubernetes: ControlPlane, namespace: str) -> None:
        token = kubernetes.token_for("own", rules_for((*OWN, *WITH_NAMESPACE)), namespace)
        connection = kubernetes.connection(token, cluster=namespace, namespace=namespace)
        adapter, client = KubernetesAdapter(connection), Client(connection)
        uid = client.get(path("Namespace", namespace))["metadata"]["uid"]
        info = adapter.describe()
        assert (info.identity, info.nodes) == (f"namespace/{namespace}={uid}", ())
        run_and_remove(adapter, namespace)
        with pytest.raises(Denied, match=r"lack the right to patch deployments\.apps in the namespace default"):
            client.apply(path_of(deployment("default")), deployment("default"))
        adapter.close()
        client.close()

    @pytest.mark.parametrize("everywhere", [True, False])
    def test_what_is_missing_is_named(self, kubernetes: ControlPlane, namespace: str, everywhere: bool) -> None:
        wanted = (*OWN, *(EVERYWHERE if everywhere else WITH_NAMESPACE))
        rights = [r for r in wanted if r != Right("secrets", "patch") and r.resource not in ("services", "nodes")]
        where = None if everywhere else namespace
        client = limited(kubernetes, f"lacking-{namespace}", rules_for(rights), where)
        with pytest.raises(Denied) as caught:
            describe(client, Permissions(client, where))
        client.close()
        expected = [f"{verb} services" for verb in ("get", "list", "watch", "create", "patch", "delete")]
        assert caught.value.evidence["missing"] == [*expected, "patch secrets"]
        assert "patch secrets" in str(caught.value)
        assert (caught.value.evidence["verb"], caught.value.evidence["resource"]) == ("get", "services")

    def test_what_can_be_done_without_is_told(self, kubernetes: ControlPlane, namespace: str) -> None:
        rights = [right for right in (*OWN, *EVERYWHERE) if right.without is None]
        client = limited(kubernetes, f"least-{namespace}", rules_for(rights))
        info = describe(client, Permissions(client, None))
        client.close()
        assert "get pods/log (no logs)" in info.versions["kubernetes"]["missing_rights"]
        assert info.operations["logs"].support is Support.NONE
        assert info.nodes == ()

    def test_nobody_and_strangers_are_denied(self, kubernetes: ControlPlane, namespace: str) -> None:
        client = limited(kubernetes, f"nothing-{namespace}", [])
        with pytest.raises(Denied, match="lack rights"):
            describe(client, Permissions(client, None))
        client.close()
        stranger = Client(kubernetes.connection("unknown"))
        with pytest.raises(Denied, match="have expired"):
            describe(stranger, Permissions(stranger, None))
        stranger.close()


class TestDescribing:
    def test_it_is_what_it_is(self, client: Client) -> None:
        info = describe(client, Permissions(client, None))
        assert info.identity == client.get(path("Namespace", "kube-system"))["metadata"]["uid"]
        assert info.versions["kubernetes"] == {"negotiated": "v1.20.2", "supported": "1.20 and later"}

    def test_a_namespace_has_to_be_there(self, client: Client) -> None:
        with pytest.raises(Invalid, match="no namespace elsewhere"):
            describe(client, Permissions(client, "elsewhere"))

    def test_its_apis_are_found(self, client: Client) -> None:
        apis = discover(client)
        assert apis.release == (1, 20)
        known = {"apps": "v1", "autoscaling": "v1"}
        assert known == dict(apis.groups)

    @pytest.mark.parametrize("way", ["token", "certificate", "kubeconfig"])
    def test_ways_in(self, kubernetes: ControlPlane, way: str) -> None:
        ways = {
            "token": kubernetes.credentials_of(),
            "certificate": kubernetes.certificate_for("nobody-special"),
            "kubeconfig": {"kubeconfig": kubernetes.kubeconfig()},
        }
        client = Client(kubernetes.connection(credentials=ways[way]))
        assert client.get("/version")["gitVersion"] == "v1.20.2"
        client.close()


class TestObjects:
    def test_applying_twice_changes_nothing(self, client: Client, namespace: str) -> None:
        wanted = deployment(namespace)
        first = client.apply(path_of(wanted), wanted)
        wait_until(lambda: client.get(path_of(wanted))["status"].get("observedGeneration") == 1)
        second = client.apply(path_of(wanted), wanted)
        assert second["metadata"]["generation"] == first["metadata"]["generation"] == 1
        managers = {field["manager"] for field in second["metadata"]["managedFields"]}
        assert naming.FIELD_MANAGER in managers

    def test_a_dry_run_makes_nothing(self, client: Client, namespace: str) -> None:
        wanted = deployment(namespace)
        assert client.apply(path_of(wanted), wanted, dry_run=True)["spec"]["replicas"] == 2
        with pytest.raises(Absent):
            client.get(path_of(wanted))

    def test_what_is_wrong_is_named(self, client: Client, namespace: str) -> None:
        wanted = deployment(namespace)
        wanted["spec"]["replicas"] = -1
        with pytest.raises(Invalid) as caught:
            client.apply(path_of(wanted), wanted)
        assert [cause["field"] for cause in caught.value.evidence["causes"]] == ["spec.replicas"]

    def test_creating_twice_is_told(self, client: Client, namespace: str) -> None:
        client.create(collection("Deployment", namespace), deployment(namespace))
        with pytest.raises(Unavailable) as caught:
            client.create(collection("Deployment", namespace), deployment(namespace))
        assert caught.value.evidence["reason"] == "AlreadyExists"

    def test_what_is_not_understood_is_refused_for_good(self, client: Client, namespace: str) -> None:
        wanted = deployment(namespace)
        wanted["spec"]["paces"] = 1
        with pytest.raises(Invalid, match="paces"):
            client.apply(path_of(wanted), wanted)

    def test_a_quota_is_told_from_a_missing_right(self, client: Client, namespace: str) -> None:
        quota = {"metadata": {"name": "none"}, "spec": {"hard": {"services": "0"}}}
        quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
        client.create(quotas, quota)
        wait_until(lambda: client.get(f"{quotas}/none").get("status", {}).get("hard"))
        service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
        with pytest.raises(Invalid) as caught:
            client.create(collection("Service", namespace), service)
        assert caught.value.reason == "QuotaExceeded"

    def test_a_node_port_that_is_taken(self, client: Client, namespace: str) -> None:
        def create(name: str, port: int) -> None:
            spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}
            client.create(collection("Service", namespace), {"metadata": {"name": name}, "spec": spec})

        create("one", 31999)
        with pytest.raises(Unavailable) as taken:
            create("two", 31999)
        assert taken.value.reason == "PortConflict"
        with pytest.raises(Invalid) as outside:
            create("three", 80)
        assert outside.value.reason == "InvalidSpec"

    def test_only_the_very_one_is_deleted(self, client: Client, namespace: str) -> None:
        wanted = deployment(namespace)
        uid = client.apply(path_of(wanted), wanted)["metadata"]["uid"]
        assert client.delete(path_of(wanted), uid="00000000-0000-4000-8000-000000000000") is False
        assert client.delete(path_of(wanted), uid=uid) is True
        wait_until(lambda: gone(client, path_of(wanted)))
        assert client.delete(path_of(wanted)) is False

    def test_a_patch_adds(self, client: Client, namespace: str) -> None:
        wanted = deployment(namespace)
        client.apply(path_of(wanted), wanted)
        patched = client.patch(path_of(wanted), {"metadata": {"annotations": {"a": "b"}}})
        assert patched["metadata"]["annotations"]["a"] == "b"
        assert patched["spec"]["replicas"] == 2

    def test_metadata_alone(self, client: Client, namespace: str) -> None:
        client.apply(path_of(deployment(namespace)), deployment(namespace))
        accept = METADATA.format("PartialObjectMetadataList")
        listing = client.list(collection("Deployment", namespace), dict, labels=naming.ours("i", "c"), accept=accept)
        assert all("spec" not in item for item in listing.items)
        assert listing.version


def gone(client: Client, path: str) -> bool:
    try:
        client.get(path)
    except Absent:
        return True
    return False


class TestWatching:
    @pytest.mark.parametrize("everywhere", [True, False])
    def test_changes_are_hinted_at(
        self, kubernetes: ControlPlane, client: Client, namespace: str, everywhere: bool
    ) -> None:
        heard = Heard(kubernetes.connection(namespace=None if everywhere else namespace))
        wait_until(lambda: None in heard.hints)
        wanted, other = deployment(namespace), deployment(namespace, "other", cluster="another")
        client.apply(path_of(wanted), wanted)
        wait_until(lambda: ref() in heard.hints)
        client.apply(path_of(other), other)
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata(namespace, "third")}
        client.apply(path_of(service), service | {"spec": {"ports": [{"port": 80, "protocol": "TCP"}]}})
        wait_until(lambda: ref("third") in heard.hints)
        client.delete(path_of(wanted))
        heard.close()
        assert set(heard.hints) == {None, ref(), ref("third")}

    def test_pods_that_cannot_be_placed_are_hinted_at(
        self, kubernetes: ControlPlane, client: Client, namespace: str
    ) -> None:
        heard = Heard(kubernetes.connection(namespace=namespace))
        client.apply(path_of(deployment(namespace)), deployment(namespace))
        failed = {"fieldSelector": "reason=FailedScheduling"}
        wait_until(lambda: client.list(collection("Event", namespace), dict, params=failed).items)
        wait_until(lambda: ref() in heard.hints)
        heard.close()

    def test_trouble_is_hinted_at_though_nothing_changes(
        self, kubernetes: ControlPlane, client: Client, namespace: str
    ) -> None:
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata(namespace, "third")}
        made = client.apply(path_of(service), service | {"spec": {"ports": [{"port": 80, "protocol": "TCP"}]}})
        heard = Heard(kubernetes.connection(namespace=namespace))
        wait_until(lambda: None in heard.hints)
        about = {"kind": "Service", "namespace": namespace, "name": "third", "uid": made["metadata"]["uid"]}
        told = {"apiVersion": "v1", "kind": "Event", "type": "Warning", "involvedObject": about, "message": "no"}

        def is_heard() -> bool:
            metadata = {"generateName": "third.", "namespace": namespace}
            client.create(collection("Event", namespace), told | {"metadata": metadata})
            return ref("third") in heard.hints

        wait_until(is_heard)
        heard.close()

    def test_it_survives_the_api_server(self, kubernetes: ControlPlane, client: Client, namespace: str) -> None:
        heard = Heard(kubernetes.connection())
        wait_until(lambda: None in heard.hints)
        kubernetes.api.kill()
        kubernetes.api.start()
        kubernetes.ready()
        wanted = deployment(namespace)
        client.apply(path_of(wanted), wanted)
        wait_until(lambda: ref() in heard.hints, 60)
        heard.close()
