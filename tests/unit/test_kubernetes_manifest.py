"""A workload as objects of Kubernetes: what an engineer would write by hand, and what holds for all of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.unit.kubernetes_specs import ID, TARGET, VOLUME_IDS, apps, containers, workload
from zun_coe.adapters.kubernetes import quantities
from zun_coe.adapters.kubernetes.expansion import escaped, unescaped
from zun_coe.adapters.kubernetes.manifest import Target, masked, plan, render
from zun_coe.adapters.kubernetes.podspec import pod_spec
from zun_coe.errors import Invalid
from zun_coe.model import (
    Exec,
    Health,
    HttpGet,
    Mount,
    Placement,
    Port,
    Sidecar,
    TcpConnect,
    Template,
    Tmpfs,
    Update,
    VolumeSource,
    Workload,
)

OWNER = {
    "zun.openstack.org/installation": "gw-1",
    "zun.openstack.org/cluster": "prod",
    "zun.openstack.org/project": "blue-16477688",
    "zun.openstack.org/noun": "app",
    "zun.openstack.org/id": ID,
    "zun.openstack.org/name": "web",
    "app.kubernetes.io/name": "web",
    "app.kubernetes.io/instance": "web-0a1b2c3d",
    "app.kubernetes.io/managed-by": "zun-coe",
}
SELECTED = {"zun.openstack.org/installation": "gw-1", "zun.openstack.org/id": ID}
ANNOTATIONS = {"zun.openstack.org/project-name": "blue"}
DATA = VOLUME_IDS["data"]


def objects(of: Workload, target: Target = TARGET) -> dict[str, dict[str, Any]]:
    """What is rendered, by kind and name."""
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in render(of, target)}


def one(of: Workload, kind: str) -> dict[str, Any]:
    (found,) = [o for o in render(of, TARGET) if o["kind"] == kind]
    return found


def pod(noun: Any = "app", placement: Placement | None = None, **fields: Any) -> dict[str, Any]:
    return pod_spec(workload(Template(**({"image": "nginx"} | fields)), noun, placement=placement or Placement()))


def main(noun: Any = "app", **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(noun, **fields)["containers"][0]
    return found


class TestWhatAnAppBecomes:
    def test_a_small_app_in_full(self) -> None:
        template = Template(image="nginx:1.27", ports=(Port(port=80, name="http", publish="auto"),), cpu=0.5)
        app = workload(template, replicas=3, hash="h" * 32, labels={"tier": "front"})
        metadata = {"namespace": "zun-blue", "labels": OWNER, "annotations": ANNOTATIONS}
        port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}
        caps = {"cpu": "500m"}
        assert render(app, TARGET) == [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata | {"name": "web-0a1b2c3d", "labels": OWNER | {"tier": "front"}},
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": SELECTED},
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                    "minReadySeconds": 0,
                    "progressDeadlineSeconds": 600,
                    "revisionHistoryLimit": 10,
                    "paused": False,
                    "template": {
                        "metadata": {
                            "labels": OWNER | {"zun.openstack.org/hash": "h" * 32},
                            "annotations": ANNOTATIONS,
                        },
                        "spec": {
                            "containers": [
                                {
                                    "name": "main",
                                    "image": "nginx:1.27",
                                    "imagePullPolicy": "IfNotPresent",
                                    "resources": {"limits": caps, "requests": caps},
                                    "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}],
                                }
                            ],
                            "restartPolicy": "Always",
                            "terminationGracePeriodSeconds": 10,
                            "enableServiceLinks": False,
                            "automountServiceAccountToken": False,
                        },
                    },
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata | {"name": "web"},
                "spec": {"type": "ClusterIP", "selector": SELECTED, "ports": [port]},
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata | {"name": "web-0a1b2c3d-published"},
                "spec": {"type": "NodePort", "selector": SELECTED, "ports": [port]},
            },
        ]

    def test_what_is_used_comes_before_what_uses_it(self) -> None:
        mount = Mount(path="/data", volume=VolumeSource(name="data"))
        template = Template(image="i", image_auth="login", env_secrets={"P": "db/password"}, mounts=(mount,))
        assert list(objects(workload(template))) == [
            "Secret/web-0a1b2c3d-env",
            "Secret/web-0a1b2c3d-login",
            "PersistentVolumeClaim/data-00000000",
            "Deployment/web-0a1b2c3d",
            "Service/web",
        ]

    @pytest.mark.parametrize(
        ("fields", "replicas"),
        [({"replicas": 3}, 3), ({"replicas": 0}, 0), ({"replicas": 3, "desired_state": "stopped"}, 0)],
    )
    def test_replicas(self, fields: dict[str, Any], replicas: int) -> None:
        assert one(workload(**fields), "Deployment")["spec"]["replicas"] == replicas

    def test_update(self) -> None:
        update = Update(max_surge="25%", max_unavailable=2, min_ready=5, deadline=60)
        spec = one(workload(update=update), "Deployment")["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 2}
        assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (5, 60)
        spec = one(workload(update=Update(strategy="recreate")), "Deployment")["spec"]
        assert spec["strategy"] == {"type": "Recreate"}

    @pytest.mark.parametrize(
        ("fields", "paused"),
        [
            ({}, False),
            ({"halted": True}, True),
            ({"update": Update(paused=True)}, False),  # else the first pods would never be made
            ({"update": Update(paused=True), "previous": Template(image="old")}, True),
        ],
    )
    def test_paused(self, fields: dict[str, Any], *, paused: bool) -> None:
        assert one(workload(**fields), "Deployment")["spec"]["paused"] is paused

    def test_a_label_is_no_rollout(self) -> None:
        before, after = (one(workload(labels=labels), "Deployment") for labels in ({}, {"tier": "front"}))
        assert before["spec"] == after["spec"]

    def test_labels_that_cannot_be_had_are_left_out(self) -> None:
        labels = {"a b": "x", "tier": "front", "app.kubernetes.io/name": "mine", "zun.openstack.org/id": "mine"}
        assert one(workload(labels=labels), "Deployment")["metadata"]["labels"] == OWNER | {"tier": "front"}


class TestWhatAContainerBecomes:
    def test_a_pod_that_is_named_and_labelled_by_its_id(self) -> None:
        found = one(workload(Template(image="i", restart="on_failure"), "container", restarts=2), "Pod")
        assert found["metadata"]["name"] == "web-0a1b2c3d"
        assert found["metadata"]["labels"].keys() >= OWNER.keys() | {"zun.openstack.org/hash"}
        assert found["metadata"]["annotations"] == ANNOTATIONS | {"zun.openstack.org/restarted": "2"}
        assert found["spec"]["restartPolicy"] == "OnFailure"

    def test_services_only_where_there_are_ports(self) -> None:
        assert list(objects(workload(noun="container"))) == ["Pod/web-0a1b2c3d"]
        template = Template(image="i", ports=(Port(port=80),))
        assert list(objects(workload(template, "container"))) == ["Pod/web-0a1b2c3d", "Service/web-0a1b2c3d"]

    def test_of_a_stopped_one_its_volumes_are_left(self) -> None:
        mount = Mount(path="/data", volume=VolumeSource(name="data"))
        template = Template(image="i", mounts=(mount,), env_secrets={"P": "db/p"}, ports=(Port(port=80),))
        stopped = workload(template, "container", desired_state="stopped")
        assert list(objects(stopped)) == ["PersistentVolumeClaim/data-00000000"]

    def test_its_check_only_tells(self) -> None:
        health = Health(tcp=TcpConnect(port=80), start_period=2.5)
        container = workload(Template(image="i", health=health), "container")
        found = one(container, "Pod")
        probes = {k for k in found["spec"]["containers"][0] if k.endswith("Probe")}
        assert probes == {"readinessProbe"}
        assert found["metadata"]["annotations"]["zun.openstack.org/start-period"] == "2.5"


class TestHowItIsReached:
    def test_without_ports_its_name_leads_to_the_pods(self) -> None:
        assert one(workload(), "Service")["spec"] == {"type": "ClusterIP", "clusterIP": "None", "selector": SELECTED}

    def test_all_ports_inside_and_the_published_ones_at_the_nodes(self) -> None:
        ports = (Port(port=80, publish=30080), Port(port=53, protocol="udp", publish="auto"), Port(port=9090))
        found = objects(workload(Template(image="i", ports=ports)))
        inside, outside = found["Service/web"]["spec"], found["Service/web-0a1b2c3d-published"]["spec"]
        assert [(p["name"], p["port"]) for p in inside["ports"]] == [("tcp-80", 80), ("udp-53", 53), ("tcp-9090", 9090)]
        assert [(p["port"], p["protocol"], p.get("nodePort")) for p in outside["ports"]] == [
            (80, "TCP", 30080),
            (53, "UDP", None),
        ]
        assert (inside["type"], outside["type"]) == ("ClusterIP", "NodePort")

    def test_in_a_namespace_for_all_its_name_may_be_taken(self) -> None:
        assert "Service/web-0a1b2c3d" in objects(workload(), Target(namespace="all", shared=True))

    def test_names_of_services_are_never_too_long(self) -> None:
        long = msgspec.structs.replace(workload().ref, name="w" * 63)
        template = Template(image="i", ports=(Port(port=80, publish="auto"),))
        names = [o["metadata"]["name"] for o in render(msgspec.structs.replace(workload(template), ref=long), TARGET)]
        assert max(map(len, names)) <= 63

    def test_the_network_of_the_host(self) -> None:
        spec = pod(networks=("host",))
        assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")


class TestSecrets:
    def test_values_come_in_a_secret(self) -> None:
        template = Template(image="i", env={"A": "1", "P": "shadowed"}, env_secrets={"P": "db/pass.word"})
        found = objects(workload(template))
        assert found["Secret/web-0a1b2c3d-env"]["data"] == {"db.pass.word": base64.b64encode(b"hunter2").decode()}
        reference = {"name": "web-0a1b2c3d-env", "key": "db.pass.word"}
        assert found["Deployment/web-0a1b2c3d"]["spec"]["template"]["spec"]["containers"][0]["env"] == [
            {"name": "A", "value": "1"},
            {"name": "P", "valueFrom": {"secretKeyRef": reference}},
        ]

    def test_the_pods_from_before_keep_theirs_until_they_are_gone(self) -> None:
        before, after = (Template(image="i", env_secrets={"P": source}) for source in ("db/old", "db/new"))
        rolling = workload(after, previous=before, secrets={"db/old": "1", "db/new": "2"})
        assert one(rolling, "Secret")["data"].keys() == {"db.old", "db.new"}

    def test_one_that_is_missing(self) -> None:
        template = Template(image="i", env_secrets={"P": "db/password"})
        with pytest.raises(Invalid, match="db/password"):
            render(workload(template, secrets={}), TARGET)

    @pytest.mark.parametrize(
        ("image", "login", "server"),
        [
            ("nginx", {}, "https://index.docker.io/v1/"),
            ("library/nginx", {}, "https://index.docker.io/v1/"),
            ("docker.io/a/b", {}, "https://index.docker.io/v1/"),
            ("ghcr.io/a/b:1", {}, "ghcr.io"),
            ("localhost/a", {}, "localhost"),
            ("registry:5000/a", {}, "registry:5000"),
            ("nginx", {"server": "r.example"}, "r.example"),
            ("nginx", {"server": "https://r.example/team"}, "https://r.example/team"),
            ("nginx", {"server": "hub.docker.com"}, "https://index.docker.io/v1/"),
            ("r.example/a", {"server": "https://registry-1.docker.io/v2/"}, "https://index.docker.io/v1/"),
        ],
    )
    def test_login(self, image: str, login: dict[str, str], server: str) -> None:
        sidecar = Sidecar(name="s", image="elsewhere.example/s")  # whose registry is told nothing
        template = Template(image=image, image_auth="login", sidecars=(sidecar,))
        found = objects(workload(template, image_auth={"username": "u", "password": "p"} | login))
        secret = found["Secret/web-0a1b2c3d-login"]
        config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
        assert secret["type"] == "kubernetes.io/dockerconfigjson"
        assert config == {"auths": {server: {"username": "u", "password": "p", "auth": "dTpw"}}}
        spec = found["Deployment/web-0a1b2c3d"]["spec"]["template"]["spec"]
        assert spec["imagePullSecrets"] == [{"name": "web-0a1b2c3d-login"}]

    def test_a_plan_needs_none_and_shows_none(self) -> None:
        template = Template(image="i", image_auth="login", env_secrets={"P": "db/password"})
        known, unknown = workload(template), workload(template, secrets={}, image_auth=None)
        assert plan(known, TARGET) == plan(unknown, TARGET) == masked(render(known, TARGET))
        text = json.dumps(plan(known, TARGET))
        assert "hunter2" not in text
        assert base64.b64encode(b"hunter2").decode() not in text


class TestVolumes:
    def test_a_claim_belongs_to_the_project(self) -> None:
        source = VolumeSource(name="data", size="1.5Gi", class_="fast")
        sidecar = Sidecar(name="s", image="s", mounts=(Mount(path="/d", volume=VolumeSource(name="data")),))
        template = Template(image="i", mounts=(Mount(path="/data", volume=source),), sidecars=(sidecar,))
        claim = one(workload(template), "PersistentVolumeClaim")
        assert claim["metadata"]["labels"] == {
            "zun.openstack.org/installation": "gw-1",
            "zun.openstack.org/cluster": "prod",
            "zun.openstack.org/project": "blue-16477688",
            "zun.openstack.org/volume": DATA,
            "zun.openstack.org/name": "data",
            "app.kubernetes.io/managed-by": "zun-coe",
        }
        assert claim["spec"] == {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1536Mi"}},
            "storageClassName": "fast",
        }

    def test_a_claim_is_as_large_as_its_volume_whoever_mounts_it(self) -> None:
        """Else those that name no size would ask for a smaller one than the others, by turns."""
        named, unnamed = (
            Template(image="i", mounts=(Mount(path="/data", volume=VolumeSource(name="data", size=size)),))
            for size in ("5Gi", None)
        )
        storage = {"data": VolumeSource(name="data", size="5Gi", class_="fast")}
        first, second = (one(workload(t, storage=storage), "PersistentVolumeClaim") for t in (named, unnamed))
        assert first == second
        assert first["spec"]["resources"]["requests"]["storage"] == "5Gi"
        assert one(workload(unnamed), "PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"] == "1Gi"

    def test_pods_go_where_their_volume_is(self) -> None:
        template = Template(image="i", mounts=(Mount(path="/data", volume=VolumeSource(name="data")),))
        found = one(workload(template), "Deployment")["spec"]["template"]
        label = {f"volume.zun.openstack.org/{DATA}": "data"}
        assert found["metadata"]["labels"].items() >= label.items()
        (term,) = found["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term == {"labelSelector": {"matchLabels": label}, "topologyKey": "kubernetes.io/hostname"}
        assert found["spec"]["volumes"] == [
            {"name": "data-00000000", "persistentVolumeClaim": {"claimName": "data-00000000"}}
        ]

    def test_mounts(self) -> None:
        tmpfs = Mount(path="/tmp", tmpfs=Tmpfs(size="8Mi"))
        mounts = (Mount(path="/etc/x", bind="/srv/x", read_only=True), tmpfs, Mount(path="/x", bind="/srv/x"))
        spec = pod(mounts=mounts, sidecars=(Sidecar(name="s", image="s", mounts=(tmpfs,)),))
        host, own, other = spec["volumes"]
        assert host == {"name": host["name"], "hostPath": {"path": "/srv/x", "type": ""}}
        assert own["emptyDir"] == other["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Mi"}
        first, second = spec["containers"]
        assert first["volumeMounts"] == [
            {"name": host["name"], "mountPath": "/etc/x", "readOnly": True},
            {"name": own["name"], "mountPath": "/tmp"},
            {"name": host["name"], "mountPath": "/x"},
        ]
        assert second["volumeMounts"] == [{"name": other["name"], "mountPath": "/tmp"}]

    def test_one_that_is_gone(self) -> None:
        template = Template(image="i", mounts=(Mount(path="/data", volume=VolumeSource(name="data")),))
        with pytest.raises(Invalid, match="data") as caught:
            render(workload(template, volumes={}), TARGET)
        assert caught.value.reason == "VolumeUnavailable"


class TestPods:
    def test_the_rest_of_the_fields(self) -> None:
        found = main(
            command=("a",), args=("b",), workdir="/srv", user="1000:2000", tty=True, stdin=True, pull="always", gpu=2
        )
        caps = {"nvidia.com/gpu": "2"}
        assert found == {
            "name": "main",
            "image": "nginx",
            "imagePullPolicy": "Always",
            "command": ["a"],
            "args": ["b"],
            "workingDir": "/srv",
            "securityContext": {"runAsUser": 1000, "runAsGroup": 2000},
            "tty": True,
            "stdin": True,
            "resources": {"limits": caps, "requests": caps},
        }

    def test_stop_timeout_is_at_least_a_second(self) -> None:
        assert [pod(stop_timeout=t)["terminationGracePeriodSeconds"] for t in (0, 1, 30)] == [1, 1, 30]

    def test_probes(self) -> None:
        health = Health(http=HttpGet(port=80, path="/up"), interval=4, timeout=2, retries=3, start_period=10)
        found = main(health=health)
        probe = {"httpGet": {"path": "/up", "port": 80}, "periodSeconds": 4, "timeoutSeconds": 2}
        assert found["readinessProbe"] == found["livenessProbe"] == probe | {"failureThreshold": 3}
        # Those at 0, 4 and 8 seconds do not count; the next 3 do.
        assert found["startupProbe"] == probe | {"failureThreshold": 6}
        assert "startupProbe" not in main(health=msgspec.structs.replace(health, start_period=0))
        assert main(health=Health(exec=Exec(command=("a", "$(B)"))))["readinessProbe"]["exec"] == {
            "command": ["a", "$$(B)"]
        }

    def test_placement(self) -> None:
        spec = pod(placement=Placement(constraints={"disk": "ssd"}, spread="zone"))
        assert spec["nodeSelector"] == {"disk": "ssd"}
        (spread,) = spec["topologySpreadConstraints"]
        assert (spread["topologyKey"], spread["maxSkew"], spread["whenUnsatisfiable"]) == ("zone", 1, "ScheduleAnyway")
        assert spread["labelSelector"]["matchLabels"].items() >= SELECTED.items()


@settings(max_examples=50)
@given(apps() | containers())
def test_the_same_workload_gives_the_same_objects(of: Workload) -> None:
    first, second = (msgspec.json.encode(render(of, TARGET)) for _ in range(2))
    assert first == second


@settings(max_examples=50)
@given(apps() | containers())
def test_every_object_tells_whose_it_is(of: Workload) -> None:
    for found in render(of, TARGET):
        metadata = found["metadata"]
        assert metadata["namespace"] == TARGET.namespace
        assert metadata["annotations"].items() >= ANNOTATIONS.items()
        assert metadata["labels"].items() >= {"zun.openstack.org/installation": "gw-1"}.items()
        assert all(len(label) <= 63 for label in metadata["labels"].values())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("echo $HOME", "echo $HOME"),
        ("$(HOME)", "$$(HOME)"),
        ("$$", "$$$"),
        ("a$", "a$"),
        ("$(", "$$("),
        ("$é", "$$é"),
        ("$$(X)", "$$$$(X)"),
    ],
)
def test_references_are_written_so_that_they_stay(text: str, written: str) -> None:
    assert escaped(text) == written
    assert unescaped(written) == text


def test_a_text_that_depends_on_variables() -> None:
    assert unescaped("x$(HOME)") is None
    assert unescaped("x$(HOME") == "x$(HOME"


@pytest.mark.parametrize(("cpus", "written"), [(0.5, "500m"), (2, "2"), (1.25, "1250m"), (0.1, "100m"), (0.0011, "2m")])
def test_cpus(cpus: float, written: str) -> None:
    assert quantities.of_cpus(cpus) == written


@pytest.mark.parametrize(
    ("size", "written"), [("128Mi", "128Mi"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.5Ki", "512")]
)
def test_sizes(size: str, written: str) -> None:
    assert quantities.of_size(size) == written


@pytest.mark.parametrize(
    ("one", "other"),
    [("500m", "0.5"), ("134217728", "128Mi"), ("1k", "1000"), ("1e3", "1000"), ("1E", "1000P"), (2, "2000m")],
)
def test_quantities_that_are_equal(one: Any, other: Any) -> None:
    assert quantities.number_of(one) == quantities.number_of(other) is not None


@pytest.mark.parametrize("text", ["", "m", "1x", "one", ".", None])
def test_what_is_no_quantity(text: Any) -> None:
    assert quantities.number_of(text) is None
