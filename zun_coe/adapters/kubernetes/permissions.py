"""The rights that the gateway needs in a cluster, and which of them its credentials lack.

One review of all rights answers for nearly everything. Where it does not list a right, that very right is asked for,
since authorizers other than RBAC need not list what they allow: several at once, and what is allowed not again soon."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from zun_coe.adapters.kubernetes.client import Client

T = TypeVar("T")

REMEMBERED = 600.0
"""For how many seconds it is believed that a right which no rule gives is there; a call that is denied tells."""
_ALL = ("get", "list", "watch", "create", "patch", "delete")
# Rights in a namespace that nobody has are rights everywhere: no binding of a namespace adds to them.
_NOWHERE = "zun-coe-rights-everywhere"


@dataclass(frozen=True, order=True)
class Right:
    """To do something with a kind of objects. `group` is that of the API (empty: the core). `without`: what there is
    none of where it is missing; None: the gateway cannot do without."""

    resource: str
    verb: str
    group: str = ""
    without: str | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


def _rights(resource: str, verbs: Sequence[str], group: str = "", without: str | None = None) -> tuple[Right, ...]:
    return tuple(Right(resource, verb, group, without) for verb in verbs)


OWN = (
    *_rights("deployments", _ALL, "apps"),
    *_rights("pods", _ALL),
    *_rights("services", _ALL),
    *_rights("persistentvolumeclaims", _ALL),
    *_rights("secrets", ("get", "list", "create", "patch", "delete")),
    *_rights("events", ("list", "watch")),
    *_rights("pods/log", ("get",), without="logs"),
    *_rights("replicasets", ("list",), "apps", without="adoption"),
    *_rights("replicasets", ("delete",), "apps", without="removal of those that lost their Deployment"),
    *_rights("horizontalpodautoscalers", ("list",), "autoscaling", without="adoption"),
    *_rights("statefulsets", ("list",), "apps", without="list of them"),
    *_rights("daemonsets", ("list",), "apps", without="list of them"),
)
"""In every namespace that the gateway uses."""
EVERYWHERE = (
    *_rights("namespaces", ("get", "create")),
    *_rights("nodes", ("list",), without="nodes"),
)
"""Besides, where it has a namespace for each project."""
WITH_NAMESPACE = (
    *_rights("namespaces", ("get",)),
    *_rights("nodes", ("list",), without="nodes"),
)
"""Besides, where it was given a namespace: `get` in that one alone."""


class _Rule(msgspec.Struct, rename="camel"):
    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class _Rules(msgspec.Struct, frozen=True, rename="camel"):
    resource_rules: tuple[_Rule, ...] | None = None


class _Verdict(msgspec.Struct, frozen=True):
    allowed: bool = False


class _RulesReview(msgspec.Struct):
    status: _Rules = _Rules()


class _AccessReview(msgspec.Struct):
    status: _Verdict = _Verdict()


class Permissions:
    """What the credentials of a cluster may do, in one namespace or everywhere. Thread-safe."""

    def __init__(self, client: Client, namespace: str | None, parallelism: int = 8) -> None:
        self.namespace = namespace
        self._client, self._parallelism = client, parallelism
        self._allowed: dict[Right, float] = {}

    def missing(self) -> list[Right]:
        """The rights that are lacking. One call; besides, one for each right that is not listed, and was not allowed
        within the last ten minutes. Raises `BackendError`."""
        body = {"namespace": self.namespace or _NOWHERE}
        rules = _review(self._client, "SelfSubjectRulesReview", body, _RulesReview).status.resource_rules or ()
        wanted = (*OWN, *(WITH_NAMESPACE if self.namespace else EVERYWHERE))
        doubtful = [right for right in wanted if not any(_covers(rule, right) for rule in rules)]
        asked = [right for right in doubtful if not self._remembered(right)]
        verdicts = dict(zip(asked, self._ask(asked), strict=True))
        self._allowed |= {right: time.monotonic() for right, allowed in verdicts.items() if allowed}
        return [right for right in asked if not verdicts[right]]

    def forget(self) -> None:
        """Others may be allowed something else: the credentials are not the same any more."""
        self._allowed = {}

    def _remembered(self, right: Right) -> bool:
        return time.monotonic() - self._allowed.get(right, float("-inf")) < REMEMBERED

    def _ask(self, rights: Sequence[Right]) -> list[bool]:
        if not rights:
            return []
        with ThreadPoolExecutor(min(self._parallelism, len(rights)), "access-review") as threads:
            return [*threads.map(lambda right: _is_allowed(self._client, right, self.namespace), rights)]


def rules_for(rights: Sequence[Right]) -> Iterator[dict[str, list[str]]]:
    """The rules of a role that has just these rights, one for each resource. Pure."""
    for group, resource in dict.fromkeys((right.group, right.resource) for right in rights):
        verbs = [right.verb for right in rights if (right.group, right.resource) == (group, resource)]
        yield {"apiGroups": [group], "resources": [resource], "verbs": verbs}


def _covers(rule: _Rule, right: Right) -> bool:
    """Whether a rule of RBAC gives a right for all objects of the kind."""
    parent, _, part = right.resource.partition("/")
    resources = {"*", right.resource, *({f"{parent}/*", f"*/{part}"} if part else ())}
    return (
        bool({"*", right.verb} & {*rule.verbs})
        and bool({"*", right.group} & {*rule.api_groups})
        and bool(resources & {*rule.resources})
        and not rule.resource_names
    )


def _is_allowed(client: Client, right: Right, namespace: str | None) -> bool:
    resource, _, part = right.resource.partition("/")
    asked = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": part}
    asked |= {} if right.resource == "nodes" else {"namespace": namespace or ""}
    asked |= {"name": namespace} if namespace and resource == "namespaces" else {}
    return _review(client, "SelfSubjectAccessReview", {"resourceAttributes": asked}, _AccessReview).status.allowed


def _review(client: Client, kind: str, spec: Mapping[str, Any], type: type[T]) -> T:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    return client.ask(f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body, type)
