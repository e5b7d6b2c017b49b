"""Credentials that expire, and others that take their place while everything else goes on."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.contract.world import CLUSTER, World, call
from tests.faults.api_server import Handler, failing
from tests.faults.stored import Stored
from zun_coe.adapters.kubernetes import registration

DAY = 86400


def token(days: float) -> str:
    """A JWT that expires then."""
    claims = {"exp": int(time.time() + days * DAY)}
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


class Heedful(Stored):
    """Knows its users by `tokens`."""

    tokens: frozenset[str] = frozenset()

    def _answer(self, handler: Handler) -> None:
        if handler.asked.headers["Authorization"].removeprefix("Bearer ") not in self.tokens:
            return failing(401, "Unauthorized")(handler)
        return super()._answer(handler)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Heedful]:
    started = Heedful(tmp_path)
    yield started
    started.close()


def credentials(server: Heedful, secret: str) -> dict[str, str]:
    return {"ca_cert": server.authority.certificate, "token": secret}


def test_credentials_expire_and_others_take_their_place(
    server: Heedful, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They are given before they expire, and the day that they are good for has passed since.
    monkeypatch.setattr(registration, "expired", lambda certificate=None, token=None: None)
    old, expired, new = token(1), token(-1), token(30)
    server.tokens = frozenset({old, new})
    body = {"kind": "kubernetes", "endpoint": server.endpoint, "credentials": credentials(server, old)}
    world = World(tmp_path / "world", body)
    try:
        world.register()
        expires_at = datetime.fromisoformat(world.cluster()["status"]["credentials"]["expires_at"])
        assert expires_at > datetime.now(UTC)
        assert list(world.cluster()["status"]["credentials"]) == ["expires_at"]
        world.until(lambda: [a for a in server.asked if "watch" in a.params], "nothing is watched")
        assert len(world.events("CredentialsExpiring")) == 1

        clusters = world.process.gateway.clusters
        clusters.patch(call(), CLUSTER, {"credentials": credentials(server, expired)})
        world.until(
            lambda: world.cluster()["status"].get("reason") == "CredentialsExpired", "the expiry is not noticed"
        )
        assert "expired at" in world.cluster()["status"]["message"]
        runner = next(iter(world.process.engine.runners()))

        clusters.patch(call(), CLUSTER, {"credentials": credentials(server, new)})
        world.until(lambda: world.cluster()["status"]["phase"] == "Ready", "the new ones are not used")
        assert next(iter(world.process.engine.runners())) is runner
        assert server.asked[-1].headers["Authorization"].removeprefix("Bearer ") == new
        messages = [event["message"].partition(" at ")[0] for event in world.events("CredentialsExpiring")]
        assert messages == ["Its credentials expire", "Its credentials expired"]
    finally:
        world.process.stop()
