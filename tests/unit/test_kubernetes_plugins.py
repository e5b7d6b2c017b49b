"""Credentials that a command tells, or the gateway's own pod has, where the operator allows that."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from zun_coe.adapters import Connection, Policy
from zun_coe.adapters.kubernetes import plugins
from zun_coe.adapters.kubernetes.registration import check_registration
from zun_coe.adapters.kubernetes.route import Route
from zun_coe.errors import Denied, TimedOut, Unavailable

PYTHON = sys.executable
ALLOWED = Policy(in_cluster=True, exec_plugins=frozenset({PYTHON}))


def kubeconfig(script: str, **more: Any) -> str:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": PYTHON, "args": ["-c", script]} | more
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443"}}],
            "users": [{"name": "u", "user": {"exec": plugin}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        }
    )


def printing(status: dict[str, Any]) -> str:
    return f"print({json.dumps(json.dumps({'kind': 'ExecCredential', 'status': status}))})"


def connection(script: str, policy: Policy = ALLOWED, timeout: float = 20.0, **more: Any) -> Connection:
    credentials = {"kubeconfig": kubeconfig(script, **more)}
    return Connection(
        installation="i", cluster="c", kind="kubernetes", credentials=credentials, policy=policy, timeout=timeout
    )


def problems(credentials: dict[str, Any], *, admin: bool = True, policy: Policy = ALLOWED, **more: Any) -> list[str]:
    found = check_registration({"credentials": credentials} | more, admin=admin, policy=policy)
    return [problem.pointer for problem in found]


class TestPlugins:
    @pytest.mark.parametrize(
        ("admin", "policy", "mode", "refused"),
        [
            (True, ALLOWED, "Never", False),
            (True, ALLOWED, "Always", True),
            (False, ALLOWED, "Never", True),
            (True, Policy(), "Never", True),
            (True, Policy(exec_plugins=frozenset({"aws"})), "Never", True),
        ],
    )
    def test_who_may_register_one(self, admin: bool, policy: Policy, mode: str, refused: bool) -> None:
        text = kubeconfig("", interactiveMode=mode)
        expected = ["/credentials/kubeconfig"] if refused else []
        assert problems({"kubeconfig": text}, admin=admin, policy=policy) == expected

    def test_it_tells_a_token(self) -> None:
        found = plugins.current(connection(printing({"token": "t-1"})))
        assert (found.endpoint, found.token, found.until) == ("https://10.0.0.1:6443", "t-1", None)
        assert "t-1" not in repr(found)

    def test_it_is_told_what_is_asked_and_what_its_user_wants(self) -> None:
        told = "os.environ['A'] + os.environ['KUBERNETES_EXEC_INFO']"
        script = f"import json, os; print(json.dumps({{'status': {{'token': {told}}}}}))"
        found = plugins.current(connection(script, env=[{"name": "A", "value": "b"}]))
        assert str(found.token).startswith('b{"apiVersion":"client.authentication.k8s.io/v1"')

    def test_the_gateways_environment_is_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZUN_COE_ENCRYPTION_KEYS", "secret")
        script = "import json, os; print(json.dumps({'status': {'token': ' '.join(os.environ)}}))"
        assert "ZUN_COE" not in str(plugins.current(connection(script)).token)

    def test_the_policy_counts_when_it_is_used(self) -> None:
        with pytest.raises(Denied, match="exec_plugins"):
            plugins.current(connection(printing({"token": "t"}), Policy()))

    @pytest.mark.parametrize(
        ("script", "kind"),
        [
            ("print('no')", Unavailable),
            (printing({}), Denied),
            ("import sys; sys.exit('log in first')", Denied),
            ("import time; time.sleep(60)", TimedOut),
        ],
    )
    def test_what_goes_wrong(self, script: str, kind: type[Exception]) -> None:
        patience = 1.0 if kind is TimedOut else 20.0
        with pytest.raises(kind):
            plugins.current(connection(script, timeout=patience))

    def test_it_is_asked_again_when_the_credential_ends_or_is_refused(self, tmp_path: Path) -> None:
        counter = tmp_path / "asked"
        script = f"""
import json, pathlib
counter = pathlib.Path({str(counter)!r})
asked = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(asked))
print(json.dumps({{"status": {{"token": f"t-{{asked}}", "expirationTimestamp": "2999-01-01T00:00:00Z"}}}}))
"""
        route = Route(connection(script))
        assert not route.outdated
        assert (route.session.token, route.session.token) == ("t-1", "t-1")
        route.doubt()
        assert route.outdated
        assert route.renewed().session.token == "t-2"


class TestInCluster:
    @pytest.mark.parametrize(
        ("admin", "policy", "more", "refused"),
        [
            (True, ALLOWED, {}, []),
            (True, ALLOWED, {"endpoint": "https://a:1"}, ["/endpoint"]),
            (False, ALLOWED, {}, ["/credentials/in_cluster"]),
            (True, Policy(), {}, ["/credentials/in_cluster"]),
        ],
    )
    def test_who_may_register_it(self, admin: bool, policy: Policy, more: Any, refused: list[str]) -> None:
        assert problems({"in_cluster": True}, admin=admin, policy=policy, **more) == refused

    def test_it_says_all(self) -> None:
        assert problems({"in_cluster": True, "token": "t"}) == ["/credentials/token"]

    def test_a_token_that_was_replaced_is_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plugins, "ACCOUNT", tmp_path)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        own = Connection(
            installation="i", cluster="c", kind="kubernetes", credentials={"in_cluster": True}, policy=ALLOWED
        )
        with pytest.raises(Denied, match="service account"):
            plugins.current(own)
        (tmp_path / "token").write_text("t-1\n")
        (tmp_path / "ca.crt").write_text("CA")
        route = Route(own)
        assert (route.session.endpoint, route.session.token) == ("https://[fd00::1]:443", "t-1")
        assert not route.outdated
        later = time.monotonic() + plugins.REREAD
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert route.outdated
        assert route.renewed() is route
        (tmp_path / "token").write_text("t-2\n")
        assert route.renewed().session.token == "t-2"
        with pytest.raises(Denied, match="allow_in_cluster"):
            plugins.current(Connection(installation="i", cluster="c", kind="k", credentials={"in_cluster": True}))
