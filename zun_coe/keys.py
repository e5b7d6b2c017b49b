"""The encryption keys of a store: where they are, whether they are the right ones, and how they are changed.

Without its keys a store is worth little: credentials of clusters and secrets can't be read. So a process never
makes a new key for a store that has encrypted values, and does not begin with keys that don't open them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import msgspec
import structlog

from zun_coe.config import ConfigError, Settings
from zun_coe.errors import KeyNotFound, RevisionConflict
from zun_coe.model import Cluster, Secret
from zun_coe.store import Record, Store
from zun_coe.store.places import former_key_file, is_embedded, key_file
from zun_coe.store.records import decode, encode, type_of
from zun_coe.vault import Undecryptable, Vault, keys_from_file, new_key, write_keys

log = structlog.get_logger()

LABEL_KEY = "meta/label_key"
_PAGE = 500


class Sealed(NamedTuple):
    """An encrypted value and the record that it is part of; `with_text` is the record with another text."""

    record: Record
    text: str
    with_text: Callable[[str], bytes]


class Keys(NamedTuple):
    """Keys, the newest first, and what to call the place where they are."""

    keys: Sequence[str]
    place: str


def open_vault(settings: Settings, store: Store) -> Vault:
    """The vault with the keys of the settings, or with those of the file beside the embedded store, which is made
    for a store that has nothing encrypted. Raises `ConfigError` where what the store has encrypted can't be opened."""
    keys = _found(settings, store)
    vault = _vault(keys)
    for sealed in sealed_values(store):
        try:
            vault.open(sealed.text)
        except Undecryptable as error:
            raise ConfigError(
                f"{keys.place} does not open what this store has encrypted ({sealed.record.key}): give the keys that"
                " belong to it, as they are in the backup that was made with the database."
            ) from error
    return vault


def must_be_given(settings: Settings) -> None:
    """Raises `ConfigError` where there are no keys and can be no file of them."""
    if not is_embedded(settings.store) and not _given(settings):
        raise ConfigError("A store that several processes share needs encryption_keys, the same in all of them.")


def sealed_values(store: Store) -> Iterator[Sealed]:
    """Everything that a store has encrypted. Raises `StoreError`."""
    for prefix in (LABEL_KEY, "intent/cluster/", "secret/"):
        for record in _all(store, prefix):
            if sealed := sealed_in(record):
                yield sealed


def sealed_in(record: Record) -> Sealed | None:
    """What is encrypted in a record; None where nothing is."""
    if record.key == LABEL_KEY:
        return Sealed(record, record.value.decode(), str.encode)
    type_ = type_of(record.key)
    if type_ is Cluster:
        cluster = decode(record.value, Cluster)
        text = cluster.credentials
        return Sealed(record, text, partial(_with_credentials, cluster)) if text is not None else None
    if type_ is Secret:
        secret = decode(record.value, Secret)
        return Sealed(record, secret.data, partial(_with_data, secret))
    return None


def at_hand(settings: Settings) -> list[str]:
    """The keys of the settings, or of the key file, the newest first. Raises `ConfigError` where there are none."""
    must_be_given(settings)
    if given := _given(settings):
        return given
    try:
        return keys_from_file(key_file(settings.store))
    except OSError as error:
        raise ConfigError(f"The key file {key_file(settings.store)} can't be read: {error.strerror}.") from error


def provide(settings: Settings, carried: Sequence[str], sealed: str | None, *, replace: bool) -> None:
    """Have keys at hand that open a backup, of which `sealed` is an encrypted value: those that the backup carries
    become the key file, if there is none or it may be replaced. Raises `ConfigError`, `OSError`."""
    must_be_given(settings)
    file = None if _given(settings) else key_file(settings.store)
    if file is not None and carried and (replace or not file.exists()):
        write_keys(file, carried, replace=True)
        return
    if sealed is None:
        return
    if file is not None and not file.exists():
        raise ConfigError(f"The backup has encrypted values; put the key file that belongs to it at {file} first.")
    if not _opens(at_hand(settings), sealed):
        place = file or "encryption_keys"
        raise ConfigError(f"{place} does not open what the backup has encrypted: give the keys that belong to it.")


