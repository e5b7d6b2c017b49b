"""GET one and GET a page, next to an operation that does nothing: what the gateway itself adds to what the
web framework costs anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from benchmarks.harness import Finding, Goal, Scale, beside, in_turns
from benchmarks.load import load
from benchmarks.subject import Subject, fill, subject

EMPTY = "GET /v1/secrets/none"
PAGE = "GET /v1/apps?limit=100"
NAME = "reads"


def run(scale: Scale) -> Sequence[Finding]:
    """The rates of all of them, in turns, over two gateways: one with few apps, one with many."""
    few, many = 100, scale.pick(10_000, 200)
    with ExitStack() as stack:
        small, large = (stack.enter_context(subject(simulated=True)) for _ in range(2))
        fill(small, few)
        ids = fill(large, many)
        return _measured(scale, small, large, ids[:: max(1, many // 200)], many)


def _measured(scale: Scale, small: Subject, large: Subject, ids: Sequence[str], many: int) -> Sequence[Finding]:
    lasting = scale.pick(4, 1)

    def rate(running: Subject, *requests: str) -> float:
        return load(running.url, requests, seconds=lasting).rate

    found = in_turns(
        scale.pick(5, 1),
        {
            "empty": lambda: rate(large, EMPTY),
            "one": lambda: rate(large, *(f"GET /v1/apps/{id}" for id in ids)),
            "named": lambda: rate(large, *(f"GET /v1/apps/app-{n}" for n in range(100))),
            "page": lambda: rate(large, PAGE),
            "small": lambda: rate(small, PAGE),
        },
    )
    page = f"a page of 100 among {many:,} apps"
    return [
        _next_to(found, "one", "GET one app by id", "empty", "an empty handler", 0.8),
        _next_to(found, "named", "GET one app by name", "empty", "an empty handler", 0.8),
        _next_to(found, "page", page, "empty", "an empty handler", 0.5),
        _next_to(found, "page", page, "small", "the page among 100", 0.9),
    ]


def _next_to(found: Mapping[str, list[float]], side: str, case: str, other: str, named: str, goal: float) -> Finding:
    return beside(NAME, case, "/s", found[side], found[other], named, Goal(goal, "at least", "ratio"))
