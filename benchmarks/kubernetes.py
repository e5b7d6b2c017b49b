"""A real Kubernetes with a node that runs pods: how soon they are ready, and how soon their ends are seen."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import Finding, Scale
from benchmarks.kubernetes_cluster import gateway_on, node_of, plane
from benchmarks.kubernetes_deploying import starts
from benchmarks.kubernetes_seeing import news


def run(scale: Scale) -> Sequence[Finding]:
    """On one cluster and one gateway, one after the other."""
    with plane() as there, node_of(there) as node, gateway_on(there) as running, running.client() as api:
        return [*starts(scale, there, api), *news(scale, there, node, running)]
