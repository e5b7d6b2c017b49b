"""This machine's Docker engine: found, or installed and started where that can be done."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import requests
from docker.errors import DockerException

from scripts.busybox import SYSTEM_FOLDERS

DEFAULT = "unix:///var/run/docker.sock"
LOG = Path("/var/log/dockerd.log")
PACKAGES = ("dockerd:docker.io", "iptables:iptables", ":busybox-static")


class Trouble(Exception):
    """Something is in the way; the message says what, and what to do."""


def find_or_start() -> str:
    """The endpoint (unix://…) of an engine that answers. As root, one is started, on Debian installed first."""
    found = next((endpoint for endpoint in endpoints() if answers(endpoint)), None)
    return found or _start()


def endpoints() -> list[str]:
    """Where an engine of this machine may listen: what DOCKER_HOST says, the usual socket, the user's own."""
    places = [os.environ.get("DOCKER_HOST", ""), DEFAULT]
    places += [f"unix://{os.environ.get('XDG_RUNTIME_DIR', '/run')}/docker.sock"]
    places += [f"unix://{Path.home()}/.docker/run/docker.sock"]
    return [place for place in dict.fromkeys(places) if Path(place.removeprefix("unix://")).is_socket()]


def answers(endpoint: str) -> bool:
    """Whether an engine serves there."""
    try:
        with client_of(endpoint) as client:
            return bool(client.ping())
    except (DockerException, requests.RequestException):
        return False


@contextmanager
def client_of(endpoint: str) -> Iterator[docker.DockerClient]:
    """A connection that heeds no proxy of the environment."""
    client = docker.DockerClient(base_url=endpoint, timeout=10)
    client.api.trust_env = False
    try:
        yield client
    finally:
        client.close()


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is so, or until time is up; whether it is so."""
    deadline = time.monotonic() + seconds
    while not (so := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return so


def _start() -> str:
    if os.geteuid() != 0:
        raise Trouble(_what_is_missing())
    subprocess.run([Path(__file__).with_name("packages"), *PACKAGES], check=False)
    dockerd = shutil.which("dockerd", path=SYSTEM_FOLDERS)
    if dockerd is None:
        raise Trouble("There is no Docker engine here, and it could not be installed. Install it, then try again.")
    print("Starting the Docker engine ...", flush=True)
    where = _launch(dockerd)
    if not wait_for(lambda: answers(DEFAULT), 60):
        raise Trouble(f"The Docker engine does not start: see {where}.")
    return DEFAULT


def _launch(dockerd: str) -> str:
    """Start it so that it outlives this process; where its log is."""
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=False)
        return "journalctl --unit docker"
    with LOG.open("ab") as log:
        subprocess.Popen([dockerd], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    return str(LOG)


def _what_is_missing() -> str:
    if any(not os.access(place.removeprefix("unix://"), os.W_OK) for place in endpoints()):
        return "You may not use this machine's Docker engine. Try again as root, or as a member of the group docker."
    if shutil.which("dockerd", path=SYSTEM_FOLDERS):
        return "The Docker engine is installed but does not run. Start it, or try again as root."
    return "There is no Docker engine here. Install one; as root on Debian, `make run` does it by itself."
