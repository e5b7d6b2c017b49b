"""How lines of containers go out as text, in whatever pieces they come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.adapters import LogLine
from zun_coe.api import lines
from zun_coe.api.lines import Form, Writer, wanted_of, written
from zun_coe.api.tailing import Ended, Item, Line
from zun_coe.errors import Unavailable
from zun_coe.gateway import LogSources
from zun_coe.model import Instance, WorkloadRef

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, TWO = Instance(native_id="a", slot=1), Instance(native_id="b", slot=2)
ACCEPT: dict[Form, str] = {"text": "text/plain", "lines": "application/x-ndjson", "list": "application/json"}


class Sources:
    """What the writer asks of the sources."""

    ref = WorkloadRef(installation="i", cluster="c", project="p", noun="app", id="id", name="web")


def writer(noun: str = "app", form: Form = "text", timestamps: bool = False) -> Writer:
    params = {"follow": False, "timestamps": timestamps}
    return Writer(wanted_of(noun, "web", params, ACCEPT[form], NOW), cast(LogSources, Sources()))


def line(instance: Instance, text: bytes, partial: bool = False, stream: Any = "stdout") -> Line:
    return Line(instance, LogLine(instance.native_id, stream, NOW, text, partial))


def shown(to: Writer, items: list[Item]) -> bytes:
    return b"".join(written(item, to) for item in items) + to.end()


def test_a_long_line_is_one_line_whatever_stands_between_its_pieces() -> None:
    items = [line(ONE, b"aa", True), line(TWO, b"x"), line(ONE, b"!", stream="stderr"), line(ONE, b"bb")]
    assert shown(writer(), items) == b"web-2 x\nweb-1 !\nweb-1 aabb\n"


def test_a_long_line_has_one_time() -> None:
    items: list[Item] = [line(ONE, b"aa", True), line(ONE, b"bb")]
    assert shown(writer("container", timestamps=True), items) == b"2026-03-01T12:00:00.000000Z aabb\n"


def test_a_single_container_has_its_bytes_as_they_come() -> None:
    to = writer("container")
    assert [written(line(ONE, b"aa", True), to), written(line(ONE, b"bb"), to)] == [b"aa", b"bb\n"]


@pytest.mark.parametrize("ends", [True, False])
def test_an_unfinished_line_is_shown_in_the_end(ends: bool) -> None:
    items = [line(ONE, b"prompt>", True), *([Ended(ONE)] if ends else []), line(TWO, b"x")]
    expected = [b"web-1 prompt>\n", b"web-2 x\n"]
    assert shown(writer(), items) == b"".join(expected if ends else reversed(expected))


def test_a_failure_stands_behind_what_was_read() -> None:
    items: list[Item] = [line(ONE, b"half", True), Ended(ONE, Unavailable("It is away."))]
    assert shown(writer(), items) == b"web-1 half\n[web-1 can't be read: It is away.]\n"


def test_an_endless_line_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 10)
    to = writer()
    assert shown(to, [line(ONE, b"12345", True)] * 4) == b"web-1 12345\n" * 4
    monkeypatch.setattr(lines, "LONGEST", 1000)
    monkeypatch.setattr(lines, "HELD", 20)
    several = [Instance(native_id=str(n), slot=n) for n in range(10)]
    told = shown(to, [line(each, b"12345", True) for each in several])
    assert sorted(told.splitlines()) == sorted(f"web-{n} 12345".encode() for n in range(10))


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.sampled_from([b"a", b"b", b""]), st.booleans())))
def test_nothing_is_lost(pieces: list[tuple[Instance, bytes, bool]]) -> None:
    found = shown(writer(), [line(*piece) for piece in pieces]).decode().splitlines()
    for instance in (ONE, TWO):
        expected, last = "", False
        for at, text, partial in pieces:
            if at is instance:
                expected, last = expected + text.decode() + ("" if partial else "\n"), partial
        expected += "\n" if last else ""
        own = [text.removeprefix(f"web-{instance.slot} ") for text in found if text.startswith(f"web-{instance.slot} ")]
        assert "".join(f"{text}\n" for text in own) == expected
