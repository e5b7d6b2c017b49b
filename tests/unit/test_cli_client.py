"""What the client does when a connection is lost or the service is busy. The faults are made by a transport;
everything else is the real client."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from zun_coe.cli import client, waiting
from zun_coe.cli.client import Api, open_http, path_of
from zun_coe.cli.clusters import ATTEMPTS, _schedule
from zun_coe.cli.failures import Away, Failure, Misuse, Refusal, TimeUp
from zun_coe.cli.session import Connection, Session
from zun_coe.cli.waiting import Target

Step = httpx.Response | Exception
LOST = httpx.RemoteProtocolError("Server disconnected")
BUSY = httpx.Response(503, headers={"Retry-After": "0"}, json={"title": "The state store is away", "status": 503})


class Script:
    """Answers request after request with what is written down, the last one for ever."""

    def __init__(self, *steps: Step) -> None:
        self.steps, self.requests = list(steps), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries are the library's; here they take no time."""
    monkeypatch.setattr(client, "_wait", lambda state: 0.0)
    monkeypatch.setattr(waiting, "SLICE", 0.01)


def asking(*steps: Step) -> tuple[Api, Script]:
    script = Script(*steps)
    return Api(httpx.Client(base_url="http://gateway.test", transport=httpx.MockTransport(script))), script


def answer(code: int = 200, **body: Any) -> httpx.Response:
    return httpx.Response(code, json=body)


def test_a_lost_post_is_sent_again_under_the_same_key() -> None:
    api, script = asking(LOST, BUSY, answer(202, id="1"))
    assert api.ask("POST", "/v1/apps", body={"name": "a"}).json() == {"id": "1"}
    keys = {request.headers["Idempotency-Key"] for request in script.requests}
    assert (len(script.requests), len(keys)) == (3, 1)
    assert {request.content for request in script.requests} == {b'{"name":"a"}'}


def test_each_post_has_a_key_of_its_own() -> None:
    api, script = asking(answer(202))
    for _ in range(2):
        api.ask("POST", "/v1/apps")
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_what_can_be_repeated_is(method: str) -> None:
    api, script = asking(LOST, answer(200))
    assert api.ask(method, "/v1/apps/a").status_code == 200
    assert len(script.requests) == 2


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_what_has_a_condition_is_asked_once(header: str) -> None:
    api, script = asking(LOST, answer(200))
    with pytest.raises(Away, match="not known whether it happened"):
        api.ask("PUT", "/v1/apps/a", headers={header: "*"})
    assert len(script.requests) == 1


def test_a_deletion_whose_answer_was_lost_has_happened() -> None:
    api, _ = asking(LOST, answer(404, title="Not found", status=404))
    assert api.ask("DELETE", "/v1/secrets/a").status_code == 204
    api, _ = asking(answer(404, title="Not found", status=404))
    with pytest.raises(Refusal):
        api.ask("DELETE", "/v1/secrets/a")


@pytest.mark.parametrize(
    ("step", "failure", "tries"),
    [
        (httpx.ConnectError("refused"), Away, 1),
        (httpx.ConnectTimeout("late"), Away, 1),
        (httpx.ReadTimeout("late"), Away, 1),
        (LOST, Away, client.ATTEMPTS),
        (BUSY, Refusal, client.ATTEMPTS),
        (answer(503, title="Away"), Refusal, 1),
        (answer(409, title="Conflict"), Refusal, 1),
    ],
)
def test_it_gives_up(step: Step, failure: type[Failure], tries: int) -> None:
    api, script = asking(step)
    with pytest.raises(failure):
        api.ask("GET", "/v1/apps")
    assert len(script.requests) == tries


def test_answers_that_are_no_problem_documents() -> None:
    api, _ = asking(httpx.Response(502, text="<html>Bad gateway</html>"))
    with pytest.raises(Refusal, match="Bad gateway") as caught:
        api.ask("GET", "/v1/apps")
    assert (caught.value.exit_code, caught.value.problem["status"]) == (5, 502)
    api, _ = asking(httpx.Response(404, content=b"[1", headers={"Content-Type": "application/json"}))
    with pytest.raises(Refusal):
        api.ask("GET", "/v1/apps")


