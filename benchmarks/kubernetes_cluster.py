"""A real Kubernetes, the gateway on it, and what the gateway asks of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kubernetes import client

from benchmarks.subject import Subject, folder, register, subject
from tests.real.kubernetes import ControlPlane
from tests.real.kubernetes_node import Node

USER = "gateway"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
}


@dataclass(frozen=True)
class Asked:
    """A call of the gateway that has ended. `verb` as the server names it (get, list, watch, create, patch, delete),
    `resource` with its subresource, `seconds` as long as the server took."""

    verb: str
    resource: str
    at: datetime
    seconds: float

    @property
    def changes(self) -> bool:
        """Whether it was to change anything; reviews of what is allowed are no objects that stay."""
        return self.verb not in ("get", "list", "watch") and not self.resource.startswith("selfsubject")


class Plane(ControlPlane):
    """A control plane that keeps a record of what the gateway asks of it."""

    def asked(self, since: int = 0) -> Sequence[Asked]:
        """The calls of the gateway that have ended, from a place in the record (see `told`) on."""
        with self._record.open() as record:
            record.seek(since)
            return [_asked(json.loads(line)) for line in record if line.endswith("\n")]

    @property
    def told(self) -> int:
        """The end of the record as it is now."""
        return self._record.stat().st_size if self._record.exists() else 0

    @property
    def credentials(self) -> Mapping[str, str]:
        """The gateway's own, with which it may do everything."""
        return self.certificate_for(USER)

    def admit(self) -> None:
        """Give the gateway its rights."""
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        users = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}]
        binding = {"metadata": {"name": USER}, "roleRef": role, "subjects": users}
        client.RbacAuthorizationV1Api(self.client()).create_cluster_role_binding(binding)

    def served(self, prefix: str) -> int:
        """How many Services there are whose name begins so: they are what is made last of an app."""
        listed = client.CoreV1Api(self.client()).list_service_for_all_namespaces(_preload_content=False)
        return sum(item["metadata"]["name"].startswith(prefix) for item in json.loads(listed.data)["items"])

    @property
    def _record(self) -> Path:
        return self.folder / "asked"

    def _api_options(self) -> dict[str, Any]:
        policy = self.folder / "policy"
        policy.write_text(json.dumps(POLICY))
        return super()._api_options() | {"audit-policy-file": policy, "audit-log-path": self._record}


class QuickNode(Node):
    """A node whose kubelet calls its API server as often as those of today do; this one's default is a tenth."""

    def _kubelet_config(self) -> dict[str, Any]:
        return super()._kubelet_config() | {"kubeAPIQPS": 50, "kubeAPIBurst": 100}


@contextmanager
def plane() -> Iterator[Plane]:
    """A control plane without nodes, for a while."""
    with folder() as place, closing(Plane(place)) as made:
        made.start()
        made.admit()
        yield made


@contextmanager
def node_of(there: Plane) -> Iterator[Node]:
    """A node that runs pods, for a while."""
    with closing(QuickNode(there)) as node:
        node.start()
        yield node


@contextmanager
def gateway_on(there: Plane, **settings: Any) -> Iterator[Subject]:
    """A gateway with the cluster `bench`, for a while."""
    with subject(**settings) as running:
        register(running, {"kind": "kubernetes", "endpoint": there.endpoint, "credentials": dict(there.credentials)})
        yield running


def _asked(event: Mapping[str, Any]) -> Asked:
    about = event.get("objectRef", {})
    resource = "/".join(filter(None, (about.get("resource", event["requestURI"]), about.get("subresource"))))
    began, ended = (datetime.fromisoformat(event[name]) for name in ("requestReceivedTimestamp", "stageTimestamp"))
    return Asked(event["verb"], resource, began, (ended - began).total_seconds())
