"""Which Kubernetes it is, and which versions of its APIs it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from zun_coe.adapters.kubernetes import paths
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.wire import release
from zun_coe.errors import Invalid

OLDEST = (1, 20)
SUPPORTED = "1.20 and later"


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
    """`version` as the server names it, as `v1.20.2`; `groups`: of those that the gateway calls, the version that it
    calls, where the server has it."""

    version: str
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version; (0, 0) where the server's name for it is not understood."""
        return release(self.version)

    def told(self) -> dict[str, dict[str, str]]:
        """As capabilities show them."""
        apis = {"kubernetes": {"negotiated": self.version, "supported": SUPPORTED}}
        return apis | {g: {"negotiated": v, "supported": v} for g, v in sorted(self.groups.items())}


def discover(client: Client) -> Apis:
    """Ask the server. Two calls. Raises `Invalid` where it is older than 1.20, or no Kubernetes."""
    version = client.read("/version", _Version).git_version
    offered = client.read("/apis", _Groups).groups
    apis = Apis(version, called({group.name: {v.version for v in group.versions} for group in offered}))
    if apis.release < OLDEST:
        message = f"It is Kubernetes {version or 'of no known version'}; {SUPPORTED} are supported."
        raise Invalid(message, "Error", {"version": version})
    return apis


def called(offered: Mapping[str, set[str]]) -> dict[str, str]:
    """Of each group that the gateway calls, the version that it calls, where that is offered. Pure."""
    return {group: version for group, version in paths.groups().items() if version in offered.get(group, ())}
