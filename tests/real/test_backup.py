"""A copy of a store is of one moment, is made while the gateway runs, and becomes a store of either sort."""

from __future__ import annotations

import gzip
import json
import stat
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet

from tests.contract.world import call
from tests.real.etcd import Etcd
from zun_coe.backup import load
from zun_coe.cli import main
from zun_coe.config import ConfigError, Settings
from zun_coe.gateway import Query
from zun_coe.process import Process
from zun_coe.store import Put, open_store
from zun_coe.store.places import key_file
from zun_coe.store.records import RESTORING
from zun_coe.vault import keys_from_file, write_keys

KEY = Fernet.generate_key().decode()
_names = count(1)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    started = Etcd(tmp_path_factory.mktemp("etcd"))
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "etcd"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return str(request.getfixturevalue("etcd").url(f"backup-{next(_names)}"))


@pytest.fixture(params=["sqlite", "etcd"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'other' / 'state.db'}"
    return str(request.getfixturevalue("etcd").url(f"backup-{next(_names)}"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def process(url: str, keys: str = KEY) -> Process:
    made = Process(Settings(store=url, encryption_keys=keys, machine="m"), "api")
    made.start()
    return made


def fill(running: Process, secrets: int = 5) -> None:
    for n in range(secrets):
        running.gateway.secrets.create(call(), {"name": f"secret-{n}", "data": {"key": f"value-{n}"}})


def told(running: Process) -> list[tuple[str, str]]:
    """What happened, in order."""
    answer = running.gateway.events.list(call(), Query(limit=1000))
    assert answer.body is not None
    return [(event["type"], event["subject_name"]) for event in json.loads(answer.body)["events"]]


def values(running: Process) -> dict[str, str]:
    views = running.gateway.views
    found = {f"secret-{n}": views.named("secret", "default", f"secret-{n}") for n in range(5)}
    return {name: running.vault.open(one.intent.data)["key"] for name, one in found.items() if one}


def test_a_copy_becomes_a_store(url: str, other: str, tmp_path: Path) -> None:
    file = tmp_path / "copy"
    running = process(url)
    fill(running)
    events, label_key = told(running), running.vault.label_key
    said = run("backup", str(file), "--store", url, "--encryption-keys", KEY)
    assert said.exit_code == 0, said.output
    assert "without its encryption keys" in said.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    fill_more = {"name": "later", "data": {"a": "b"}}
    running.gateway.secrets.create(call(), fill_more)
    running.stop()
    said = run("restore", str(file), "--store", other, "--encryption-keys", KEY)
    assert said.exit_code == 0, said.output
    restored = process(other)
    assert told(restored) == events
    assert values(restored) == {f"secret-{n}": f"value-{n}" for n in range(5)}
    assert restored.vault.label_key == label_key, "what runs is known again"
    assert restored.gateway.views.named("secret", "default", "later") is None
    restored.stop()


def test_it_is_of_one_moment(url: str, tmp_path: Path) -> None:
    """Somebody writes all the time."""
    running, stop = process(url), threading.Event()

    def write() -> None:
        for n in count():
            if stop.is_set():
                return
            running.store.transact([], [Put(f"meta/{name}", str(n).encode()) for name in "abc"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(5):
            assert run("backup", str(tmp_path / f"{n}"), "--store", url, "--encryption-keys", KEY).exit_code == 0
    finally:
        stop.set()
        writer.join()
        running.stop()
    for n in range(5):
        kept = {line.k: line.v for line in load(tmp_path / f"{n}").lines}
        assert len({kept.get(f"meta/{name}") for name in "abc"}) == 1


def test_the_keys_apart_or_with_it(tmp_path: Path) -> None:
    url, other = (f"sqlite:///{tmp_path / name / 'state.db'}" for name in ("one", "two"))
    running = process(url, keys="")
    fill(running)
    running.stop()
    assert run("backup", str(tmp_path / "without"), "--store", url).exit_code == 0
    assert run("backup", str(tmp_path / "with"), "--with-keys", "--store", url).exit_code == 0
    [key] = keys_from_file(key_file(url))
    assert key.encode() not in gzip.decompress((tmp_path / "without").read_bytes())
    said = run("restore", str(tmp_path / "without"), "--store", other)
    assert said.exit_code != 0
    assert "put the key file that belongs to it" in said.output
    write_keys(key_file(other), [KEY])
    said = run("restore", str(tmp_path / "without"), "--store", other)
    assert said.exit_code != 0
    assert "does not open" in said.output
    write_keys(key_file(other), [key], replace=True)
    assert run("restore", str(tmp_path / "without"), "--store", other).exit_code == 0
    third = f"sqlite:///{tmp_path / 'three' / 'state.db'}"
    assert run("restore", str(tmp_path / "with"), "--store", third).exit_code == 0
    for restored in (process(one, keys="") for one in (other, third)):
        assert len(values(restored)) == 5
        restored.stop()


def test_nothing_is_overwritten_unasked(url: str, tmp_path: Path) -> None:
    file, given = tmp_path / "copy", ("--store", url, "--encryption-keys", KEY)
    running = process(url)
    fill(running)
    assert run("backup", str(file), *given).exit_code == 0
    first = file.read_bytes()
    said = run("backup", str(file), *given)
    assert said.exit_code != 0
    assert "--force" in said.output
    assert file.read_bytes() == first
    assert run("backup", str(file), "--force", *given).exit_code == 0
    running.stop()
    said = run("restore", str(file), *given)
    assert said.exit_code != 0
    assert "not empty" in said.output
    assert run("restore", str(file), "--force", *given).exit_code == 0
    again = process(url)
    assert len(values(again)) == 5
    again.stop()


def test_a_gateway_that_runs_is_not_restored_into(url: str, tmp_path: Path) -> None:
    file, given = tmp_path / "copy", ("--store", url, "--encryption-keys", KEY)
    running = process(url)
    fill(running)
    assert run("backup", str(file), *given).exit_code == 0
    said = run("restore", str(file), "--force", *given)
    assert said.exit_code != 0
    assert "in use" in said.output or "stop all of them" in said.output
    assert len(values(running)) == 5
    running.stop()


def test_what_was_cut_off_is_no_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with open_store(url) as store:
        store.create(RESTORING, b"")
    with pytest.raises(ConfigError, match="restore it with --force"):
        Process(Settings(store=url), "api")


@pytest.mark.parametrize("cut", [1, 20, -1, -40])
def test_what_is_no_whole_copy_is_refused(tmp_path: Path, cut: int) -> None:
    url, file = f"sqlite:///{tmp_path / 'state.db'}", tmp_path / "copy"
    running = process(url)
    fill(running)
    running.stop()
    assert run("backup", str(file), "--store", url, "--encryption-keys", KEY).exit_code == 0
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ConfigError, match="is no backup"):
        load(file)
    file.write_text("something else")
    said = run("restore", str(file), "--force", "--store", url, "--encryption-keys", KEY)
    assert said.exit_code != 0
    assert "is no backup" in said.output
    again = process(url)
    assert len(values(again)) == 5
    again.stop()


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    said = run("backup", str(tmp_path / "copy"), "--store", f"sqlite:///{tmp_path / 'none.db'}")
    assert said.exit_code != 0
    assert "There is no store" in said.output
    assert list(tmp_path.iterdir()) == []
