"""The next step of a container of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.native.workloads import container
from zun_coe.model import Instance, Template
from zun_coe.native.actions import Plan
from zun_coe.native.standalone import Memory, plan

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


def test_an_end_that_was_seen_before_its_restart_says_nothing() -> None:
    wanted = container(Template(image="busybox:local", restart="never"), restarts=1)
    ended = Instance(native_id="c1", name="one", slot=1, hash=wanted.hash, state="exited", host="a", started_at=BEGAN)
    for began, expected in ((BEGAN, Plan(waiting=True)), (BEGAN - timedelta(seconds=1), Plan())):
        assert plan(wanted, [ended], [], Memory({"c1": 1}, frozenset(), {"c1": began})) == expected
