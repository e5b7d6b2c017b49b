"""The keys of a store: found where they are, never made anew for what others encrypted, changed at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from tests.contract.world import call
from zun_coe import keys
from zun_coe.cli import main
from zun_coe.config import ConfigError, Settings
from zun_coe.errors import StoreUnavailable
from zun_coe.model import Cluster
from zun_coe.process import Process
from zun_coe.store import Condition, Operation, open_store
from zun_coe.store.places import database, former_key_file, key_file
from zun_coe.store.records import encode, intent_key
from zun_coe.vault import Vault, keys_from_file, write_keys

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = {"key": "hunter2"}


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'state.db'}"


def filled(url: str, secrets: int = 1, **settings: str) -> None:
    """A store that has encrypted values: secrets, a cluster's credentials, and the label key."""
    process = Process(Settings(store=url, **settings), "api")
    process.start()
    for n in range(secrets):
        process.gateway.secrets.create(call(), {"name": f"secret-{n}", "data": VALUES})
    cluster = Cluster(
        id="c",
        project="default",
        name="c",
        kind="kubernetes",
        created_at=NOW,
        updated_at=NOW,
        credentials=process.vault.seal({"token": "t"}),
    )
    process.store.create(intent_key("cluster", "default", "c"), encode(cluster))
    process.stop()


def opens(url: str, **settings: str) -> bool:
    """Whether a process begins, and has everything."""
    process = Process(Settings(store=url, **settings), "api")
    try:
        values = [process.vault.open(sealed.text) for sealed in keys.sealed_values(process.store)]
        return values[1:] == [{"token": "t"}, *[VALUES] * (len(values) - 2)]
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("url", "file", "key"),
    [
        ("sqlite:///zun-coe.db", "zun-coe.db", "zun-coe.key"),
        ("sqlite:///data/zun-coe.db", "data/zun-coe.db", "data/zun-coe.key"),
        ("sqlite:////var/lib/state.db", "/var/lib/state.db", "/var/lib/state.key"),
        ("sqlite:////a%20b/%23.db", "/a b/#.db", "/a b/#.key"),
        ("sqlite:////a?b#c.db", "/a?b#c.db", "/a?b#c.key"),
        ("sqlite:///state.key", "state.key", "state.key.key"),
    ],
)
def test_the_key_is_beside_the_database(url: str, file: str, key: str) -> None:
    assert database(url) == Path(file)
    assert key_file(url) == Path(key)


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:/", "sqlite://", "sqlite:///", "sqlite://state.db"])
def test_what_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names no file"):
        database(url)


def test_a_relative_file_is_in_the_working_folder_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    filled("sqlite:///here.db")
    assert {"here.db", "here.key"} <= {path.name for path in tmp_path.iterdir()}
    assert opens("sqlite:///here.db")


def test_a_key_that_an_older_version_put_elsewhere_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a%20b.db"
    filled(url)
    old = former_key_file(url)
    assert old == tmp_path / "a%20b.key"
    key_file(url).rename(old)
    assert opens(url)
    assert keys_from_file(key_file(url)) == keys_from_file(old)


