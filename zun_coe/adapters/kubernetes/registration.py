"""What a registration of a Kubernetes must say, and what it comes to. Pure, but for the time of day."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from zun_coe.adapters import NOTHING_ALLOWED, Connection, Policy
from zun_coe.adapters.endpoints import FOR_ADMINS
from zun_coe.adapters.expiry import expired
from zun_coe.adapters.kubernetes import kubeconfig
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import Denied, FieldProblem

_FOREIGN = {
    "hosts": "Kubernetes knows its nodes by itself; leave hosts out.",
    "node_endpoint": "Everything goes through the API server; leave it out.",
}
_PAIR = ("client_cert", "client_key")
_KNOWN = ("ca_cert", *_PAIR, "token", "kubeconfig", "context", "in_cluster")
_WAYS = "client_cert and client_key, token, or kubeconfig"
# What says all of it, and what may stand beside that.
_WHOLE = {"kubeconfig": {"context"}, "in_cluster": set[str]()}
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, kw_only=True)
class Session:
    """How a cluster is reached: the endpoint (https, with the path before `/api` where there is one), whose
    certificate is expected there (None: that of the endpoint's host), what it is verified with (None: the system's
    authorities), and who the gateway is there. Certificates and keys are PEM. `plugin`: what tells who it is, as a
    kubeconfig's `exec` has it. `until`: after that moment of the monotonic clock it is to be asked for anew."""

    endpoint: str
    server_name: str | None = None
    ca_cert: str | None = None
    client_cert: str | None = field(default=None, repr=False)
    client_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    namespace: str | None = None
    plugin: Mapping[str, Any] | None = field(default=None, repr=False)
    until: float | None = field(default=None, compare=False)


def session(connection: Connection) -> Session:
    """The facts of a registered cluster. Raises `Denied` where they make none, which a registration that
    was checked does not."""
    try:
        return _session(connection.endpoint, connection.namespace, connection.credentials)
    except ValueError as error:
        raise Denied(f"The cluster's registration cannot be used: {error}") from error


def check_registration(
    cluster: Mapping[str, Any], *, admin: bool, reach: Reach = ELSEWHERE, policy: Policy = NOTHING_ALLOWED
) -> list[FieldProblem]:
    """Everything that is wrong with it, each with its place. Where `has_credentials` is set and no credentials
    are given, those that are kept stay, and were checked when they came."""
    found = [FieldProblem(f"/{name}", why) for name, why in _FOREIGN.items() if cluster.get(name)]
    found += _namespace(cluster.get("namespace"))
    credentials = cluster.get("credentials") or {}
    kept = bool(cluster.get("has_credentials")) and not credentials
    if not kept:
        found += _combination(credentials)
    if credentials.get("in_cluster"):
        return found or list(_in_cluster(cluster, admin, policy))
    return found or list(_contents(cluster, credentials, policy, kept=kept, admin=admin, reach=reach))


def _session(endpoint: str | None, namespace: str | None, credentials: Mapping[str, Any]) -> Session:
    """Raises `ValueError` with a sentence."""
    if text := credentials.get("kubeconfig"):
        told = kubeconfig.entry(text, credentials.get("context"))
        return Session(
            endpoint=(endpoint or told.server).rstrip("/"),
            server_name=told.server_name,
            ca_cert=told.ca_cert,
            client_cert=told.client_cert,
            client_key=told.client_key,
            token=told.token,
            namespace=namespace,
            plugin=told.plugin,
        )
    given = {name: credentials.get(name) for name in ("ca_cert", *_PAIR)}
    token = str(credentials.get("token") or "").strip() or None
    if not endpoint:
        raise ValueError("It has no endpoint.")
    return Session(endpoint=endpoint.rstrip("/"), token=token, namespace=namespace, **given)


def _namespace(name: Any) -> Iterator[FieldProblem]:
    if str(name or "").startswith("kube-"):
        yield FieldProblem("/namespace", "Namespaces that begin with kube- are for Kubernetes itself.")


