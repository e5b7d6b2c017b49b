"""A gateway on this machine: the one that serves already, or one that is started for a while."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx

from scripts.local_docker import Trouble, wait_for
from scripts.telling import step

LOG = "gateway.log"


@contextmanager
def gateway(listen: str, folder: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes] | None]]:
    """The API of the gateway at `listen`, and its process where it was started here: it ends with the block.
    Its state and its log are in `folder`. Raises `Trouble` when it does not start."""
    folder.mkdir(exist_ok=True)
    with httpx.Client(base_url=f"http://{listen}", trust_env=False, timeout=90) as api:
        if is_ready(api):
            click.echo(f"A gateway serves already at {api.base_url}")
            yield api, None
            return
        process = _serve(listen, folder)
        try:
            with step(f"Starting the gateway at {api.base_url} (its log is {folder / LOG})"):
                wait_for(lambda: process.poll() is not None or is_ready(api), 30)
            if process.poll() is not None or not is_ready(api):
                raise Trouble(f"The gateway does not start. The end of {folder / LOG}:\n{_end_of(folder / LOG)}")
            yield api, process
        finally:
            _stop(process)


def is_ready(api: httpx.Client) -> bool:
    """Whether a gateway serves there."""
    try:
        return api.get("/readyz").is_success
    except httpx.HTTPError:
        return False


def ask(api: httpx.Client, method: str, path: str, **rest: Any) -> httpx.Response:
    """One request. Raises `Trouble` with the gateway's own sentences when it is refused."""
    answer = api.request(method, path, **rest)
    if answer.is_success:
        return answer
    problem = answer.json()
    fields = "".join(f"\n  {e['pointer']}: {e['detail']}" for e in problem.get("errors", ()))
    raise Trouble(f"{problem.get('title')}: {problem.get('detail')}{fields}")


def _serve(listen: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("zun-coe")), "serve", "--listen", listen]
    command += ["--store", f"sqlite:///{folder / 'state.db'}"]
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
