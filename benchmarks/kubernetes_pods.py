"""Pods without nodes: what a kubelet would tell of them is told by somebody who runs nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import urllib3

from benchmarks.kubernetes_cluster import Plane

NODE = "nowhere"
PARALLELISM = 4
PAUSE = 0.5

Json = dict[str, Any]


@contextmanager
def all_told_to_run(there: Plane) -> Iterator[None]:
    """For a while every pod is placed on a node that is not there, and told to run and to be ready soon after it was
    made. The scheduler is ended, which would look for other nodes."""
    there.scheduler.kill()
    stop, teller = threading.Event(), _Teller(there)
    thread = threading.Thread(target=teller.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class _Teller:
    """Calls the API as a kubelet does, and reads what it needs from the server's memory."""

    def __init__(self, there: Plane) -> None:
        self._url = f"{there.endpoint}/api/v1"
        self._headers = {"Authorization": f"Bearer {there.token}"}
        self._http = urllib3.PoolManager(ca_certs=str(there.folder / "ca.pem"), maxsize=PARALLELISM)

    def run(self, stop: threading.Event) -> None:
        """Until it is stopped."""
        self._call("POST", "nodes", {"metadata": {"name": NODE}})
        with ThreadPoolExecutor(PARALLELISM) as pool:
            while not stop.wait(PAUSE):
                self._call("PATCH", f"nodes/{NODE}/status", {"status": {"conditions": [_condition("Ready")]}})
                list(pool.map(self._start, self._pending()))
        self._http.clear()

    def _pending(self) -> Sequence[Json]:
        found = self._call("GET", "pods?resourceVersion=0&fieldSelector=status.phase%3DPending")
        return found["items"] or ()

    def _start(self, pod: Json) -> None:
        place = f"namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        if not pod["spec"].get("nodeName"):
            bound = {"metadata": {"name": pod["metadata"]["name"]}, "target": {"kind": "Node", "name": NODE}}
            self._call("POST", f"{place}/binding", bound)
        self._call("PATCH", f"{place}/status", {"status": _running(pod)})

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        given = None if body is None else json.dumps(body)
        headers = self._headers | {"Content-Type": type}
        answer = self._http.request(method, f"{self._url}/{path}", body=given, headers=headers)
        if answer.status >= 300 and answer.status not in (404, 409):  # it is gone, or placed already
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data[:300]!r}")
        found: Json = answer.json()
        return found


def _running(pod: Json) -> Json:
    at = _now()
    states = [
        {"name": c["name"], "image": c["image"], "imageID": "", "ready": True, "restartCount": 0, "started": True}
        | {"state": {"running": {"startedAt": at}}, "containerID": f"none://{pod['metadata']['uid']}"}
        for c in pod["spec"]["containers"]
    ]
    conditions = [_condition(type) for type in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": states, "startTime": at}


def _condition(type: str) -> Json:
    return {"type": type, "status": "True", "reason": "Told", "lastTransitionTime": _now(), "lastHeartbeatTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