def _combination(credentials: Mapping[str, Any]) -> Iterator[FieldProblem]:
    given = {name for name in _KNOWN if credentials.get(name)}
    for name in credentials:
        if name not in _KNOWN:
            yield FieldProblem(f"/credentials/{name}", f"Kubernetes takes {_WAYS}.")
    if whole := next((name for name in _WHOLE if name in given), None):
        for name in sorted(given - {whole} - _WHOLE[whole]):
            yield FieldProblem(f"/credentials/{name}", f"{whole} says all of it; leave this out.")
        return
    if "context" in given:
        yield FieldProblem("/credentials/context", "A context is one of a kubeconfig; leave it out.")
    if (_PAIR[0] in given) != (_PAIR[1] in given):
        yield FieldProblem("/credentials", "client_cert and client_key belong together.")
    elif "token" in given and _PAIR[0] in given:
        yield FieldProblem("/credentials", "A token and a client certificate both say who one is; give one of them.")
    elif not given & {"token", *_PAIR}:
        yield FieldProblem("/credentials", f"A Kubernetes cluster needs credentials: {_WAYS}.")


def _in_cluster(cluster: Mapping[str, Any], admin: bool, policy: Policy) -> Iterator[FieldProblem]:
    if not admin or not policy.in_cluster:
        who = "is for admins" if policy.in_cluster else "is not allowed by the operator (the setting allow_in_cluster)"
        yield FieldProblem("/credentials/in_cluster", f"The gateway's own service account {who}.")
    if cluster.get("endpoint"):
        yield FieldProblem("/endpoint", "The gateway's pod knows where its API server is; leave it out.")


def _contents(
    cluster: Mapping[str, Any],
    credentials: Mapping[str, Any],
    policy: Policy,
    *,
    kept: bool,
    admin: bool,
    reach: Reach,
) -> Iterator[FieldProblem]:
    endpoint, text = cluster.get("endpoint"), credentials.get("kubeconfig")
    where = dict.fromkeys(_KNOWN, "/credentials/kubeconfig") if text else {n: f"/credentials/{n}" for n in _KNOWN}
    if text:
        wrong = kubeconfig.problems(text, credentials.get("context"), policy.exec_plugins if admin else frozenset())
        yield from (FieldProblem("/credentials/kubeconfig", why) for why in wrong)
        if wrong:
            return
    elif not endpoint:
        if not kept:
            yield FieldProblem("/endpoint", "A Kubernetes cluster needs its endpoint, as https://address:port.")
        return
    told = _session(endpoint, None, credentials)
    if why := _endpoint(told.endpoint, admin, reach):
        yield FieldProblem("/endpoint" if endpoint else where["kubeconfig"], why)
    yield from (FieldProblem(where[name], why) for name, why in _unreadable(told))
    if text and not told.plugin and not told.token and not (told.client_cert and told.client_key):
        yield FieldProblem(where["kubeconfig"], "Its user has neither a token nor a client certificate with its key.")


def _endpoint(endpoint: str, admin: bool, reach: Reach) -> str | None:
    try:
        url = urlsplit(endpoint)
        _ = url.port
    except ValueError:
        return "The endpoint cannot be read; use https://address:port."
    if url.scheme != "https" or not url.hostname or url.query or url.fragment or url.username or url.password:
        return "Use https://address:port; credentials are never sent unencrypted."
    return None if admin or reach.allows(url.hostname) else FOR_ADMINS


def _unreadable(told: Session) -> Iterator[tuple[str, str]]:
    """What is no certificate, no key or no token, or none any more, each with the name of its field."""
    for name in ("ca_cert", "client_cert"):
        text = getattr(told, name)
        if text and not _certificates(text):
            yield name, "There is no certificate in it, or one that cannot be read; it has to be PEM."
    if told.client_key:
        yield from (("client_key", why) for why in _key(told.client_key, told.client_cert or ""))
    if told.token and not _TOKEN.fullmatch(told.token):
        yield "token", "A token has no spaces and none but ASCII characters."
    for name, why in (("client_cert", expired(told.client_cert)), ("token", expired(token=told.token))):
        if why is not None:
            yield name, why


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode()) if text.isascii() else []
    except ValueError:
        return []


def _key(text: str, certificate: str) -> Iterator[str]:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        yield "The key is encrypted; give it without a passphrase."
        return
    except (ValueError, UnsupportedAlgorithm):
        yield "There is no private key in it, or one that cannot be read; it has to be PEM."
        return
    chain = _certificates(certificate)
    if chain and chain[0].public_key() != key.public_key():
        yield "The key is not that of the client certificate."
