"""What a registration of a Kubernetes must say, and how a kubeconfig is read."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.real.certificates import Authority
from tests.unit.test_expiry import jwt
from zun_coe.adapters import Connection
from zun_coe.adapters.kubernetes.registration import Session, check_registration, session
from zun_coe.errors import Denied

AUTHORITY = Authority()
PEMS = AUTHORITY.credentials("operator")
ENDPOINT = "https://10.0.0.10:6443"
EXPIRED = dict(zip(("client_cert", "client_key"), AUTHORITY.issue("operator", expired=True), strict=True))
TOKEN = {"token": "abc.def", "ca_cert": AUTHORITY.certificate}


def body(credentials: Any = TOKEN, **fields: Any) -> dict[str, Any]:
    return {"name": "k", "kind": "kubernetes", "endpoint": ENDPOINT, "credentials": credentials} | fields


def problems(registration: dict[str, Any], *, admin: bool = False) -> list[tuple[str, str]]:
    return [(p.pointer, p.detail) for p in check_registration(registration, admin=admin)]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(cluster: Any = None, user: Any = None, current: str | None = "one", contexts: int = 1) -> dict[str, Any]:
    """The parts of a kubeconfig in which all contexts lead to the same."""
    server = {"server": ENDPOINT, "certificate-authority-data": encoded(AUTHORITY.certificate)}
    names = ["one", "two", "three"][:contexts]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": server | (cluster or {})}],
        "users": [{"name": "u", "user": {"token": "abc"} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u", "namespace": "web"}} for name in names],
    } | ({"current-context": current} if current else {})


def with_kubeconfig(parts: Any, **more: Any) -> dict[str, Any]:
    return body({"kubeconfig": yaml.safe_dump(parts)} | more, endpoint=None)


def opened(registration: dict[str, Any]) -> Session:
    return session(
        Connection(
            installation="i",
            cluster="c",
            kind="kubernetes",
            endpoint=registration.get("endpoint"),
            namespace=registration.get("namespace"),
            credentials=registration["credentials"],
        )
    )


@pytest.mark.parametrize(
    "registration",
    [
        body(),
        body({"token": "abc"}),
        body({"token": "abc\n"}),
        body(PEMS),
        body(PEMS, namespace="web"),
        body(endpoint="https://rancher.example.org/k8s/clusters/c-1"),
        body(endpoint="https://[2001:db8::1]:6443"),
        with_kubeconfig(kubeconfig()),
        with_kubeconfig(kubeconfig(current=None)),
        with_kubeconfig(kubeconfig(contexts=3), context="two"),
        with_kubeconfig(kubeconfig(contexts=3, current="three")),
        with_kubeconfig(kubeconfig({"insecure-skip-tls-verify": False})),
        with_kubeconfig(
            kubeconfig(
                user={
                    "client-certificate-data": encoded(PEMS["client_cert"]),
                    "client-key-data": encoded(PEMS["client_key"]),
                }
            )
        ),
        {"name": "k", "kind": "kubernetes", "has_credentials": True, "labels": {"a": "b"}},
    ],
)
def test_fine(registration: dict[str, Any]) -> None:
    assert problems(registration) == []


@pytest.mark.parametrize(
    ("registration", "pointer", "words"),
    [
        (body(hosts=[{"name": "a"}]), "/hosts", "nodes by itself"),
        (body(node_endpoint="tcp://{address}:1"), "/node_endpoint", "API server"),
        (body(namespace="kube-system"), "/namespace", "Kubernetes itself"),
        (body(endpoint=None), "/endpoint", "needs its endpoint"),
        (body(endpoint="http://10.0.0.10:8080"), "/endpoint", "unencrypted"),
        (body(endpoint="https://u:p@10.0.0.10:6443"), "/endpoint", "https://address:port"),
        (body(endpoint="https://10.0.0.10:sixty"), "/endpoint", "cannot be read"),
        (body(endpoint="https://127.0.0.1:6443"), "/endpoint", "for admins"),
        (body(endpoint="https://169.254.169.254"), "/endpoint", "for admins"),
        (body(endpoint="https://localhost:6443"), "/endpoint", "for admins"),
        (body(None), "/credentials", "needs credentials"),
        (body({}), "/credentials", "needs credentials"),
        (body({"ca_cert": AUTHORITY.certificate}), "/credentials", "needs credentials"),
        (body({"username": "u", "token": "t"}), "/credentials/username", "takes"),
        (body({"client_cert": PEMS["client_cert"]}), "/credentials", "belong together"),
        (body(PEMS | {"token": "t"}), "/credentials", "one of them"),
        (body({"token": "t", "context": "c"}), "/credentials/context", "kubeconfig"),
        (body({"token": "t", "ca_cert": "nonsense"}), "/credentials/ca_cert", "PEM"),
        (body({"token": "t", "ca_cert": "ä"}), "/credentials/ca_cert", "PEM"),
        (body({"token": "a b"}), "/credentials/token", "no spaces"),
        (body({"token": "a\r\nX-Remote-User: root"}), "/credentials/token", "no spaces"),
        (body(PEMS | {"client_cert": "nonsense"}), "/credentials/client_cert", "PEM"),
        (body(PEMS | {"client_key": "nonsense"}), "/credentials/client_key", "PEM"),
        (body(PEMS | {"client_key": AUTHORITY.issue("other")[1]}), "/credentials/client_key", "not that of"),
        (with_kubeconfig(kubeconfig(), token="t"), "/credentials/token", "leave this out"),
        (body(EXPIRED), "/credentials/client_cert", "It expired at"),
        (body({"token": jwt({"exp": 1_700_000_000})}), "/credentials/token", "It expired at 2023-11-14 22:13 UTC"),
        (
            with_kubeconfig(kubeconfig(user={"token": jwt({"exp": 1_700_000_000})})),
            "/credentials/kubeconfig",
            "It expired at",
        ),
    ],
)
def test_refused(registration: dict[str, Any], pointer: str, words: str) -> None:
    found = problems(registration)
    assert [p for p, _ in found] == [pointer]
    assert words in found[0][1]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (kubeconfig(contexts=3, current=None), "say which, of one, three, two"),
        (kubeconfig(current="other"), "no context other; it has one"),
        (kubeconfig(contexts=0, current=None), "no context"),
        (kubeconfig() | {"users": []}, "no user"),
        (kubeconfig() | {"clusters": None}, "no cluster"),
        (kubeconfig({"server": ""}), "no server"),
        (kubeconfig(user={"token": ["t"]}), "token is no text"),
        (kubeconfig({"server": "http://10.0.0.10:8080"}), "unencrypted"),
        (kubeconfig({"server": "https://127.0.0.1:6443"}), "for admins"),
        (kubeconfig({"certificate-authority": "/etc/ca.pem"}), "certificate-authority of the cluster"),
        (kubeconfig({"certificate-authority-data": "%%"}), "no base64"),
        (kubeconfig({"insecure-skip-tls-verify": True}), "insecure-skip-tls-verify"),
        (kubeconfig({"proxy-url": "http://10.0.0.1:3128"}), "no proxies"),
        (kubeconfig(user={}), "neither a token nor"),
        (kubeconfig(user={"tokenFile": "/run/token"}), "tokenFile"),
        (kubeconfig(user={"client-certificate": "a.pem", "client-key-data": "eA=="}), "client-certificate-data"),
        (kubeconfig(user={"exec": {"command": "aws"}}), "the gateway does not run for you"),
        (kubeconfig(user={"auth-provider": {"name": "oidc"}}), "auth-provider"),
        (kubeconfig(user={"username": "u", "token": "t"}), "no passwords"),
        (kubeconfig(user={"token": "t", "as": "root"}), "somebody else"),
        ("just text", "no kubeconfig"),
        ([1, 2], "no kubeconfig"),
    ],
)
def test_kubeconfigs_refused(parts: Any, words: str) -> None:
    found = problems(with_kubeconfig(parts))
    assert [p for p, _ in found] == ["/credentials/kubeconfig"]
    assert words in found[0][1]


def test_everything_that_is_refused_in_a_kubeconfig_is_told_at_once() -> None:
    parts = kubeconfig({"proxy-url": "http://p"}, {"exec": {"command": "x"}, "tokenFile": "y"})
    assert len(problems(with_kubeconfig(parts))) == 3


def test_broken_yaml_is_told_with_its_line() -> None:
    found = problems(body({"kubeconfig": "a: b\n\t- c"}, endpoint=None))
    assert found == [("/credentials/kubeconfig", "It cannot be read as YAML (line 2).")]


def test_admins_may_name_this_machine() -> None:
    assert problems(body(endpoint="https://127.0.0.1:6443"), admin=True) == []


def test_what_a_registration_comes_to() -> None:
    told = opened(body({"token": " abc\n", "ca_cert": AUTHORITY.certificate}, endpoint=f"{ENDPOINT}/", namespace="web"))
    assert told == Session(endpoint=ENDPOINT, token="abc", ca_cert=AUTHORITY.certificate, namespace="web")


def test_what_a_kubeconfig_comes_to() -> None:
    told = opened(with_kubeconfig(kubeconfig({"tls-server-name": "api.example.org"})))
    expected = Session(
        endpoint=ENDPOINT, token="abc", ca_cert=AUTHORITY.certificate, server_name="api.example.org", namespace=None
    )
    assert told == expected  # the namespace of a context is kubectl's, and not where a project's things go


def test_an_endpoint_of_its_own_goes_before_the_kubeconfigs() -> None:
    registration = with_kubeconfig(kubeconfig({"server": "https://127.0.0.1:1"})) | {"endpoint": "https://10.0.0.11"}
    assert problems(registration) == []
    assert opened(registration).endpoint == "https://10.0.0.11"


def test_secrets_are_not_printed() -> None:
    told = repr(opened(body(PEMS))) + repr(opened(body({"token": "hunter2"})))
    assert "hunter2" not in told
    assert "PRIVATE" not in told


def test_what_was_never_checked_is_denied() -> None:
    with pytest.raises(Denied, match="no endpoint"):
        opened(body(endpoint=None))


NAMES = ["clusters", "users", "contexts", "name", "cluster", "user", "context", "current-context"]
LEAVES = st.none() | st.booleans() | st.sampled_from(NAMES)
PARTS = st.recursive(LEAVES, lambda x: st.lists(x) | st.dictionaries(st.sampled_from(NAMES), x), max_leaves=12)


@settings(max_examples=30)
@given(PARTS)
def test_any_yaml_is_understood_or_refused(parts: Any) -> None:
    assert problems(with_kubeconfig(parts))
