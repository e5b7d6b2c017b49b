"""What the stored statuses know of a cluster, for an adapter that was opened just now."""

from __future__ import annotations

from typing import cast

from zun_coe.adapters import Known
from zun_coe.model import Cluster, ClusterStatus, Intent, Status, ref_of
from zun_coe.store.cache import Cache
from zun_coe.store.records import status_key


def known(cache: Cache, cluster: Cluster, installation: str) -> Known:
    """The status of a cluster, and the instances in those of its workloads. From the copy alone."""
    entry = cache.get(status_key("cluster", cluster.project, cluster.id))
    instances = {}
    for noun in ("app", "container"):
        for found in cache.list(f"intent/{noun}/"):
            intent = cast(Intent, found.value)
            status = cache.get(status_key(noun, intent.project, intent.id)) if intent.cluster == cluster.id else None
            if status is not None:
                instances[ref_of(installation, intent)] = cast(Status, status.value).instances
    return Known(cast(ClusterStatus, entry.value) if entry else ClusterStatus(), instances)
