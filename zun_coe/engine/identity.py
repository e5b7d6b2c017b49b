"""The identities of a cluster's engines: which were pinned, and which are others now. Pure.

An identity is one `name=id` for each engine of a cluster, separated by white space, or the one id of a cluster
that has one, which goes by the name `cluster`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from zun_coe.model import ClusterInfo, Node


def parts(identity: str | None) -> dict[str, str]:
    """The ids by the names of the engines."""
    pairs = (part.partition("=") for part in (identity or "").split())
    return {name if id else "cluster": id or name for name, _, id in pairs}


def exchanged(pinned: Mapping[str, str], found: Mapping[str, str], accepted: Mapping[str, str]) -> dict[str, str]:
    """Those that are others than the pinned ones, without those that were accepted."""
    return {n: id for n, id in found.items() if pinned.get(n, id) != id and accepted.get(n) != id}


def all_exchanged(pinned: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether nothing is left of what was pinned, so that the whole cluster is another one."""
    return bool(others) and others.keys() >= pinned.keys()


def pinned_now(
    pinned: Mapping[str, str], found: Mapping[str, str], others: Collection[str], hosts: Collection[str]
) -> str:
    """The identities kept: those found that are no others, and of the rest the ones of hosts still registered."""
    old = {name: id for name, id in pinned.items() if name in hosts}
    new = {name: id for name, id in found.items() if name not in others}
    return "\n".join(f"{name}={id}" for name, id in sorted((old | new).items()))


def told(name: str, pinned: Mapping[str, str], id: str) -> str:
    """What to tell of an engine that is another one."""
    return f"{name} was {pinned[name]} and is {id} now; nothing is applied there."


def marked(info: ClusterInfo, messages: Mapping[str, str], now: datetime) -> ClusterInfo:
    """The description, in which the nodes of other engines count as unreachable."""

    def mark(node: Node) -> Node:
        if node.name not in messages:
            return node
        since = node.unreachable_since or now
        message = messages[node.name]
        return msgspec.structs.replace(
            node, reachable=False, reason="BackendChanged", message=message, unreachable_since=since
        )

    return msgspec.structs.replace(info, nodes=tuple(mark(node) for node in info.nodes))
