"""The benchmarks can be run. What they find depends on the machine, and is nothing that a test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Finding
from benchmarks.publishing import published

ROOT = Path(__file__).resolve().parent.parent


def test_a_benchmark_in_memory_runs(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks", "engine", "--quick", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    found = json.loads(out.read_text())["findings"]
    assert found
    assert all(one["value"] > 0 and one["benchmark"] == "engine" for one in found)


def test_what_was_measured_anew_takes_the_place_of_what_was_before() -> None:
    page = "Above\n<!-- results -->\nnothing\n<!-- end of results -->\nBelow\n"
    order = ["starts", "reads", "lists"]
    first = [Finding("lists", "a", 1.0, "ms"), Finding("starts", "b", 2.0, "s"), Finding("starts", "c", 3.0, "s")]
    page = published(page, first, "Monday", order)
    page = published(page, [Finding("reads", "d", 4.0, "/s"), Finding("starts", "e", 5.0, "s")], "Tuesday", order)
    lines = page.splitlines()
    assert lines[:6] == [
        "Above",
        "<!-- results -->",
        "Measured on",
        "",
        "- Tuesday: `starts`, `reads`",
        "- Monday: `lists`",
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.startswith("| ")]
    assert rows[2:] == [["starts", "e", "5 s"], ["reads", "d", "4 /s"], ["lists", "a", "1 ms"]]
    assert lines[-2:] == ["<!-- end of results -->", "Below"]
    assert (
        published(page, [Finding("reads", "d", 4.0, "/s"), Finding("starts", "e", 5.0, "s")], "Tuesday", order) == page
    )
