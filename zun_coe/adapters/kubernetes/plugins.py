"""Sessions whose credentials change by themselves: those of the gateway's own pod, and those that a command tells.

Both only where the operator allows it (`Policy`), which is asked again when they are used, since the registration may
be older than the setting."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes.registration import Session, session
from zun_coe.errors import Denied, TimedOut, Unavailable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account."""
REREAD = 60.0
"""After so many seconds the token of a service account is read anew: kubelets replace it long before it expires."""
EARLY = 30.0
"""So many seconds before its end a plugin is asked for another credential."""
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_MOST = 1 << 20


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _Credential(msgspec.Struct, rename="camel"):
    kind: str = ""
    status: _Status = msgspec.field(default_factory=_Status)


def current(connection: Connection) -> Session:
    """The facts of a registered cluster as they are now. Runs a command, or reads files, where the registration says
    so; within the connection's timeout. Raises `Denied` where it cannot be used, and `Unavailable`."""
    if connection.credentials.get("in_cluster"):
        return _in_cluster(connection)
    found = session(connection)
    return found if found.plugin is None else _told(found, found.plugin, connection)


def changes(connection: Connection) -> bool:
    """Whether they may change by themselves. Raises `Denied`."""
    return bool(connection.credentials.get("in_cluster")) or session(connection).plugin is not None


def _in_cluster(connection: Connection, environment: Mapping[str, str] = os.environ) -> Session:
    if not connection.policy.in_cluster:
        raise Denied("The operator does not allow the gateway's own service account (the setting allow_in_cluster).")
    host, port = (environment.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    try:
        token, ca_cert = ((ACCOUNT / name).read_text().strip() for name in ("token", "ca.crt"))
    except OSError as error:
        raise Denied(f"The gateway has no service account of a pod: {error}.") from error
    if not host or not port:
        raise Denied("The gateway does not run in a pod: KUBERNETES_SERVICE_HOST and _PORT are not set.")
    endpoint = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    until = time.monotonic() + REREAD
    return Session(endpoint=endpoint, ca_cert=ca_cert, token=token, namespace=connection.namespace, until=until)


def _told(found: Session, plugin: Mapping[str, Any], connection: Connection) -> Session:
    command = str(plugin.get("command") or "")
    if command not in connection.policy.exec_plugins:
        raise Denied(f"The operator does not let the gateway run {command} (the setting exec_plugins).")
    told = _answer(command, _run(command, plugin, connection.timeout))
    left = (told.expiration_timestamp - datetime.now(UTC)).total_seconds() if told.expiration_timestamp else None
    return replace(
        found,
        token=told.token,
        client_cert=told.client_certificate_data or found.client_cert,
        client_key=told.client_key_data or found.client_key,
        until=None if left is None else time.monotonic() + max(left - EARLY, 1.0),
    )


def _run(command: str, plugin: Mapping[str, Any], timeout: float) -> bytes:
    """What it prints. https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins"""
    version = plugin.get("apiVersion") if plugin.get("apiVersion") in _VERSIONS else _VERSIONS[0]
    asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    own = {str(one["name"]): str(one.get("value", "")) for one in plugin.get("env") or ()}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = kept | own | {"KUBERNETES_EXEC_INFO": msgspec.json.encode(asked).decode()}
    words = [command, *map(str, plugin.get("args") or ())]
    try:
        ended = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)  # noqa: S603  # the operator named the command
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{command} did not tell the credentials in time", evidence={"command": command}) from error
    except OSError as error:
        raise Unavailable(f"{command} cannot be run: {error}", "Error", {"command": command}) from error
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip()[:500]
        evidence = {"command": command, "exit_code": ended.returncode, "error": said}
        raise Denied(f"{command} told no credentials: {said or f'exit code {ended.returncode}'}", evidence=evidence)
    return ended.stdout[:_MOST]


def _answer(command: str, printed: bytes) -> _Status:
    try:
        told = msgspec.json.decode(printed, type=_Credential)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"{command} did not print an ExecCredential", "Error", {"command": command}) from error
    status = told.status
    if not status.token and not (status.client_certificate_data and status.client_key_data):
        raise Denied(f"{command} printed neither a token nor a certificate", evidence={"command": command})
    return status
