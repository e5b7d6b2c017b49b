"""Kubeconfig files as far as a gateway can use them: what stands in them, and no paths, commands or proxies,
which mean something on the machine of whoever wrote the file and nothing here. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

_PATH = "is a path, which leads to nothing here; give the content itself, as {0}-data"
_OTHERS = "would make the gateway act for somebody else; give that user's own credentials"
_REFUSED_OF_CLUSTER = {
    "certificate-authority": _PATH.format("certificate-authority"),
    "insecure-skip-tls-verify": "is not to be had; give the server's authority, as certificate-authority-data",
    "proxy-url": "is not to be had; the gateway uses no proxies",
}
_REFUSED_OF_USER = {
    "client-certificate": _PATH.format("client-certificate"),
    "client-key": _PATH.format("client-key"),
    "tokenFile": "is a path, which leads to nothing here; give the content itself, as token",
    "exec": "names a command that the gateway does not run for you (the setting exec_plugins names those for admins); "
    "give a token or a client certificate",
    "auth-provider": "is not to be had; give a token or a client certificate",
    "username": "is of no use: Kubernetes takes no passwords since 1.19; give a token or a client certificate",
    "password": "is of no use: Kubernetes takes no passwords since 1.19; give a token or a client certificate",
    "as": _OTHERS,
    "as-uid": _OTHERS,
    "as-groups": _OTHERS,
    "as-user-extra": _OTHERS,
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one context leads to. Certificates and keys are PEM; `server_name`: whose certificate is expected
    where that is not the server's host."""

    server: str
    server_name: str | None = None
    ca_cert: str | None = None
    client_cert: str | None = field(default=None, repr=False)
    client_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    plugin: Mapping[str, Any] | None = field(default=None, repr=False)


def problems(text: str, context: str | None, plugins: Collection[str] = ()) -> list[str]:
    """A sentence for everything that is wrong with it, as far as the context that is used goes. `plugins`: the
    commands that it may name to get credentials."""
    try:
        name, cluster, user = _chosen(text, context)
        found = [*_refused(f"cluster of the context {name}", cluster, _REFUSED_OF_CLUSTER)]
        allowed = _is_allowed(user.get("exec"), plugins)
        rules = {field: why for field, why in _REFUSED_OF_USER.items() if field != "exec" or not allowed}
        found += _refused(f"user of the context {name}", user, rules)
        if not found:
            entry(text, context)
    except ValueError as error:
        return [str(error)]
    return found


def entry(text: str, context: str | None) -> Entry:
    """What the context leads to: the one named, else the current one, else the only one. Raises `ValueError` with
    a sentence where there is none, or what it says cannot be read."""
    name, cluster, user = _chosen(text, context)
    server = cluster.get("server")
    if not isinstance(server, str) or not server:
        raise ValueError(f"The cluster of the context {name} has no server.")
    return Entry(
        server=server,
        server_name=_text(cluster, "tls-server-name"),
        ca_cert=_data(cluster, "certificate-authority-data"),
        client_cert=_data(user, "client-certificate-data"),
        client_key=_data(user, "client-key-data"),
        token=_text(user, "token"),
        plugin=user.get("exec") or None,
    )


def _chosen(text: str, context: str | None) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    """The name of the context, its cluster, and its user."""
    file = _file(text)
    contexts = _named(file, "contexts", "context")
    name = context or _text(file, "current-context") or _only(contexts)
    if name not in contexts:
        raise ValueError(f"It has no context {name}; it has {_listed(contexts)}.")
    found = contexts[name]
    return name, _member(file, "cluster", name, found), _member(file, "user", name, found)


def _file(text: str) -> Mapping[str, Any]:
    try:
        file = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place is not None else ""
        raise ValueError(f"It cannot be read as YAML{where}.") from error
    if not isinstance(file, dict):
        raise ValueError("It is no kubeconfig: that is a mapping with clusters, users and contexts.")
    return file


def _named(file: Mapping[str, Any], list_name: str, content: str) -> dict[str, Mapping[str, Any]]:
    """The entries of one of its lists by their names."""
    entries = [e for e in _entries(file.get(list_name)) if isinstance(e.get(content) or {}, dict)]
    return {str(e["name"]): e.get(content) or {} for e in entries if e.get("name")}


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    return (e for e in value if isinstance(e, dict)) if isinstance(value, list) else iter(())


def _only(contexts: Mapping[str, Any]) -> str:
    if len(contexts) == 1:
        return next(iter(contexts))
    if not contexts:
        raise ValueError("It has no context.")
    raise ValueError(f"It has several contexts and none is the current one: say which, of {_listed(contexts)}.")


def _member(file: Mapping[str, Any], kind: str, context: str, found: Mapping[str, Any]) -> Mapping[str, Any]:
    name = found.get(kind)
    members = _named(file, f"{kind}s", kind)
    if not name or str(name) not in members:
        raise ValueError(f"The context {context} has no {kind} that is in the file.")
    return members[str(name)]


def _is_allowed(plugin: Any, plugins: Collection[str]) -> bool:
    return isinstance(plugin, dict) and plugin.get("command") in plugins and plugin.get("interactiveMode") != "Always"


def _refused(where: str, part: Mapping[str, Any], rules: Mapping[str, str]) -> Iterator[str]:
    for name, why in rules.items():
        if part.get(name):
            yield f"{name} of the {where} {why}."


def _text(part: Mapping[str, Any], name: str) -> str | None:
    value = part.get(name)
    if isinstance(value, dict | list):
        raise ValueError(f"{name} is no text.")
    return str(value).strip() or None if value is not None else None


def _data(part: Mapping[str, Any], name: str) -> str | None:
    value = _text(part, name)
    if value is None:
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{name} is no base64 of a PEM text.") from error


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)[:20]) or "none"
