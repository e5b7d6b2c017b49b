"""What all benchmarks share: measuring in turns, and telling what came of it.

Machines differ and are never quiet, so each figure stands next to another one of the same run: the same
thing done directly, or the bare limit of what it rests on."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, TypeVar

from rich.table import Table

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """How much is done: everything, or with `quick` just enough to see that it works."""

    quick: bool = False

    def pick(self, full: T, quick: T) -> T:
        """The one that fits."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Goal:
    """What a figure should be: its value, or its ratio to the one that it stands next to."""

    limit: float
    bound: Literal["at least", "at most"]
    of: Literal["value", "ratio"] = "value"

    def met(self, value: float, ratio: float | None) -> bool:
        """Whether it is reached. Without a ratio a goal for one is not."""
        figure = value if self.of == "value" else ratio
        if figure is None or math.isnan(figure):
            return False
        return figure >= self.limit if self.bound == "at least" else figure <= self.limit


@dataclass(frozen=True)
class Finding:
    """One line of the table. `value` in `unit`; `ratio` is that of `value` to `against`, taken in pairs;
    `beside` says what `against` is."""

    benchmark: str
    case: str
    value: float
    unit: str
    against: float | None = None
    beside: str = ""
    ratio: float | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """yes, no, or nothing where there is no goal."""
        return "" if self.goal is None else "yes" if self.goal.met(self.value, self.ratio) else "no"


Benchmark = Callable[[Scale], Sequence[Finding]]


def in_turns(rounds: int, sides: Mapping[str, Callable[[], T]], seed: int = 0) -> dict[str, list[T]]:
    """What each side gives in each round. In every round each side has one turn, in an order that changes,
    so that what else goes on in the machine meets all of them alike."""
    chance, names = random.Random(seed), list(sides)
    found: dict[str, list[T]] = {name: [] for name in names}
    for _ in range(rounds):
        chance.shuffle(names)
        for name in names:
            found[name].append(sides[name]())
    return found


def ratio(measured: Sequence[float], against: Sequence[float]) -> float:
    """The median of the ratios, round by round."""
    return median(a / b if b else math.nan for a, b in zip(measured, against, strict=True))


def beside(
    benchmark: str,
    case: str,
    unit: str,
    measured: Sequence[float],
    against: Sequence[float],
    named: str,
    goal: Goal | None = None,
    note: str = "",
) -> Finding:
    """The finding of a series of pairs."""
    pair = ratio(measured, against)
    return Finding(benchmark, case, median(measured), unit, median(against), named, pair, goal, note)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all values do not exceed; NaN for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def rate(call: Callable[[], Any], lasting: float) -> float:
    """How often a second a call can be made, one after the other."""
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < lasting:
        call()
        count += 1
    return count / passed


def until(condition: Callable[[], T], timeout: float, message: str, pause: float = 0.01) -> T:
    """Ask until the answer is true. Raises `TimeoutError`."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{message} within {timeout:g} s; the last answer was {answer!r}")
        time.sleep(pause)
    return answer


HEAD = ("benchmark", "case", "measured", "next to", "ratio", "goal", "reached")


def table(findings: Sequence[Finding]) -> Table:
    """All findings, for a terminal."""
    made = Table(*HEAD, title="Benchmarks of zun_coe")
    for finding in findings:
        made.add_row(*_row(finding), style={"no": "bold red", "yes": "green"}.get(finding.verdict))
    return made


def markdown(findings: Sequence[Finding]) -> str:
    """All findings, for a page."""
    lines = [HEAD, ("---",) * len(HEAD), *map(_row, findings)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def record(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """All findings, for a file."""
    return [asdict(finding) | {"reached": finding.verdict} for finding in findings]


def _row(finding: Finding) -> tuple[str, ...]:
    next_to = "" if finding.against is None else f"{_number(finding.against)} ({finding.beside})"
    of = finding.ratio
    return (
        finding.benchmark,
        finding.case + (f" ({finding.note})" if finding.note else ""),
        f"{_number(finding.value)} {finding.unit}",
        next_to,
        "" if of is None else f"{of:.2f}",
        _told(finding.goal, finding.unit),
        finding.verdict,
    )


def _told(goal: Goal | None, unit: str) -> str:
    if goal is None:
        return ""
    return f"{goal.bound} {goal.limit:g}" + (f" {unit}" if goal.of == "value" else " of it")


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
