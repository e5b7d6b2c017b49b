"""The fixtures themselves: what other tests rely on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import docker
import pytest
import requests

from tests.real.answers import body_of
from tests.real.components import Engine, Registry, wait_until
from tests.real.engine import remove_groups


def test_a_container_serves_http_on_a_published_port_and_on_its_own_address(docker_engine: Engine) -> None:
    container = docker_engine.client().containers.run(
        docker_engine.image, ["httpd", "-f", "-p", "80", "-h", "/www"], detach=True, ports={"80/tcp": None}
    )
    container.reload()
    settings = container.attrs["NetworkSettings"]
    port, address = settings["Ports"]["80/tcp"][0]["HostPort"], settings["IPAddress"]
    for url in (f"http://127.0.0.1:{port}/", f"http://{address}/"):
        assert wait_until(partial(body_of, url), 10, url) == b"hello\n"
    container.remove(force=True)


def test_containers_of_one_network_find_each_other_by_name(docker_engine: Engine) -> None:
    client = docker_engine.client()
    network = client.networks.create("friends")
    command = ["sleep", "1000"]
    server = client.containers.run(docker_engine.image, command, name="server", network="friends", detach=True)
    server.reload()
    address = server.attrs["NetworkSettings"]["Networks"]["friends"]["IPAddress"]
    ask = f"nslookup server 127.0.0.11 && ping -c 1 {address}"
    answer = client.containers.run(docker_engine.image, ["sh", "-c", ask], network="friends", remove=True)
    assert f"Address: {address}".encode() in answer
    assert b"1 packets received" in answer
    server.remove(force=True)
    network.remove()


def test_two_engines_are_two_hosts(docker_engine: Engine, second_engine: Engine) -> None:
    first, second = docker_engine.client().info(), second_engine.client().info()
    assert first["ID"] != second["ID"]


def test_an_engine_that_is_killed_comes_back_with_what_it_had(own_engine: Engine) -> None:
    client = own_engine.client()
    client.containers.run(own_engine.image, ["sleep", "1000"], detach=True, stop_signal="SIGKILL")
    own_engine.kill()
    assert not own_engine.listening
    own_engine.start()
    assert [c.status for c in client.containers.list(all=True)] == ["exited"]


def test_an_engine_that_is_frozen_answers_later(own_engine: Engine) -> None:
    impatient = docker.DockerClient(base_url=own_engine.endpoint, version="1.41", timeout=1)
    own_engine.freeze()
    with pytest.raises(requests.Timeout):
        impatient.ping()
    own_engine.thaw()
    assert own_engine.client().ping()
    impatient.close()


def test_images_are_pulled_with_and_without_a_login(docker_engine: Engine, registry: Registry) -> None:
    images = docker_engine.client().images
    public = registry.push(docker_engine, "public:1")
    assert images.pull(public)
    private = registry.push(docker_engine, "private:1", private=True)
    with pytest.raises(docker.errors.APIError):
        images.pull(private)
    assert images.pull(private, auth_config=registry.auth)
    images.remove(public)
    images.remove(private)


def test_nothing_survives_the_process_that_started_an_engine() -> None:
    program = (
        "import os, signal, sys\n"
        "from tests.real.isolation import own_network\n"
        "own_network()\n"
        "from tests.real.components import Engine, short_folder\n"
        "engine = Engine(short_folder()); engine.start(); engine.load()\n"
        "container = engine.client().containers.run(engine.image, ['sleep', '1000'], detach=True)\n"
        "container.reload()\n"
        "print(engine.folder, engine.pid, engine.control_group, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    folder, pid, group = ended.stdout.split()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "The engine is gone")
    assert folder not in Path("/proc/mounts").read_text()
    remove_groups(group)
    shutil.rmtree(folder)
