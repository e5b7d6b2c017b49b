"""Sealing, opening, and changing keys."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.vault import Undecryptable, Vault, key_from_file

CONTENT = {"token": "hunter2", "nested": {"n": 1, "none": None}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3)
)
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_opens_what_was_sealed(content: dict[str, object]) -> None:
    vault = Vault([OLD])
    assert vault.open(vault.seal(content)) == content


def test_sealed_text_tells_nothing_and_differs_each_time() -> None:
    vault = Vault([OLD])
    assert "hunter2" not in vault.seal(CONTENT)
    assert vault.seal(CONTENT) != vault.seal(CONTENT)


def test_other_key_does_not_open() -> None:
    sealed = Vault([OLD]).seal(CONTENT)
    with pytest.raises(Undecryptable) as caught:
        Vault([NEW]).open(sealed)
    assert sealed not in str(caught.value)


@pytest.mark.parametrize("sealed", ["", "not sealed at all", "gAAAAA"])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(Undecryptable):
        Vault([OLD]).open(sealed)


def test_changed_text_does_not_open() -> None:
    sealed = Vault([OLD]).seal(CONTENT)
    with pytest.raises(Undecryptable):
        Vault([OLD]).open(sealed[:-6] + ("A" if sealed[-6] != "A" else "B") + sealed[-5:])


def test_key_is_changed_without_losing_anything() -> None:
    sealed = Vault([OLD]).seal(CONTENT)
    both = Vault([NEW, OLD])
    assert both.open(sealed) == CONTENT
    rotated = both.rotate(sealed)
    assert Vault([NEW]).open(rotated) == CONTENT
    with pytest.raises(Undecryptable):
        Vault([OLD]).open(rotated)


def test_rotating_what_no_key_opens_is_told() -> None:
    with pytest.raises(Undecryptable):
        Vault([NEW]).rotate(Vault([OLD]).seal(CONTENT))


def test_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = key_from_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key_from_file(path) == key
    Vault([key])


def test_key_file_that_two_make_at_once_holds_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keys: list[str] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        keys.append(key_from_file(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(keys) == {path.read_text().strip()}
    assert list(tmp_path.iterdir()) == [path]
