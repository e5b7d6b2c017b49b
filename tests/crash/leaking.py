"""A gateway in which secrets are everywhere and much goes wrong, as a process of its own, so that all that it
prints is found in one place. Run as `python -m tests.crash.leaking FOLDER FORMAT`; answers go to FOLDER/answers."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from tests.crash import leaking_kubernetes
from tests.crash.planted import ENV, IMAGE, LOST, NEWER, TOKEN, WRONG
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, KIND, SCHEME, Image, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.adapters import Adapter, Outcome
from zun_coe.adapters.kubernetes.adapter import KubernetesAdapter
from zun_coe.app import Server, create_app
from zun_coe.cli.recording import record
from zun_coe.config import Settings
from zun_coe.errors import Unavailable
from zun_coe.model import Host, Observation, Workload, ref_of
from zun_coe.native.adapter import NativeAdapter
from zun_coe.process import Process

HOST = Host(name="a", endpoint="tcp://127.0.0.1:1")
KINDS: list[type[Adapter]] = [NativeAdapter, KubernetesAdapter]
"""Those that show what they would ask for without a cluster to ask."""


class Clumsy(SimulatedAdapter):
    """It fails in ways that nobody has foreseen, with all that it knows at hand."""

    def apply(self, workload: Workload, seen: Observation | None) -> Outcome:
        if workload.ref.name == "unlucky":
            secrets, login, credentials = dict(workload.secrets), workload.image_auth, self.connection.credentials
            told = f"{len(secrets)} secrets, {len(login or ())} of a login, {len(credentials)} of the cluster"
            raise RuntimeError(f"{workload!r} {self.connection!r} failed with {told}")
        if workload.ref.name == "away":
            raise Unavailable(f"{workload!r} can't be reached over {self.connection!r}")
        return super().apply(workload, seen)


def main(folder: Path, format: str) -> None:
    """Do everything that has to do with secrets, well and badly."""
    settings = Settings(
        store=f"sqlite:///{folder / 'state.db'}", log_level="debug", log_format=format, backoff=0.1, resync=0.3
    )
    record(settings)
    adapters.kinds()[KIND] = Clumsy  # type: ignore[index]  # for tests it is a dict
    CLUSTERS["here"] = SimulatedCluster()
    CLUSTERS["here"].images["missing:1"] = Image(missing=True)
    process = Process(settings)
    server = Server(create_app(process.gateway, settings), "127.0.0.1:0")
    process.start()
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as http:
        answers = _use(http, process)
    server.stop()
    process.stop()
    (folder / "answers").write_text("\n".join(answers))


def _use(http: httpx.Client, process: Process) -> list[str]:
    answers: list[str] = []

    def ask(method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        answer = http.request(method, path, json=body, **options)
        answers.append(f"{method} {path} {answer.status_code} {dict(answer.headers)} {answer.text}")
        return answer

    once = {"headers": {"Idempotency-Key": "once"}}
    cluster = {"name": "here", "kind": KIND, "endpoint": SCHEME + "here", "credentials": {"token": TOKEN}}
    ask("POST", "/v1/clusters", cluster, params={"wait": 20}, **once)
    ask("POST", "/v1/clusters", cluster)
    ask("POST", "/v1/clusters", cluster | {"name": "wrong", "kind": "native", "hosts": []})
    ask("POST", "/v1/clusters", cluster | {"name": "wrong", "credentials": {"token": [WRONG]}})
    ask("POST", "/v1/clusters", cluster | {"name": "wrong", "credentials": WRONG})
    for _ in range(2):
        ask("POST", "/v1/secrets", {"name": "db", "data": {"password": ENV, "unused": LOST}}, **once)
    ask("POST", "/v1/secrets", {"name": "db", "data": {"password": WRONG}}, **once)
    ask("POST", "/v1/secrets", {"name": "db", "data": {"password": WRONG}})
    ask("POST", "/v1/secrets", {"name": "login", "data": {"username": "ann", "password": IMAGE}})
    for wrong in ({"password": [WRONG]}, {"password": {"x": WRONG}}, WRONG, [WRONG]):
        ask("POST", "/v1/secrets", {"name": "bad", "data": wrong})
    ask("POST", "/v1/secrets", {"name": "bad"}, content=f'{{"name": "bad", "data": {{"x": "{WRONG}"'.encode())
    how = {"cluster": "here", "image": "web:1", "env_secrets": {"P": "db/password"}, "image_auth": "login"}
    for name in ("web", "unlucky", "away"):
        ask("POST", "/v1/apps", how | {"name": name}, params={"wait": 1})
    ask("POST", "/v1/containers", how | {"name": "job", "image": "missing:1"}, params={"wait": 1})
    ask("POST", "/v1/plans", {"app": how | {"name": "planned"}})
    ask("POST", "/v1/plans", how | {"name": "planned"})
    leaking_kubernetes.use(ask, how)
    ask("PATCH", "/v1/clusters/here", {"credentials": {"token": NEWER}}, params={"wait": 5})
    ask("PATCH", "/v1/apps/web", {"image": "web:2"}, params={"wait": 10})
    ask("DELETE", "/v1/secrets/db")
    for path in ("apps", "containers", "clusters", "secrets", "volumes", "events", "services"):
        ask("GET", f"/v1/{path}")
    for path in ("apps/web", "apps/unlucky", "apps/unlucky/diagnosis", "apps/web/revisions", "clusters/here"):
        ask("GET", f"/v1/{path}")
    for path in ("clusters/here/capabilities", "apps/web/containers", "apps/web/logs", "secrets/db", "../metrics"):
        ask("GET", f"/v1/{path}")
    wait_until(lambda: _failed(process), 20, "the unlucky app has failed")
    answers.append(_rendered(process))
    ask("DELETE", "/v1/apps/web", params={"wait": 10})
    ask("GET", "/v1/events", params={"limit": 1000})
    return answers


def _failed(process: Process) -> bool:
    assert process.engine is not None
    queues = [runner.queue for runner in process.engine.runners()]
    return any(backoff.failures for queue in queues for backoff in queue._backoffs.values())


def _rendered(process: Process) -> str:
    """What would be sent to the cluster, as it is shown to people; and what records look like in a traceback."""
    views = process.gateway.views
    record = views.named("cluster", "default", "here").intent
    adapter = process.gateway.backends.adapter(record.id)
    seen: list[Any] = [record, adapter.connection, process.settings]
    for name in ("web", "unlucky"):
        key = ("app", "default", views.named("app", "default", name).id)
        assert process.engine is not None
        (runner,) = (runner for runner in process.engine.runners() if runner.cluster.name == "here")
        resource = views.named("app", "default", name)
        found = Observation(ref=ref_of(process.gateway._tools.installation, resource.intent))
        workload = runner._reconciler._workloads.of(resource.intent, resource.status, found)
        assert workload.secrets, key
        seen += [workload, adapter.render(workload), resource]
        for kind in KINDS:
            with closing(kind(replace(adapter.connection, hosts=(HOST,)))) as other:
                seen += [other.connection, other.render(workload)]
    return "\n".join(repr(one) for one in seen)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
