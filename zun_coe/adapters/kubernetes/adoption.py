"""Whether a Deployment that somebody else made can become ours without being changed. Pure.

It can where rendering what was understood of it gives the same pods. Names are not what a pod is: its container may be
called anything, and so may its volumes; and so may the labels by which the Deployment finds it, which can never be
changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from zun_coe.adapters.kubernetes.difference import differences
from zun_coe.adapters.kubernetes.parsing import port_of
from zun_coe.adapters.kubernetes.podspec import MAIN
from zun_coe.model import Drift

_POD = "/spec/template/spec"
# What the server fills in by itself, wherever it stands.
_DEFAULTS: Mapping[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "scheme": "HTTP",
    "successThreshold": 1,
    "serviceAccountName": "default",
    "serviceAccount": "default",
    "enableServiceLinks": True,
}
# What every pod of ours has besides: the next rollout of what was taken over brings it.
_OURS: Mapping[str, Any] = {"enableServiceLinks": False, "automountServiceAccountToken": False}
# Keys below are somebody's own.
_MAPS = frozenset({"nodeSelector", "matchLabels", "limits", "requests"})


def lost(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Drift, ...]:
    """What would be otherwise in the pods of a Deployment if `rendered` took its place, in both directions; empty
    where nothing would. `wanted` is what rendering gives, `found` what is there."""
    ours, theirs = _comparable(rendered), _comparable(live)
    changed = differences(ours, theirs)
    gone = (Drift(pointer=d.pointer, wanted=d.found, found=d.wanted) for d in differences(theirs, ours))
    told = {drift.pointer: drift for drift in (*gone, *changed)}
    return tuple(Drift(pointer=_POD + p, wanted=d.wanted, found=d.found) for p, d in sorted(told.items()))


def fitted(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """The Deployment as rendered, with what a live one keeps for good: its name, its selector with the labels that
    this needs, and the name of its first container."""
    found = copy.deepcopy(dict(rendered))
    found["metadata"]["name"] = live["metadata"]["name"]
    selector = live["spec"]["selector"]
    found["spec"]["selector"] = selector
    found["spec"]["template"]["metadata"]["labels"] |= selector.get("matchLabels") or {}
    found["spec"]["template"]["spec"]["containers"][0]["name"] = _containers(live)[0]["name"]
    return found


def _containers(deployment: Mapping[str, Any]) -> Any:
    return deployment["spec"]["template"]["spec"]["containers"]


def _comparable(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """A Deployment's pod, with one name for what means the same and without what would be there anyway."""
    pod = copy.deepcopy(dict(deployment["spec"]["template"]["spec"]))
    for key, value in _OURS.items():
        if pod.get(key) == value:
            del pod[key]
    _rename_volumes(pod)
    pod["containers"][0]["name"] = MAIN
    for container in pod["containers"]:
        _number_ports(container)
    return dict(_stripped(pod))


def _rename_volumes(pod: dict[str, Any]) -> None:
    """Call each volume by what it is. Memory has nothing of its own but where it is mounted."""
    names = {}
    mounts = [(index, m) for index, container in enumerate(pod["containers"]) for m in _mounts(container)]
    for volume in pod.get("volumes") or ():
        claim, path = volume.get("persistentVolumeClaim"), volume.get("hostPath")
        place = next(((i, m["mountPath"]) for i, m in mounts if m["name"] == volume["name"]), "nowhere")
        is_ = f"claim:{claim['claimName']}" if claim else f"path:{path['path']}" if path else f"at:{place}"
        names[volume["name"]] = volume["name"] = is_
    for container in pod["containers"]:
        for mount in _mounts(container):
            mount["name"] = names.get(mount["name"], mount["name"])


def _mounts(container: Mapping[str, Any]) -> Any:
    return container.get("volumeMounts") or ()


def _number_ports(container: dict[str, Any]) -> None:
    """Probes may name a port; it is its number that they ask."""
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        for kind in ("httpGet", "tcpSocket"):
            if asked := (container.get(probe) or {}).get(kind):
                asked["port"] = port_of(asked["port"], container)


def _stripped(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping) and key not in _MAPS:
        inner = {k: _stripped(v, k) for k, v in value.items() if k not in _DEFAULTS or _DEFAULTS[k] != v}
        return {k: v for k, v in inner.items() if v not in (None, {}, [])}
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value
