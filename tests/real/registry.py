"""A real image registry, open and with a login."""

from __future__ import annotations

from pathlib import Path

import bcrypt

from tests.real.answers import status_of
from tests.real.engine import Engine
from tests.real.needs import free_port, need
from tests.real.process import Process
from tests.real.waiting import wait_until

CONFIG = """version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: {address}}}
"""
LOGIN = "auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}\n"


class Registry:
    """Two registries on the loopback, which engines use without TLS: `public`, and `private`, whose login is
    `username` and `password`. Both are addresses (host:port) to put before an image's name."""

    username = "puller"
    password = "let me in"

    def __init__(self, folder: Path) -> None:
        self._program = need("docker-registry", "docker-registry")
        self._processes: list[Process] = []
        self.public = self._serve(folder / "public", "")
        self.private = self._serve(folder / "private", LOGIN)

    @property
    def auth(self) -> dict[str, str]:
        """The login of the private one, as docker-py takes it."""
        return {"username": self.username, "password": self.password}

    def push(self, engine: Engine, name: str, *, private: bool = False) -> str:
        """Put the engine's busybox image there as `name` (like `web:1`), remove it from the engine, and give
        back the reference to pull it by."""
        reference = f"{self.private if private else self.public}/{name}"
        repository, _, tag = reference.rpartition(":")
        images = engine.client().images
        images.get(engine.image).tag(repository, tag)
        answer = images.push(repository, tag, auth_config=self.auth if private else None)
        assert "errorDetail" not in answer, answer
        images.remove(reference)
        return reference

    def freeze(self) -> None:
        """Let both hang: pulls begin, and do not get on."""
        for process in self._processes:
            process.freeze()

    def thaw(self) -> None:
        """Let them go on."""
        for process in self._processes:
            process.thaw()

    def close(self) -> None:
        """End both."""
        for process in self._processes:
            process.kill()

    def _serve(self, folder: Path, login: str) -> str:
        folder.mkdir()
        address = f"127.0.0.1:{free_port()}"
        password = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{self.username}:{password}\n")
        (folder / "config.yml").write_text((CONFIG + login).format(folder=folder, address=address))
        process = Process([self._program, "serve", str(folder / "config.yml")], folder / "log")
        process.start()
        self._processes.append(process)
        wait_until(lambda: status_of(f"http://{address}/v2/") in (200, 401), 15, f"The registry at {address} answers")
        return address
