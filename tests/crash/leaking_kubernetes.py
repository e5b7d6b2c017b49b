"""Secrets on their way to a Kubernetes, and all that can go wrong with them there."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.planted import CONFIG_TOKEN, DRIFTED, KEY, PLANE_TOKEN, RENEWED, WRONG, certificate
from tests.faults.api_server import failing
from tests.faults.stored import Stored
from tests.real.kubeconfig import kubeconfig
from tests.real.waiting import wait_until

Ask = Callable[..., Any]


def use(ask: Ask, how: dict[str, Any]) -> None:
    """Register it in every way, well and badly; run what needs secrets; have them changed, refused and forgotten.
    `ask` makes a request and keeps the answer, which it gives back; `how` is what runs."""
    with tempfile.TemporaryDirectory() as folder:
        plane = Stored(Path(folder))
        try:
            _register(ask, plane)
            _run(ask, plane, how | {"cluster": "prod"})
        finally:
            plane.close()


def _register(ask: Ask, plane: Stored) -> None:
    authority = plane.authority.certificate
    cluster = {"name": "prod", "kind": "kubernetes", "endpoint": plane.endpoint}
    file_of = partial(kubeconfig, plane.endpoint, authority)
    token = {"ca_cert": authority, "token": PLANE_TOKEN}
    pair = {"ca_cert": authority, "client_cert": certificate(), "client_key": KEY}
    wrong = [
        {"token": f"{WRONG} and more"},
        {"token": WRONG, "client_key": KEY},
        {"client_cert": certificate(), "client_key": KEY.replace("PRIVATE", "PUBLIC")},
        {"client_cert": WRONG, "client_key": WRONG},
        {"kubeconfig": f"{{{WRONG}: ["},
        {"kubeconfig": file_of({"token": [WRONG]})},
        {"kubeconfig": file_of({"exec": {"command": "get", "args": [WRONG]}})},
        {"kubeconfig": file_of({"username": "ann", "password": WRONG})},
    ]
    for credentials in wrong:
        ask("POST", "/v1/clusters", cluster | {"name": "wrong", "credentials": credentials})
    ask("POST", "/v1/clusters", cluster | {"credentials": token}, params={"wait": 20})
    given = {"kubeconfig": file_of({"token": CONFIG_TOKEN})}
    for name, credentials in (("file", given), ("pair", pair)):
        ask("POST", "/v1/clusters", cluster | {"name": name, "credentials": credentials}, params={"wait": 2})
        ask("GET", f"/v1/clusters/{name}")


def _run(ask: Ask, plane: Stored, how: dict[str, Any]) -> None:
    ask("POST", "/v1/apps", how | {"name": "kept"}, params={"wait": 1})
    ask("POST", "/v1/containers", how | {"name": "once"}, params={"wait": 1})
    wait_until(lambda: len(plane.of("secrets")) == 4, 20, "the secrets are not there")
    for secret in plane.of("secrets"):  # somebody else puts a secret of his own in
        secret["data"] = dict.fromkeys(secret["data"], base64.b64encode(DRIFTED.encode()).decode())

    def is_told() -> bool:
        return "DriftCorrected" in ask("GET", "/v1/events", params={"limit": 1000}).text

    wait_until(is_told, 30, "nobody tells of it")
    for code in (500, 422):
        plane.on("PATCH .*/deployments/", failing(code, f"cannot be stored: {code}"))
        ask("PATCH", "/v1/apps/kept", {"env": {"N": str(code)}})
        told = f"cannot be stored: {code}"
        wait_until(lambda told=told: told in ask("GET", "/v1/apps/kept").text, 30, "nobody tells why")
    plane.on("", failing(401, "Unauthorized"))
    ask("GET", "/v1/apps/kept/logs")
    credentials = {"ca_cert": plane.authority.certificate, "token": RENEWED}
    ask("PATCH", "/v1/clusters/prod", {"credentials": credentials}, params={"wait": 2})
    for path in ("apps/kept", "apps/kept/diagnosis", "containers/once", "clusters/prod", "clusters/prod/capabilities"):
        ask("GET", f"/v1/{path}")
