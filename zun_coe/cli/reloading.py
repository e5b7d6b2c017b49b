"""What SIGHUP does to a gateway: the settings are read anew, and what can change while it serves does.

The signal never ends the process, from its first moment on. The handler only leaves a note; a thread does the work,
since logging and reading files may not be interrupted by themselves."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import fields
from queue import SimpleQueue
from threading import Thread
from types import FrameType

import structlog

from zun_coe import systemd
from zun_coe.cli.recording import level_of, set_level
from zun_coe.config import ConfigError, Settings
from zun_coe.errors import StoreError

CHANGEABLE = frozenset({"log_level", "encryption_keys"})
"""The settings that need no restart."""
log = structlog.get_logger()


Renew = Callable[[Settings], None]
"""Takes new encryption keys. Raises `ConfigError`, `StoreError`; then nothing has changed."""


class Reloading:
    """Heeds SIGHUP from now on. `read` gives the settings as they are now."""

    def __init__(self, read: Callable[[], Settings]) -> None:
        self._read = read
        self._asked: SimpleQueue[None] = SimpleQueue()
        signal.signal(signal.SIGHUP, self._ask)

    def begin(self, settings: Settings, renew: Renew) -> None:
        """Reload whenever it was asked for, also before. `settings`: those in force."""
        Thread(target=self._run, args=(settings, renew), name="reloading", daemon=True).start()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked.put(None)

    def _run(self, settings: Settings, renew: Renew) -> None:
        while True:
            self._asked.get()
            systemd.reloading()
            try:
                self._reload(settings, renew)
            except (ConfigError, StoreError, OSError) as error:
                log.error("reload.failed", error=str(error))
            except Exception:
                log.exception("reload.failed")
            systemd.notify(systemd.READY)

    def _reload(self, old: Settings, renew: Renew) -> None:
        """Raises `ConfigError` for settings that can't be; then the old ones stay in force."""
        new = self._read()
        level = level_of(new)
        renew(new)
        set_level(level)
        kept = [
            f.name for f in fields(new) if f.name not in CHANGEABLE and getattr(new, f.name) != getattr(old, f.name)
        ]
        told = {"needs_restart": ", ".join(kept)} if kept else {}
        log.info("reloaded", log_level=new.log_level, **told)
