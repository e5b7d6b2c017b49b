"""How Kubernetes carries each leaf of the specification, and which values it refuses. Pure.

What has room on no node of today is not refused: nodes come and go by themselves here, and the scheduler tells."""

from __future__ import annotations

from collections import Counter
from typing import Any

from zun_coe.adapters.fields import Accepts, Accounting, Carried, absent, emulated, native, within_deadline
from zun_coe.adapters.kubernetes import podspec, quantities, syntax
from zun_coe.adapters.kubernetes.podspec import HOST_NETWORK, MAIN
from zun_coe.model import ClusterInfo, Sidecar, Template, Workload, bytes_of, share_of

NODE_PORTS = range(30000, 32768)
"""The ports of nodes that services are given, unless the API server was started with others; it does not tell."""
# With less no runtime below a kubelet starts a container.
LEAST_MEMORY = "6Mi"
LEAST_CPU = 0.01

_RESTARTED = "A replica's container that fails it is started again in place; a container of its own is only shown."
_VOLUMES = (
    "A claim that is written at one node (ReadWriteOnce): all pods that mount it run on that node. It begins empty and "
    "is root's, whatever the image has at that path."
)
_SCALED = "With a share, 1 replica may be missing where both come to 0."


def _image(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    """No arguments at all are an empty list, which is no leaf: so they are judged with the image that has others."""
    processes: list[Template | Sidecar] = [workload.template, *workload.template.sidecars]
    if any(p.image == value and p.args == () and p.command is None for p in processes):
        return "Where args is empty Kubernetes takes the image's own arguments; give the command too."
    return None


def _memory(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if bytes_of(value) < bytes_of(LEAST_MEMORY):
        return f"A container needs at least {LEAST_MEMORY} of memory to start."
    return None


def _cpu(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if value < LEAST_CPU:
        return f"A node gives a container at least {LEAST_CPU} CPUs."
    if quantities.of_cpus(value) != quantities.of_cpus(round(value, 3)):
        return "Kubernetes counts CPUs in thousandths."
    return None


def _publish(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if workload.template.networks == HOST_NETWORK:
        return "With the host's own network every port is reached as it is; leave publish out."
    if not isinstance(value, int):
        return None
    if value not in NODE_PORTS:
        return f"The ports of nodes are {NODE_PORTS[0]} to {NODE_PORTS[-1]}; choose one of these, or auto."
    if len({p.port for p in workload.template.ports if p.publish == value}) > 1:
        return f"Port {value} of the nodes leads to one port; two protocols can share it only for the same one."
    return None


def _port(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    protocols = [port.protocol for port in workload.template.ports if port.port == value]
    if len(protocols) > len(set(protocols)):
        return f"Port {value} is listed more than once for the same protocol."
    nodes = sum(node.schedulable for node in info.nodes)
    if workload.template.networks == HOST_NETWORK and not workload.standalone and workload.replicas > nodes:
        return f"Each node has one port {value}, so {workload.replicas} replicas need as many nodes; there are {nodes}."
    return None


def _port_name(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if not syntax.is_port_name(value):
        return "A port's name has at least one letter and no two hyphens in a row."
    names = Counter(port.name or podspec.default_port_name(port) for port in workload.template.ports)
    return f"More than one port would be called {value}." if names[value] > 1 else None


def _enforced(info: ClusterInfo) -> str:
    """The Pod Security Standard that the gateway's namespaces enforce; empty where none is known."""
    return info.versions.get("kubernetes", {}).get("pod_security", "")


def _user(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if syntax.is_numeric_user(value):
        root = int(value.partition(":")[0]) == 0
        if root and _enforced(info) == "restricted":
            return "The namespace enforces the Pod Security Standard restricted: a user other than root, such as 1000."
        return None
    return "Kubernetes takes numbers only, such as 1000 or 1000:1000; it does not look names up in the image."


def _hostname(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if workload.template.networks == HOST_NETWORK:
        return "With the host's own network it has the host's name."
    return None if syntax.is_dns_label(value) else "A hostname has lower-case letters, digits and hyphens only."


def _networks(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if tuple(value) == HOST_NETWORK:
        return _of_the_host(workload, value, info)
    if "host" in value:
        return "The host's own network goes with no other."
    return "All pods share the cluster's one network and find each other by name; leave networks out."


def _of_the_host(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if (level := _enforced(info)) in ("baseline", "restricted"):
        return f"The namespace enforces the Pod Security Standard {level}, which takes nothing of the host."
    return None


def _restart(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if value != "always" and not workload.standalone:
        return "The replicas of an app are always started again; use a container for what ends."
    return None


def _desired_state(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return "Kubernetes cannot freeze processes; stop it instead." if value == "paused" else None


def _volume(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if workload.adopted is None:
        return None
    return "An app that was taken over has no volumes: those of its project are in another namespace."


def _labels(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    wrong = next((key for key, text in sorted(value.items()) if not syntax.is_free_label(key, text)), None)
    if wrong is None:
        return None
    if syntax.is_label_key(wrong) and syntax.is_label_value(value[wrong]):
        return f"The label {wrong} is one that the gateway sets itself."
    return f"The label {wrong}={value[wrong]} is none in Kubernetes: {_LABELS}."


_LABELS = "at most 63 letters, digits, hyphens, dots and underscores, a key maybe with a domain and a slash before it"


def _constraints(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    for key, text in sorted(value.items()):
        if not (syntax.is_label_key(key) and syntax.is_label_value(text)):
            return f"No node can have the label {key}={text}: {_LABELS}."
    return None


def _spread(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if not syntax.is_label_key(value):
        return f"No node can have the label {value}: {_LABELS}."
    if volumes := podspec.volumes_of(workload.template):
        return f"All that mount the volume {volumes[0]} run on one node, so they cannot be spread."
    return None


def _share(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    if isinstance(value, str) and share_of(value, 100, up=True) > 100:
        return "A share is at most 100%."
    return None


def _unavailable(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    """With the host's network a new replica has no place beside the old one on its node."""
    template, update = workload.template, workload.update
    if update.strategy != "rolling" or template.networks != HOST_NETWORK or not template.ports:
        return _share(workload, value, info)
    nodes = sum(node.schedulable for node in info.nodes)
    if share_of(value, workload.replicas, up=False) == 0 and workload.replicas >= nodes:
        return "Each node has its ports once, so an old replica has to go first: at least 1, or recreate."
    return _share(workload, value, info)


def _seconds(name: str) -> Accepts:
    """Kubelets count in whole seconds."""

    def accepts(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
        if value < 1 or value != int(value):
            return f"The {name} is in whole seconds, at least 1."
        return None

    return accepts


def _retries(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if value >= 1 else "At least one failure makes it unhealthy."


def _size(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if bytes_of(value) > 0 else "The size is more than 0."


def _class(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return None if syntax.is_subdomain(value) else "A storage class has lower-case letters, digits, hyphens and dots."


def _env_secrets(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    long = next((source for source in value.values() if len(source) > 253), None)
    return f"A secret's name and its key are at most 253 characters together: {long}." if long else None


def _sidecar_name(workload: Workload, value: Any, info: ClusterInfo) -> str | None:
    return f"The main container is called {MAIN}; give the sidecar another name." if value == MAIN else None


def _health(prefix: str) -> dict[str, Carried]:
    return {
        f"{prefix}/health/http/path": native(
            f"200 to 399 is healthy; a redirect is followed on its host. {_RESTARTED}"
        ),
        f"{prefix}/health/http/port": native(_RESTARTED),
        f"{prefix}/health/tcp/port": native(_RESTARTED),
        f"{prefix}/health/exec/command": native(_RESTARTED),
        f"{prefix}/health/interval": native(accepts=_seconds("interval")),
        f"{prefix}/health/timeout": native(accepts=_seconds("timeout")),
        f"{prefix}/health/retries": native(accepts=_retries),
        f"{prefix}/health/start_period": native("In whole intervals, rounded up."),
    }


def _mounts(prefix: str) -> dict[str, Carried]:
    kept = "It is kept while its pod is, also when the container starts again."
    return {
        f"{prefix}/mounts/*/path": native(),
        f"{prefix}/mounts/*/read_only": native(),
        f"{prefix}/mounts/*/volume/name": native(_VOLUMES, _volume),
        f"{prefix}/mounts/*/volume/size": native(
            "What is asked for when it is made, 1Gi where nothing is said; later it can only grow.", _size
        ),
        f"{prefix}/mounts/*/volume/class": native("Absent, the cluster's default; it cannot be changed.", _class),
        f"{prefix}/mounts/*/bind": native("The path is one of the node that the pod is placed on.", _of_the_host),
        f"{prefix}/mounts/*/tmpfs": native(kept),
        f"{prefix}/mounts/*/tmpfs/size": native(
            "Before Kubernetes 1.22 a pod that exceeds it is evicted instead of told that it is full.", _size
        ),
    }


def _process(prefix: str) -> dict[str, Carried]:
    return {
        f"{prefix}/image": native(accepts=_image),
        f"{prefix}/pull": native("With always, each node resolves a tag when it starts a replica."),
        f"{prefix}/command": native("Its own references $(NAME) are written so that they stay as they are."),
        f"{prefix}/args": native("Its own references $(NAME) are written so that they stay as they are."),
        f"{prefix}/env": native("Its own references $(NAME) are written so that they stay as they are."),
        f"{prefix}/workdir": native(),
        f"{prefix}/user": native("Numbers only.", _user),
        f"{prefix}/cpu": native("A cap, and reserved on the node.", _cpu),
        f"{prefix}/memory": native("A cap, and reserved on the node.", _memory),
    }


_CONTAINER: dict[str, Carried] = {
    **_process(""),
    **_health(""),
    **_mounts(""),
    "/image_auth": native("Kept as a Secret of the namespace. A cached image is used without it on some clusters."),
    "/env_secrets": native(
        "Kept as a Secret of the namespace; whoever may read Secrets or inspect pods there can read them.", _env_secrets
    ),
    "/hostname": native(accepts=_hostname),
    "/tty": native(),
    "/stdin": native(),
    "/ports/*/port": native("Inside, it is reached by the app's name at the ports that are listed.", _port),
    "/ports/*/protocol": native(),
    "/ports/*/name": native(accepts=_port_name),
    "/ports/*/publish": native(f"Reached at every node, at a port from {NODE_PORTS[0]} to {NODE_PORTS[-1]}.", _publish),
    "/gpu": native(f"As {podspec.GPU}, by NVIDIA's device plugin."),
    "/networks": native("The cluster's own, or the host's.", _networks),
    "/restart": native("With growing delays, at most 5 minutes.", _restart),
    "/stop_signal": absent("Kubernetes takes it from the image (STOPSIGNAL), else SIGTERM; leave it out."),
    "/stop_timeout": native("At least 1 second: with 0 a cluster forgets pods whose processes still run."),
    "/labels": native("On the Deployment or the container's pod, not on the pods of an app.", _labels),
    "/desired_state": emulated(
        "What is stopped has no pod: what a container wrote into itself and its logs are lost.", _desired_state
    ),
}

_APP: dict[str, Carried] = {
    "/replicas": native(),
    "/sidecars/*/name": native(accepts=_sidecar_name),
    **_process("/sidecars/*"),
    **_health("/sidecars/*"),
    **_mounts("/sidecars/*"),
    "/update/strategy": native(),
    "/update/max_surge": native(_SCALED, _share),
    "/update/max_unavailable": native(_SCALED, _unavailable),
    "/update/min_ready": native(),
    "/update/deadline": native("Judged by the gateway.", within_deadline),
    "/update/paused": native(),
    "/update/on_failure": emulated("Judged by the gateway."),
    "/placement/constraints": native("By the labels of nodes.", _constraints),
    "/placement/spread": native(
        "Kept as well as can be when replicas are placed; they are not moved later. Absent, as the scheduler does.",
        _spread,
    ),
}

FIELDS: Accounting = {**_CONTAINER, **_APP}
