"""A template as the specification of a pod. Pure.

What a backend would fill in by itself is said where it means something. Two defaults of Kubernetes are not wanted:
variables for every service of the namespace (`enableServiceLinks`: an app called `redis` would be given a REDIS_PORT
that breaks it) and a token for the API in every container."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

from zun_coe.adapters.kubernetes import naming, quantities
from zun_coe.adapters.kubernetes.expansion import escaped
from zun_coe.errors import Invalid
from zun_coe.model import Health, Mount, Port, Sidecar, Template, Workload

MAIN = "main"
"""The name of the container that a template is about; the others have their sidecars' names."""
HOST_NETWORK = ("host",)
GPU = "nvidia.com/gpu"
HOSTNAME = "kubernetes.io/hostname"
START_PERIOD = f"{naming.DOMAIN}/start-period"
"""An annotation of a standalone container's pod: the seconds in which failures of its check do not count."""

_PULL = {"always": "Always", "missing": "IfNotPresent", "never": "Never"}
_RESTART = {"always": "Always", "on_failure": "OnFailure", "never": "Never"}


def pod_spec(workload: Workload) -> dict[str, Any]:
    """The specification of a pod, for a replica or for a container of its own. Raises `Invalid` for a volume that
    is not there."""
    template = workload.template
    spec: dict[str, Any] = {
        "containers": [_main(workload), *(_sidecar(workload, s) for s in template.sidecars)],
        "restartPolicy": _RESTART[template.restart],
        # With 0 the API forgets a pod before its processes have ended.
        "terminationGracePeriodSeconds": max(1, template.stop_timeout),
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
    }
    optional = {
        "hostname": template.hostname,
        "volumes": list(_volumes(workload)),
        "imagePullSecrets": [{"name": login_name(workload)}] if template.image_auth else None,
    }
    return spec | {k: v for k, v in optional.items() if v} | _network(template) | _placement(workload)


def secret_name(workload: Workload) -> str:
    """The name of the Secret with the values of variables."""
    return f"{naming.object_name(workload.ref)}-env"


def login_name(workload: Workload) -> str:
    """The name of the Secret with the registry's login."""
    return f"{naming.object_name(workload.ref)}-login"


def secret_key(source: str) -> str:
    """`database/password` as a key of the Secret: the first dot ends the secret's name, which has none."""
    return source.replace("/", ".", 1)


def claim_name(workload: Workload, volume: str) -> str:
    """The native name of a volume. Raises `Invalid` where the volume is not there any more."""
    if volume not in workload.volumes:
        raise Invalid(f"The volume {volume} is not there any more.", "VolumeUnavailable", {"volume": volume})
    return naming.volume_name(volume, workload.volumes[volume])


def volume_label(id: str) -> str:
    """The label of every pod that mounts a volume."""
    return f"volume.{naming.DOMAIN}/{id}"


def volumes_of(template: Template) -> list[str]:
    """The names of the volumes that a pod mounts, in their order."""
    return list(dict.fromkeys(m.volume.name for _, m in _mounts_of(template) if m.volume))


def default_port_name(port: Port) -> str:
    """What a service calls a port that has no name."""
    return f"{port.protocol}-{port.port}"


def _main(workload: Workload) -> dict[str, Any]:
    template = workload.template
    container = _container(workload, MAIN, template)
    env = [v for v in container.get("env", []) if v["name"] not in template.env_secrets]
    env += [_secret_variable(workload, n, source) for n, source in sorted(template.env_secrets.items())]
    limits = _limits(template.cpu, template.memory, template.gpu)
    more = {"env": env, "ports": [_port(p) for p in template.ports], "resources": limits}
    switches = {"tty": template.tty, "stdin": template.stdin}
    return container | {k: v for k, v in (more | switches).items() if v}


def _sidecar(workload: Workload, sidecar: Sidecar) -> dict[str, Any]:
    return _container(workload, sidecar.name, sidecar)


def _container(workload: Workload, name: str, process: Template | Sidecar) -> dict[str, Any]:
    """What a main container and a sidecar have in common."""
    optional: dict[str, Any] = {
        "command": [escaped(word) for word in process.command or ()],
        "args": [escaped(word) for word in process.args or ()],
        "env": [{"name": key, "value": escaped(value)} for key, value in sorted(process.env.items())],
        "workingDir": process.workdir,
        "securityContext": _security(process.user),
        "resources": _limits(process.cpu, process.memory),
        "volumeMounts": [_volume_mount(workload, name, mount) for mount in process.mounts],
    }
    start: dict[str, Any] = {"name": name, "image": process.image, "imagePullPolicy": _PULL[process.pull]}
    return start | {k: v for k, v in optional.items() if v} | probes(process.health, healing=not workload.standalone)


def _secret_variable(workload: Workload, name: str, source: str) -> dict[str, Any]:
    reference = {"name": secret_name(workload), "key": secret_key(source)}
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _port(port: Port) -> dict[str, Any]:
    named = {"name": port.name} if port.name else {}
    return {"containerPort": port.port, "protocol": port.protocol.upper()} | named


