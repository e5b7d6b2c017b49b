"""A whole gateway on a loopback port, over a simulated cluster; every test has a project of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, KIND, SCHEME, Outside, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.app import App, Server, create_app
from zun_coe.config import Settings
from zun_coe.process import Process

_numbers = count(1)
SETTINGS: dict[str, Any] = {
    "dev_headers": True,
    "resync": 1.0,
    "lease": 5.0,
    "backoff": 0.1,
    "max_backoff": 1.0,
    "max_body": 200_000,
    "max_wait": 20.0,
    "threads": 8,
}


@dataclass
class Service:
    """The gateway as a test sees it. `cluster`: the simulated one, registered as the public cluster `here`."""

    process: Process
    app: App
    server: Server
    cluster: SimulatedCluster

    def client(self, project: str, roles: str = "admin", user: str = "ann") -> httpx.Client:
        """A client that acts in a project."""
        headers = {"X-Zun-Project": project, "X-Zun-Roles": roles, "X-Zun-User": user}
        return httpx.Client(base_url=self.server.url, headers=headers, trust_env=False, timeout=30)


@contextmanager
def running(folder: Path, cluster: str, **changes: Any) -> Iterator[Service]:
    """A gateway with its state in a folder and a public cluster of this name."""
    settings = Settings(store=f"sqlite:///{folder / 'state.db'}", **SETTINGS | changes)
    patch = pytest.MonkeyPatch()
    patch.setitem(adapters.kinds(), KIND, SimulatedAdapter)
    patch.setitem(CLUSTERS, cluster, SimulatedCluster())
    process = Process(settings)
    app = create_app(process.gateway, settings, validate_responses=True)
    server = Server(app, "127.0.0.1:0")
    process.start()
    server.start()
    service = Service(process, app, server, CLUSTERS[cluster])
    try:
        _register(service, cluster)
        yield service
    finally:
        service.cluster.faults.resume()
        server.stop()
        process.stop()
        patch.undo()


def _register(service: Service, name: str) -> None:
    body = {"name": name, "kind": KIND, "endpoint": SCHEME + name, "public": True}
    with service.client("operators") as api:
        assert api.post("/v1/clusters", json=body).status_code == 202
        ready = "the cluster is not ready"
        wait_until(lambda: api.get(f"/v1/clusters/{name}").json()["status"]["phase"] == "Ready", message=ready)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests, since nothing that a test does in its own project is seen in another."""
    with running(tmp_path_factory.mktemp("api"), "here") as service:
        yield service


@pytest.fixture
def project() -> str:
    """A name that no other test has."""
    return f"p{next(_numbers)}"


@pytest.fixture
def api(service: Service, project: str) -> Iterator[httpx.Client]:
    """A client of the test's own project."""
    with service.client(project) as client:
        yield client


@pytest.fixture
def other(service: Service, project: str) -> Iterator[httpx.Client]:
    """A client of another project."""
    with service.client(f"{project}-other", roles="member") as client:
        yield client


@pytest.fixture
def outside(service: Service) -> Outside:
    """What happens to the cluster behind the gateway's back."""
    return Outside(service.cluster)


@pytest.fixture
def app_of(api: httpx.Client) -> Callable[..., Any]:
    """Makes an app and waits until it runs."""

    def make(name: str = "hello", **fields: Any) -> Any:
        body = {"name": name, "cluster": "here", "image": "web:1", **fields}
        answer = api.post("/v1/apps", params={"wait": 20}, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return make


@pytest.fixture
def container_of(api: httpx.Client) -> Callable[..., Any]:
    """Makes a container and waits until it has settled."""

    def make(name: str = "job", **fields: Any) -> Any:
        body = {"name": name, "cluster": "here", "image": "web:1", **fields}
        answer = api.post("/v1/containers", params={"wait": 20}, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return make
