"""One process of the gateway without its HTTP side: the store, the copy of it, the use cases, the engine.

`serve` has all of it; `api` has no engine, `engine` has no use cases that anybody calls. Each of them tells
that it is there by a lease, which an engine has its clusters under and an `api` nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog

from zun_coe import keys
from zun_coe.config import ConfigError, Settings
from zun_coe.engine import Engine
from zun_coe.engine.ownership import Ownership
from zun_coe.errors import KeyExists, OutcomeUnknown, StoreUnavailable
from zun_coe.gateway import Gateway
from zun_coe.metrics import Metrics
from zun_coe.store import Store, must_name_a_store, open_store
from zun_coe.store.cache import Cache
from zun_coe.store.measuring import MeasuredStore
from zun_coe.store.records import RESTORING, new_id
from zun_coe.vault import Undecryptable, Vault

log = structlog.get_logger()

Role = Literal["serve", "api", "engine"]
SCHEMA = "1"
_INSTALLATION, _SCHEMA = "meta/installation", "meta/schema"


class Process:
    """The parts of one process, wired together. `start` blocks until the store was read; `stop` gives back
    everything, in the order in which it is needed no more."""

    def __init__(self, settings: Settings, role: Role = "serve", store: Store | None = None) -> None:
        self.settings, self.role, self.id = settings, role, new_id()
        with _told_of_the_setting():
            must_name_a_store(settings.store)
        keys.must_be_given(settings)
        self.metrics = Metrics()
        self.store: Store = MeasuredStore(store or opened(settings.store), self.metrics)
        try:
            installation = _known(self.store)
            self.vault = open_vault(settings, self.store)
        except BaseException:
            self.store.close()
            raise
        self.cache = Cache(self.store)
        self.gateway = Gateway(self.store, self.cache, settings, self.vault, installation, self.metrics)
        self.engine: Engine | None = None
        if role != "api":
            tools = (self.store, self.cache, settings, self.vault, installation, self.metrics)
            self.engine = Engine(*tools, role=role, service_id=self.id)
        self._present = self.engine or Ownership(self.store, self.id, settings.lease, role=role, host=settings.here)

    def start(self) -> None:
        """Read the store, then begin. Raises `StoreUnavailable`."""
        self.cache.start()
        self._present.start()

    def renew(self, settings: Settings) -> None:
        """Use the encryption keys of new settings. Raises `ConfigError` where they don't open what the store has, and
        `StoreUnavailable`; then the old ones stay."""
        keys.must_be_given(settings)
        self.vault.take(open_vault(settings, self.store))

    def stop(self) -> None:
        """End everything. Idempotent."""
        self._present.stop()
        self.gateway.close()
        self.cache.close()
        self.store.close()
        log.info("stopped", role=self.role, id=self.id)


def open_vault(settings: Settings, store: Store) -> Vault:
    """The vault of a store, with its label key. Raises `ConfigError` for keys that are missing or others."""
    vault = keys.open_vault(settings, store)
    try:
        return vault.with_label_key(_meta(store, keys.LABEL_KEY, vault.sealed_label_key()))
    except Undecryptable as error:  # another process, with other keys, has made it just now
        raise ConfigError("The encryption keys at hand are others than those of another process.") from error


def opened(url: str) -> Store:
    """The store that a URL names. Raises `ConfigError`, `StoreUnavailable`."""
    with _told_of_the_setting():
        return open_store(url)


@contextmanager
def _told_of_the_setting() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"store: {error}") from error


def _known(store: Store) -> str:
    """The installation that a store is of, if it is of a schema that this version knows. Raises `ConfigError`."""
    if store.get(RESTORING) is not None:
        raise ConfigError("A backup was being restored into this store and that was cut off: restore it with --force.")
    installation = _meta(store, _INSTALLATION, new_id())
    schema = _meta(store, _SCHEMA, SCHEMA)
    if schema != SCHEMA:
        raise ConfigError(f"The store is of schema {schema}, and this version knows {SCHEMA}.")
    return installation


def _meta(store: Store, key: str, value: str) -> str:
    """What is kept under the key, which is `value` from now on where nothing was."""
    end = time.monotonic() + 30.0
    while True:
        try:
            record = store.get(key)
            if record is not None:
                return record.value.decode()
            store.create(key, value.encode())
        except (KeyExists, OutcomeUnknown):
            continue  # it is there now, or may be: look
        except StoreUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