def _security(user: str | None) -> dict[str, int]:
    parts = user.split(":") if user else []
    return dict(zip(("runAsUser", "runAsGroup"), map(int, parts), strict=False))


def _limits(cpu: float | None, memory: str | None, gpu: int = 0) -> dict[str, Any]:
    """A cap is also what is reserved: a container that may use it finds it there."""
    caps = {}
    if cpu is not None:
        caps["cpu"] = quantities.of_cpus(cpu)
    if memory is not None:
        caps["memory"] = quantities.of_size(memory)
    limits = caps | ({GPU: str(gpu)} if gpu else {})
    return {"limits": limits, "requests": dict(limits)} if limits else {}


def probes(health: Health | None, *, healing: bool) -> dict[str, Any]:
    """Ready once the check has passed, and no longer after `retries` failures in a row. `healing`: then the container
    is started again too; one of its own is only shown to be unhealthy.

    While a startup probe has not passed, the others do not run: it lasts as long as failures do not count, and the
    `retries` failures that then do."""
    if health is None:
        return {}
    probe = _check(health) | {
        "periodSeconds": math.ceil(health.interval),
        "timeoutSeconds": math.ceil(health.timeout),
        "failureThreshold": health.retries,
    }
    found = {"readinessProbe": dict(probe)}
    if healing:
        found["livenessProbe"] = dict(probe)
    if healing and health.start_period:
        uncounted = math.ceil(health.start_period / math.ceil(health.interval))
        found["startupProbe"] = probe | {"failureThreshold": uncounted + health.retries}
    return found


def _check(health: Health) -> dict[str, Any]:
    if health.http is not None:
        return {"httpGet": {"path": health.http.path, "port": health.http.port}}
    if health.tcp is not None:
        return {"tcpSocket": {"port": health.tcp.port}}
    words = health.exec.command if health.exec else ()
    return {"exec": {"command": [escaped(word) for word in words]}}


def _mounts_of(template: Template) -> Iterator[tuple[str, Mount]]:
    """Every mount, with the container that has it."""
    for mount in template.mounts:
        yield MAIN, mount
    for sidecar in template.sidecars:
        for mount in sidecar.mounts:
            yield sidecar.name, mount


def _volumes(workload: Workload) -> Iterable[dict[str, Any]]:
    volumes: dict[str, dict[str, Any]] = {}
    for container, mount in _mounts_of(workload.template):
        volumes.setdefault(_volume_name(workload, container, mount), _source(workload, mount))
    return ({"name": name} | source for name, source in volumes.items())


def _source(workload: Workload, mount: Mount) -> dict[str, Any]:
    if mount.volume is not None:
        return {"persistentVolumeClaim": {"claimName": claim_name(workload, mount.volume.name)}}
    if mount.bind is not None:
        return {"hostPath": {"path": mount.bind, "type": ""}}
    size = {"sizeLimit": quantities.of_size(mount.tmpfs.size)} if mount.tmpfs and mount.tmpfs.size else {}
    return {"emptyDir": {"medium": "Memory"} | size}


def _volume_name(workload: Workload, container: str, mount: Mount) -> str:
    """Volumes and paths of the host are shared by a pod's containers, memory is each one's own."""
    if mount.volume is not None:
        return claim_name(workload, mount.volume.name)
    kind, of = ("bind", mount.bind) if mount.bind is not None else ("tmpfs", f"{container}:{mount.path}")
    return f"{kind}-{hashlib.sha256(str(of).encode()).hexdigest()[:10]}"


def _volume_mount(workload: Workload, container: str, mount: Mount) -> dict[str, Any]:
    where = {"name": _volume_name(workload, container, mount), "mountPath": mount.path}
    return where | ({"readOnly": True} if mount.read_only else {})


def _network(template: Template) -> dict[str, Any]:
    if template.networks != HOST_NETWORK:
        return {}
    return {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}


def _placement(workload: Workload) -> dict[str, Any]:
    found: dict[str, Any] = {}
    placement = workload.placement
    if placement.constraints:
        found["nodeSelector"] = dict(sorted(placement.constraints.items()))
    if placement.spread:
        found["topologySpreadConstraints"] = [_spread(workload, placement.spread)]
    if volumes_of(workload.template):
        found["affinity"] = _beside_volumes(workload)
    return found


def _spread(workload: Workload, key: str) -> dict[str, Any]:
    """Those of one template are spread among themselves, so that what is on its way out is not counted."""
    own = {naming.INSTALLATION: workload.ref.installation, naming.ID: workload.ref.id, naming.HASH: workload.hash}
    selector = {"matchLabels": own}
    return {"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}


def _beside_volumes(workload: Workload) -> dict[str, Any]:
    """A claim that is ReadWriteOnce is for one node, however many pods on it: all that mount it go to that one.

    The first may go anywhere, since it has the label itself. The scheduler looks for pods that match all terms, so
    that a pod with two volumes does not find one that has only the first: then attaching it tells."""
    terms = [
        {"labelSelector": {"matchLabels": {volume_label(workload.volumes[volume]): volume}}, "topologyKey": HOSTNAME}
        for volume in volumes_of(workload.template)
    ]
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
