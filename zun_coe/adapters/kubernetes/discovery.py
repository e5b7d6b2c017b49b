"""Which Kubernetes it is, and which versions of its APIs it has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from zun_coe.adapters.kubernetes.client import Client
from zun_coe.errors import Invalid

OLDEST = (1, 20)
SUPPORTED = "1.20 and later"

# What the gateway can use of each group, the best first.
_WANTED = {
    "apps": ("v1",),
    "autoscaling": ("v2", "v2beta2", "v1"),
    "policy": ("v1", "v1beta1"),
    "networking.k8s.io": ("v1",),
    "metrics.k8s.io": ("v1", "v1beta1"),
}
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


class _GroupVersion(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    name: str
    versions: list[_GroupVersion] = []


class _Groups(msgspec.Struct):
    groups: list[_Group] = []


@dataclass(frozen=True)
class Apis:
    """`version` as the server names it, as `v1.20.2`; `groups`: of each that the gateway can use, the best version
    that the server has."""

    version: str
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version; (0, 0) where the server's name for it is not understood."""
        told = _VERSION.match(self.version)
        return (int(told[1]), int(told[2])) if told else (0, 0)

    def has(self, group: str) -> bool:
        """Whether the server has a version of the group that the gateway can use."""
        return group in self.groups

    def told(self) -> dict[str, dict[str, str]]:
        """As capabilities show them."""
        apis = {"kubernetes": {"negotiated": self.version, "supported": SUPPORTED}}
        known = {group: ", ".join(_WANTED[group]) for group in self.groups}
        return apis | {g: {"negotiated": v, "supported": known[g]} for g, v in sorted(self.groups.items())}


def discover(client: Client) -> Apis:
    """Ask the server. Two calls. Raises `Invalid` where it is older than 1.20, or no Kubernetes."""
    version = client.read("/version", _Version).git_version
    offered = client.read("/apis", _Groups).groups
    apis = Apis(version, chosen({group.name: {v.version for v in group.versions} for group in offered}))
    if apis.release < OLDEST:
        message = f"It is Kubernetes {version or 'of no known version'}; {SUPPORTED} are supported."
        raise Invalid(message, "Error", {"version": version})
    return apis


def chosen(offered: Mapping[str, set[str]]) -> dict[str, str]:
    """Of each group that the gateway can use, the best version that is offered. Pure."""
    best = {group: next((v for v in wanted if v in offered.get(group, ())), None) for group, wanted in _WANTED.items()}
    return {group: version for group, version in best.items() if version is not None}
