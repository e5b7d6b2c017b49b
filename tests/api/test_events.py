"""Events as a list and as a stream: in order, none missed, none twice, resumable."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import Outside
from zun_coe.api import following
from zun_coe.gateway import order_of
from zun_coe.gateway.keeping import Events
from zun_coe.store.records import floor_key

STREAM = {"Accept": "text/event-stream"}


@dataclass
class Message:
    """One message of a stream, as a browser would hand it on."""

    id: str
    type: str
    data: Any


@contextmanager
def stream(api: httpx.Client, after: str | None = None, **params: Any) -> Iterator[Iterator[Message]]:
    """The messages of a stream; it is open when this returns."""
    headers = STREAM | ({"Last-Event-ID": after} if after else {})
    with api.stream("GET", "/v1/events", params=params, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": following"
        yield _messages(lines)


def _messages(lines: Iterator[str]) -> Iterator[Message]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield Message(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def happen(api: httpx.Client, *names: str) -> None:
    """One event for each name."""
    for name in names:
        assert api.post("/v1/secrets", json={"name": name, "data": {"a": "b"}}).status_code == 201


def take(messages: Iterator[Message], number: int) -> list[str]:
    """The subjects of so many messages."""
    return [next(messages).data["subject_name"] for _ in range(number)]


def test_a_list_page_by_page(api: httpx.Client) -> None:
    happen(api, "a", "b", "c")
    first = api.get("/v1/events", params={"limit": 2}).json()
    second = api.get("/v1/events", params={"limit": 2, "marker": first["next"]}).json()
    assert [e["subject_name"] for e in first["events"] + second["events"]] == ["a", "b", "c"]
    newest = api.get("/v1/events", params={"sort": "-at", "limit": 1}).json()["events"]
    assert [e["subject_name"] for e in newest] == ["c"]


def test_a_list_behind_an_event(api: httpx.Client) -> None:
    happen(api, "a", "b")
    first = api.get("/v1/events").json()["events"][0]["id"]
    for given in ({"params": {"after": first}}, {"headers": {"Last-Event-ID": first}}):
        events = api.get("/v1/events", **given).json()["events"]  # type: ignore[arg-type]  # one of the two
        assert [e["subject_name"] for e in events] == ["b"]


def test_filters(api: httpx.Client) -> None:
    happen(api, "a", "b")
    assert len(api.get("/v1/events", params={"resource": "a"}).json()["events"]) == 1
    assert len(api.get("/v1/events", params={"subject": "secret"}).json()["events"]) == 2
    assert api.get("/v1/events", params={"subject": "app"}).json() == {"events": []}
    assert api.get("/v1/events", params={"type": "Nothing"}).json() == {"events": []}


def test_a_stream_tells_what_happens_from_now_on(api: httpx.Client) -> None:
    happen(api, "before")
    with stream(api) as messages:
        happen(api, "a", "b")
        first = next(messages)
        assert (first.type, first.data["subject_name"], first.data["id"]) == ("SecretCreated", "a", first.id)
        assert take(messages, 1) == ["b"]


def test_a_stream_resumes_where_it_was(api: httpx.Client) -> None:
    with stream(api) as messages:
        happen(api, "a", "b")
        first = next(messages)
    happen(api, "c")
    with stream(api, after=first.id) as messages:
        assert take(messages, 2) == ["b", "c"]
    with stream(api, after=first.id, resource="c") as messages:
        assert take(messages, 1) == ["c"]


def test_a_stream_begins_with_the_place_that_it_begins_at(api: httpx.Client) -> None:
    """So that one who is cut off before anything happened can resume without a gap."""
    happen(api, "a")
    [event] = api.get("/v1/events").json()["events"]
    with api.stream("GET", "/v1/events", headers=STREAM) as answer:
        lines = answer.iter_lines()
        assert [next(lines), next(lines)] == [": following", f"id: {event['id']}"]


def test_none_is_missed_and_none_comes_twice(api: httpx.Client) -> None:
    """While others write, a reader that reconnects again and again sees each event once, in order."""
    names = [f"s{n}" for n in range(60)]
    seen: list[str] = []
    with stream(api) as messages, ThreadPoolExecutor() as pool:
        writing = pool.submit(happen, api, *names[:-1])
        last = next(messages)
        seen.append(last.data["subject_name"])
        while len(seen) < len(names) - 1:
            with stream(api, after=last.id) as resumed:
                for _ in range(min(7, len(names) - 1 - len(seen))):
                    last = next(resumed)
                    seen.append(last.data["subject_name"])
        writing.result()
    assert seen == names[:-1]


def test_who_has_much_to_catch_up_with_takes_turns_with_others(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small pages, between which the event loop is free; nothing is missed at their ends."""
    names = [f"s{n}" for n in range(25)]
    happen(api, *names)
    first = api.get("/v1/events").json()["events"][0]["id"]
    taken: list[int] = []
    original = Events.after

    def after(self: Events, project: Any, filters: Any, last: Any, limit: int) -> Any:
        page, place = original(self, project, filters, last, limit)
        taken.append(len(page))
        return page, place

    monkeypatch.setattr(Events, "after", after)
    monkeypatch.setattr(following, "PAGE", 5)
    with stream(api, after=first) as messages:
        assert take(messages, 24) == names[1:]
        happen(api, "new")
        assert take(messages, 1) == ["new"]
    assert max(taken) == 5
    with stream(api, after=first, resource="s7") as messages:
        assert take(messages, 1) == ["s7"]


