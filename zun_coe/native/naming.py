"""Names and labels of native objects. Names follow from ids, so that what a lost step made is found again
and never made twice; labels say whose an object is. Neither holds a generation, since neither can change.

Two labels besides the owner's carry what an observation needs and a runtime does not keep: the probe that the
gateway runs, and the grace of a stop. Both follow from the template, as the hash does.

A runtime adds the labels of an image to those of a container made from it, so whoever builds an image could
speak for the gateway. Therefore every label below is written on every container, empty where it has nothing to
say, images with labels of the reserved prefix are refused, and a keyed signature over all of them tells the
gateway's own labels from anybody else's."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

import msgspec

from zun_coe.model import Health, WorkloadRef

INSTALLATION = "zun.installation"
CLUSTER = "zun.cluster"
PROJECT = "zun.project"
NOUN = "zun.noun"
ID = "zun.id"
NAME = "zun.name"
SLOT = "zun.slot"
HASH = "zun.hash"
ROLE = "zun.role"
PARTS = "zun.parts"
HEALTH = "zun.health"
STOP_TIMEOUT = "zun.stop_timeout"
VOLUME = "zun.volume"
SIGNATURE = "zun.signature"

# The prefix that no image may use, and the labels that are written on every container and signed.
RESERVED = "zun."
SIGNED = (INSTALLATION, CLUSTER, PROJECT, NOUN, ID, NAME, SLOT, HASH, ROLE, PARTS, HEALTH, STOP_TIMEOUT)

MAIN = "main"
INFRA = "infra"

_PLAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def sidecar_role(name: str) -> str:
    """The role of the sidecar with this name."""
    return f"sidecar:{name}"


def ours(installation: str, cluster: str) -> dict[str, str]:
    """The labels that everything of one cluster has."""
    return {INSTALLATION: installation, CLUSTER: cluster}


def of_project(installation: str, cluster: str, project: str) -> dict[str, str]:
    """The labels that everything of one project has, networks and volumes too."""
    return ours(installation, cluster) | {PROJECT: project}


def of_owner(ref: WorkloadRef) -> dict[str, str]:
    """The labels of what is of the project that a workload is of."""
    return of_project(ref.installation, ref.cluster, ref.project)


def of_workload(ref: WorkloadRef) -> dict[str, str]:
    """The labels that every container of one workload has."""
    owner = of_project(ref.installation, ref.cluster, ref.project)
    return owner | {NOUN: ref.noun, ID: ref.id, NAME: ref.name}


def ref_of(labels: Mapping[str, str]) -> WorkloadRef | None:
    """Whose a container is, None where its labels do not say."""
    try:
        return msgspec.convert(
            {name: labels[f"zun.{name}"] for name in ("installation", "cluster", "project", "noun", "id", "name")},
            type=WorkloadRef,
        )
    except (KeyError, msgspec.ValidationError):
        return None


def signed(labels: Mapping[str, str], key: bytes) -> dict[str, str]:
    """All labels of a container: those given, the rest of `SIGNED` empty, and the signature over these."""
    whole = dict.fromkeys(SIGNED, "") | dict(labels)
    return whole | {SIGNATURE: _signature(whole, key)}


def is_genuine(name: str, labels: Mapping[str, str], key: bytes) -> bool:
    """Whether the gateway itself wrote the labels of the container with this name.

    Containers made before labels were signed are known by their names, which follow from the labels: an image
    can bring labels and no name."""
    signature = labels.get(SIGNATURE)
    if signature is not None:
        return hmac.compare_digest(signature.encode(), _signature(labels, key).encode())
    ref, slot = ref_of(labels), labels.get(SLOT, "")
    if ref is None or not slot.isdecimal():
        return False
    return name == container_name(ref, int(slot), labels.get(HASH, ""), labels.get(ROLE, MAIN))


def reserved(labels: Iterable[str]) -> list[str]:
    """Those of the labels that only the gateway may write."""
    return sorted(label for label in labels if label.startswith(RESERVED))


def container_name(ref: WorkloadRef, slot: int, hash_: str, role: str = MAIN) -> str:
    """The name of one container of one replica: at most one can have it on a host."""
    own = f"zun-{ref.name}-{_digits(ref.id, 12)}"
    if ref.noun == "container":
        return own
    replica = f"{own}-{slot}-{hash_[:8]}"
    return replica if role == MAIN else f"{replica}-{role.removeprefix('sidecar:')}"


def network_name(installation: str, project: str, network: str | None = None) -> str:
    """The network of a project on a host, or one of its further ones. A dot parts the two, which neither
    has, so that no two projects can ever mean the same network."""
    name = f"zun-{_digits(installation, 8)}-{_safe(project)}"
    return name if network is None else f"{name}.{_safe(network)}"


def is_network(name: str, installation: str) -> bool:
    """Whether this is the name of a network of a project of ours."""
    return name.startswith(f"zun-{_digits(installation, 8)}-")


def volume_name(id: str) -> str:
    """The native name of a volume."""
    return f"zun-{id}"


def health_label(health: Health | None) -> dict[str, str]:
    """The probe that the gateway runs, as a label; nothing for what the runtime checks itself."""
    if health is None or health.exec is not None:
        return {}
    return {HEALTH: msgspec.json.encode(health, order="deterministic").decode()}


def probe_of(labels: Mapping[str, str]) -> Health | None:
    """The probe that a container's label asks for; None also for a text that is none."""
    text = labels.get(HEALTH)
    try:
        return msgspec.json.decode(text, type=Health) if text else None
    except msgspec.MsgspecError:
        return None


def _signature(labels: Mapping[str, str], key: bytes) -> str:
    """Each label with its length, so that no two sets of labels have the same text."""
    values = [labels.get(name, "") for name in SIGNED]
    text = "".join(f"{name}={len(value)}:{value};" for name, value in zip(SIGNED, values, strict=True))
    return hmac.digest(key, text.encode(), "sha256").hex()[:32]


def _digits(id: str, count: int) -> str:
    return id.replace("-", "")[:count].lower()


def _safe(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    return "_" + hashlib.sha256(name.encode()).hexdigest()[:24]
