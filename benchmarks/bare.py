"""Connexion and Flask with nothing behind them: one operation, whose body is checked and then thrown away.

It serves on a port of its own choice, tells it on its standard output, and ends when its standard input does."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import flask
import uvicorn
from connexion import FlaskApp

from benchmarks.subject import ROOT
from tests.real.isolation import dying_with_us

_BODY = {
    "type": "object",
    "required": ["name", "cluster", "image"],
    "additionalProperties": False,
    "properties": {name: {"type": "string", "maxLength": 255} for name in ("name", "cluster", "image")},
}
_CONTRACT = {
    "openapi": "3.0.3",
    "info": {"title": "Nothing", "version": "1"},
    "paths": {
        "/v1/apps": {
            "post": {
                "operationId": "benchmarks.bare.accept",
                "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
                "responses": {"202": {"description": "It was looked at."}},
            }
        }
    },
}


def accept(body: dict[str, Any]) -> flask.Response:
    """POST /v1/apps."""
    return flask.Response(b"{}", 202, content_type="application/json")


@contextmanager
def bare_connexion() -> Iterator[str]:
    """It, in a process of its own; where it serves."""
    command = dying_with_us([sys.executable, "-m", "benchmarks.bare"])
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


def main() -> None:
    """Serve until the standard input ends."""
    app = FlaskApp("bare")
    app.add_api(_CONTRACT)
    bound = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = Thread(target=lambda: server.run(sockets=[bound]))
    thread.start()
    print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
    sys.stdin.read()
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
