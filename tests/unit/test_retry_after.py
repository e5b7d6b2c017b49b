"""A backend that asks to be left alone for a while is left alone."""

from __future__ import annotations

import docker.errors
import pytest
import requests

from tests.clock import Clock
from zun_coe.adapters.retry_after import LONGEST, seconds_of
from zun_coe.engine.workqueue import WorkQueue
from zun_coe.errors import BackendError
from zun_coe.native.docker.failures import translated


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("9" * 400, LONGEST),
        ("-1", None),
        ("1.5", None),
        ("\u00b2", None),
        ("", None),
        (None, None),
        ("Mon, 01 Jan 2035 00:00:00 GMT", None),
    ],
)
def test_what_is_asked_for(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header) == seconds


@pytest.mark.parametrize("header", ["11", None])
def test_a_docker_engine_or_what_is_in_front_of_it(header: str | None) -> None:
    response = requests.Response()
    response.status_code = 503
    if header is not None:
        response.headers["Retry-After"] = header
    with pytest.raises(BackendError) as raised, translated("list"):
        raise docker.errors.APIError("overloaded", response=response)
    assert raised.value.retry_after == (None if header is None else 11.0)


def test_no_attempt_comes_sooner(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock, lambda: 0.0, base=1.0, maximum=60.0)
    queue.add("a")
    assert queue.get(0) == "a"
    assert queue.failed("a", least=30.0) == 30.0
    queue.done("a")
    queue.add("a")  # a hint
    clock.now += 29.0
    assert queue.get(0) is None
    clock.now += 1.1
    assert queue.get(0) == "a"
    assert queue.failed("a") == 2.0  # what was asked for once holds for once
