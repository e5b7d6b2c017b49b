"""Encryption of credentials and secrets at rest: Fernet with several keys, the first of which encrypts.

A key is rotated by putting the new one in front, letting every process have it, and taking the old
one away once `rotate` has been over everything (`zun_coe.keys`)."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes
from tempfile import mkstemp
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Undecryptable(Exception):
    """No key at hand opens it."""


class Vault:
    """Seals mappings of plain JSON into text and opens them again.

    `label_key` signs the labels of native objects. It is no encryption key: it belongs to the store, where it
    lies sealed, and stays when encryption keys are rotated, since native objects live longer than these."""

    def __init__(self, keys: list[str], label_key: bytes = b"") -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._keys = [key.encode() for key in keys]
        self.label_key = label_key

    def with_label_key(self, sealed: str) -> Vault:
        """The same vault with the label key that `sealed_label_key` has made. Raises `Undecryptable`."""
        return Vault([key.decode() for key in self._keys], bytes.fromhex(self.open(sealed)["key"]))

    def take(self, other: Vault) -> None:
        """Use the keys of another one from now on."""
        self._fernet, self._keys, self.label_key = other._fernet, other._keys, other.label_key

    def sealed_label_key(self) -> str:
        """A new label key, sealed."""
        return self.seal({"key": token_bytes(32).hex()})

    def seal(self, content: Mapping[str, Any]) -> str:
        """Encrypted with the newest key; different each time."""
        return self._fernet.encrypt(msgspec.json.encode(content)).decode()

    def open(self, sealed: str) -> dict[str, Any]:
        """What was sealed. Raises `Undecryptable`."""
        try:
            content: dict[str, Any] = msgspec.json.decode(self._fernet.decrypt(sealed.encode()))
        except InvalidToken as error:
            raise Undecryptable("no encryption key at hand opens this; was a key removed too early?") from error
        return content

    def fingerprints(self, content: bytes) -> list[str]:
        """A name for the content under each key, the newest first: tells equal contents without telling
        anything of a short one to somebody who has no key."""
        return [hmac.digest(key, content, "sha256").hex() for key in self._keys]

    def is_newest(self, sealed: str) -> bool:
        """Whether the newest key opens it."""
        try:
            Fernet(self._keys[0]).decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True

    def rotate(self, sealed: str) -> str:
        """The same content under the newest key. Raises `Undecryptable`."""
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken as error:
            raise Undecryptable("no encryption key at hand opens this; was a key removed too early?") from error


def new_key() -> str:
    """A key that nobody has had."""
    return Fernet.generate_key().decode()


def keys_from_file(path: Path) -> list[str]:
    """The keys in a file, the newest first. Raises `FileNotFoundError`."""
    return path.read_text().replace(",", " ").split()


def key_from_file(path: Path) -> str:
    """The newest key in a file that only its owner reads; made, with a new key, where it is missing. The file is
    whole from the moment that it is there, also when two processes make it at once."""
    if not path.exists():
        write_keys(path, [new_key()])
    return keys_from_file(path)[0]


def write_keys(path: Path, keys: Sequence[str], *, replace: bool = False) -> None:
    """Make a key file, which only its owner reads. One that is there is left alone unless it is to be replaced.
    Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600, as mkstemp makes all
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(keys))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            with suppress(FileExistsError):
                os.link(draft, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