@pytest.mark.parametrize("times", [1, ATTEMPTS - 1, ATTEMPTS])
def test_hosts_that_somebody_else_changed_meanwhile(times: int) -> None:
    read = answer(name="c", id="1", generation=3, hosts=[{"name": "a", "schedulable": True}, {"name": "b"}])
    stale = answer(412, title="Precondition failed", status=412)
    session = Session(Connection())
    session.api, script = asking(*[read, stale] * times, read, read)
    if times == ATTEMPTS:
        with pytest.raises(Refusal, match="Precondition failed"):
            _schedule(session, "c", "a", None, schedulable=False)
        return
    _schedule(session, "c", "a", None, schedulable=False)
    written = [r for r in script.requests if r.method == "PATCH"]
    assert len(written) == times + 1
    assert json.loads(written[-1].content) == {"hosts": [{"name": "a", "schedulable": False}, {"name": "b"}]}
    assert {r.headers["If-Match"] for r in written} == {'"3"'}


def html(code: int = 200) -> httpx.Response:
    return httpx.Response(code, html="<html>Welcome to nginx!</html>")


def test_somebody_else_at_the_address() -> None:
    api, _ = asking(html())
    with pytest.raises(Away, match=r"no gateway of zun-coe \(it sent text/html.*--endpoint"):
        api.ask("GET", "/v1/apps")
    with (
        pytest.raises(Away, match="no gateway of zun-coe"),
        api.stream("/v1/apps/a/logs", params={}, headers={"Accept": "text/plain"}),
    ):
        raise AssertionError("it is read as logs")
    api, _ = asking(answer(items=[]))
    with pytest.raises(Away, match="no gateway of zun-coe"):
        api.listing("/v1/apps", "apps", {})
    api, _ = asking(html(404))
    with pytest.raises(Refusal, match=r"http://gateway.test did not answer as a gateway of zun-coe does: <html>"):
        api.ask("GET", "/v1/apps")


def test_what_is_no_text_can_not_be_sent() -> None:
    api, script = asking(answer())
    for given in ({"body": {"image": "\udcff"}}, {"params": {"name": "\udcff"}}, {"headers": {"If-Match": "ü"}}):
        with pytest.raises(Misuse, match="no text in UTF-8"):
            api.ask("PUT", path_of("apps", "\udcff"), **given)  # type: ignore[arg-type]  # one of them each time
    assert not script.requests


def test_a_request_that_breaks_the_protocol() -> None:
    api, _ = asking(httpx.LocalProtocolError("Illegal header value"))
    with pytest.raises(Misuse, match="can't be sent: Illegal header value"):
        api.ask("GET", "/v1/apps")


@pytest.mark.parametrize("token", ["ü", "a\nb", "\udcff"])
def test_a_token_that_no_header_can_have(token: str) -> None:
    with pytest.raises(Misuse, match="ZUN_COE_TOKEN"):
        _ = Session(Connection(token=token)).api


def test_the_newline_at_the_end_of_a_token_is_that_of_its_file() -> None:
    assert Session(Connection(token="abc\n")).api._http.headers["X-Auth-Token"] == "abc"


def test_a_mistyped_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZUN_COE_PROJET", "shop")
    with pytest.raises(Misuse, match="did you mean ZUN_COE_PROJECT"):
        _ = Session(Connection()).api


def test_what_is_to_go_is_waited_for_while_it_is_shown() -> None:
    api, script = asking(
        answer(200, name="a-1", status={"phase": "Running"}), answer(404, title="Not found", status=404)
    )
    target = Target("container", "containers", "1", "a-1", deleted=True)
    assert waiting.wait_for(api, target, 30) is None
    assert len(script.requests) == 2


def test_how_long_a_reason_may_stand_is_asked_for() -> None:
    api, script = asking(answer(200, name="a", status={"phase": "Running"}))
    waiting.wait_for(api, Target("app", "apps", "1", "a", settle_after=0.0), 30)
    waiting.wait_for(api, Target("app", "apps", "1", "a"), 30)
    assert [r.url.params.get("settle_after") for r in script.requests] == ["0.0", None]


