"""The page with the results: what was measured anew takes the place of what was measured before, and the rest stays,
each with the time that it is of. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.harness import Finding, markdown

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
_WHEN = re.compile(r"- (?P<when>.+): (?P<names>`.+`)")


def published(page: str, findings: Sequence[Finding], when: str, order: Sequence[str]) -> str:
    """The page with these findings. `when` tells of the machine and the moment; `order`: the names of all
    benchmarks."""
    before, _, rest = page.partition(BEGIN)
    old, _, after = rest.partition(END)
    run = {finding.benchmark for finding in findings}
    times = [(when, sorted(run, key=order.index)), *_kept_times(old, run)]
    head, ruler, *new = markdown(findings).splitlines()
    rows = [row for row in old.splitlines() if _name(row) in order and _name(row) not in run] + new
    rows.sort(key=lambda row: order.index(_name(row)))
    told = [f"- {when}: {', '.join(f'`{name}`' for name in names)}" for when, names in times]
    lines = ["Measured on", "", *told, "", head, ruler, *rows]
    return "\n".join([before + BEGIN, *lines, END + after])


def _kept_times(old: str, run: set[str]) -> list[tuple[str, list[str]]]:
    found = [match for line in old.splitlines() if (match := _WHEN.fullmatch(line))]
    times = [
        (match["when"], [name for name in re.findall("`(.+?)`", match["names"]) if name not in run]) for match in found
    ]
    return [(when, names) for when, names in times if names]


def _name(row: str) -> str:
    """The benchmark that a row of the table is of; empty where it is no row."""
    return row.split("|")[1].strip() if row.startswith("|") else ""
