"""How much is kept of what a backend says: enough to see what is wrong, and never more than a status has room for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from zun_coe.model.observation import Endpoint, Instance, Observation
from zun_coe.model.value import timestamp
from zun_coe.model.workload import ClusterInfo, Node

TEXT = 1000
"""So many characters of a text are kept."""
ITEMS = 20
"""So many entries of a list or an object are kept."""
SHOWN = 60
"""So many characters of what somebody gave are repeated in a sentence about it."""
DEPTH = 6
"""Objects within objects are kept down to this level."""
BYTES = 4000
"""The JSON of one piece of evidence is never longer."""

NAME = 400
"""So many characters of a name are kept, or of a label's key or value. Real ones are shorter."""
IDENTITY = 300
"""The same of an engine's identity."""
LABELS = 500
"""So many labels of a node are kept."""
NODES = 10_000
"""So many nodes of a cluster are kept."""

ENDPOINTS = 1000
"""So many endpoints of one app are kept."""
# Names and references, of the length that most have.
_PLAIN = re.compile(r"[A-Za-z0-9/][-A-Za-z0-9._:/@+]{0,99}")


def cut(text: str, most: int = TEXT) -> str:
    """A text that is not too long; it says how much is missing. What was cut once stays as it is."""
    if len(text) <= most:
        return text
    told = f" … ({len(text)} characters)"
    return text[: most - len(told)] + told


def quoted(text: str, most: int = SHOWN) -> str:
    """A text in quotation marks, as a sentence can hold it: in one line, of characters that can be seen, and cut."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:most])
    return f'"{clean}{"…" if len(text) > most else ""}"'


def named(text: str) -> str:
    """What somebody calls something: as it is where it may be a name or a reference, else quoted."""
    return text if _PLAIN.fullmatch(text) else quoted(text)


def capped(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence that is not too large. What was capped once stays as it is."""
    if not evidence:
        return {}
    kept: dict[str, Any] = _capped(evidence, DEPTH)
    size = {name: len(msgspec.json.encode(value)) + len(name.encode()) + 4 for name, value in kept.items()}
    while sum(size.values()) > BYTES:
        largest = max(size, key=lambda name: size[name])
        if len(size) == 1:
            return {largest: cut(msgspec.json.encode(kept[largest]).decode(), BYTES // 8)}
        del kept[largest], size[largest]
    return kept


def capped_endpoints(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """`ENDPOINTS` of them at most, for each port of the container as many: a port that is published on every node of
    a large cluster is reached at more addresses than anybody needs to know. Their order stays."""
    every = tuple(dict.fromkeys(endpoints))
    if len(every) <= ENDPOINTS:
        return every
    share = max(1, ENDPOINTS // len({(endpoint.target, endpoint.protocol) for endpoint in every}))
    taken: Counter[tuple[int, str]] = Counter()
    kept = []
    for endpoint in every:
        target = (endpoint.target, endpoint.protocol)
        taken[target] += 1
        if taken[target] <= share:
            kept.append(endpoint)
    return tuple(kept)


def capped_observation(seen: Observation) -> Observation:
    """An observation of which a status can be derived that is not too large."""
    instances = tuple(map(_instance, seen.instances))
    if all(new is old for new, old in zip(instances, seen.instances, strict=True)):
        instances = seen.instances
    elif not (seen.evidence or seen.message):
        return msgspec.structs.replace(seen, instances=instances)
    message = cut(seen.message) if seen.message else seen.message
    return msgspec.structs.replace(seen, instances=instances, message=message, evidence=capped(seen.evidence))


def capped_info(info: ClusterInfo) -> ClusterInfo:
    """A description of a cluster that is not too large. Its identity stays what tells it from others."""
    return msgspec.structs.replace(
        info,
        identity="\n".join(part[:IDENTITY] for part in info.identity.split()[:NODES]),
        versions={api: {name: cut(told) for name, told in of.items()} for api, of in info.versions.items()},
        nodes=tuple(map(_node, info.nodes[:NODES])),
    )


def _node(node: Node) -> Node:
    return msgspec.structs.replace(
        node,
        name=cut(node.name, NAME),
        address=cut(node.address, NAME) if node.address else node.address,
        labels={cut(key, NAME): cut(value, NAME) for key, value in list(node.labels.items())[:LABELS]},
        version=cut(node.version, NAME) if node.version else node.version,
        message=cut(node.message) if node.message else node.message,
        facts=capped(node.facts),
    )


def _instance(instance: Instance) -> Instance:
    if not instance.evidence and len(instance.message or "") <= TEXT:
        return instance
    message = cut(instance.message) if instance.message else instance.message
    return msgspec.structs.replace(instance, message=message, evidence=capped(instance.evidence))


def _capped(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return cut(msgspec.json.encode(value).decode(), TEXT // 10)
    if isinstance(value, Mapping):
        return {cut(str(name), 100): _capped(inner, depth - 1) for name, inner in list(value.items())[:ITEMS]}
    if isinstance(value, list | tuple):
        return [_capped(inner, depth - 1) for inner in value[:ITEMS]]
    if isinstance(value, datetime):
        return timestamp(value)
    return value
