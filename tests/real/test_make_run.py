"""What `make run` does, against an engine of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import urllib3

from scripts import local_docker, run
from scripts.local_docker import Trouble
from scripts.local_gateway import gateway
from tests.real.components import Engine, free_port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture
def api(folder: Path) -> Iterator[httpx.Client]:
    """A gateway as `make run` starts it; each test starts it again with the same state."""
    with gateway(f"127.0.0.1:{free_port()}", folder) as (client, process):
        assert process is not None
        yield client


def test_the_sample_runs_and_answers(
    api: httpx.Client, docker_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    run.run_sample(api, docker_engine.endpoint, "127.0.0.1:9517")
    app = api.get("/v1/apps/hello").json()
    assert app["status"]["phase"] == "Running"
    pages = {_page(f"http://{e['address']}:{e['port']}/") for e in app["status"]["endpoints"]}
    assert len(pages) == 3
    assert all(page.startswith(b"Hello from ") for page in pages)
    shown = capsys.readouterr().out
    order = ["Connecting the gateway", "Making the image", "Deploying", "3 of 3", "The app answers at"]
    assert sorted(order, key=shown.index) == order
    assert "3 of 3 replicas are ready" in shown
    assert "http://127.0.0.1:9517/v1/ui/" in shown


def test_the_next_run_finds_it_as_it_was_left(api: httpx.Client, docker_engine: Engine) -> None:
    before = _containers(docker_engine)
    run.run_sample(api, docker_engine.endpoint, "127.0.0.1:9517")
    assert _containers(docker_engine) == before != []


def test_its_image_stays_where_something_uses_it(
    api: httpx.Client, docker_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    other = docker_engine.client().containers.create("zun-hello:1", ["true"], name="other")
    run.remove_sample(api, docker_engine.endpoint)
    assert (
        "The app hello is gone.\nIts image zun-hello:1 stays, since it is used by other.\n" in capsys.readouterr().out
    )
    assert docker_engine.client().images.list("zun-hello") != []
    other.remove()
    run.run_sample(api, docker_engine.endpoint, "127.0.0.1:9517")


def test_its_image_stays_as_it_is_for_the_gateways_of_others(
    api: httpx.Client, docker_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    client = docker_engine.client()
    [image] = client.images.list("zun-hello:1")
    other = client.containers.create("zun-hello:1", ["true"], name="other")
    assert run.sample(docker_engine.endpoint)["image"] == "zun-hello:1"
    assert [found.id for found in client.images.list("zun-hello:1")] == [image.id]
    client.images.get(other.image.id).tag("kept", "1")
    moved = client.containers.create("zun-hello:1", ["true"], name="moved").commit("zun-hello", "1")
    assert moved.id != image.id
    client.containers.get("moved").remove()
    run.remove_sample(api, docker_engine.endpoint)
    assert "Its image zun-hello:1 stays, since it is used by other." in capsys.readouterr().out
    other.remove()
    client.images.remove("kept:1")
    run.run_sample(api, docker_engine.endpoint, "127.0.0.1:9517")


def test_it_is_removed_with_its_image(api: httpx.Client, docker_engine: Engine) -> None:
    for _ in range(2):
        run.remove_sample(api, docker_engine.endpoint)
    assert _containers(docker_engine) == []
    assert api.get("/v1/apps/hello").status_code == 404
    assert docker_engine.client().images.list("zun-hello") == []


def test_a_refusal_is_told_in_the_gateways_words(api: httpx.Client) -> None:
    with pytest.raises(Trouble, match="/replicas: "):
        run.ask(api, "PUT", "/v1/apps/other", json={"cluster": "local", "image": "x", "replicas": -1})


def test_an_engine_is_found_where_docker_host_says(docker_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.endpoint)
    assert local_docker.find_or_start() == docker_engine.endpoint


def test_a_gateway_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="nowhere"), gateway("nowhere", tmp_path):
        pass


def _containers(engine: Engine) -> list[str]:
    return sorted(c.id or "" for c in engine.client().containers.list(filters={"ancestor": "zun-hello:1"}))


def _page(url: str) -> bytes:
    with urllib3.PoolManager(timeout=5) as http:
        return http.request("GET", url).data
