"""The way back from native objects, and whether a Deployment of somebody else's can be taken over as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.unit.kubernetes_specs import TARGET, apps, workload
from zun_coe.adapters.kubernetes import naming, parsing, podspec
from zun_coe.adapters.kubernetes.adoption import lost
from zun_coe.adapters.kubernetes.manifest import render
from zun_coe.adapters.kubernetes.parsing import Understood, understood
from zun_coe.adapters.kubernetes.podspec import volumes_of
from zun_coe.adapters.kubernetes.quantities import of_size
from zun_coe.model import (
    Exec,
    Health,
    HttpGet,
    Mount,
    Placement,
    Port,
    Sidecar,
    Template,
    Tmpfs,
    Update,
    Workload,
    template_hash,
)

POD = "/spec/template/spec"


def of_kind(objects: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == kind]


def read(objects: list[dict[str, Any]]) -> Understood:
    (deployment,) = of_kind(objects, "Deployment")
    return understood(deployment, of_kind(objects, "Service"), of_kind(objects, "PersistentVolumeClaim"))


def as_workload(found: Understood, of: Workload) -> Workload:
    fields = {f: getattr(found, f) for f in ("template", "replicas", "update", "placement")}
    return msgspec.structs.replace(of, labels=dict(found.labels), desired_state="running", **fields)


def in_their_words(template: Template) -> Template:
    """Sizes as Kubernetes writes them; nothing else is said in two ways."""
    return msgspec.convert(_sized(msgspec.to_builtins(template)), Template)


def _sized(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: of_size(v) if k in ("memory", "size") and v is not None else _sized(v) for k, v in value.items()}
    return [_sized(item) for item in value] if isinstance(value, list | tuple) else value


@settings(max_examples=50)
@given(apps())
def test_what_was_rendered_is_understood(of: Workload) -> None:
    found = read(render(of, TARGET))
    assert found.template == in_their_words(of.template)
    assert (found.replicas, found.update, found.placement) == (of.wanted, of.update, of.placement)
    assert (found.labels, found.main) == (of.labels, "main")
    mounted = volumes_of(of.template)
    assert found.volumes == {name: naming.volume_name(name, of.volumes[name]) for name in mounted}


@settings(max_examples=50)
@given(apps())
def test_rendering_what_was_understood_gives_it_back(of: Workload) -> None:
    objects = render(of, TARGET)
    again = render(as_workload(read(objects), of), TARGET)
    assert again == objects
    assert lost(of_kind(again, "Deployment")[0], of_kind(objects, "Deployment")[0]) == ()


# A Deployment that somebody else made, as the server shows it.

FOREIGN: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop", "namespace": "prod", "labels": {"app": "shop"}},
    "spec": {
        "replicas": 4,
        "selector": {"matchLabels": {"app": "shop"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "template": {
            "metadata": {"creationTimestamp": None, "labels": {"app": "shop"}},
            "spec": {
                "containers": [
                    {
                        "name": "shop",
                        "image": "shop:1",
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["--listen", ":8080"],
                        "env": [{"name": "LEVEL", "value": "info"}],
                        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                        "resources": {
                            "limits": {"cpu": "1", "memory": "256Mi"},
                            "requests": {"cpu": "1", "memory": "256Mi"},
                        },
                        "readinessProbe": {
                            "httpGet": {"path": "/", "port": "http", "scheme": "HTTP"},
                            "periodSeconds": 10,
                            "timeoutSeconds": 1,
                            "successThreshold": 1,
                            "failureThreshold": 3,
                        },
                        "livenessProbe": {
                            "httpGet": {"path": "/", "port": 8080, "scheme": "HTTP"},
                            "periodSeconds": 10,
                            "timeoutSeconds": 1,
                            "successThreshold": 1,
                            "failureThreshold": 3,
                        },
                        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                    },
                    {"name": "log", "image": "log:1", "imagePullPolicy": "Always", "resources": {}},
                ],
                "volumes": [{"name": "scratch", "emptyDir": {"medium": "Memory"}}],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst",
                "securityContext": {},
                "schedulerName": "default-scheduler",
            },
        },
    },
}
NODE_PORT = {
    "kind": "Service",
    "metadata": {"name": "shop"},
    "spec": {
        "type": "NodePort",
        "selector": {"app": "shop"},
        "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP", "nodePort": 30123}],
    },
}
ELSEWHERE: dict[str, Any] = {"kind": "Service", "metadata": {"name": "x"}, "spec": {"selector": {"app": "other"}}}


def taken(live: dict[str, Any]) -> dict[str, Any]:
    """The Deployment that we would render of it."""
    found = understood(live, [], [])
    (deployment,) = of_kind(render(as_workload(found, workload()), TARGET), "Deployment")
    return deployment


def test_what_somebody_else_made_is_understood() -> None:
    found = understood(FOREIGN, [NODE_PORT, ELSEWHERE], [])
    assert found == Understood(
        template=Template(
            image="shop:1",
            args=("--listen", ":8080"),
            env={"LEVEL": "info"},
            ports=(Port(port=8080, name="http", publish=30123),),
            cpu=1,
            memory="256Mi",
            health=Health(http=HttpGet(port=8080), timeout=1),
            mounts=(Mount(path="/tmp", tmpfs=Tmpfs()),),
            stop_timeout=30,
            sidecars=(Sidecar(name="log", image="log:1", pull="always"),),
        ),
        replicas=4,
        update=Update(max_surge="25%", max_unavailable="25%"),
        placement=Placement(),
        labels={"app": "shop"},
        volumes={},
        main="shop",
    )


def test_it_can_be_taken_over_where_its_pods_would_be_the_same() -> None:
    assert lost(taken(FOREIGN), FOREIGN) == ()


@pytest.mark.parametrize(
    ("where", "what", "pointer"),
    [
        ((), {"serviceAccountName": "robot"}, "serviceAccountName"),
        ((), {"automountServiceAccountToken": True}, "automountServiceAccountToken"),
        ((), {"securityContext": {"fsGroup": 1}}, "securityContext"),
        ((), {"initContainers": [{"name": "a", "image": "a"}]}, "initContainers"),
        ((), {"tolerations": [{"operator": "Exists"}]}, "tolerations"),
        ((), {"priorityClassName": "high"}, "priorityClassName"),
        ((), {"volumes": [{"name": "scratch", "emptyDir": {}}]}, "volumes"),
        (("containers", 0), {"securityContext": {"privileged": True}}, "containers/0/securityContext"),
        (("containers", 0), {"lifecycle": {"preStop": {"exec": {"command": ["a"]}}}}, "containers/0/lifecycle"),
        (("containers", 0), {"envFrom": [{"secretRef": {"name": "s"}}]}, "containers/0/envFrom"),
        (("containers", 0), {"command": ["sh", "-c", "echo $(LEVEL)"]}, "containers/0/command/2"),
        (("containers", 0, "env", 0), {"value": "$(HOME)"}, "containers/0/env/0/value"),
        (("containers", 0, "resources", "requests"), {"cpu": "100m"}, "containers/0/resources/requests/cpu"),
        (("containers", 0, "livenessProbe"), {"periodSeconds": 20}, "containers/0/livenessProbe/periodSeconds"),
        (("containers", 0, "readinessProbe", "httpGet"), {"scheme": "HTTPS"}, "containers/0/readinessProbe/httpGet"),
        (("containers", 1), {"ports": [{"containerPort": 1}]}, "containers/1/ports"),
        (
            ("containers", 1),
            {"volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]},
            "containers/1/volumeMounts",
        ),
    ],
)
def test_what_cannot_be_said_is_in_the_way(where: tuple[Any, ...], what: dict[str, Any], pointer: str) -> None:
    live = copy.deepcopy(FOREIGN)
    at: Any = live["spec"]["template"]["spec"]
    for step in where:
        at = at[step]
    at |= what
    told = [drift.pointer for drift in lost(taken(live), live)]
    assert any(t.startswith(f"{POD}/{pointer}") for t in told), told


def test_variables_from_secrets_name_them() -> None:
    live = copy.deepcopy(FOREIGN)
    reference = {"secretKeyRef": {"name": "db", "key": "password"}}
    live["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "P", "valueFrom": reference}]
    assert understood(live, [], []).template.env_secrets == {"P": "db/password"}


def test_a_check_has_the_hash_that_it_was_made_with() -> None:
    """What was asked for in whole seconds as well: they are fractions then."""
    asked = Health(exec=Exec(command=("true",)), interval=2.0, timeout=3.0, start_period=4.0)
    container = {"name": "main"} | podspec.probes(asked, healing=True)
    found = parsing.health(container)
    assert found == asked
    hashes = {template_hash(Template(image="a:1", health=health), 0) for health in (asked, found)}
    assert len(hashes) == 1
