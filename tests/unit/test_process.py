"""What a process does when it begins."""

from __future__ import annotations

from pathlib import Path

from zun_coe.config import Settings
from zun_coe.process import Process
from zun_coe.store import open_store
from zun_coe.store.records import owner_key, service_key


def test_nobody_waits_for_the_leases_of_a_process_that_was_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    killed = open_store(url)
    lease = killed.grant(10.0)
    for key in (owner_key("some-cluster"), service_key("killed")):
        killed.create(key, b"killed", lease.id)
    killed.close()
    process = Process(Settings(store=url), "serve")
    assert process.store.get(owner_key("some-cluster")) is None
    assert process.store.get(service_key("killed")) is None
    process.stop()
