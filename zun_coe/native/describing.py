"""A native cluster as it describes itself: the sum of what its hosts say. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from zun_coe.adapters import OPERATIONS
from zun_coe.errors import Invalid
from zun_coe.model import ClusterInfo, Node, OperationSupport, Support
from zun_coe.native.hosts import NativeHost
from zun_coe.native.runtime import RuntimeInfo

_RANK = {Support.NONE: 0, Support.EMULATED: 1, Support.NATIVE: 2}


def cluster_info(
    hosts: Iterable[NativeHost], answered: frozenset[str], suspects: frozenset[str] = frozenset()
) -> ClusterInfo:
    """The cluster. Its identity is a line `name=identity` for each host that ever answered. Raises `Invalid` where
    two hosts have the same identity, since then everything would be counted twice."""
    hosts = list(hosts)
    known = {host.name: host.info for host in hosts if host.info is not None}
    owners: dict[str, str] = {}
    for name, info in sorted(known.items()):
        other = owners.setdefault(info.identity, name)
        if other != name:
            raise Invalid(f"The hosts {other} and {name} are the same engine.", evidence={"identity": info.identity})
    return ClusterInfo(
        identity="\n".join(f"{name}={info.identity}" for name, info in sorted(known.items())),
        versions=_versions(list(known.values())),
        nodes=tuple(
            _suspected(node) if node.name in suspects and node.reachable else node
            for node in (_node(host, host.name in answered and host.reachable) for host in hosts)
        ),
        operations={name: _weakest([info.operations.get(name) for info in known.values()]) for name in OPERATIONS},
        overrides=_without_limits(known),
    )


def _suspected(node: Node) -> Node:
    message = (
        "Most health checks of what runs here got no answer at the same time, while its engine answers: the way from"
        " the gateway to it is suspected, and nothing is replaced until some answer."
    )
    return replace(node, reason="BackendUnreachable", message=message)


def _without_limits(known: Mapping[str, RuntimeInfo]) -> dict[str, OperationSupport]:
    """The limits that some host cannot keep, since nobody knows beforehand which host it will be."""
    overrides: dict[str, OperationSupport] = {}
    for limit in ("cpu", "memory"):
        hosts = sorted(name for name, info in known.items() if limit in info.unlimited)
        if hosts:
            note = (
                f"The engine of the host {hosts[0]} leaves out limits of {limit}: its kernel lacks the control group "
                "for it, or the engine runs without the privileges for it."
            )
            lacking = OperationSupport(support=Support.NONE, note=note)
            overrides |= {f"/{limit}": lacking, f"/sidecars/*/{limit}": lacking}
    return overrides


def _node(host: NativeHost, answered: bool) -> Node:
    info, trouble = host.info, host.reachability.trouble
    versions = info.versions.get(host.host.runtime, {}) if info else {}
    return Node(
        name=host.name,
        address=host.address,
        labels=host.host.labels,
        schedulable=host.host.schedulable,
        reachable=answered,
        local=host.local,
        cpus=info.cpus if info else None,
        memory=info.memory if info else None,
        gpus=info.gpus if info else 0,
        version=versions.get("engine") or versions.get("negotiated"),
        message=None if answered or trouble is None else trouble.message,
        reason=None if answered or trouble is None else trouble.reason,
        unreachable_since=None if answered else host.reachability.since,
        facts={"runtime": host.host.runtime} | (_facts(info) if info else {}),
    )


def _facts(info: RuntimeInfo) -> dict[str, Any]:
    unlimited = {"cannot_limit": sorted(info.unlimited)} if info.unlimited else {}
    return dict(info.facts) | {"identity": info.identity} | unlimited


def _versions(infos: Sequence[RuntimeInfo]) -> dict[str, dict[str, str]]:
    """The versions of all hosts; where they differ, every one that there is."""
    told: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for info in infos:
        for api, versions in info.versions.items():
            for name, version in versions.items():
                told[api][name].add(version)
    return {api: {name: ", ".join(sorted(seen)) for name, seen in of.items()} for api, of in told.items()}


def _weakest(supports: Sequence[OperationSupport | None]) -> OperationSupport:
    """What every host can do, since nobody knows beforehand which of them it will be."""
    lacking = OperationSupport(support=Support.NONE, note="A host's runtime does not offer it.")
    return min((s or lacking for s in supports), key=lambda s: _RANK[s.support], default=lacking)
