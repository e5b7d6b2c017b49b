"""Following events over connections that are lost."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from zun_coe.cli import events
from zun_coe.cli.client import Api
from zun_coe.cli.failures import Away, Refusal

BEGIN = b": following\nid: 5-0\n\n"


class Cut(httpx.SyncByteStream):
    """A stream that is lost after some chunks."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        raise httpx.RemoteProtocolError("peer closed connection")


def event(id: str) -> bytes:
    data = json.dumps({"id": id, "message": "line\u2028separator"}, ensure_ascii=False)
    return f"id: {id}\nevent: AppCreated\ndata: {data}\n\n".encode()


def stream(*chunks: bytes) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream; charset=utf-8"}, stream=Cut(*chunks))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAUSE", 0.0)


def asking(*steps: httpx.Response | Exception) -> tuple[Api, list[str | None]]:
    """The service that gives these answers one after the other, and after which ids it was asked."""
    left, asked = list(steps), list[str | None]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    return Api(httpx.Client(base_url="http://gateway.test", transport=httpx.MockTransport(answer))), asked


def ids(api: Api, count: int, after: str | None = None) -> list[str]:
    followed = events.followed(api, {}, after)
    return [next(followed)["id"] for _ in range(count)]


def test_a_lost_connection_is_taken_up_behind_the_last_event(capsys: pytest.CaptureFixture[str]) -> None:
    api, asked = asking(
        stream(BEGIN, event("6-0"), event("7-0")[:20]),
        httpx.ConnectError("refused"),
        httpx.Response(503, json={"title": "Away", "status": 503}),
        stream(event("7-0")),
    )
    assert ids(api, 2) == ["6-0", "7-0"]
    assert asked == [None, "6-0", "6-0", "6-0"]
    assert capsys.readouterr().err.count("The connection was lost; going on where it was") == 1


def test_each_loss_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    api, _ = asking(
        stream(BEGIN, event("6-0")), httpx.ConnectError("refused"), stream(event("7-0")), stream(event("8-0"))
    )
    assert ids(api, 3) == ["6-0", "7-0", "8-0"]
    assert capsys.readouterr().err.count("The connection was lost; going on where it was") == 2


def test_a_connection_lost_before_any_event_goes_on_where_it_began() -> None:
    api, asked = asking(stream(BEGIN), stream(event("6-0")))
    assert ids(api, 1) == ["6-0"]
    assert asked == [None, "5-0"]


def test_who_was_away_too_long_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    gone = httpx.Response(410, json={"title": "No longer kept", "status": 410, "oldest": "90-0"})
    api, asked = asking(stream(BEGIN), gone, stream(event("91-0")))
    assert ids(api, 1) == ["91-0"]
    assert asked == [None, "5-0", "90-0"]
    assert "Events were missed: No longer kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        (httpx.ConnectError("refused"), Away),
        (httpx.Response(410, json={"title": "No longer kept", "status": 410}), Refusal),
        (httpx.Response(403, json={"title": "Not allowed", "status": 403}), Refusal),
    ],
)
def test_what_fails_from_the_beginning_is_told(step: httpx.Response | Exception, failure: type[Exception]) -> None:
    api, _ = asking(step)
    with pytest.raises(failure):
        ids(api, 1, after="1-0")


def test_a_service_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PATIENCE", 0.0)
    api, _ = asking(stream(BEGIN), httpx.ConnectError("refused"), httpx.ConnectError("refused"))
    with pytest.raises(Away):
        ids(api, 1)
