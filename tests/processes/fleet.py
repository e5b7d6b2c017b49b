"""Processes of the gateway, started as an operator starts them, on one etcd."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import httpx
from cryptography.fernet import Fernet

from tests.real.needs import free_port
from tests.real.process import Process
from tests.real.waiting import wait_until

Role = Literal["api", "engine"]
LEASE = 5.0
PATIENCE = 60.0
"""Seconds in which anything must have happened, on a machine that does much else."""


class Member(Process):
    """One process. `url`: where it serves; `http`: a client for it that heeds no proxy."""

    def __init__(self, role: Role, folder: Path, settings: dict[str, str]) -> None:
        port = free_port()
        self.role, self.url = role, f"http://127.0.0.1:{port}"
        environment = {f"ZUN_COE_{name.upper()}": value for name, value in settings.items()}
        environment["ZUN_COE_LISTEN"] = f"127.0.0.1:{port}"
        command = [str(Path(sys.executable).with_name("zun-coe")), role]
        super().__init__(command, folder / f"{role}-{port}.log", environment)
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30.0)

    def serves(self) -> bool:
        """Whether requests are answered, and well."""
        if not self.running:
            raise RuntimeError(f"it has ended: {self.said[-3000:]}")
        with suppress(httpx.TransportError):
            return self.http.get("/readyz", timeout=2.0).status_code == 200
        return False

    @property
    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def told(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log about something."""
        lines = [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def close(self) -> None:
        """End it, at once."""
        self.http.close()
        self.kill()


class Fleet:
    """Processes on one store. To be closed."""

    def __init__(self, folder: Path, store: str, **settings: str) -> None:
        self._folder = folder
        self._settings = {
            "store": store,
            "encryption_keys": Fernet.generate_key().decode(),
            "lease": str(LEASE),
            "resync": "1",
            "backoff": "0.1",
            "max_backoff": "1",
            "backend_timeout": "5",
            "log_format": "json",
        } | settings
        self.members: list[Member] = []

    def start(self, *roles: Role, **settings: str) -> list[Member]:
        """More processes, which serve when this returns. `settings`: those that differ from the fleet's."""
        started = [Member(role, self._folder, self._settings | settings) for role in roles]
        self.members += started
        for member in started:
            member.start()
        for member in started:
            wait_until(member.serves, PATIENCE, f"{member.role} serves")
        return started

    def close(self) -> None:
        """End all of them."""
        for member in self.members:
            member.close()


def services(api: Member) -> dict[int, Any]:
    """The processes that a process knows of, by their numbers."""
    return {one["pid"]: one for one in got(api, "/v1/services")["services"]}


def shares(api: Member) -> dict[int, int]:
    """How many clusters each engine has."""
    return {pid: len(one["clusters"]) for pid, one in services(api).items() if one["role"] == "engine"}


def got(api: Member, path: str) -> Any:
    """What is there."""
    answer = api.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def register(api: Member, name: str, endpoint: str) -> str:
    """A native cluster of one host; its id."""
    host = {"name": "a", "runtime": "docker", "endpoint": endpoint, "address": "127.0.0.1"}
    answer = api.http.post("/v1/clusters", json={"name": name, "kind": "native", "hosts": [host]})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def until(condition: Callable[[], Any], message: str) -> Any:
    """Wait for something; it."""
    return wait_until(condition, PATIENCE, message)
