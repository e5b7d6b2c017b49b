"""The gateway that is measured: a process of its own, with a simulated cluster in it where one is asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness import until
from tests.real.isolation import dying_with_us

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = "bench"
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Subject:
    """A running gateway. `url`: where it serves; `pid`: its process."""

    def __init__(self, settings: Mapping[str, Any], folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.serving", json.dumps(dict(settings))]
        with (folder / "gateway.log").open("ab") as log:
            self._popen = subprocess.Popen(
                dying_with_us(command), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.pid = self._popen.pid
        self.url: str = self._answer()["url"]

    def do(self, name: str, **arguments: Any) -> Any:
        """Have it do something to itself (see `benchmarks.serving`). Blocks until it is done."""
        self.begin(name, **arguments)
        return self.end()

    def begin(self, name: str, **arguments: Any) -> None:
        """Have it begin; `end` waits for it."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps({"do": name} | arguments) + "\n")
        self._popen.stdin.flush()

    def end(self) -> Any:
        """What came of what was begun."""
        return self._answer().get("result")

    def client(self, **options: Any) -> httpx.Client:
        """A connection to its API."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=120, **options)

    def memory(self) -> float:
        """What it holds of the machine's memory, in MB."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * PAGE_SIZE / 1e6

    def processor_time(self) -> float:
        """What it has used of the processors so far, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it. Idempotent."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.close()
        try:
            self._popen.wait(30)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._popen.stdout.close()

    def _answer(self) -> Any:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise RuntimeError(f"the gateway has ended with {self._popen.wait()}; see its log")
        return json.loads(line)


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder with a short name, which is removed in the end."""
    made = Path(tempfile.mkdtemp(prefix="zun-bench-"))
    try:
        yield made
    except BaseException:
        if (log := made / "gateway.log").exists():
            sys.stderr.write("The end of the gateway's log:\n" + log.read_text(errors="replace")[-4000:])
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def subject(**settings: Any) -> Iterator[Subject]:
    """A gateway for a while, on an SQLite file unless another store is named, with the settings of a
    gateway in service otherwise. With `simulated` the cluster `bench` is registered: one in memory."""
    with folder() as place, closing(Subject({"store": f"sqlite:///{place}/state.db"} | settings, place)) as running:
        yield running


def register(running: Subject, body: Mapping[str, Any]) -> None:
    """Register a cluster for all projects, under the name `bench`, and wait until it is ready."""
    with running.client() as api:
        answer = api.post("/v1/clusters", params={"wait": 60}, json={"name": CLUSTER, "public": True} | dict(body))
        answer.raise_for_status()
        until(lambda: api.get(f"/v1/clusters/{CLUSTER}").json()["status"]["phase"] == "Ready", 60, "It is ready")


def fill(running: Subject, count: int, **how: Any) -> list[str]:
    """Make apps (see `Controls.create`) and wait until all of them run; their ids."""
    ids: list[str] = running.do("create", count=count, **how)
    until(lambda: running.do("phases").keys() <= {"Running"}, 120 + count / 10, "All apps run", pause=0.2)
    running.do("rest")
    return ids
