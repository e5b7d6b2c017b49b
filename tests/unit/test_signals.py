"""Names of signals, those for real-time use among them."""

from __future__ import annotations

import pytest

from zun_coe.model.signals import is_signal


@pytest.mark.parametrize("name", ["SIGTERM", "HUP", "SIGRTMIN", "SIGRTMIN+3", "RTMIN+15", "SIGRTMAX", "SIGRTMAX-14"])
def test_signals(name: str) -> None:
    assert is_signal(name)


@pytest.mark.parametrize("name", ["", "SIG", "SIGNAL", "SIGRTMIN+0", "SIGRTMIN+16", "SIGRTMAX-15", "SIGRTMIN-1", "15"])
def test_what_is_none(name: str) -> None:
    assert not is_signal(name)