def test_all_pages_of_a_list() -> None:
    api, script = asking(answer(apps=[1, 2], next="m1"), answer(apps=[3], next="m2"), answer(apps=[4]))
    assert api.listing("/v1/apps", "apps", {"sort": "name"}) == {"apps": [1, 2, 3, 4]}
    assert [request.url.params.get("marker") for request in script.requests] == [None, "m1", "m2"]
    assert {request.url.params["sort"] for request in script.requests} == {"name"}


def test_a_part_of_a_list_tells_where_it_goes_on() -> None:
    api, script = asking(answer(apps=[1, 2], next="m1"), answer(apps=[3], next="m2"))
    assert api.listing("/v1/apps", "apps", {}, limit=3) == {"apps": [1, 2, 3], "next": "m2"}
    assert [request.url.params["limit"] for request in script.requests] == ["3", "1"]


def test_paths_and_endpoints() -> None:
    assert path_of("apps", "a/../b", "logs") == "/v1/apps/a%2F..%2Fb/logs"
    for wrong in ("", "host:1", "ftp://host", "http://", "http://[::1"):
        with pytest.raises(Misuse, match="is no endpoint"):
            open_http(wrong, {}, timeout=1)
    for right in ("http://host:1", "http://host:1/", "http://host:1/v1", "http://host:1/v1/"):
        assert str(open_http(right, {}, timeout=1).base_url).rstrip("/") == "http://host:1"
    assert open_http("https://host/coe/v1", {}, timeout=1).base_url.path == "/coe/"


@pytest.mark.parametrize("endpoint", ["unix:/run/api.sock", "http://127.0.0.1:1"])
def test_a_service_is_called_what_its_user_calls_it(endpoint: str) -> None:
    session = Session(Connection(endpoint=endpoint))
    assert session.api.endpoint == endpoint
    session.close()


def target(**fields: Any) -> Target:
    return Target("app", "apps", "id-1", "hello", **fields)


def state(status: int, phase: str, ready: int = 0) -> httpx.Response:
    counts = {"desired": 2, "ready": ready}
    return answer(status, id="id-1", name="hello", status={"phase": phase, "replicas": counts})


def test_waiting_goes_on_while_the_service_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [state(202, "Progressing"), httpx.ConnectError("refused"), BUSY, LOST, state(200, "Running", 2)]
    api, script = asking(*steps)
    assert waiting.wait_for(api, target(), 5)["status"]["phase"] == "Running"
    asked = {(r.method, r.url.path, r.headers["Cache-Control"]) for r in script.requests}
    assert asked == {("GET", "/v1/apps/id-1", "no-cache")}  # waiting writes nothing
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "hello is Progressing: 0 of 2 ready."
    assert "No service can be reached" in said[1]


def test_waiting_ends_with_the_time() -> None:
    api, _ = asking(state(202, "Progressing", 1))
    with pytest.raises(TimeUp, match=r"Time is up after 0 s\. hello is Progressing: 1 of 2 ready\. It goes on"):
        waiting.wait_for(api, target(), 0)
    api, _ = asking(httpx.ConnectError("refused"))
    with pytest.raises(Away):
        waiting.wait_for(api, target(), 0)


@pytest.mark.parametrize("end", [answer(404, title="Not found", status=404), httpx.Response(204)])
def test_waiting_for_a_deletion_ends_when_it_is_gone(end: httpx.Response) -> None:
    api, script = asking(state(202, "Deleting"), end)
    assert waiting.wait_for(api, target(deleted=True), 5) is None
    assert {r.method for r in script.requests} == {"GET"}


def test_what_is_refused_while_waiting_is_told() -> None:
    api, _ = asking(answer(404, title="Not found", status=404))
    with pytest.raises(Refusal):
        waiting.wait_for(api, target(), 5)


def test_who_will_not_wait_is_told_that_the_work_goes_on() -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    api = Api(httpx.Client(base_url="http://gateway.test", transport=httpx.MockTransport(interrupt)))
    with pytest.raises(
        waiting.Interrupted, match="goes on in the service; look with: zun-coe app show hello"
    ) as caught:
        waiting.wait_for(api, target(), 5)
    assert caught.value.exit_code == 130
