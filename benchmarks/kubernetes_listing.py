"""A process that lists everything in a Kubernetes when it is asked to: through the adapter, or with the `kubernetes`
package. It is told how on its standard input, a line each time, and ends when that does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes import client

from benchmarks.kubernetes_cluster import Plane
from benchmarks.subject import ROOT
from tests.real.isolation import dying_with_us
from zun_coe.adapters import Connection, open_adapter
from zun_coe.adapters.kubernetes import naming


class Listed(NamedTuple):
    """What a list took: seconds, and the megabytes that the process has held at most since it began, beyond what it
    held before the first."""

    seconds: float
    peak: float


class Lister:
    """Such a process. To be closed."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        command = dying_with_us([sys.executable, "-m", "benchmarks.kubernetes_listing"])
        self._popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(given)

    def list(self) -> Listed:
        """Have it list everything. Blocks until it has."""
        self._say({})
        assert self._popen.stdout is not None
        return Listed(*json.loads(self._popen.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._popen.communicate()

    def _say(self, words: Mapping[str, Any]) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(dict(words)) + "\n")
        self._popen.stdin.flush()


@contextmanager
def alone(there: Plane, way: str) -> Iterator[Lister]:
    """A process that lists what the gateway has made there; `way`: adapter or package."""
    labels = _whose(there)
    given = {"way": way, "endpoint": there.endpoint, "token": there.token, "ca": str(there.folder / "ca.pem")}
    whose = {"installation": labels[naming.INSTALLATION], "cluster": labels[naming.CLUSTER]}
    with closing(Lister(given | whose)) as lister:
        yield lister


def _whose(there: Plane) -> Mapping[str, str]:
    found = client.CoreV1Api(there.client()).list_pod_for_all_namespaces(limit=1, label_selector=naming.INSTALLATION)
    labels: Mapping[str, str] = found.items[0].metadata.labels
    return labels


def main() -> None:
    """Serve until the standard input ends."""
    given = json.loads(sys.stdin.readline())
    listing = {"adapter": _adapter, "package": _package}[given["way"]](given)
    before = _held("VmRSS")
    for _ in sys.stdin:
        started = time.perf_counter()
        listing()
        taken = time.perf_counter() - started
        print(json.dumps([taken, _held("VmHWM") - before]), flush=True)


def _adapter(given: Mapping[str, Any]) -> Callable[[], Any]:
    connection = Connection(
        installation=given["installation"],
        cluster=given["cluster"],
        kind="kubernetes",
        endpoint=given["endpoint"],
        credentials={"ca_cert": Path(given["ca"]).read_text(), "token": given["token"]},
        timeout=60,
    )
    return open_adapter(connection).observe


def _package(given: Mapping[str, Any]) -> Callable[[], Any]:
    token = {"authorization": f"Bearer {given['token']}"}
    configuration = client.Configuration(host=given["endpoint"], api_key=token, ssl_ca_cert=given["ca"])
    configuration.proxy = None
    core = client.CoreV1Api(client.ApiClient(configuration))
    return lambda: core.list_pod_for_all_namespaces(label_selector=f"{naming.INSTALLATION}={given['installation']}")


def _held(line: str) -> float:
    """Of the machine's memory, in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) / 1000 for each in status if each.startswith(line))


if __name__ == "__main__":
    main()
