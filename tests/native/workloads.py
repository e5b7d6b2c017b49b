"""Workloads for tests of the native COE."""

from __future__ import annotations

from typing import Any

from zun_coe.model import Template, Workload, WorkloadRef, template_hash

INSTALLATION = "11111111-2222-3333-4444-555555555555"
CLUSTER = "cccccccc-0000-0000-0000-000000000000"


def ref(name: str = "web", noun: Any = "app", project: str = "p1", id: str | None = None) -> WorkloadRef:
    """Whose a workload is; the same name has the same id."""
    id = id or f"{abs(hash((name, noun, project))) % 16**12:012x}-0000-4000-8000-000000000000"
    return WorkloadRef(installation=INSTALLATION, cluster=CLUSTER, project=project, noun=noun, id=id, name=name)


def app(template: Template | None = None, *, name: str = "web", **fields: Any) -> Workload:
    """An app; the template's hash is its own."""
    template = template or Template(image="busybox:local", args=("sleep", "1000"))
    fields.setdefault("hash", template_hash(template))
    return Workload(ref=fields.pop("ref", None) or ref(name), template=template, **fields)


def container(template: Template | None = None, *, name: str = "one", **fields: Any) -> Workload:
    """A container of its own."""
    template = template or Template(image="busybox:local", args=("sleep", "1000"))
    fields.setdefault("hash", template_hash(template))
    return Workload(ref=fields.pop("ref", None) or ref(name, "container"), template=template, **fields)
