"""Where most containers of a host fall silent together, the way there is suspected and the last verdicts stand."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native.workloads import ref
from tests.real.waiting import wait_until
from zun_coe.model import Health, TcpConnect
from zun_coe.native.health import Prober, Target
from zun_coe.native.paths import ALONE, Sound, is_silence, is_suspect

HEALTH = Health(tcp=TcpConnect(port=1), interval=0.05, timeout=0.5, retries=2)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOUNDS = st.lists(
    st.builds(Sound, st.sampled_from("abc"), st.none() | st.floats(0, 100), st.just(15.0)), min_size=1, max_size=12
)


def sounds(*silent_since: float | None, workloads: str = "abcdefgh", period: float = 15.0) -> list[Sound]:
    return [Sound(workload, since, period) for workload, since in zip(workloads, silent_since, strict=False)]


@pytest.mark.parametrize(
    ("found", "clock", "suspect"),
    [
        (sounds(5.0, 5.0), 6, True),
        (sounds(5.0, 9.0, None), 10, True),
        (sounds(5.0, None), 6, False),
        (sounds(5.0), 6, False),
        (sounds(5.0, 50.0), 51, False),
        (sounds(5.0, 50.0, period=60.0), 51, True),
        (sounds(5.0, 5.0), 5000, True),
        (sounds(5.0, 5.0, workloads="aa"), 6, True),
        (sounds(5.0, 5.0, workloads="aa"), 6 + ALONE, False),
    ],
)
def test_the_rule(found: list[Sound], clock: float, suspect: bool) -> None:
    assert is_suspect(found, clock) is suspect


@given(SOUNDS)
def test_the_way_is_never_suspected_while_half_of_all_answer(found: list[Sound]) -> None:
    silent = sum(sound.silent_since is not None for sound in found)
    if is_suspect(found, 100.0):
        assert silent >= 2
        assert 2 * silent > len(found)


@pytest.mark.parametrize(
    ("error", "silence"),
    [
        (OSError(errno.ENETUNREACH, "no network"), True),
        (httpx.ConnectTimeout(""), True),
        (socket.gaierror(-3, "no name server"), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), False),
        (httpx.ReadTimeout(""), False),
        (httpx.RemoteProtocolError("nonsense"), False),
    ],
)
def test_what_is_silence(error: BaseException, silence: bool) -> None:
    assert is_silence(error) is silence


class Net:
    """What lies between a prober and its targets. `broken`: what connecting to some of them comes to; `asked`: how
    often each was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken: dict[str, OSError] = {}
        self.asked: dict[str, int] = {}
        self.changes = 0
        monkeypatch.setattr(Prober, "_ask", lambda prober, target, url: self._ask(target, url))
        self.prober = Prober(lambda ref: None, suspected=self._suspected)

    async def _ask(self, target: Target, url: str) -> None:
        self.asked[target.id] = self.asked.get(target.id, 0) + 1
        if target.id in self.broken:
            raise self.broken[target.id]

    def _suspected(self) -> None:
        self.changes += 1

    def watch(self, **workloads: str) -> None:
        targets = [Target(id, "a", ref(w), NOW, "127.0.0.1", 1, HEALTH) for id, w in workloads.items()]
        self.prober.watch(targets, lambda target: True)
        wait_until(lambda: set(self.verdicts.values()) == {"healthy"} and len(self.verdicts) == len(workloads), 10)

    def fall_silent(self, *ids: str, error: OSError | None = None) -> None:
        self.broken = dict.fromkeys(ids, error or OSError(errno.ENETUNREACH, "Network is unreachable"))

    def ask_all(self, times: int) -> None:
        before = dict(self.asked)
        wait_until(lambda: all(self.asked[id] >= before[id] + times for id in before), 10)

    @property
    def verdicts(self) -> dict[str, Any]:
        return {id: probed.health for id, probed in self.prober.results().items()}


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    made = Net(monkeypatch)
    yield made
    made.prober.close()


def test_verdicts_stand_while_the_way_is_suspected(net: Net) -> None:
    net.watch(one="web", two="web", three="db")
    net.fall_silent("one", "two", "three")
    wait_until(lambda: net.prober.suspects() == {"a"}, 10)
    net.ask_all(3 * HEALTH.retries)
    assert set(net.verdicts.values()) == {"healthy"}
    net.fall_silent()
    wait_until(lambda: not net.prober.suspects(), 10)
    assert set(net.verdicts.values()) == {"healthy"}
    assert net.changes == 2


def test_one_that_is_silent_alone_is_unhealthy(net: Net) -> None:
    net.watch(one="web", two="web", three="db")
    net.fall_silent("one")
    wait_until(lambda: net.verdicts["one"] == "unhealthy", 10)
    assert not net.prober.suspects()
    assert net.verdicts["two"] == net.verdicts["three"] == "healthy"


def test_those_that_refuse_are_unhealthy_however_many_they_are(net: Net) -> None:
    net.watch(one="web", two="web", three="db")
    net.fall_silent("one", "two", "three", error=ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    wait_until(lambda: set(net.verdicts.values()) == {"unhealthy"}, 10)
    assert not net.prober.suspects()


def test_a_way_that_nobody_is_at_the_end_of_any_more_is_not_suspected(net: Net) -> None:
    """Those that come are judged by themselves, also where they never answer."""
    net.watch(one="web", two="web", three="db")
    net.fall_silent("one", "two", "three", "new")
    wait_until(lambda: net.prober.suspects() == {"a"}, 10)
    new = Target("new", "a", ref("other"), NOW, "127.0.0.1", 1, HEALTH)
    net.prober.watch([new], lambda target: True)
    wait_until(lambda: net.verdicts == {"new": "unhealthy"}, 10)
    assert not net.prober.suspects()