def rotate(settings: Settings, store: Store) -> int:
    """Encrypt everything with the newest key. Of a key file that has one, a new one is put in front first, and in the
    end the others are taken out; of `encryption_keys` the operator does both. To be begun again when it was cut off.
    How many values were encrypted anew. Raises `ConfigError`, `StoreError`, `OSError`."""
    open_vault(settings, store)
    keys = list(_found(settings, store).keys)
    file = None if _given(settings) else key_file(settings.store)
    if file is not None and len(keys) == 1:
        keys = [new_key(), *keys]
        write_keys(file, keys, replace=True)
    vault = Vault(keys)
    count = sum(_reseal(store, vault, sealed) for sealed in sealed_values(store))
    if file is not None:
        write_keys(file, keys[:1], replace=True)
    return count


def census(settings: Settings, store: Store) -> list[tuple[str, int]]:
    """Each key that is at hand, by a name that tells nothing of it, and how many values need it."""
    keys = _found(settings, store).keys
    needed: Counter[str] = Counter()
    for sealed in sealed_values(store):
        needed[next((key for key in keys if Vault([key]).is_newest(sealed.text)), "")] += 1
    return [(name_of(key), needed[key]) for key in keys] + ([("none at hand", needed[""])] if needed[""] else [])


def name_of(key: str) -> str:
    """What to call a key."""
    return sha256(key.encode()).hexdigest()[:12]


def _reseal(store: Store, vault: Vault, sealed: Sealed) -> bool:
    if vault.is_newest(sealed.text):
        return False
    try:
        store.update(sealed.record.key, sealed.with_text(vault.rotate(sealed.text)), sealed.record.revision)
    except KeyNotFound:
        return False
    except RevisionConflict:
        again = [one for one in sealed_values(store) if one.record.key == sealed.record.key]
        return any(_reseal(store, vault, one) for one in again)
    return True


def _found(settings: Settings, store: Store) -> Keys:
    if given := _given(settings):
        return Keys(given, "encryption_keys")
    must_be_given(settings)
    file = key_file(settings.store)
    try:
        if not file.exists():
            _provide(settings, store)
        return Keys(keys_from_file(file), str(file))
    except OSError as error:
        raise ConfigError(
            f"The key file {error.filename or file} of the store can't be used: {error.strerror}. It must be for the"
            " user that runs the gateway; or give the keys as encryption_keys."
        ) from error


def _provide(settings: Settings, store: Store) -> None:
    """The key file of a store that has none: the one that an older version put elsewhere, or a new one."""
    file, former = key_file(settings.store), former_key_file(settings.store)
    sealed = next(sealed_values(store), None)
    if sealed is None:
        write_keys(file, [new_key()])
        return
    if former != file and former.exists() and _opens(former_keys := keys_from_file(former), sealed.text):
        log.info("key file copied", of=str(former), to=str(file))
        write_keys(file, former_keys)
        return
    raise ConfigError(
        f"The key file {file} is missing, and this store has encrypted values that nothing else opens: restore it from"
        " the backup that was made with the database."
    )


def _opens(keys: Sequence[str], sealed: str) -> bool:
    try:
        Vault(list(keys)).open(sealed)
    except (Undecryptable, ValueError):
        return False
    return True


def _given(settings: Settings) -> list[str]:
    return [key.strip() for key in settings.encryption_keys.split(",") if key.strip()]


def _vault(keys: Keys) -> Vault:
    try:
        return Vault(list(keys.keys))
    except ValueError as error:
        told = (
            f"{keys.place} holds what is no key: {error} Take it from a copy; `zun-coe key` prints keys for new stores."
        )
        raise ConfigError(told) from error


def _all(store: Store, prefix: str) -> Iterator[Record]:
    page = store.list(prefix, limit=_PAGE)
    while True:
        yield from page.records
        if not page.more:
            return
        page = store.list(prefix, limit=_PAGE, after=page.records[-1].key, revision=page.revision)


def _with_credentials(cluster: Cluster, text: str) -> bytes:
    return encode(msgspec.structs.replace(cluster, credentials=text))


def _with_data(secret: Secret, text: str) -> bytes:
    return encode(msgspec.structs.replace(secret, data=text))
