"""Whether a Deployment that somebody else made can become ours without being changed. Pure.

It can where rendering what was understood of it gives the same pods. Names are not what a pod is: its container may be
called anything, and so may its volumes; and so may the labels by which the Deployment finds it, which can never be
changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from zun_coe.adapters.kubernetes import naming
from zun_coe.adapters.kubernetes.claiming import Original
from zun_coe.adapters.kubernetes.difference import differences
from zun_coe.adapters.kubernetes.parsing import port_of
from zun_coe.adapters.kubernetes.podspec import MAIN
from zun_coe.adapters.kubernetes.syntax import is_free_label
from zun_coe.model import Adopted, Drift

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
# What a Deployment keeps when it is taken over, besides its pods.
_KEPT = frozenset({"replicas", "selector", "revisionHistoryLimit", "template"})
# Keys below are somebody's own.
_MAPS = frozenset({"nodeSelector", "matchLabels", "limits", "requests"})


def lost(rendered: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[Drift, ...]:
    """What would be otherwise in a Deployment and its pods if `rendered` took its place, in both directions; empty
    where nothing would. `wanted` is what rendering gives, `found` what is there."""
    around = _both_ways(_around(rendered), _around(live), "/spec")
    return (*around, *_both_ways(_comparable(rendered), _comparable(live), _POD))


def _both_ways(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> Iterator[Drift]:
    changed = differences(ours, theirs)
    gone = (Drift(pointer=d.pointer, wanted=d.found, found=d.wanted) for d in differences(theirs, ours))
    told = {drift.pointer: drift for drift in (*gone, *changed)}
    return (Drift(pointer=where + p, wanted=d.wanted, found=d.found) for p, d in sorted(told.items()))


def _around(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """A Deployment without its pods, and without what it keeps."""
    return {key: value for key, value in deployment["spec"].items() if key not in _KEPT}


def kept(live: Mapping[str, Any], template: str) -> dict[str, Any]:
    """What has to be remembered of a Deployment that is taken over (`model.Adopted.native`). `template`: Kubernetes'
    own name for the one that it has."""
    metadata, spec = live["metadata"], live["spec"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if not is_free_label(key, value)}
    return {
        "uid": metadata["uid"],
        "labels": labels,
        "selector": spec["selector"],
        "history": spec.get("revisionHistoryLimit", 10),
        "template": _without_nothing(spec["template"]),
        "original": template,
    }


def is_as_kept(live: Mapping[str, Any], native: Mapping[str, Any]) -> bool:
    """Whether a Deployment still has the template that it was taken over with."""
    return bool(_without_nothing(live["spec"]["template"]) == native["template"])


def fitted(rendered: Mapping[str, Any], adopted: Adopted, hash_: str) -> dict[str, Any]:
    """A Deployment as rendered, with what one that was taken over keeps for good: its name, its selector, how many old
    templates are kept, and of its pods the labels, the annotations and the name of the main container. With the hash
    of the template that it came with, that very template."""
    found, native = copy.deepcopy(dict(rendered)), adopted.native
    metadata, spec = found["metadata"], found["spec"]
    metadata |= {"name": adopted.name, "labels": metadata["labels"] | native["labels"]}
    metadata["annotations"][naming.ORIGINAL] = str(Original(adopted.hash, native["original"]))
    spec |= {"selector": native["selector"], "revisionHistoryLimit": native["history"]}
    theirs = native["template"]
    spec["template"] = theirs if hash_ == adopted.hash else _joined(spec["template"], theirs)
    return found


def _joined(ours: dict[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """A template of ours, with what was always in theirs. Their labels come first: the selector may need them."""
    for key in ("labels", "annotations"):
        ours["metadata"][key] |= theirs["metadata"].get(key) or {}
    pod, before = ours["spec"], theirs["spec"]
    pod["containers"][0]["name"] = before["containers"][0]["name"]
    for key in _OURS:
        pod.pop(key, None)
        pod |= {key: before[key]} if key in before else {}
    return ours


def _without_nothing(value: Any) -> Any:
    """Servers write some fields as null, which cannot be applied."""
    if isinstance(value, Mapping):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [_without_nothing(item) for item in value] if isinstance(value, list) else value


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
