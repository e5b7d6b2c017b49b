"""Kubeconfigs, as `kubectl` keeps them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml


def kubeconfig(endpoint: str, authority: str, user: Mapping[str, Any], namespace: str = "default") -> str:
    """The text of one with a single context. `authority`: the certificate that the server's own is signed by;
    `user`: how one gets in."""
    cluster = {"server": endpoint, "certificate-authority-data": base64.b64encode(authority.encode()).decode()}
    context = {"cluster": "tests", "user": "tests", "namespace": namespace}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": dict(user)}],
            "contexts": [{"name": "tests", "context": context}],
            "current-context": "tests",
        }
    )
