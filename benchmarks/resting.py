"""What the gateway takes of a machine: memory for what it knows, and processor time when nothing happens."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.docker_engine import SPEC, engine, gateway_on
from benchmarks.harness import Finding, Goal, Scale
from benchmarks.subject import fill, subject

NAME = "footprint"
REPLICAS = 10


def run(scale: Scale) -> Sequence[Finding]:
    """Memory on the simulated cluster, processor time on a real engine."""
    return [*_memory(scale), *_idle(scale)]


def _memory(scale: Scale) -> Sequence[Finding]:
    """The simulated cluster is in the same process; what it takes by itself is told by one that has nothing else."""
    few, more = scale.pick((100, 1000), (5, 10))
    with subject(simulated=True) as running, subject(simulated=True) as alone:
        bare = running.memory()
        fill(running, few, replicas=REPLICAS)
        small, own_small = running.memory(), alone.do("simulate", count=few, replicas=REPLICAS)
        fill(running, more, replicas=REPLICAS, prefix="more")
        large, own_large = running.memory(), alone.do("simulate", count=more, replicas=REPLICAS)
    first, further = few * REPLICAS, more * REPLICAS
    return [
        Finding(NAME, "memory with one adapter and nothing on it", bare, "MB"),
        Finding(
            NAME,
            f"memory with {first:,} containers",
            small - own_small,
            "MB",
            bare,
            "nothing",
            (small - own_small) / bare,
            Goal(120, "at most"),
        ),
        Finding(
            NAME,
            f"memory that {further:,} further containers take",
            large - small - own_large,
            "MB",
            goal=Goal(50, "at most"),
        ),
    ]


def _idle(scale: Scale) -> Sequence[Finding]:
    """Of a gateway that nobody calls, with containers that do nothing."""
    replicas, lasting = scale.pick((100, 30.0), (2, 1.0))
    with engine() as there, gateway_on(there) as running:
        with running.client() as api:
            answer = api.post("/v1/apps", params={"wait": 300}, json=SPEC | {"name": "idle", "replicas": replicas})
            answer.raise_for_status()
        time.sleep(scale.pick(10.0, 0.5))
        used, started = running.processor_time(), time.monotonic()
        time.sleep(lasting)
        share = (running.processor_time() - used) / (time.monotonic() - started)
    case = f"processor time with {replicas} real containers, over {lasting:g} s"
    return [Finding(NAME, case, share * 100, "% of a core", goal=Goal(1, "at most"))]
