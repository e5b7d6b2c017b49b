"""A watch that ends by what nobody foresaw is not lost in silence: whoever takes its hints hears of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from threading import Event as StopEvent
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.real.waiting import wait_until
from zun_coe.adapters import Connection
from zun_coe.adapters.hints import Hints
from zun_coe.adapters.kubernetes import watching as kubernetes
from zun_coe.native import watching as native


class Runtime:
    """An engine whose events are not what they should be, once; then there are none."""

    def __init__(self) -> None:
        self.listening = 0
        self._first = True

    def events(self, labels: Mapping[str, str], stop: StopEvent) -> Iterator[Mapping[str, str]]:
        self.listening += 1
        try:
            if self._first:
                self._first = False
                raise KeyError("Actor")
            stop.wait(30)
            yield from ()
        finally:
            self.listening -= 1


def threads(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def test_of_a_host() -> None:
    """The threads of all hosts end with it, and all of them listen when it was begun anew."""
    hosts = [SimpleNamespace(name=f"odd-{n}", runtime=Runtime()) for n in range(2)]
    hosts[1].runtime._first = False
    stop, hints = StopEvent(), Hints()
    watch = native.watch(cast(Any, hosts), {}, hints, stop)
    with pytest.raises(KeyError, match="Actor"):
        list(watch)
    wait_until(lambda: not threads("events odd-"), message="the threads of the other hosts go on")
    again = native.watch(cast(Any, hosts), {}, hints, stop)
    heard = threading.Thread(target=lambda: list(again))
    heard.start()
    wait_until(lambda: [host.runtime.listening for host in hosts] == [1, 1], message="not all of them listen")
    stop.set()
    heard.join(30)
    wait_until(lambda: not threads("events odd-"), message="the threads go on")


def test_of_an_api_server() -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("surprise")

    client = SimpleNamespace(list=broken, read=broken, freshness=None)
    connection = SimpleNamespace(namespace=None, installation="i", cluster="c", timeout=1.0)
    with pytest.raises(RuntimeError, match="surprise"):
        list(kubernetes.hints(cast(Any, client), cast(Connection, connection), StopEvent()))
    wait_until(lambda: not threads("watch "), message="the other watches go on")
