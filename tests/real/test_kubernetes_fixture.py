"""The Kubernetes that other tests rely on."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from dnslib import RCODE, DNSRecord
from kubernetes import client, config, stream

from tests.real.answers import body_of
from tests.real.components import Registry, wait_until
from tests.real.kubernetes import DNS_ADDRESS, ControlPlane
from tests.real.kubernetes_node import Node

READER = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
SERVE = ["sh", "-c", "trap 'exit 0' TERM; echo serving; httpd -f -p 80 -h /www & wait"]


@pytest.fixture
def core(kubernetes: ControlPlane) -> client.CoreV1Api:
    return client.CoreV1Api(kubernetes.client())


def test_the_version_is_known(kubernetes: ControlPlane) -> None:
    assert client.VersionApi(kubernetes.client()).get_code().git_version == "v1.20.2"


def test_controllers_make_pods_that_wait_for_a_node(core: client.CoreV1Api, namespace: str) -> None:
    _deploy(core.api_client, namespace, replicas=2, node_selector={"nobody": "has-this"})
    wait_until(lambda: [_unscheduled(pod) for pod in _pods(core, namespace)] == [True, True], 20)


def test_a_user_may_do_what_the_rules_say_and_nothing_else(kubernetes: ControlPlane, namespace: str) -> None:
    token = kubernetes.token_for("reader", READER, namespace)
    reader = client.CoreV1Api(kubernetes.client(token))
    assert reader.list_namespaced_pod(namespace).items == []
    assert _status(partial(reader.list_namespaced_secret, namespace)) == 403
    assert _status(partial(reader.list_namespaced_pod, "default")) == 403


def test_rules_without_a_namespace_hold_everywhere(kubernetes: ControlPlane, namespace: str) -> None:
    everywhere = client.CoreV1Api(kubernetes.client(kubernetes.token_for(f"reader-of-{namespace}", READER)))
    assert everywhere.list_pod_for_all_namespaces() is not None
    assert _status(everywhere.list_node) == 403


def test_unknown_tokens_are_refused(kubernetes: ControlPlane) -> None:
    stranger = client.CoreV1Api(kubernetes.client("unknown"))
    assert _status(stranger.list_node) == 401


def test_certificates_name_users(kubernetes: ControlPlane, tmp_path: Path) -> None:
    credentials = kubernetes.certificate_for("alice")
    for name, text in credentials.items():
        (tmp_path / name).write_text(text)
    pair = {"cert_file": str(tmp_path / "client_cert"), "key_file": str(tmp_path / "client_key")}
    with urllib3.PoolManager(ca_certs=str(tmp_path / "ca_cert"), **pair) as http:
        answer = http.request("GET", f"{kubernetes.endpoint}/api/v1/nodes")
    assert answer.status == 403
    assert 'User "alice" cannot list' in answer.json()["message"]


def test_a_kubeconfig_leads_there(kubernetes: ControlPlane) -> None:
    text = yaml.safe_load(kubernetes.kubeconfig())
    with config.new_client_from_config_dict(text) as connection:
        assert client.CoreV1Api(connection).read_namespace("kube-system").metadata.uid


def test_the_api_comes_back_with_what_it_had(kubernetes: ControlPlane, core: client.CoreV1Api, namespace: str) -> None:
    kubernetes.api.kill()
    with pytest.raises(urllib3.exceptions.HTTPError):
        core.list_namespace()
    kubernetes.api.start()
    kubernetes.ready()
    assert core.read_namespace(namespace).status.phase == "Active"


def test_claims_are_bound(core: client.CoreV1Api, namespace: str) -> None:
    _claim(core, namespace)
    wait_until(lambda: core.read_namespaced_persistent_volume_claim("data", namespace).status.phase == "Bound", 20)


def test_pods_run_log_and_execute(core: client.CoreV1Api, kubernetes_node: Node, namespace: str) -> None:
    pod = _run(core, namespace, "web")
    assert pod.spec.node_name in [node.metadata.name for node in core.list_node().items]
    assert core.read_namespaced_pod_log("web", namespace) == "serving\n"
    assert _execute(core, namespace, "web", "cat", "/www/index.html") == "hello\n"


def test_services_carry_traffic(core: client.CoreV1Api, kubernetes_node: Node, namespace: str) -> None:
    _deploy(core.api_client, namespace, replicas=2)
    service = _expose(core, namespace)
    wait_until(lambda: len(_endpoints(core, namespace)) == 2, 30, "Both pods are endpoints")
    port = service.spec.ports[0]
    urls = [f"127.0.0.1:{port.node_port}", f"{kubernetes_node.address}:{port.node_port}", service.spec.cluster_ip]
    for url in (*urls, *_endpoints(core, namespace)):
        assert wait_until(partial(body_of, f"http://{url}/"), 20, url) == b"hello\n"


def test_services_have_names(core: client.CoreV1Api, kubernetes_node: Node, namespace: str) -> None:
    _deploy(core.api_client, namespace, replicas=2)
    address = _expose(core, namespace).spec.cluster_ip
    _expose(core, namespace, "pods", type="ClusterIP", clusterIP="None")
    wait_until(lambda: len(_endpoints(core, namespace)) == 4, 30, "Both pods are endpoints of both")
    _run(core, namespace, "asks")
    for ask in (["web"], [f"web.{namespace}.svc.cluster.local"]):
        assert address in _execute(core, namespace, "asks", "nslookup", "-type=a", *ask)
    assert _execute(core, namespace, "asks", "wget", "-q", "-O", "-", "http://web/") == "hello\n"

    def told() -> bool:  # it is asked who is ready at that moment, and a busy node has its doubts at times
        answer = _execute(core, namespace, "asks", "nslookup", "-type=a", "pods")
        return all(each in answer for each in _endpoints(core, namespace))

    wait_until(told, 60, "The name without an address of its own leads to all pods")
    assert "NXDOMAIN" in _execute(core, namespace, "asks", "sh", "-c", "nslookup nobody 2>&1; true")


def test_names_are_asked_for_in_two_ways(core: client.CoreV1Api, kubernetes_node: Node, namespace: str) -> None:
    """An answer that is too long for the one is whole in the other; what is not of the cluster does not exist."""
    _expose(core, namespace, "many", type="ClusterIP", clusterIP="None", selector=None)
    addresses = [{"ip": f"10.0.0.{number}"} for number in range(1, 51)]
    core.create_namespaced_endpoints(namespace, {"metadata": {"name": "many"}, "subsets": [{"addresses": addresses}]})
    many = DNSRecord.question(f"many.{namespace}.svc.cluster.local")
    for tcp in (False, True):
        answer = DNSRecord.parse(many.send(DNS_ADDRESS, tcp=tcp, timeout=10))
        assert (bool(answer.header.tc), len(answer.rr)) == (not tcp, 50 if tcp else 0)
    outside = DNSRecord.parse(DNSRecord.question("example.org").send(DNS_ADDRESS, timeout=10))
    assert outside.header.rcode == RCODE.NXDOMAIN


def test_volumes_keep_what_is_written(core: client.CoreV1Api, kubernetes_node: Node, namespace: str) -> None:
    _claim(core, namespace)
    mount = {"name": "data", "mountPath": "/data"}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    for name, script in (("first", "echo kept > /data/file"), ("second", "cat /data/file")):
        container = _container(["sh", "-c", script]) | {"volumeMounts": [mount]}
        _create(core, namespace, name, {"containers": [container], "volumes": volumes, "restartPolicy": "Never"})
        wait_until(partial(_is_in, core, namespace, name, "Succeeded"), 30, name)
    assert core.read_namespaced_pod_log("second", namespace) == "kept\n"


def test_private_images_need_their_secret(
    core: client.CoreV1Api, kubernetes_node: Node, registry: Registry, namespace: str
) -> None:
    reference = registry.push(kubernetes_node.engine, "private:1", private=True)
    login = {registry.private: registry.auth}
    core.create_namespaced_secret(
        namespace,
        {
            "metadata": {"name": "login"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json.dumps({"auths": login})},
        },
    )
    container = _container(SERVE, reference)
    _create(core, namespace, "stranger", {"containers": [container]})
    wait_until(lambda: {"ErrImagePull", "ImagePullBackOff"}.intersection(_waiting(core, namespace, "stranger")), 30)
    _create(core, namespace, "friend", {"containers": [container], "imagePullSecrets": [{"name": "login"}]})
    wait_until(partial(_is_in, core, namespace, "friend", "Running"), 30)


def test_pods_of_two_nodes_reach_each_other(
    core: client.CoreV1Api, kubernetes_node: Node, second_kubernetes_node: Node, namespace: str
) -> None:
    for name, node in (("one", kubernetes_node), ("two", second_kubernetes_node)):
        container = _container(SERVE)
        selector = {"kubernetes.io/hostname": node.name}
        _create(core, namespace, name, {"containers": [container], "nodeSelector": selector})
    for name in ("one", "two"):
        wait_until(partial(_is_in, core, namespace, name, "Running"), 30)
    address = core.read_namespaced_pod("two", namespace).status.pod_ip
    assert _execute(core, namespace, "one", "wget", "-q", "-O", "-", f"http://{address}/") == "hello\n"


def _container(command: list[str], image: str = Node.image) -> dict[str, Any]:
    return {"name": "main", "image": image, "command": command}


def _create(core: client.CoreV1Api, namespace: str, name: str, spec: dict[str, Any]) -> None:
    core.create_namespaced_pod(namespace, {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})


def _run(core: client.CoreV1Api, namespace: str, name: str) -> client.V1Pod:
    _create(core, namespace, name, {"containers": [_container(SERVE)]})
    wait_until(partial(_is_in, core, namespace, name, "Running"), 30, f"{name} runs")
    return core.read_namespaced_pod(name, namespace)


def _deploy(
    connection: client.ApiClient, namespace: str, replicas: int, node_selector: dict[str, str] | None = None
) -> None:
    labels = {"app": "web"}
    container = _container(SERVE)
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "nodeSelector": node_selector or {}}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod}
    client.AppsV1Api(connection).create_namespaced_deployment(namespace, {"metadata": {"name": "web"}, "spec": spec})


def _expose(core: client.CoreV1Api, namespace: str, name: str = "web", **fields: Any) -> client.V1Service:
    spec = {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]} | fields
    return core.create_namespaced_service(namespace, {"metadata": {"name": name}, "spec": spec})


def _claim(core: client.CoreV1Api, namespace: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    core.create_namespaced_persistent_volume_claim(namespace, {"metadata": {"name": "data"}, "spec": spec})


def _pods(core: client.CoreV1Api, namespace: str) -> list[client.V1Pod]:
    pods: list[client.V1Pod] = core.list_namespaced_pod(namespace).items
    return pods


def _execute(core: client.CoreV1Api, namespace: str, pod: str, *command: str) -> str:
    call = core.connect_get_namespaced_pod_exec
    answer = stream.stream(call, pod, namespace, command=list(command), stdout=True, _preload_content=False)
    answer.run_forever(timeout=20)
    text: str = answer.read_all()
    answer.sock.shutdown()  # the client's own `close` leaves it open when the other side was first
    return text


def _is_in(core: client.CoreV1Api, namespace: str, name: str, phase: str) -> bool:
    return core.read_namespaced_pod(name, namespace).status.phase == phase


def _waiting(core: client.CoreV1Api, namespace: str, name: str) -> list[str]:
    statuses = core.read_namespaced_pod(name, namespace).status.container_statuses or []
    return [one.state.waiting.reason for one in statuses if one.state.waiting]


def _unscheduled(pod: client.V1Pod) -> bool:
    return any(one.reason == "Unschedulable" for one in pod.status.conditions or [])


def _endpoints(core: client.CoreV1Api, namespace: str) -> list[str]:
    found = core.list_namespaced_endpoints(namespace).items
    return [address.ip for one in found for subset in one.subsets or [] for address in subset.addresses or []]


def _status(call: Callable[[], object]) -> int:
    with pytest.raises(client.ApiException) as refused:
        call()
    return int(refused.value.status)
