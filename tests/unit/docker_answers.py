"""What a Docker Engine answers, made by hand."""

from __future__ import annotations

from typing import Any


def inspected(state: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """A container that runs, as the engine shows it, with another state and other parts where these are given."""
    running = {"Status": "running", "StartedAt": "2026-05-04T03:02:01.123456789Z", "ExitCode": 0}
    told = {
        "Id": "abc",
        "Name": "/web-1",
        "Created": "2026-05-04T03:02:00Z",
        "State": running | (state or {}),
        "Config": {"Image": "web:1", "Labels": {"zun.id": "1"}},
        "HostConfig": {"NetworkMode": "front"},
        "NetworkSettings": {"Networks": {}, "Ports": {}},
    }
    return told | parts
