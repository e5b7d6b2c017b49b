"""What is told of a cluster that is away for a while, whatever its kind, and of an app `web` and a container `job`
that ran there before."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.contract.world import World


def assert_away(world: World, broken_at: datetime, timeout: float) -> Any:
    """The status of the cluster, as soon as it is seen to be away since then. `timeout`: of one call, in seconds; an
    answer may have been on its way when it broke."""
    status = world.away()
    assert status["phase"] == "Unreachable"
    assert status["reason"] in ("BackendUnreachable", "Error")
    assert status["message"]
    assert (_moment(status["as_of"]) - broken_at).total_seconds() < timeout
    assert_as_it_was(world, status["as_of"])
    return status


def assert_as_it_was(world: World, as_of: str) -> None:
    """What was known stays, and everything says that it is no longer fresh."""
    for noun, name in (("app", "web"), ("container", "job")):
        status = world.show(noun, name)["status"]  # type: ignore[arg-type]  # the two nouns there are
        assert status["phase"] == "Running"
        assert status["reachable"] is False
        assert status["as_of"] == as_of


def assert_back(world: World, as_of: str) -> None:
    """The cluster is there again, and what is told of it is newer than that."""
    status = world.back()
    assert status["phase"] == "Ready"
    assert "reason" not in status
    assert _moment(status["as_of"]) > _moment(as_of)


def events_told(world: World) -> frozenset[str]:
    """The ids of all events so far. One that happens again has another one."""
    return frozenset(event["id"] for event in world.events())


def events_of_cluster(world: World, told: frozenset[str]) -> list[str]:
    """The types of the cluster's events, but for those that were told before."""
    return [e["type"] for e in world.events() if e["subject"] == "cluster" and e["id"] not in told]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
