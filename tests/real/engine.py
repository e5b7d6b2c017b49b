"""A real Docker engine, of the test's own."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import docker

from scripts.busybox import CHANGES
from tests.real.images import busybox_root
from tests.real.isolation import Cell, child_of, is_isolated
from tests.real.needs import missing, need
from tests.real.process import freeze, thaw
from tests.real.waiting import wait_until

_numbers = itertools.count(1)


def need_engine() -> str:
    """The program of the engine; the test is skipped, or fails, where none can be run (see `need`)."""
    dockerd = need("dockerd", "docker.io")
    if not is_isolated():
        missing("a Docker engine of our own needs root and Linux namespaces (and the package iproute2)")
    return dockerd


class Engine:
    """A Docker engine in a folder of its own, with its own bridge and subnets.

    `endpoint` is its socket; `image` is loaded into it (busybox with every applet; `sh` by default);
    `control_group` is the parent of its containers' groups. Its containers' addresses and published ports
    are reached from this process, and from nowhere else."""

    image = "busybox:local"
    tcp: str | None = None

    def __init__(self, folder: Path) -> None:
        dockerd = need_engine()
        number = next(_numbers)
        self.folder = folder
        self.endpoint = f"unix://{folder}/docker.sock"
        self._bridge, self.control_group = f"zun{number}", f"zun-test-{os.getpid()}-{number}"
        self._command = [dockerd, *self._options(number)]
        self._client: docker.DockerClient | None = None
        self._entered: subprocess.Popen[bytes] | None = None
        _make_bridge(self._bridge, f"10.{100 + number}.0.1/24")
        # The machine's own engine is out of sight: its key, its settings, its containerd.
        self._cell = Cell(folder / "data", Path("/etc/docker"), Path("/run"))

    @property
    def pid(self) -> int:
        """The engine's process."""
        assert self._entered is not None
        pid = child_of(self._entered.pid)
        assert pid is not None
        return pid

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.endpoint.removeprefix("unix://")) == 0

    @property
    def log(self) -> str:
        """What the engine has said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def client(self) -> docker.DockerClient:
        """A connection that heeds no proxy of the environment; the same one each time."""
        if self._client is None:
            self._client = docker.DockerClient(base_url=self.endpoint, timeout=30)
            self._client.api.trust_env = False
        return self._client

    def start(self) -> None:
        """Start it, or start it again after `kill`, and wait until it answers."""
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._entered = self._cell.start(self._command, log)
        wait_until(self._ready, 60, "The Docker engine answers")

    def load(self, tag: str = image) -> None:
        """Make the busybox image, also under another name."""
        repository, _, version = tag.rpartition(":")
        self.client().api.import_image_from_data(busybox_root(), repository, version, changes=CHANGES)

    def kill(self) -> None:
        """End the engine without notice. Its containers go on until `start`, which stops them as Docker does:
        one that ignores its stop signal delays that by its stop timeout."""
        if self._entered is not None and self._entered.poll() is None:
            pid = self.pid
            os.kill(pid, signal.SIGKILL)
            self._leave()
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "The engine has ended")

    def freeze(self) -> None:
        """Let the engine hang: connections are accepted and nothing is answered."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let it go on."""
        thaw(self.pid)

    def close(self) -> None:
        """End the engine with all that it started, and remove its folder, bridge and control groups."""
        if self._client is not None:
            self._client.close()
        self._leave()
        self._cell.close()
        subprocess.run(["ip", "link", "delete", self._bridge], check=True)
        remove_groups(self.control_group)
        shutil.rmtree(self.folder)

    def _leave(self) -> None:
        # It would wait for the engine, and stops itself when the engine is frozen.
        if self._entered is not None:
            self._entered.kill()
            self._entered.wait()

    def _ready(self) -> bool:
        assert self._entered is not None
        if self._entered.poll() is not None:
            raise RuntimeError(f"dockerd has ended: {self.log[-2000:]}")
        # It listens before it is ready, and keeps the first call waiting until then.
        return self.listening and bool(self.client().ping())

    def _options(self, number: int) -> list[str]:
        # No firewall rules: engines in one network would flush each other's. Ports are carried by docker-proxy.
        folders = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid"]
        network = [f"--bridge={self._bridge}", f"--default-address-pool=base=10.{100 + number}.128.0/17,size=24"]
        firewall = ["--iptables=false", "--ip6tables=false"]
        rest = [f"--host={self.endpoint}", "--exec-opt=native.cgroupdriver=cgroupfs"]
        return [*folders, *network, *firewall, *rest, f"--cgroup-parent=/{self.control_group}"]


def _make_bridge(name: str, address: str) -> None:
    for command in (f"link add {name} type bridge", f"address add {address} dev {name}", f"link set {name} up"):
        subprocess.run(["ip", *command.split()], check=True)


def remove_groups(name: str) -> None:
    """Remove empty control groups, whatever hierarchy they are in."""
    for top in (*Path("/sys/fs/cgroup").glob(name), *Path("/sys/fs/cgroup").glob(f"*/{name}")):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
