"""Load from outside: wrk, in a process of its own."""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.real.needs import need

SCRIPT = Path(__file__).with_name("load.lua")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Load:
    """What came of it. Times in seconds."""

    rate: float
    p50: float
    p99: float


def load(url: str, requests: Sequence[str], *, seconds: int, connections: int = 8) -> Load:
    """Send these requests (METHOD PATH [BODY]) in turn for a while, as many at once as there are
    connections. Raises `RuntimeError` where one was not answered with success."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requests) + "\n")
        file.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=30s", f"-s{SCRIPT}"]
        command = [need("wrk", "wrk"), *options, url, "--", file.name, str(next(_numbers) * 1_000_000)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(next(line for line in said.splitlines() if line.startswith("RESULT"))[len("RESULT") :])
    if result["refused"] or result["failed"] or not result["requests"]:
        raise RuntimeError(f"{requests[0][:60]}: {result}")
    return Load(result["requests"] / result["seconds"], result["p50"], result["p99"])
