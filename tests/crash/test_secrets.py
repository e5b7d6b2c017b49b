"""Nothing that the gateway says, logs or stores tells a secret, whatever goes wrong."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest

from tests.crash.planted import ALL


@pytest.fixture(scope="module", params=["console", "json"])
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All that a process with planted secrets has said and left, by where it was found."""
    folder = tmp_path_factory.mktemp("leaking")
    command = [sys.executable, "-m", "tests.crash.leaking", str(folder), request.param]
    ended = subprocess.run(command, capture_output=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr.decode()[-4000:]
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return files | {"stdout": ended.stdout, "stderr": ended.stderr}


def test_no_secret_is_told(said: dict[str, bytes]) -> None:
    hidden = {name: [form for secret in ALL for form in forms(secret)] for name in said}
    found = {name: sorted({f.decode() for f in hidden[name] if f in content}) for name, content in said.items()}
    assert {name: around(said[name], told[0].encode()) for name, told in found.items() if told} == {}


def test_it_was_looked_for_where_something_is(said: dict[str, bytes]) -> None:
    assert b"step failed" in said["stderr"]
    assert b"RuntimeError" in said["stderr"]
    assert b"SecretCreated" in said["answers"]
    assert b"has_credentials" in said["answers"]
    assert b"unlucky" in said["state.db"]
    for word in (b"DriftCorrected", b"PermissionDenied", b"cannot be stored", b"BackendChanged"):
        assert word in said["answers"]


def forms(secret: str) -> list[bytes]:
    """A secret in plain text, and as base64 would have it in the middle of something."""
    encoded = [base64.b64encode(b"x" * pad + secret.encode())[4:-4] for pad in range(3)]
    return [secret.encode(), *(one for one in encoded if len(one) > 12)]


def around(content: bytes, secret: bytes) -> str:
    """Where it was told."""
    at = content.index(secret)
    return content[max(0, at - 300) : at + 100].decode(errors="replace")
