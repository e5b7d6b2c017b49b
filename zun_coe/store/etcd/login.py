"""Who we are to an etcd that has authentication: a name and a password, for which it gives a token.

A simple token is forgotten by etcd when it was not used for a while (`--auth-token-ttl`) and when the member that gave
it restarts; a JWT ends at its time. So a token is asked for anew when it is refused, and before it grows old: some
versions answer a token that they don't know by cutting the connection (https://github.com/etcd-io/etcd/issues/20332),
which would leave the outcome of a write unknown."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from zun_coe.errors import StoreUnavailable

YOUNG = 120.0
"""Seconds after which a token is asked for anew, well before etcd's default of 300."""


@dataclass
class Login:
    """A name with its password, and the token that was given for them. Thread-safe."""

    name: str
    password: str = field(repr=False)
    clock: Callable[[], float] = time.monotonic
    _token: str | None = field(default=None, init=False, repr=False)
    _until: float = field(default=0.0, init=False)
    _attempts: int = field(default=0, init=False)
    _failure: StoreUnavailable | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def token(self, ask: Callable[[str, str], str]) -> str:
        """The token; `ask` gives one for a name and a password, once for all who wait for it. Raises what it does:
        those who waited for an attempt that failed make none of their own, so that a member that hangs costs each of
        them its deadline once."""
        attempts = self._attempts
        with self._lock:
            if self._token is None or self.clock() > self._until:
                if self._failure is not None and self._attempts != attempts:
                    raise StoreUnavailable(str(self._failure)) from self._failure
                self._token = self._asked(ask)
                self._until = self.clock() + YOUNG
            return self._token

    def forget(self, token: str | None) -> None:
        """The token is of no use any more. No-op when there is another by now."""
        with self._lock:
            if token is None or token == self._token:
                self._token = None

    def _asked(self, ask: Callable[[str, str], str]) -> str:
        self._failure = None
        try:
            return ask(self.name, self.password)
        except StoreUnavailable as error:
            self._failure = error
            raise
        finally:
            self._attempts += 1
