"""A client that goes on with its script whatever happens to the gateway: what was not answered is asked again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx

from tests.crash.docker_truth import Asked, Name
from tests.real.engine import Engine

NAMES: tuple[Name, ...] = (("app", "a"), ("app", "b"), ("app", "c"), ("container", "x"), ("container", "y"))
SLEEPS = {"image": Engine.image, "command": ["sleep", "3600"], "pull": "never"}
# What heeds no SIGTERM, as this, has its whole grace.
SIGNALS = ("SIGKILL", "SIGTERM")
# How often it does not wait for what it asked for, and else how long at most, in seconds.
HASTE, PATIENCE = 0.3, 1.0
# How often it deletes with force.
FORCE = 0.25


class Hasty:
    """`wanted` is what was acknowledged; `forgotten` are the ids of what was deleted with force, so that nobody
    saw the end of it. `revive` is called when nobody answers, until somebody does."""

    def __init__(self, http: httpx.Client, revive: Callable[[], None], seed: int) -> None:
        self._http, self._revive, self._random = http, revive, random.Random(seed)
        self.wanted: dict[Name, Asked] = {}
        self.forgotten: set[str] = set()
        self.script: list[str] = []

    def act(self) -> None:
        """The next step of the script: something that may be asked for now."""
        name = self._random.choice(NAMES)
        asked = self.wanted.get(name)
        if asked is None:
            self._create(name)
        elif self._random.random() < 0.25:
            self._delete(name)
        elif name[0] == "app":
            self._patch(name, asked)
        else:
            self._turn(name, asked)

    def _create(self, name: Name) -> None:
        asked = Asked(replicas=self._random.randint(1, 2) if name[0] == "app" else 1)
        body: dict[str, Any] = {"name": name[1], "cluster": "here", "env": {"VERSION": "0"}, **SLEEPS}
        body |= {"stop_signal": self._random.choice(SIGNALS), "stop_timeout": 1}
        body |= {"replicas": asked.replicas} if name[0] == "app" else {}
        if (created := self._send("POST", f"/v1/{name[0]}s", body)).is_success:
            self.wanted[name] = replace(asked, id=created.json()["id"])

    def _patch(self, name: Name, asked: Asked) -> None:
        if self._random.random() < 0.5:
            after = replace(asked, replicas=self._random.randint(0, 3))
            body: dict[str, Any] = {"replicas": after.replicas}
        else:
            after = replace(asked, version=str(self._random.randint(1, 1000)))
            body = {"env": {"VERSION": after.version}}
        if self._send("PATCH", f"/v1/apps/{name[1]}", body).is_success:
            self.wanted[name] = after

    def _turn(self, name: Name, asked: Asked) -> None:
        action, state = ("stop", "stopped") if asked.state == "running" else ("start", "running")
        if self._send("POST", f"/v1/containers/{name[1]}/{action}", None).is_success:
            self.wanted[name] = replace(asked, state=state)

    def _delete(self, name: Name) -> None:
        force = self._random.random() < FORCE
        self._send("DELETE", f"/v1/{name[0]}s/{name[1]}", None, force=force)
        gone = self.wanted.pop(name)
        self.forgotten |= {gone.id} if force else set()

    def _send(self, method: str, path: str, body: Any, **params: Any) -> httpx.Response:
        """Ask until there is an answer; it isn't a success where something is gone, or can't be done in its state."""
        headers = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        params["wait"] = 0.0 if self._random.random() < HASTE else self._random.uniform(0.0, PATIENCE)
        self.script.append(f"{method} {path} {body or ''} {params}")
        while True:
            try:
                answer = self._http.request(method, path, json=body, headers=headers, params=params)
            except httpx.TransportError:
                self._revive()
                continue
            if answer.status_code == 503:  # it has just begun
                continue
            assert answer.is_success or answer.status_code in (404, 409), f"{self.script[-1]}: {answer.text}"
            return answer
