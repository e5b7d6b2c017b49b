"""Hints from everywhere as one stream: events of the hosts' runtimes, and what the adapter itself comes to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from threading import Event as StopEvent
from threading import Thread

from zun_coe.adapters.hints import Hints
from zun_coe.errors import BackendError
from zun_coe.model import WorkloadRef
from zun_coe.native.hosts import NativeHost
from zun_coe.native.naming import ref_of

_FIRST_DELAY, _LAST_DELAY = 0.5, 15.0
_GLANCE = 0.5


def watch(
    hosts: Iterable[NativeHost], labels: Mapping[str, str], hints: Hints, stop: StopEvent
) -> Iterator[WorkloadRef | None]:
    """Yield hints until `stop` is set, which is noticed within half a second. One thread for each host, which ends
    with the iteration; a connection that was lost is opened again, and None yielded then, since events may have been
    missed."""
    over = StopEvent()
    for host in hosts:
        Thread(target=_follow, args=(host, labels, hints, over), name=f"events {host.name}", daemon=True).start()
    try:
        while not stop.is_set():
            yield from hints.take(_GLANCE)
    finally:
        over.set()


def _follow(host: NativeHost, labels: Mapping[str, str], hints: Hints, stop: StopEvent) -> None:
    delay = _FIRST_DELAY
    while not stop.is_set():
        try:
            heard = _listen(host, labels, hints, stop)
        except Exception as error:  # noqa: BLE001  # whoever takes the hints begins anew, and says so
            hints.fail(error)
            return
        delay = _FIRST_DELAY if heard else min(delay * 2, _LAST_DELAY)
        if not stop.wait(delay):
            # Once more a little later, for what happens before the connection stands.
            hints.put(None)
            hints.put_after(None, 1.0)


def _listen(host: NativeHost, labels: Mapping[str, str], hints: Hints, stop: StopEvent) -> bool:
    """Pass on events until the connection ends; whether there were any."""
    heard = False
    try:
        for event in host.runtime.events(labels, stop):
            heard = True
            if (ref := ref_of(event)) is not None:
                hints.put(ref)
    except BackendError:
        return heard
    return heard
