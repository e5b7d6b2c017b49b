"""Texts of backends are as long as whoever has the backend likes, and reading them never takes long: what looks at
them holds up all of the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.adapters import bodies
from zun_coe.adapters.kubernetes import failures as api_failures
from zun_coe.adapters.kubernetes import quantities, reasons, wire
from zun_coe.native.docker import failures as engine_failures
from zun_coe.native.docker import reading, recall

LONG = 400_000
SOON = 2.0


def _repeated(words: str) -> str:
    return words * (LONG // len(words))


def _placement() -> Any:
    told = wire.Condition(type="PodScheduled", status="False", reason="x", message=_repeated('persistentvolumeclaim "'))
    return reasons.of_placement(wire.Pod(metadata=wire.Metadata(), status=wire.PodStatus(conditions=(told,))))


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda: engine_failures.answered("start", 500, _repeated("executable file ")), id="an answer"),
        pytest.param(lambda: engine_failures.pull_failure(_repeated("access "), logged_in=False), id="a pull"),
        pytest.param(lambda: reading.discarded([_repeated("cpu ")]), id="a warning"),
        pytest.param(lambda: reading.discarded(["cpu"] * (LONG // 3)), id="warnings"),
        pytest.param(lambda: recall.glance({"Status": "1" * LONG}, 0.0), id="a line of the list"),
        pytest.param(lambda: [recall.glance({"Status": "1" * 200}, 0.0) for _ in range(LONG // 200)], id="lines"),
        pytest.param(lambda: quantities.number_of("1" * LONG + "!"), id="a quantity"),
        pytest.param(lambda: reasons.of_admission(_repeated("maximum ")), id="an admission"),
        pytest.param(_placement, id="a placement"),
        pytest.param(lambda: list(bodies.lines([b"xy"] * LONG, LONG * 2, "it", "x")), id="a line in many pieces"),
        pytest.param(lambda: api_failures.answered("x", 500, _repeated("{").encode(), {}), id="a failure"),
    ],
)
def test_a_long_text_is_read_soon(read: Callable[[], Any]) -> None:
    began = time.process_time()
    read()
    assert time.process_time() - began < SOON


@pytest.mark.parametrize("quantity", ["1e100000", "1e-100000", "9" * 50])
def test_a_quantity_beyond_all_measure_is_none(quantity: str) -> None:
    """Written out as a number it would fill the memory."""
    assert quantities.number_of(quantity) is None


@given(st.lists(st.sampled_from([b"", b"a", b"\n", b"b\n", b"\n\nc", b"a\nb\nc"])))
def test_lines_are_the_same_in_whatever_pieces_they_come(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    assert list(bodies.lines(blocks, 100, "it", "x")) == whole.removesuffix(b"\n").split(b"\n") * bool(whole)


def test_sentences_are_kept_as_far_as_they_are_looked_at() -> None:
    engine = engine_failures.answered("start", 500, _repeated("no "))
    server = api_failures.failure_of("start", api_failures.Status(message=_repeated("no "), code=500))
    assert max(len(str(error)) for error in (engine, server)) <= 4000
