"""The benchmarks can be run. What they find depends on the machine, and is nothing that a test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_a_benchmark_in_memory_runs(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks", "engine", "--quick", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    found = json.loads(out.read_text())["findings"]
    assert found
    assert all(one["value"] > 0 and one["benchmark"] == "engine" for one in found)
