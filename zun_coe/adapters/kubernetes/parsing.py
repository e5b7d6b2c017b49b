"""Native objects as what would have been said to get them: the way back of `manifest` and `podspec`. Pure.

What a specification cannot say is left out here and found by `adoption.lost`. Of what the gateway rendered itself all
comes back but what no object holds: the name of the secret with the registry's login, a signal, a judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from zun_coe.adapters.kubernetes import naming, podspec, quantities, syntax
from zun_coe.adapters.kubernetes.expansion import unescaped
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
)

_PULL = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}
_RESTART: Mapping[str, Literal["always", "on_failure", "never"]] = {
    "Always": "always",
    "OnFailure": "on_failure",
    "Never": "never",
}
_TERMINATION = 30
"""The grace of a pod that names none, in seconds."""


@dataclass(frozen=True)
class Understood:
    """What a Deployment and its Services say. `volumes`: the name of each volume in the template, and the claim that
    it is. `main`: the name of the container that the template is about."""

    template: Template
    replicas: int
    update: Update
    placement: Placement
    labels: Mapping[str, str]
    volumes: Mapping[str, str]
    main: str


def understood(
    deployment: Mapping[str, Any], services: Iterable[Mapping[str, Any]], claims: Iterable[Mapping[str, Any]]
) -> Understood:
    """What is said by a Deployment, the Services of its namespace (those that lead elsewhere do not count) and its
    claims."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    pod = spec["template"]["spec"]
    sources = {claim["metadata"]["name"]: _claimed(claim) for claim in claims}
    labels = metadata.get("labels") or {}
    leading = [s for s in services if _leads(s, spec["template"]["metadata"].get("labels") or {})]
    return Understood(
        template=_template(pod, sources, leading, metadata["name"]),
        replicas=spec.get("replicas", 1),
        update=_update(spec),
        placement=_placement(pod),
        labels={key: value for key, value in labels.items() if syntax.is_free_label(key, value)},
        volumes=_named_claims(pod, sources),
        main=pod["containers"][0]["name"],
    )


def _template(
    pod: Mapping[str, Any], sources: Mapping[str, VolumeSource], services: Sequence[Mapping[str, Any]], name: str
) -> Template:
    main, *others = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod.get("volumes") or ()}
    logins = pod.get("imagePullSecrets") or ()
    return Template(
        **_process(main, volumes, sources),
        env_secrets=_env_secrets(main, name),
        tty=main.get("tty", False),
        stdin=main.get("stdin", False),
        ports=tuple(_port(port, services) for port in main.get("ports") or ()),
        gpu=int(_limits(main).get(podspec.GPU, 0)),
        image_auth=logins[0]["name"] if logins else None,
        hostname=pod.get("hostname"),
        networks=podspec.HOST_NETWORK if pod.get("hostNetwork") else (),
        restart=_RESTART[pod.get("restartPolicy", "Always")],
        stop_timeout=pod.get("terminationGracePeriodSeconds", _TERMINATION),
        sidecars=tuple(Sidecar(name=c["name"], **_process(c, volumes, sources)) for c in others),
    )


def _process(
    container: Mapping[str, Any], volumes: Mapping[str, Any], sources: Mapping[str, VolumeSource]
) -> dict[str, Any]:
    """What a main container and a sidecar have in common."""
    limits = _limits(container)
    mounts = (_mount(m, volumes.get(m["name"], {}), sources) for m in container.get("volumeMounts") or ())
    return {
        "image": container["image"],
        "pull": _PULL[container.get("imagePullPolicy", "IfNotPresent")],
        "command": _words(container.get("command")),
        "args": _words(container.get("args")),
        "env": {v["name"]: _plain(v.get("value", "")) for v in container.get("env") or () if "valueFrom" not in v},
        "workdir": container.get("workingDir"),
        "user": _user(container.get("securityContext") or {}),
        "cpu": float(number) if (number := quantities.number_of(limits.get("cpu"))) is not None else None,
        "memory": quantities.size_of(limits["memory"]) if "memory" in limits else None,
        "mounts": tuple(mount for mount in mounts if mount is not None),
        "health": health(container),
    }


