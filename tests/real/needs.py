"""Real components that a test needs: where they are, and what to say where they aren't."""

from __future__ import annotations

import os
import shutil
import socket
from typing import NoReturn

import pytest

SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


def need(command: str, package: str) -> str:
    """The path of a command. The test is skipped where it is missing, and fails where `CI=true`."""
    found = shutil.which(command, path=f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}")
    return found or missing(f"{command} is not installed (Debian's package {package} has it)")


def missing(reason: str) -> NoReturn:
    """Skip the test that asks, or fail it where `CI=true`: there everything must be."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
