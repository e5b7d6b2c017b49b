"""Many apps at once on a real Kubernetes, next to the same objects applied and deleted by kubectl and by the
`kubernetes` package: on a control plane without nodes, and of apps without replicas, so that only objects count.

kubectl is given all objects in one file. It asks for each object before it creates it, deletes one after the other, and
then waits until all are gone. The package sends each object once, one after the other: the least that can be asked."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.harness import Finding, Goal, Scale, in_turns, ratio, until
from benchmarks.kubernetes_cluster import Asked, Plane, gateway_on, plane
from benchmarks.kubernetes_deploying import SPEC
from benchmarks.kubernetes_direct import NAMESPACE, Direct
from benchmarks.subject import Subject

NAME = "kubernetes-many"
PATIENCE = 900.0
GOAL = Goal(1.2, "at most", "ratio")


@dataclass(frozen=True)
class Turn:
    """Seconds until all are there, and until all are gone; the calls for each, and processor time of the gateway."""

    made: float
    gone: float
    calls: tuple[Sequence[Asked], Sequence[Asked]] = ((), ())
    processor: tuple[float, float] = (0.0, 0.0)


def run(scale: Scale) -> Sequence[Finding]:
    """Both ways in turns."""
    count, rounds = scale.pick((200, 2), (5, 1))
    with plane() as there, gateway_on(there) as running, running.client() as api:
        _create(there, api, ["keeper"])
        direct = Direct(there, "keeper")
        sides: dict[str, Callable[[], Turn]] = {
            "gateway": lambda: _through(there, running, api, count),
            "kubectl": lambda: _by_kubectl(there, direct, count),
            "package": lambda: _past(direct, count),
        }
        found = in_turns(rounds, sides)
    return [*_findings("creating", count, found, 0), *_findings("deleting", count, found, 1)]


def _findings(what: str, count: int, found: dict[str, list[Turn]], which: int) -> Sequence[Finding]:
    taken = {side: [(turn.made, turn.gone)[which] for turn in turns] for side, turns in found.items()}
    last = found["gateway"][-1]
    calls = Counter(asked.verb for asked in last.calls[which])
    told = ", ".join(f"{number} {verb}" for verb, number in sorted(calls.items()))
    note = f"{calls.total() / count:.1f} calls each ({told}); {last.processor[which]:.1f} s of a processor"
    case, ours = f"{what} {count} apps at once", taken["gateway"]
    return [
        Finding(NAME, case, ours[-1], "s", theirs[-1], label, ratio(ours, theirs), goal, note)
        for label, theirs, goal in (
            ("kubectl", taken["kubectl"], GOAL),
            ("the kubernetes package, one after the other", taken["package"], None),
        )
    ]


def _through(there: Plane, running: Subject, api: httpx.Client, count: int) -> Turn:
    names = [f"many-{number}" for number in range(count)]
    made = _measured(there, running, lambda: _create(there, api, names))
    gone = _measured(there, running, lambda: _delete(there, api, names))
    return Turn(made[0], gone[0], (made[1], gone[1]), (made[2], gone[2]))


def _measured(there: Plane, running: Subject, what: Callable[[], None]) -> tuple[float, Sequence[Asked], float]:
    since, used, started = there.told, running.processor_time(), time.monotonic()
    what()
    taken = time.monotonic() - started
    return taken, there.asked(since), running.processor_time() - used


def _create(there: Plane, api: httpx.Client, names: Sequence[str]) -> None:
    for name in names:
        api.post("/v1/apps", json=SPEC | {"name": name, "replicas": 0}).raise_for_status()
    until(lambda: there.served(names[0].partition("-")[0]) == len(names), PATIENCE, "all are there", pause=0.2)


def _delete(there: Plane, api: httpx.Client, names: Sequence[str]) -> None:
    for name in names:
        api.delete(f"/v1/apps/{name}").raise_for_status()
    until(lambda: not _left(api), PATIENCE, "all are gone", pause=0.2)


def _left(api: httpx.Client) -> int:
    listed = api.get("/v1/apps", params={"limit": 1000}).raise_for_status().json()["apps"]
    return len([app for app in listed if app["name"].startswith("many")])


def _past(direct: Direct, count: int) -> Turn:
    started = time.monotonic()
    names = [direct.start(0) for _ in range(count)]
    made = time.monotonic() - started
    started = time.monotonic()
    direct.remove_all(names)
    return Turn(made, time.monotonic() - started)


def _by_kubectl(there: Plane, direct: Direct, count: int) -> Turn:
    """All objects in one file."""
    made = [direct.objects(0) for _ in range(count)]
    file = there.folder / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [o for _, *both in made for o in both]}))
    return Turn(_kubectl(there, "apply", file), _kubectl(there, "delete", file))


def _kubectl(there: Plane, verb: str, file: Path) -> float:
    config = f"--kubeconfig={there.folder / 'kubeconfig'}"
    started = time.monotonic()
    subprocess.run(
        ["kubectl", config, f"--namespace={NAMESPACE}", verb, f"--filename={file}"],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    return time.monotonic() - started
