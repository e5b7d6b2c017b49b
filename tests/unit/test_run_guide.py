"""What `make run` tells in the end: commands that lead to the gateway that it is about."""

from __future__ import annotations

from scripts.run import DEFAULT, guide

APP = {"status": {"endpoints": [{"address": "127.0.0.1", "port": 32768}]}}


def test_at_the_default_address_nothing_need_be_said_of_it() -> None:
    told = guide(APP, DEFAULT, ours=True)
    assert "http://127.0.0.1:32768/" in told
    assert "Ctrl-C stops the gateway." in told
    assert "`make clean-sample`" in told
    assert "--endpoint" not in told


def test_elsewhere_each_command_says_where() -> None:
    """Without, `make clean-sample` would remove the app of another gateway."""
    told = guide(APP, "127.0.0.1:9999", ours=True)
    assert "`make run LISTEN=127.0.0.1:9999`" in told
    assert "`make clean-sample LISTEN=127.0.0.1:9999`" in told
    assert told.count("--endpoint http://127.0.0.1:9999") == 3


def test_a_gateway_that_was_there_before_does_not_end_with_this() -> None:
    told = guide(APP, DEFAULT, ours=False)
    assert "Ctrl-C" not in told
    assert "The gateway was there before, and stays." in told