def test_a_missing_key_is_not_made_anew(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    filled(url)
    kept = key_file(url).read_text()
    key_file(url).unlink()
    with pytest.raises(ConfigError, match=r"state\.key is missing"):
        Process(Settings(store=url), "api")
    assert not key_file(url).exists()
    key_file(url).write_text(kept)
    assert opens(url), "the file of the store was let go of as well"


def test_a_wrong_key_ends_the_start(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    filled(url)
    write_keys(key_file(url), [Fernet.generate_key().decode()], replace=True)
    with pytest.raises(ConfigError, match=r"state\.key does not open"):
        Process(Settings(store=url), "api")
    with pytest.raises(ConfigError, match="encryption_keys does not open"):
        Process(Settings(store=url, encryption_keys=Fernet.generate_key().decode()), "api")
    write_keys(key_file(url), ["no key"], replace=True)
    with pytest.raises(ConfigError, match=r"state\.key holds what is no key: .* Take it from a copy"):
        Process(Settings(store=url), "api")


@pytest.mark.parametrize("command", ["serve", "engine"])
def test_a_start_without_the_key_is_one_sentence(tmp_path: Path, command: str) -> None:
    url = url_of(tmp_path)
    filled(url)
    key_file(url).unlink()
    said = CliRunner().invoke(main, [command, "--store", url, "--listen", "127.0.0.1:0"])
    assert said.exit_code != 0
    assert said.exception is None or isinstance(said.exception, SystemExit)
    assert "restore it from the backup" in said.output
    assert "Traceback" not in said.output


def test_rotating_a_key_file(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    filled(url, secrets=3)
    [before] = keys_from_file(key_file(url))
    said = CliRunner().invoke(main, ["key", "rotate", "--store", url])
    assert (said.exit_code, said.stdout) == (0, "5 values are encrypted with the newest key now.\n")
    assert "Backups that were made before need the key of that time" in said.stderr
    [after] = keys_from_file(key_file(url))
    assert before != after
    assert opens(url)
    listed = CliRunner().invoke(main, ["key", "list", "--store", url]).output
    assert listed == f"{keys.name_of(after)}  5 values\n"
    assert after not in listed


def test_rotating_keys_of_the_settings(tmp_path: Path) -> None:
    url, old, new = url_of(tmp_path), Fernet.generate_key().decode(), Fernet.generate_key().decode()
    filled(url, encryption_keys=old)
    given = ["--store", url, "--encryption-keys", f"{new},{old}"]
    assert f"{keys.name_of(old)}  3 values" in CliRunner().invoke(main, ["key", "list", *given]).output
    assert CliRunner().invoke(main, ["key", "rotate", *given]).exit_code == 0
    assert opens(url, encryption_keys=new)
    assert "0 values" in CliRunner().invoke(main, ["key", "rotate", *given]).output
    assert not key_file(url).exists()


def test_rotating_that_is_cut_off_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whichever write it ends: what there is opens, and the next time it comes to its end."""
    url = url_of(tmp_path)
    filled(url, secrets=3)
    [first] = keys_from_file(key_file(url))
    settings = Settings(store=url)
    for writes in range(5):
        store = open_store(url)
        transact = store.transact
        left = [writes]

        def limited(
            conditions: Sequence[Condition],
            operations: Sequence[Operation],
            left: list[int] = left,
            transact=transact,  # type: ignore[no-untyped-def]  # of this round
        ) -> int:
            if not left[0]:
                raise StoreUnavailable("cut off")
            left[0] -= 1
            return int(transact(conditions, operations))

        monkeypatch.setattr(store, "transact", limited)
        try:
            keys.rotate(settings, store)
        except StoreUnavailable:
            assert len(keys_from_file(key_file(url))) == 2, "no key is taken out that something needs"
        store.close()
        assert opens(url)
    with open_store(url) as store:
        keys.rotate(settings, store)
    [last] = keys_from_file(key_file(url))
    assert last != first
    assert opens(url)


def test_somebody_may_write_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = url_of(tmp_path)
    filled(url)
    with open_store(url) as store:
        update, turns = store.update, []

        def late(key: str, value: bytes, expected: int) -> int:
            if key.startswith("secret/") and not turns:
                turns.append(key)
                record = store.get(key)
                assert record is not None
                update(key, record.value, record.revision)
            return update(key, value, expected)

        monkeypatch.setattr(store, "update", late)
        assert keys.rotate(Settings(store=url), store) == 3
    assert turns
    assert opens(url)


def test_the_same_credentials_under_another_key_are_the_same(tmp_path: Path) -> None:
    """A cluster is not opened anew for it, and nobody is told of other credentials."""
    process = Process(Settings(store=url_of(tmp_path)), "serve")
    assert process.engine is not None
    vault: Vault = process.vault
    fields = {"id": "c", "project": "p", "name": "c", "kind": "k", "created_at": NOW, "updated_at": NOW}
    one, two, other = (Cluster(credentials=vault.seal({"token": t}), **fields) for t in ("a", "a", "b"))
    assert one.credentials != two.credentials
    renewed: list[Cluster] = []
    runner: Any = SimpleNamespace(cluster=one, renew=lambda cluster, credentials: renewed.append(cluster))
    assert process.engine._goes_on(runner, two)
    assert not renewed
    for another in (other, Cluster(**fields)):
        assert not process.engine._goes_on(runner, another)
        assert renewed.pop() is another
    process.stop()