def test_projects_are_apart(service: Service, project: str, api: httpx.Client, other: httpx.Client) -> None:
    with stream(api) as messages, stream(api, all_projects=True) as everything:
        happen(other, "theirs")
        happen(api, "ours")
        assert take(messages, 1) == ["ours"]
        theirs = next(m for m in everything if m.data["project"].startswith(project))
        assert theirs.data["subject_name"] == "theirs"
    assert other.get("/v1/events?all_projects=true", headers=STREAM).status_code == 403


def test_a_stream_of_a_place_that_is_no_longer_kept(service: Service, api: httpx.Client, project: str) -> None:
    happen(api, "a", "b")
    first, second = (e["id"] for e in api.get("/v1/events").json()["events"])
    service.process.store.create(floor_key(project), first.encode())
    service.process.cache.wait_for(service.process.store.list("meta/").revision)
    answer = api.get("/v1/events", headers=STREAM | {"Last-Event-ID": "0-0"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (410, "application/problem+json")
    assert "oldest" in answer.json()
    with stream(api, after=first) as messages:
        assert next(messages).id == second


@pytest.mark.parametrize("headers", [{}, STREAM], ids=["list", "stream"])
class TestResuming:
    """A list and a stream go on behind an event in the same way."""

    GIVEN = pytest.mark.parametrize("field", ["after", "marker", "Last-Event-ID"])

    def _asked(self, api: httpx.Client, headers: dict[str, str], field: str, id: str) -> httpx.Response:
        if field == "Last-Event-ID":  # which may be any bytes
            return api.get("/v1/events", headers=headers | {field: id.encode("latin-1")})
        return api.get("/v1/events", params={field: id}, headers=headers)

    @GIVEN
    @pytest.mark.parametrize("id", ["x", "1-x", "-1", "1-2-3", "9" * 40, "²"])
    def test_behind_an_id_that_is_none(self, api: httpx.Client, headers: dict[str, str], field: str, id: str) -> None:
        answer = self._asked(api, headers, field, id)
        assert answer.status_code == 400
        assert [e["pointer"] for e in answer.json()["errors"]] == [f"/{field}"]

    @GIVEN
    def test_behind_an_event_that_is_still_to_come(
        self, service: Service, api: httpx.Client, headers: dict[str, str], field: str
    ) -> None:
        answer = self._asked(api, headers, field, f"{service.process.cache.revision + 10_000_000}-0")
        assert answer.status_code == 400
        [problem] = answer.json()["errors"]
        assert problem["pointer"] == f"/{field}"
        assert "has not happened yet" in problem["detail"]

    @GIVEN
    def test_behind_what_is_no_longer_kept(
        self, service: Service, api: httpx.Client, project: str, headers: dict[str, str], field: str
    ) -> None:
        happen(api, "a", "b")
        first, second = (e["id"] for e in api.get("/v1/events").json()["events"])
        service.process.store.create(floor_key(project), second.encode())
        service.process.cache.wait_for(service.process.store.list("meta/").revision)
        answer = self._asked(api, headers, field, first)
        assert (answer.status_code, answer.headers["Content-Type"]) == (410, "application/problem+json")
        assert answer.json()["oldest"] == second  # nothing behind it was removed


@pytest.mark.parametrize("everybody", [False, True])
def test_who_missed_events_goes_on_with_all_that_are_kept(
    service: Service, api: httpx.Client, other: httpx.Client, project: str, everybody: bool
) -> None:
    """Of all projects, too, where events of others are older than those that are no longer kept of one."""
    happen(other, "x")
    happen(api, "a", "b")
    gone, kept = (e["id"] for e in api.get("/v1/events").json()["events"])
    service.process.store.create(floor_key(project), gone.encode())
    service.process.cache.wait_for(service.process.store.list("meta/").revision)
    asked: dict[str, Any] = {"all_projects": everybody, "resource": "b"}
    missed = api.get("/v1/events", params=asked | {"after": "0-0"})
    assert missed.status_code == 410
    oldest = missed.json()["oldest"]
    assert oldest in missed.json()["detail"]
    answer = api.get("/v1/events", params=asked | {"after": oldest})
    assert kept in [e["id"] for e in answer.json()["events"]], answer.text


def test_a_process_that_is_behind_asks_the_store(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event was seen at another process, which heard of it first."""
    happen(api, "a", "b")
    first = api.get("/v1/events").json()["events"][0]["id"]
    cache = service.process.cache
    monkeypatch.setattr(type(cache), "revision", property(lambda self: self._revision if refreshed else 0))
    refreshed: list[int] = []
    original = type(service.process.gateway.events._tools).refresh
    monkeypatch.setattr(
        type(service.process.gateway.events._tools), "refresh", lambda self: (original(self), refreshed.append(1))
    )
    assert [e["subject_name"] for e in api.get("/v1/events", params={"after": first}).json()["events"]] == ["b"]
    refreshed.clear()
    with stream(api, after=first) as messages:
        assert take(messages, 1) == ["b"]
    assert refreshed


def test_newest_first_ends_with_the_oldest_that_is_kept(service: Service, api: httpx.Client, project: str) -> None:
    happen(api, "a", "b")
    first, second = (e["id"] for e in api.get("/v1/events").json()["events"])
    service.process.store.create(floor_key(project), second.encode())
    service.process.cache.wait_for(service.process.store.list("meta/").revision)
    page = api.get("/v1/events", params={"sort": "-at", "marker": second}).json()
    assert [e["id"] for e in page["events"]] == [first]


def test_silence_is_broken_by_comments(service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "HEARTBEAT", 0.05)
    with api.stream("GET", "/v1/events", headers=STREAM) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(": heartbeat"))


def test_a_stream_without_events_of_its_own_is_not_silent(
    service: Service, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a project where something else happens all the time."""
    monkeypatch.setattr(following, "HEARTBEAT", 0.1)
    happening = threading.Event()

    def busy() -> None:
        for n in count():
            if happening.is_set():
                return
            happen(api, f"s{n}")

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(busy)
        with api.stream("GET", "/v1/events", params={"type": "Nothing"}, headers=STREAM) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": following"
            first = next(lines)
            beats = ((line, next(lines)) for line in lines if line.startswith(": heartbeat"))
            places = [place for _, place in islice(beats, 3)]
        happening.set()
        writing.result()
    assert first not in places  # which move on, although nothing of it is to be told


def test_a_client_that_does_not_read_holds_nobody_up(service: Service, api: httpx.Client, project: str) -> None:
    address = urlsplit(service.server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        request = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nX-Zun-Project: {project}\r\n\r\n"
        slow.sendall(request.encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        with stream(api) as messages:
            happen(api, *[f"s{n}" for n in range(50)])
            assert take(messages, 50) == [f"s{n}" for n in range(50)]


def test_many_streams_hold_no_thread(service: Service, api: httpx.Client) -> None:
    before = threading.active_count()
    opened = [stream(api) for _ in range(50)]
    streams = [each.__enter__() for each in opened]
    assert threading.active_count() < before + 20
    happen(api, "a")
    assert [take(messages, 1) for messages in streams] == [["a"]] * 50
    for each in opened:
        each.__exit__(None, None, None)


def test_what_repeats_itself_is_one_event_that_is_counted(
    service: Service, api: httpx.Client, outside: Outside
) -> None:
    body = {"name": "web", "cluster": "here", "image": "web:1"}
    assert api.post("/v1/apps", params={"wait": 20}, json=body).status_code == 200
    [native] = [c["status"]["native_id"] for c in api.get("/v1/apps/web/containers").json()["containers"]]
    begun = api.get("/v1/events", params={"sort": "-at", "limit": 1}).json()["events"][0]["id"]

    def of(type: str) -> list[Any]:
        found: list[Any] = api.get("/v1/events", params={"type": type}).json()["events"]
        return found

    with stream(api, begun, type="InstanceNotReady") as messages:
        for times in range(1, 4):
            outside.set_ready(native, False)
            message = next(messages)
            assert message.data["count"] == times, "whoever follows sees it grow"
            outside.set_ready(native, True)
            # it was ready once before
            wait_until(lambda expected=times + 1: [e["count"] for e in of("InstanceReady")] == [expected])
    [event] = of("InstanceNotReady")
    assert event["count"] == 3
    assert event["first_at"] < event["last_at"] == event["at"]
    assert event["id"] == message.id, "it is where the newest is"
    listed = api.get("/v1/events", params={"limit": 1000}).json()["events"]
    assert [order_of(one["id"]) for one in listed] == sorted(order_of(one["id"]) for one in listed)
