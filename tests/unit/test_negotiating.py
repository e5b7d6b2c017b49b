"""Which media type is chosen."""

from __future__ import annotations

import pytest

from zun_coe.api.negotiating import accepts, preferred

OFFERS = ("application/json", "text/event-stream")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream; charset=utf-8", "text/event-stream"),
        ("text/event-stream;charset=utf-8;q=0.5, application/json;q=0.4", "text/event-stream"),
        ("Text/Event-Stream", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("application/json, text/event-stream;q=0.1", "application/json"),
        ("application/json;q=0.1, text/event-stream", "text/event-stream"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/event-stream;q=0, */*", "application/json"),
        ("image/png", None),
        ("nonsense", None),
        (";;,,=", None),
    ],
)
def test_the_best_of_what_there_is(accept: str, chosen: str | None) -> None:
    assert preferred(accept, OFFERS) == chosen


def test_what_is_taken_at_all() -> None:
    assert accepts("application/*;q=0.2", "application/json")
    assert not accepts("application/json;q=0", "application/json")