def _limits(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return (container.get("resources") or {}).get("limits") or {}


def _words(words: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(map(_plain, words)) if words else None


def _plain(text: str) -> str:
    """What the process is given; a text that depends on variables as it is, which is then found to differ."""
    found = unescaped(text)
    return text if found is None else found


def _env_secrets(container: Mapping[str, Any], name: str) -> dict[str, str]:
    """Variables from Secrets: our own tells the secret and its key, of another one it is the name."""
    references = {
        v["name"]: v["valueFrom"]["secretKeyRef"]
        for v in container.get("env") or ()
        if "secretKeyRef" in v.get("valueFrom", {})
    }
    return {
        variable: r["key"].replace(".", "/", 1) if r["name"] == f"{name}-env" else f"{r['name']}/{r['key']}"
        for variable, r in references.items()
    }


def _user(security: Mapping[str, Any]) -> str | None:
    if "runAsUser" not in security:
        return None
    group = f":{security['runAsGroup']}" if "runAsGroup" in security else ""
    return f"{security['runAsUser']}{group}"


def _mount(mount: Mapping[str, Any], volume: Mapping[str, Any], sources: Mapping[str, VolumeSource]) -> Mount | None:
    """None for a kind of volume that cannot be said."""
    common = {"path": mount["mountPath"], "read_only": mount.get("readOnly", False)}
    if claim := volume.get("persistentVolumeClaim"):
        name = claim["claimName"]
        return Mount(**common, volume=sources.get(name) or VolumeSource(name=name))
    if path := volume.get("hostPath"):
        return Mount(**common, bind=path["path"])
    memory = volume.get("emptyDir") or {}
    if memory.get("medium") == "Memory":
        return Mount(**common, tmpfs=Tmpfs(size=quantities.size_of(memory.get("sizeLimit"))))
    return None


def _claimed(claim: Mapping[str, Any]) -> VolumeSource:
    metadata, spec = claim["metadata"], claim["spec"]
    name = (metadata.get("labels") or {}).get(naming.NAME, metadata["name"])
    asked = (spec.get("resources") or {}).get("requests") or {}
    return VolumeSource(name=name, size=quantities.size_of(asked.get("storage")), class_=spec.get("storageClassName"))


def _named_claims(pod: Mapping[str, Any], sources: Mapping[str, VolumeSource]) -> dict[str, str]:
    named = [v["persistentVolumeClaim"]["claimName"] for v in pod.get("volumes") or () if "persistentVolumeClaim" in v]
    return {sources[claim].name if claim in sources else claim: claim for claim in named}


def health(container: Mapping[str, Any]) -> Health | None:
    """The check that decides whether a container is ready; None where none does, or one of a kind that cannot
    be said. Seconds are fractions, as everywhere else: the hash of a template tells 1 from 1.0."""
    probe = container.get("readinessProbe")
    check = _check(probe, container) if probe else None
    if probe is None or check is None:
        return None
    interval, retries = float(probe.get("periodSeconds", 10)), probe.get("failureThreshold", 3)
    startup = container.get("startupProbe")
    uncounted = startup.get("failureThreshold", 3) - retries if startup else 0
    return msgspec.structs.replace(
        check,
        interval=interval,
        timeout=float(probe.get("timeoutSeconds", 1)),
        retries=retries,
        start_period=max(0, uncounted) * interval,
    )


def _check(probe: Mapping[str, Any], container: Mapping[str, Any]) -> Health | None:
    if get := probe.get("httpGet"):
        return Health(http=HttpGet(port=port_of(get["port"], container), path=get.get("path", "/")))
    if connect := probe.get("tcpSocket"):
        return Health(tcp=TcpConnect(port=port_of(connect["port"], container)))
    if run := probe.get("exec"):
        return Health(exec=Exec(command=_words(run.get("command")) or ()))
    return None


def port_of(port: int | str, container: Mapping[str, Any]) -> int:
    """A port by its number, or by its name among the container's; 0 for a name that none has."""
    if isinstance(port, int):
        return port
    return next((int(p["containerPort"]) for p in container.get("ports") or () if p.get("name") == port), 0)


def _port(port: Mapping[str, Any], services: Sequence[Mapping[str, Any]]) -> Port:
    number, protocol = port["containerPort"], port.get("protocol", "TCP")
    published: list[int | Literal["auto"]] = [
        p.get("nodePort") or "auto"
        for service in services
        for p in service["spec"].get("ports") or ()
        if service["spec"].get("type") == "NodePort"
        and p.get("protocol", "TCP") == protocol
        and p.get("targetPort", p["port"]) in (number, port.get("name"))
    ]
    return Port(
        port=number, protocol=protocol.lower(), name=port.get("name"), publish=published[0] if published else None
    )


def _leads(service: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a Service leads to pods with these labels."""
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= labels.items()


def _update(spec: Mapping[str, Any]) -> Update:
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    limits = {"max_surge": rolling.get("maxSurge", "25%"), "max_unavailable": rolling.get("maxUnavailable", "25%")}
    recreate = strategy.get("type") == "Recreate"
    return Update(
        strategy="recreate" if recreate else "rolling",
        min_ready=spec.get("minReadySeconds", 0),
        deadline=spec.get("progressDeadlineSeconds", 600),
        paused=spec.get("paused", False),
        **({} if recreate else limits),
    )


def _placement(pod: Mapping[str, Any]) -> Placement:
    spread = pod.get("topologySpreadConstraints") or ()
    return Placement(
        constraints=dict(pod.get("nodeSelector") or {}), spread=spread[0]["topologyKey"] if spread else None
    )
