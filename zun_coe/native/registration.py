"""What a native cluster must say when it is registered. Pure, but for the time of day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from zun_coe.adapters.endpoints import FOR_ADMINS
from zun_coe.adapters.expiry import expired
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import FieldProblem
from zun_coe.native.runtimes import RUNTIMES

_FOREIGN = {
    "endpoint": "A native cluster has an endpoint for each of its hosts, in hosts.",
    "node_endpoint": "A native cluster has an endpoint for each of its hosts, in hosts.",
    "namespace": "Hosts have no namespaces; leave it out.",
}
_CREDENTIALS = ("ca_cert", "client_cert", "client_key")
_NAME = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")


def problems(cluster: Mapping[str, Any], *, admin: bool, reach: Reach = ELSEWHERE) -> list[FieldProblem]:
    """Everything that is wrong with it, each with its place."""
    found = [FieldProblem(f"/{name}", why) for name, why in _FOREIGN.items() if cluster.get(name) is not None]
    hosts = cluster.get("hosts") or []
    if not hosts:
        found.append(FieldProblem("/hosts", "A native cluster needs at least one host."))
    for index, host in enumerate(hosts):
        found += [FieldProblem(f"/hosts/{index}/{name}", why) for name, why in _host(host, admin, reach)]
    found += [FieldProblem(f"/hosts/{i}/name", "Another host has this name.") for i in _repeated(hosts, "name")]
    found += [
        FieldProblem(f"/hosts/{i}/endpoint", "Another host has this endpoint.") for i in _repeated(hosts, "endpoint")
    ]
    return found + list(_credentials(cluster.get("credentials") or {}, hosts))


def _host(host: Mapping[str, Any], admin: bool, reach: Reach) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(str(host.get("name", ""))):
        yield "name", "A host's name has letters, digits, dots, dashes and underscores, at most 63."
    runtime = host.get("runtime", "docker")
    if runtime not in RUNTIMES:
        yield "runtime", f"{runtime} is not known; use {' or '.join(sorted(RUNTIMES))}."
    if why := _endpoint(str(host.get("endpoint", "unix:///var/run/docker.sock")), admin, reach):
        yield "endpoint", why
    if not admin and not reach.allows(str(host.get("address") or "")):
        yield "address", FOR_ADMINS


def _endpoint(endpoint: str, admin: bool, reach: Reach) -> str | None:
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:
        return "The endpoint cannot be read; use unix:///path or tcp://address:port."
    if url.scheme == "unix" and url.path and not url.netloc:
        return None if admin else "Local sockets are for admins."
    plain = not (url.path.strip("/") or url.query or url.fragment or url.username or url.password)
    if url.scheme != "tcp" or not url.hostname or not port or not plain:
        return "Use unix:///path or tcp://address:port."
    return None if admin or reach.allows(url.hostname) else FOR_ADMINS


def _repeated(hosts: list[Mapping[str, Any]], field: str) -> list[int]:
    values = [host.get(field, "unix:///var/run/docker.sock" if field == "endpoint" else None) for host in hosts]
    return [index for index, value in enumerate(values) if value in values[:index]]


def _credentials(credentials: Mapping[str, Any], hosts: list[Mapping[str, Any]]) -> Iterator[FieldProblem]:
    for name in credentials:
        if name not in _CREDENTIALS:
            yield FieldProblem(f"/credentials/{name}", f"Hosts take {', '.join(_CREDENTIALS)}, as PEM.")
    if ("client_cert" in credentials) != ("client_key" in credentials):
        yield FieldProblem("/credentials", "client_cert and client_key belong together.")
    if why := expired(str(credentials.get("client_cert") or "")):
        yield FieldProblem("/credentials/client_cert", why)
    if credentials and not any(str(host.get("endpoint", "")).startswith("tcp://") for host in hosts):
        yield FieldProblem("/credentials", "Credentials are for tcp:// endpoints.")
