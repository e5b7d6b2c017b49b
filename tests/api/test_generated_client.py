"""The contract as a generator of clients understands it: what it makes creates, reads, changes and writes back apps and
containers without losing anything, and reads logs, events and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import httpx
import pytest

from tests.api.conftest import Service

NAME = "zun_client"
Use = Callable[..., Any]
# What a write changes by itself; all else is as it was sent.
MOVING = {"generation", "updated_at", "status", "revision"}


@pytest.fixture(scope="module")
def generated(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The models of a client that was made from what the gateway publishes, without a warning."""
    folder = tmp_path_factory.mktemp("generated")
    with service.client("anybody") as api:
        (folder / "openapi.json").write_bytes(api.get("/v1/openapi.json").content)
    (folder / "config.yaml").write_text("post_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none"]
    command += ["--output-path", NAME, "--config", "config.yaml", "--fail-on-warning"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(folder)
    yield import_module(f"{NAME}.models")
    patch.undo()
    for name in [n for n in sys.modules if n.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.fixture
def use(generated: Any, service: Service, project: str) -> Use:
    """Calls an operation, `apps_show` for instance, and gives back what the client makes of the answer."""
    headers = {"X-Zun-Project": project, "X-Zun-Roles": "admin", "X-Zun-User": "ann"}
    make = import_module(NAME).Client

    def call(operation: str, *args: Any, accept: str = "*/*", **fields: Any) -> Any:
        module = import_module(f"{NAME}.api.{operation.partition('_')[0]}.{operation}")
        sent = headers | {"Accept": accept}
        with make(service.server.url, headers=sent, timeout=30, httpx_args={"trust_env": False}) as client:
            return module.sync(*args, client=client, **fields)

    return call


def workload(models: Any, kind: str, **fields: Any) -> Any:
    """The request that creates one, with about everything that can be nested."""
    return getattr(models, kind)(
        name="hello",
        cluster="here",
        image="web:1",
        command=["sh", "-c", "echo one; sleep 1000"],
        env=models.Env.from_dict({"A": "1", "B": "two"}),
        labels=models.Labels.from_dict({"tier": "web"}),
        ports=[models.Port(port=80, name="http", publish=models.Auto("auto"))],
        health=models.Health(http=models.HttpGet(port=80, path="/ready"), interval=7),
        mounts=[
            models.Mount(path="/data", volume=models.VolumeSource(name="data", size="1Gi")),
            models.Mount(path="/tmp", tmpfs=models.Tmpfs(size="64Mi")),
        ],
        **fields,
    )


def settled(api: httpx.Client, path: str) -> dict[str, Any]:
    """What is there, as JSON, without what moves by itself."""
    shown: dict[str, Any] = api.get(path).json()
    return {k: v for k, v in shown.items() if k not in MOVING}


def test_an_app(generated: Any, use: Use, api: httpx.Client) -> None:
    update = generated.Update(max_surge="25%", on_failure=generated.OnFailure("rollback"))
    made = use("apps_create", body=workload(generated, "AppCreate", replicas=2, update=update), wait=20)
    assert isinstance(made, generated.App), made
    assert (made.health.http.path, made.mounts[0].volume.size, made.ports[0].publish) == ("/ready", "1Gi", "auto")
    assert (made.status.phase, made.update.max_surge) == ("Running", "25%")
    before = settled(api, "/v1/apps/hello")

    written = use("apps_replace", "hello", body=generated.AppReplace.from_dict(made.to_dict()), wait=20)
    assert isinstance(written, generated.App), written
    assert settled(api, "/v1/apps/hello") == before

    read = use("apps_show", "hello")
    changed = generated.AppReplace.from_dict(read.to_dict() | {"replicas": 3})
    changed.mounts[1].tmpfs.size = "32Mi"
    assert isinstance(use("apps_replace", "hello", body=changed, wait=20), generated.App)
    mounts = [before["mounts"][0], before["mounts"][1] | {"tmpfs": {"size": "32Mi"}}]
    assert settled(api, "/v1/apps/hello") == before | {"replicas": 3, "mounts": mounts}


def test_patching_an_app_changes_nothing_else(generated: Any, use: Use, api: httpx.Client) -> None:
    use("apps_create", body=workload(generated, "AppCreate", replicas=2), wait=20)
    before = settled(api, "/v1/apps/hello")
    env = generated.EnvPatch.from_dict({"B": None})
    health = generated.HealthPatch(interval=None, http=generated.HttpGetPatch(path="/other"))
    patched = use("apps_patch", "hello", body=generated.AppPatch(env=env, health=health), wait=20)
    assert isinstance(patched, generated.App), patched
    expected = before["health"] | {"interval": 10, "http": {"port": 80, "path": "/other"}}
    assert settled(api, "/v1/apps/hello") == before | {"env": {"A": "1"}, "health": expected}


def test_a_container(generated: Any, use: Use, api: httpx.Client) -> None:
    made = use("containers_create", body=workload(generated, "ContainerCreate"), wait=20)
    assert isinstance(made, generated.Container), made
    assert (made.health.http.port, made.mounts[1].tmpfs.size) == (80, "64Mi")
    before = settled(api, "/v1/containers/hello")
    labels = generated.LabelsPatch.from_dict({"tier": None, "team": "a"})
    patched = use("containers_patch", "hello", body=generated.ContainerPatch(labels=labels), wait=20)
    assert isinstance(patched, generated.Container), patched
    assert settled(api, "/v1/containers/hello") == before | {"labels": {"team": "a"}}
    use("containers_delete", "hello", wait=20)
    again = generated.ContainerCreate.from_dict(patched.to_dict())
    assert isinstance(use("containers_create", body=again, wait=20), generated.Container)
    fresh = {"id", "created_at"}
    now = settled(api, "/v1/containers/hello")
    assert {k: v for k, v in now.items() if k not in fresh} == {k: v for k, v in before.items() if k not in fresh} | {
        "labels": {"team": "a"}
    }


def test_logs_and_events(generated: Any, use: Use) -> None:
    use("apps_create", body=workload(generated, "AppCreate"), wait=20)
    assert use("apps_logs", "hello") == "hello-1 one\n"
    [line] = json.loads(use("apps_logs", "hello", accept="application/json"))
    told = generated.LogLine.from_dict(line)
    assert (told.container, told.stream, told.text) == ("hello-1", generated.LogStream("stdout"), "one")
    page = use("events_list", subject=generated.EventSubject("app"))
    assert isinstance(page, generated.EventList)
    assert "AppCreated" in [event.type_ for event in page.events]


def test_errors(generated: Any, use: Use) -> None:
    problem = use("apps_show", "nowhere")
    assert isinstance(problem, generated.Problem)
    assert problem.type_.value.endswith("/not-found")
    assert problem.request_id.startswith("req-")
    wrong = workload(generated, "AppCreate")
    wrong.health.tcp = generated.TcpConnect(port=80)
    refused = use("apps_create", body=wrong)
    assert [(e.pointer, "it has http and tcp" in e.detail) for e in refused.errors] == [("/health", True)]


def test_fields_of_a_newer_service_are_kept(generated: Any) -> None:
    """A client that is older than the service sends back what it does not know."""
    newer = {
        "name": "x",
        "image": "x",
        "rollouts": 3,
        "health": {"grpc": {"port": 1}},
        "mounts": [{"path": "/a", "nfs": 1}],
    }
    shown = newer | {"id": "7d7ab3a6-1f0e-4f0e-9d5b-2b8f2a4c9a10", "project": "p", "generation": 1}
    shown |= {"created_at": "2026-03-01T12:00:00+00:00", "updated_at": "2026-03-01T12:00:00+00:00"}
    shown |= {"status": {"phase": "Running", "observed_generation": 1, "reachable": True, "mood": "good"}}
    assert generated.App.from_dict(shown).to_dict() == shown
