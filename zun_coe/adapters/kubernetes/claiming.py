"""The pods of Deployments that were taken over. Pure.

Until the first rollout their pods have no label that says whose they are, since a change of the template would start
all of them anew. They are known by their ReplicaSet, which has the Deployment's name and Kubernetes' own name for the
template, as its pods have in a label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from zun_coe.adapters.kubernetes import naming, wire

TEMPLATE = "pod-template-hash"
"""The label of pods and ReplicaSets by which Kubernetes tells templates apart."""
_WHOSE = (*naming.OWNERSHIP, naming.NOUN, naming.ID, naming.NAME)


class Original(NamedTuple):
    """The template that a Deployment came with: our hash of it, and Kubernetes' name for it. Both are empty where the
    Deployment is our own."""

    hash: str = ""
    template: str = ""

    def __str__(self) -> str:
        return ".".join(self)


def is_adopted(deployment: Mapping[str, Any]) -> bool:
    """Whether a Deployment of ours was taken over."""
    return naming.PLACE in (deployment["metadata"].get("annotations") or {})


def original(deployment: Mapping[str, Any]) -> Original:
    """What a Deployment came with."""
    told = (deployment["metadata"].get("annotations") or {}).get(naming.ORIGINAL, "")
    hash_, _, template = told.partition(".")
    return Original(hash_, template)


def labels_of_pods(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Labels that all pods of a Deployment have."""
    return dict(deployment["spec"]["selector"].get("matchLabels") or {})


def claimed(deployment: Mapping[str, Any], pods: Iterable[wire.Pod]) -> Iterator[wire.Pod]:
    """Those of the pods that are a Deployment's, with the labels and annotations that say so; the hash of the template
    that it came with is among them, where they were made from that."""
    metadata = deployment["metadata"]
    came_with = original(deployment)
    whose = _of(metadata["labels"], _WHOSE)
    notes = _of(metadata["annotations"], (naming.PROJECT_NAME, naming.PLACE))
    for pod in pods:
        template = pod.metadata.labels.get(TEMPLATE, "")
        owners = {(o.kind, o.name) for o in pod.metadata.owner_references}
        in_place = pod.metadata.namespace == metadata.get("namespace") and naming.ID not in pod.metadata.labels
        if not in_place or ("ReplicaSet", f"{metadata['name']}-{template}") not in owners:
            continue
        hash_ = {naming.HASH: came_with.hash} if template == came_with.template else {}
        told = msgspec.structs.replace(
            pod.metadata, labels=pod.metadata.labels | whose | hash_, annotations=pod.metadata.annotations | notes
        )
        yield msgspec.structs.replace(pod, metadata=told)


def _of(those: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    return {key: those[key] for key in keys if key in those}
