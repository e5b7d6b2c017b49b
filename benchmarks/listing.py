"""Every list with every filter and in every order, among many replicas, next to an operation that does nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

import httpx

from benchmarks.harness import Finding, Goal, Scale, in_turns
from benchmarks.subject import fill, subject

EMPTY = "/v1/secrets/none"
NAME = "lists"
SORTS = ("created_at", "-created_at", "updated_at", "-updated_at", "name", "-name", "id", "-id")
FILTERS: Mapping[str, Sequence[str]] = {
    "apps": ("name=app-7", "cluster=bench", "phase=Running", "phase=Failed", "label=a"),
    "containers": (
        "name=app-7-3",
        "cluster=bench",
        "phase=Running",
        "phase=Failed",
        "app=app-7",
        "label=a",
        "app=app-7&phase=Running",
    ),
    "clusters": ("name=bench", "phase=Ready", "label=a"),
    "volumes": ("name=none", "cluster=bench", "label=a"),
    "secrets": ("name=none",),
    "events": ("resource=app-7", "subject=app", "type=AppCreated", "type=None", "level=warning"),
}
IN_A_ROW = 20


def run(scale: Scale) -> Sequence[Finding]:
    """The slowest of all lists, by the median of each, for a page of one and for a page of a hundred."""
    apps, replicas = scale.pick((300, 100), (20, 5))
    with subject(simulated=True) as running:
        fill(running, apps, replicas=replicas)
        with running.client() as api:
            pages = _pages()
            for page in pages:  # an order, and the values of a filter, are made when they are first asked for
                api.get(page)
            sides: dict[str, Callable[[], float]] = {page: partial(_typical, api, page) for page in pages}
            found = in_turns(scale.pick(5, 1), sides | {EMPTY: partial(_typical, api, EMPTY)})
    empty, count = median(found.pop(EMPTY)), apps * replicas
    times = {page: median(measured) - empty for page, measured in found.items()}
    return [_slowest({p: t for p, t in times.items() if f"limit={n}&" in p}, n, count) for n in (1, 100)]


def _slowest(times: Mapping[str, float], limit: int, count: int) -> Finding:
    page = max(times, key=lambda page: times[page])
    case = f"the slowest page of {limit} among {count:,} replicas, beyond an empty handler"
    return Finding(NAME, case, times[page] * 1000, "ms", goal=Goal(5.0, "at most"), note=page)


def _pages() -> list[str]:
    pages = []
    for noun, filters in FILTERS.items():
        sorts = ("-at", "at") if noun == "events" else [s for s in SORTS if noun != "secrets" or "updated" not in s]
        queries = [f"sort={sort}" for sort in sorts] + [f"{f}&sort={sort}" for f in filters for sort in sorts[:2]]
        pages += [f"/v1/{noun}?limit={limit}&{query}" for limit in (1, 100) for query in queries]
    return [*pages, *(f"/v1/apps/app-7/containers?limit={limit}&phase=Running" for limit in (1, 100))]


def _typical(api: httpx.Client, page: str) -> float:
    return median(_once(api, page) for _ in range(IN_A_ROW))


def _once(api: httpx.Client, page: str) -> float:
    began = time.perf_counter()
    answer = api.get(page)
    taken = time.perf_counter() - began
    assert answer.status_code < 500, answer.text
    return taken
