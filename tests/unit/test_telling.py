"""Steps that take long."""

from __future__ import annotations

import pytest

from scripts.telling import step
from tests.real.waiting import wait_until


def test_a_step_says_that_it_begins_and_that_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ""

    def reminded() -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return shown.count("seconds now") >= 2

    with step("Waiting", every=0.01):
        wait_until(reminded)
    assert shown.startswith("Waiting ...\n  ... for 0 seconds now\n")
    capsys.readouterr()
    assert capsys.readouterr().out == "", "it says nothing more when it is done"


def test_a_quick_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with step("Looking"):
        pass
    assert capsys.readouterr().out == "Looking ...\n"
