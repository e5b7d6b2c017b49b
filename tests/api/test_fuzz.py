"""The service against its own contract: thousands of requests, right and wrong, and whatever they answer.

What is checked, and what is excepted and why, is in schemathesis.toml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import running

SECONDS = 60
ROOT = Path(__file__).parents[2]
PROJECT = "fuzz"
# What the examples of the contract name, so that they find something.
THERE = {
    "apps": [{"name": "hello", "image": "web:1", "mounts": [{"path": "/data", "volume": {"name": "data"}}]}],
    "containers": [{"name": "job", "image": "web:1"}],
    "secrets": [
        {"name": "database", "data": {"password": "x"}},
        {"name": "registry-login", "data": {"username": "x", "password": "y"}},
    ],
}


@pytest.mark.timeout(SECONDS * 4)
def test_the_contract_holds_whatever_is_sent(tmp_path: Path) -> None:
    with running(tmp_path, "local", max_wait=0.1) as service, service.client(PROJECT) as api:
        for plural, bodies in THERE.items():
            for body in bodies:
                assert api.post(f"/v1/{plural}", json=body).is_success
        url = f"{service.server.url}/v1/openapi.json"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", url]
        # one worker: in Python 3.11 threads that parse Python at the same time break each other
        command += ["--max-time", str(SECONDS), "--workers", "1", "--header", f"X-Zun-Project: {PROJECT}"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"NO_PROXY": "*", "NO_COLOR": "1"}, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
