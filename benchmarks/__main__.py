"""`python -m benchmarks [NAME…]`: run benchmarks one after the other and print one table."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.harness import Benchmark, Finding, Scale, record, table
from benchmarks.publishing import published
from tests.real.isolation import own_network
from zun_coe.cli.recording import record as record_log
from zun_coe.config import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BENCHMARKS: Mapping[str, str] = {
    "starts": "benchmarks.deploying",
    "reads": "benchmarks.reading",
    "lists": "benchmarks.listing",
    "writes": "benchmarks.writing",
    "bodies": "benchmarks.bodies",
    "news": "benchmarks.seeing",
    "engine": "benchmarks.reconciling",
    "footprint": "benchmarks.resting",
    "streams": "benchmarks.following",
    "isolation": "benchmarks.isolation",
    "kubernetes": "benchmarks.kubernetes",
    "kubernetes-rest": "benchmarks.kubernetes_resting",
    "kubernetes-many": "benchmarks.kubernetes_many",
    "kubernetes-calls": "benchmarks.kubernetes_calls",
}
"""Each benchmark's name, and the module with its `run`."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Keep the results there, as JSON.")
@click.option("--quick", is_flag=True, help="Only see that everything works; the figures mean nothing.")
@click.option("--write", is_flag=True, help="Put the findings into docs/benchmarks.md, in the place of older ones.")
def main(names: Sequence[str], out: Path | None, quick: bool, write: bool) -> None:
    """Measure the gateway: all benchmarks, or those named."""
    own_network()
    record_log(Settings(log_level="warning"))
    console, findings, load = Console(), list[Finding](), os.getloadavg()[0]
    for name in names or BENCHMARKS:
        console.print(f"[bold]{name}[/bold] ...", highlight=False)
        findings += _benchmark(name)(Scale(quick))
        console.print(table(findings))
        if out is not None:
            out.write_text(json.dumps(_told(findings, quick, load), indent=2) + "\n")
    if write:
        _publish(findings, load)


def _benchmark(name: str) -> Benchmark:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of connexion's imports
        module: Any = import_module(BENCHMARKS[name])
    run: Benchmark = module.run
    return run


def _told(findings: Sequence[Finding], quick: bool, load: float) -> dict[str, Any]:
    return {"at": _now(), "machine": _machine(), "load": load, "quick": quick, "findings": record(findings)}


def _publish(findings: Sequence[Finding], load: float) -> None:
    """`load`: the machine's load average before anything began, which should be near zero."""
    when = f"{_now()}, {_machine()}, load average {load:.1f} before it began"
    PAGE.write_text(published(PAGE.read_text(), findings, when, list(BENCHMARKS)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="minutes")


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores, {model or platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
