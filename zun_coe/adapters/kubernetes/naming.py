"""Names, namespaces and labels of native objects. Names follow from ids, so that what a lost step made is found
again and never made twice; labels say whose an object is. Pure.

Kubernetes takes label values of at most 63 characters of `[A-Za-z0-9._-]`, which ids and names are; a project
may be anything, so its label is its name in a namespace and the whole of it stands in an annotation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from zun_coe.model import WorkloadRef

DOMAIN = "zun.openstack.org"
INSTALLATION = f"{DOMAIN}/installation"
CLUSTER = f"{DOMAIN}/cluster"
PROJECT = f"{DOMAIN}/project"
NOUN = f"{DOMAIN}/noun"
ID = f"{DOMAIN}/id"
HASH = f"{DOMAIN}/hash"
VOLUME = f"{DOMAIN}/volume"
RESTARTED = f"{DOMAIN}/restarted"
"""An annotation of a container's pod: the restart that made it."""
REMINDED = f"{DOMAIN}/reminded"
"""An annotation of a pod that is not ended in time: when its kubelet was reminded of it."""
APPLIED = f"{DOMAIN}/applied"
"""An annotation: the digest of what the gateway last sent. What is otherwise beside the same digest, others changed."""
PROJECT_NAME = f"{DOMAIN}/project-name"
"""An annotation: the project, whatever characters it has."""
SCALED_BY = f"{DOMAIN}/scaled-by"
"""An annotation of a Deployment: the autoscaler that its number of replicas is left to."""
NAME = f"{DOMAIN}/name"
"""A label: the resource's own name, which a DNS label can hold."""
PLACE = f"{DOMAIN}/place"
"""An annotation of all that belongs to an app which was taken over: the `Place` of its Deployment."""
ORIGINAL = f"{DOMAIN}/original"
"""An annotation of a Deployment that was taken over: the hash of the template that it came with, a dot, and
Kubernetes' own name for it."""

OWNERSHIP = (INSTALLATION, CLUSTER, PROJECT)
"""The labels that say that an object is a project's of this gateway."""
FIELD_MANAGER = "zun-coe"

_OTHERS = re.compile(r"[^a-z0-9]+")


class Place(NamedTuple):
    """Where an app is that was taken over: its Deployment, and the main one of its containers."""

    namespace: str
    name: str
    main: str

    def __str__(self) -> str:
        return "/".join(self)


def place_of(told: str | None) -> Place | None:
    """A place as it is written in references and annotations; None where there is none."""
    parts = (told or "").split("/")
    return Place(*parts) if len(parts) == 3 else None


def project_label(project: str) -> str:
    """A project as a label's value, and as a part of a name: readable, and its own."""
    slug = _OTHERS.sub("-", project.lower()).strip("-")[:36].rstrip("-")
    return f"{slug or 'project'}-{hashlib.sha256(project.encode()).hexdigest()[:8]}"


def namespace(installation: str, project: str) -> str:
    """The namespace of a project, one for each gateway that may use the cluster."""
    return f"zun-{project_label(project)}-{hashlib.sha256(installation.encode()).hexdigest()[:6]}"


def ours(installation: str, cluster: str) -> dict[str, str]:
    """The labels that everything of one cluster has."""
    return {INSTALLATION: installation, CLUSTER: cluster}


def of_project(installation: str, cluster: str, project: str) -> dict[str, str]:
    """The labels that everything of one project has, its namespace and volumes too."""
    return ours(installation, cluster) | {PROJECT: project_label(project)}


def of_workload(ref: WorkloadRef) -> dict[str, str]:
    """The labels that every object of one workload has."""
    owner = of_project(ref.installation, ref.cluster, ref.project)
    return owner | {NOUN: ref.noun, ID: ref.id, NAME: ref.name}


def selector(labels: Mapping[str, str]) -> str:
    """As the API takes it: `a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def object_name(ref: WorkloadRef) -> str:
    """The Deployment's or Pod's name, 63 characters at most."""
    return f"{ref.name[:54].rstrip('-')}-{ref.id[:8]}"


def service_name(ref: WorkloadRef, *, shared: bool) -> str:
    """The name by which others of its project reach it: an app's own, where it has the namespace with its project
    alone; else (`shared`, or a container, which may have an app's name) the object's."""
    return object_name(ref) if shared or ref.noun == "container" else ref.name


def instance_id(pod: str, uid: str) -> str:
    """The id of a pod as an instance. The pod of a container has the same name each time: the uid tells one from the
    next, the name is what the API finds it by."""
    return f"{pod}/{uid}"


def pod_of(native_id: str) -> tuple[str, str]:
    """The name and the uid of the pod that an instance is."""
    pod, _, uid = native_id.partition("/")
    return pod, uid


def volume_name(name: str, id: str) -> str:
    """A volume claim's name."""
    return f"{name[:54].rstrip('-')}-{id[:8]}"


def ref_of(labels: Mapping[str, str], annotations: Mapping[str, str]) -> WorkloadRef | None:
    """Whose an object is, None where it does not say."""
    try:
        return WorkloadRef(
            installation=labels[INSTALLATION],
            cluster=labels[CLUSTER],
            project=annotations[PROJECT_NAME],
            noun="container" if labels[NOUN] == "container" else "app",
            id=labels[ID],
            name=labels[NAME],
            place=annotations.get(PLACE),
        )
    except KeyError:
        return None
