"""An API server that refuses, hangs, breaks off and forgets."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.api_server import ApiServer, cutting, failing, garbling, hanging, sending, streaming, trickling
from tests.real.certificates import Authority
from tests.real.components import wait_until
from tests.real.kubernetes_hints import Heard
from zun_coe.adapters.kubernetes import client as client_module
from zun_coe.adapters.kubernetes import happenings, naming
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.finding import Finder
from zun_coe.adapters.kubernetes.owners import Owners
from zun_coe.adapters.kubernetes.permissions import EVERYWHERE, OWN, Permissions
from zun_coe.errors import Absent, BackendError, Denied, Fenced, TimedOut, Unavailable
from zun_coe.model import WorkloadRef

PODS = "/api/v1/pods"
REF = WorkloadRef(installation="i", cluster="c", project="p", noun="app", id="0-1", name="web")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path)
    yield started
    started.close()


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    opened = Client(server.connection())
    yield opened
    opened.close()


@pytest.fixture
def hasty(server: ApiServer) -> Iterator[Client]:
    """A client that does not wait long."""
    opened = Client(server.connection(timeout=0.3))
    yield opened
    opened.close()


class TestCalls:
    def test_an_answer_is_decoded(self, server: ApiServer, client: Client) -> None:
        server.on("GET /api/v1/nodes/n$", sending({"kind": "Node"}))
        assert client.get("/api/v1/nodes/n") == {"kind": "Node"}
        (asked,) = server.asked
        assert asked.headers["Authorization"] == "Bearer abc"
        with pytest.raises(Absent):
            client.get("/api/v1/nodes/m")

    def test_connections_are_kept(self, server: ApiServer, client: Client) -> None:
        server.on("GET", sending({}))
        for _ in range(3):
            client.get("/x")
        assert client._route.transport.pool.num_connections == 1  # what it opened is what is asked about

    @pytest.mark.parametrize(
        ("then", "kind"),
        [
            (failing(429, Retry_After="2"), Unavailable),
            (failing(500), Unavailable),
            (failing(503), Unavailable),
            (failing(401), Denied),
            (cutting, Unavailable),
            (garbling, Unavailable),
            (sending(b"<html>"), Unavailable),
            (sending(b"[1]"), Unavailable),
            (sending(b"\xff"), Unavailable),
            (sending({}, 302, Location="https://127.0.0.1:1/elsewhere"), Unavailable),
        ],
    )
    def test_failures(self, server: ApiServer, client: Client, then: Any, kind: type[BackendError]) -> None:
        server.on("GET", then)
        with pytest.raises(kind) as caught:
            client.get("/x")
        assert type(caught.value) is kind
        assert "abc" not in f"{caught.value} {caught.value.evidence}"
        assert len(server.asked) == 1

    def test_when_to_come_back_is_kept(self, server: ApiServer, client: Client) -> None:
        server.on("GET", failing(429, Retry_After="2"))
        with pytest.raises(Unavailable) as caught:
            client.get("/x")
        assert caught.value.evidence["retry_after"] == 2

    @pytest.mark.parametrize("then", [hanging, trickling])
    def test_a_server_that_is_too_slow(self, server: ApiServer, hasty: Client, then: Any) -> None:
        server.on("GET", then)
        with pytest.raises(TimedOut):
            hasty.get("/x")

    def test_nobody_listens(self, server: ApiServer) -> None:
        client = Client(server.connection(endpoint="https://127.0.0.1:1"))
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            client.get("/x")
        assert type(caught.value) is Unavailable

    def test_somebody_else_listens(self, server: ApiServer) -> None:
        credentials = {"ca_cert": Authority().certificate, "token": "abc"}
        with pytest.raises(Denied, match="cannot be trusted"):
            Client(server.connection(credentials=credentials)).get("/x")
        with pytest.raises(Denied, match="cannot be trusted"):
            Client(server.connection(credentials={"token": "abc"})).get("/x")
        endpoint = server.endpoint.replace("127.0.0.1", "localhost")
        with pytest.raises(Denied, match="cannot be trusted"):
            Client(server.connection(endpoint=endpoint)).get("/x")
        assert server.asked == []

    def test_a_client_certificate_is_shown_and_is_in_no_file(
        self, server: ApiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", "/nonexistent")  # whoever makes a file there fails
        seen: list[Any] = []

        def then(handler: Any) -> None:
            seen.append(handler.connection.getpeercert()["subject"])
            sending({})(handler)

        server.on("GET", then)
        client = Client(server.connection(credentials=server.authority.credentials("operator")))
        client.get("/x")
        client.close()
        assert seen == [((("commonName", "operator"),),)]
        assert "Authorization" not in server.asked[0].headers

    def test_the_environment_has_no_say(self, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv("SSL_CERT_FILE", str(server.folder / "ca.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
        server.on("GET", sending({}))
        client = Client(server.connection())
        assert client.get("/x") == {}
        client.close()
        with pytest.raises(Denied):  # else the bundle would vouch for it
            Client(server.connection(credentials={"token": "abc"})).get("/x")

    def test_a_path_before_the_api_is_kept(self, server: ApiServer) -> None:
        server.on("GET /k8s/clusters/c-1/api/v1/pods$", sending({"a": 1}))
        client = Client(server.connection(endpoint=f"{server.endpoint}/k8s/clusters/c-1/"))
        assert client.get(PODS) == {"a": 1}
        client.close()

    def test_changes_are_asked_for_only_while_they_may_be(self, server: ApiServer) -> None:
        def check() -> None:
            raise Fenced("another one has it")

        client = Client(server.connection(check=check))
        server.on("GET|POST /reviews", sending({}))
        client.get("/x")
        client.ask("/reviews", {}, dict)
        for change in (client.create, client.apply, client.patch):
            with pytest.raises(Fenced):
                change("/x", {})
        with pytest.raises(Fenced):
            client.delete("/x")
        client.close()
        assert [a.method for a in server.asked] == ["GET", "POST"]

    def test_how_objects_are_applied_and_deleted(self, server: ApiServer, client: Client) -> None:
        server.on("PATCH|DELETE", sending({}))
        client.apply("/x", {"a": 1}, dry_run=True)
        assert client.delete("/x", grace=0, uid="u")
        applied, deleted = server.asked
        assert applied.params == {"fieldManager": "zun-coe", "force": "true", "dryRun": "All"}
        assert (applied.headers["Content-Type"], applied.body) == ("application/apply-patch+yaml", b'{"a":1}')
        told = json.loads(deleted.body)
        assert told["preconditions"] == {"uid": "u"}
        assert (told["gracePeriodSeconds"], told["propagationPolicy"]) == (0, "Foreground")

    def test_patches_are_sent_as_what_they_are(self, server: ApiServer, client: Client) -> None:
        server.on("PATCH", sending({}))
        client.patch("/x", {"a": "ü"})
        client.patch("/x", ({"op": "remove", "path": "/a"},))
        merged, patched = server.asked
        assert merged.headers["Content-Type"] == "application/merge-patch+json"
        assert json.loads(merged.body) == {"a": "ü"}
        assert patched.headers["Content-Type"] == "application/json-patch+json"
        assert json.loads(patched.body) == [{"op": "remove", "path": "/a"}]

    def test_another_one_of_that_name_is_not_deleted(self, server: ApiServer, client: Client) -> None:
        message = "the UID in the precondition (u) does not match the UID in record (v)"
        status = {"kind": "Status", "reason": "Conflict", "message": message, "code": 409}
        server.on("DELETE", sending(status, 409))
        assert client.delete("/x", uid="u") is False
        with pytest.raises(Unavailable):
            client.delete("/x")


class TestLists:
    def test_pages_are_put_together(self, server: ApiServer, client: Client) -> None:
        server.on("GET", sending({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"n": 1}]}))
        server.on("continue=more", sending({"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]}))
        listing = client.list(PODS, dict, labels={"a": "b"})
        assert ([*listing.items], listing.version) == ([{"n": 1}, {"n": 2}], "7")
        assert server.asked[1].params == {"labelSelector": "a=b", "limit": "500", "continue": "more"}

    def test_a_page_that_is_no_longer_kept(self, server: ApiServer, client: Client) -> None:
        server.on("GET", sending({"items": [{"n": 3}]}))
        server.on("limit=", sending({"metadata": {"continue": "more"}, "items": [{"n": 1}]}))
        server.on("continue=more", failing(410))
        assert client.list(PODS, dict).items == [{"n": 3}]

    @pytest.mark.parametrize("limit", [("PAGES", 3), ("LARGEST_LIST", 200)])
    def test_a_list_that_always_has_another_page(
        self, server: ApiServer, client: Client, limit: tuple[str, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_module, *limit)
        server.on("GET", sending({"metadata": {"continue": "more"}, "items": [{"n": 1}]}))
        with pytest.raises(Unavailable, match="the list has more than"):
            client.list(PODS, dict)
        assert 3 <= len(server.asked) <= 5

    def test_nothing_may_be_null(self, server: ApiServer, client: Client) -> None:
        server.on("GET", sending({"metadata": {}, "items": None}))
        assert [*client.list(PODS, dict).items] == []


class TestStreams:
    def test_it_ends_where_the_answer_ends(self, server: ApiServer, client: Client) -> None:
        server.on("GET", streaming({"a": 1}, {"b": 2}))
        assert [*client.stream("/x", {"q": "1"}).lines()] == [b'{"a": 1}', b'{"b": 2}']
        assert server.asked[0].params == {"q": "1"}

    @pytest.mark.parametrize("then", [hanging, streaming({"a": 1}, stay=True)])
    def test_it_is_closed_while_somebody_reads(self, server: ApiServer, client: Client, then: Any) -> None:
        server.on("GET", then)
        stream = client.stream("/x", {})
        ended, errors = threading.Event(), []

        def read() -> None:
            try:
                for _ in stream.blocks():
                    pass
            except Exception as error:
                errors.append(error)
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        wait_until(lambda: server.asked)
        stream.close()
        stream.close()
        assert ended.wait(5)
        assert errors == []

    def test_it_is_closed_before_it_is_read(self, server: ApiServer, client: Client) -> None:
        stream = client.stream("/x", {})
        stream.close()
        assert [*stream.blocks()] == []
        assert server.asked == []

    @pytest.mark.parametrize(
        ("then", "kind"), [(failing(404), Absent), (cutting, Unavailable), (garbling, Unavailable)]
    )
    def test_failures(self, server: ApiServer, client: Client, then: Any, kind: type[BackendError]) -> None:
        server.on("GET", then)
        with pytest.raises(kind):
            [*client.stream("/x", {}).blocks()]

    def test_silence_may_last_as_long_as_was_said(self, server: ApiServer, client: Client) -> None:
        server.on("GET", hanging)
        with pytest.raises(TimedOut):
            [*client.stream("/x", {}, patience=0.2).blocks()]

    def test_the_beginning_may_have_to_come_sooner(self, server: ApiServer, client: Client) -> None:
        server.on("GET", hanging)
        with pytest.raises(TimedOut):
            [*client.stream("/x", {}, patience=3600, prompt=0.2).blocks()]

    def test_what_has_begun_may_be_silent_for_longer(self, server: ApiServer, client: Client) -> None:
        server.on("GET", streaming({"a": 1}, stay=True))
        stream = client.stream("/x", {}, patience=1.5, prompt=0.5)
        told, began = stream.lines(), time.monotonic()
        assert next(told) == b'{"a": 1}'
        with pytest.raises(TimedOut):
            next(told)
        assert time.monotonic() - began >= 1.5


class TestRights:
    def test_authorizers_that_do_not_list_what_they_allow_are_asked_one_by_one(
        self, server: ApiServer, client: Client
    ) -> None:
        def verdict(handler: Any) -> None:
            asked = json.loads(handler.asked.body)["spec"]["resourceAttributes"]
            if next(numbers) < 2:
                together.wait(20)  # they come several at once
            sending({"status": {"allowed": asked["verb"] != "watch"}})(handler)

        together, numbers = threading.Barrier(2), itertools.count()

        server.on("POST .*selfsubjectrulesreviews", sending({"status": {"resourceRules": None, "incomplete": True}}))
        server.on("POST .*selfsubjectaccessreviews", verdict)
        permissions = Permissions(client, "web")
        lacking = {
            "watch deployments.apps",
            "watch pods",
            "watch services",
            "watch persistentvolumeclaims",
            "watch events",
        }
        assert {str(right) for right in permissions.missing()} == lacking
        assert not together.broken
        server.asked.clear()
        assert {str(right) for right in permissions.missing()} == lacking
        assert len(server.urls("selfsubjectaccessreviews")) == len(lacking)
        permissions.forget()
        permissions.missing()
        assert len(server.urls("selfsubjectaccessreviews")) > 2 * len(lacking)

    def test_rules_for_some_objects_alone_are_not_for_all(self, server: ApiServer, client: Client) -> None:
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        server.on("POST .*selfsubjectaccessreviews", sending({"status": {"allowed": False}}))
        server.on("POST .*rulesreviews", sending({"status": {"resourceRules": [everything]}}), times=1)
        assert Permissions(client, None).missing() == []
        one = everything | {"resourceNames": ["web"]}
        server.on("POST .*rulesreviews", sending({"status": {"resourceRules": [one]}}), times=1)
        assert len(Permissions(client, None).missing()) == len((*OWN, *EVERYWHERE))


def pod(version: str, ref: WorkloadRef | None = REF) -> dict[str, Any]:
    labels = naming.of_workload(ref) if ref else {}
    annotations = {naming.PROJECT_NAME: ref.project} if ref else {}
    metadata = {"name": "web-1", "namespace": "n", "resourceVersion": version}
    return {"metadata": metadata | {"labels": labels, "annotations": annotations}}


def listing(version: str) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "items": []}


@pytest.fixture
def watched(server: ApiServer) -> Iterator[list[WorkloadRef | None]]:
    """What is heard of pods; of other kinds there is nothing, and it stays so."""
    server.on("GET", sending(listing("1")))
    server.on("watch=1", streaming(stay=True))
    heard = Heard(server.connection())
    yield heard.hints
    server.released.set()
    heard.close()


def versions(server: ApiServer, path: str = PODS) -> list[str]:
    """Where the watches of a path began."""
    return [asked.params["resourceVersion"] for asked in server.urls(f"^{path}$") if "watch" in asked.params]


class TestWatches:
    def test_everything_may_have_changed_when_it_begins(
        self, server: ApiServer, watched: list[WorkloadRef | None]
    ) -> None:
        wait_until(lambda: None in watched)
        wait_until(lambda: len([a for a in server.asked if "watch" in a.params]) == 5)
        selectors = {asked.params.get("labelSelector") for asked in server.urls("pods|services|deployments")}
        assert selectors == {naming.selector(naming.ours("i", "c"))}

    def test_it_goes_on_where_it_ended(self, server: ApiServer) -> None:
        server.on("GET", sending(listing("1")))
        server.on("watch=1", streaming(stay=True))
        events = [{"type": "ADDED", "object": pod("5")}, {"type": "BOOKMARK", "object": pod("9", None)}]
        server.on(r"pods\?.*resourceVersion=1&", streaming(*events))
        server.on(r"pods\?.*resourceVersion=9&", failing(500), times=2)
        heard = Heard(server.connection())
        wait_until(lambda: REF in heard.hints)
        wait_until(lambda: versions(server) == ["1", "9", "9", "9"])
        heard.close()
        assert len([a for a in server.urls(f"^{PODS}$") if "watch" not in a.params]) == 1

    @pytest.mark.parametrize(
        "then", [failing(410), streaming({"type": "ERROR", "object": {"kind": "Status", "code": 410}})]
    )
    def test_what_the_server_forgot_is_listed_anew(self, server: ApiServer, then: Any) -> None:
        server.on("GET", sending(listing("20")))
        server.on("watch=1", streaming(stay=True))
        server.on(r"pods\?(?!.*watch)", sending(listing("1")), times=1)
        server.on(r"pods\?.*resourceVersion=1&", then)
        heard = Heard(server.connection())
        wait_until(lambda: versions(server) == ["1", "20"])
        wait_until(lambda: heard.hints.count(None) >= 1)
        heard.close()
        listed = [asked.params for asked in server.urls(f"^{PODS}$") if "watch" not in asked.params]
        assert not any("resourceVersion" in params for params in listed), "a server that is behind hides what is there"

    @pytest.mark.parametrize("then", [failing(403), failing(500), cutting, sending(b"nonsense"), failing(401)])
    def test_one_kind_that_cannot_be_had_is_no_harm_to_others(self, server: ApiServer, then: Any) -> None:
        server.on("GET", sending(listing("1")))
        server.on("watch=1", streaming(stay=True))
        server.on(r"pods\?watch=1", streaming({"type": "MODIFIED", "object": pod("5")}, stay=True))
        server.on("events|services", then)
        heard = Heard(server.connection())
        wait_until(lambda: REF in heard.hints)
        wait_until(lambda: len(server.urls("services")) > 1)
        heard.close()

    def test_an_event_is_about_somebody(self, server: ApiServer) -> None:
        about = {"involvedObject": {"kind": "Pod", "namespace": "n", "name": "web-1"}} | pod("8", None)
        unknown = {"involvedObject": {"kind": "Pod", "namespace": "n", "name": "web-2"}} | pod("9", None)
        server.on("GET", sending(listing("1")))
        server.on("watch=1", streaming(stay=True))
        server.on(r"pods\?(?!.*watch)", sending({"metadata": {"resourceVersion": "1"}, "items": [pod("1")]}))
        heard = Heard(server.connection())
        wait_until(lambda: versions(server))
        seen = heard.hints.count(REF)
        server.on(
            "events.*watch=1", streaming({"type": "ADDED", "object": unknown}, {"type": "ADDED", "object": about})
        )
        server.released.set()  # the watch of events ends, and begins again
        wait_until(lambda: heard.hints.count(REF) > seen)
        heard.close()
        assert not any("PartialObjectMetadata" in asked.headers["Accept"] for asked in server.urls("events"))


class TestLooks:
    """What a look at one workload asks for: no more than there may be."""

    @pytest.fixture
    def finder(self, server: ApiServer, client: Client) -> Finder:
        server.on("GET", sending({"items": []}))
        return Finder(client, server.connection(), Owners(client.freshness))

    def kinds(self, server: ApiServer) -> list[str]:
        """The collections that were asked for since the last time."""
        found = [asked.path.rpartition("/")[2] for asked in server.asked]
        server.asked.clear()
        return found

    def test_secrets_are_not_listed_again_and_again_where_there_are_none(
        self, server: ApiServer, finder: Finder
    ) -> None:
        finder.one(REF)
        assert "secrets" in self.kinds(server)
        finder.one(REF)
        assert "secrets" not in self.kinds(server)
        finder.doubt(REF)
        finder.one(REF)
        assert "secrets" in self.kinds(server)

    def test_secrets_that_are_there_are_listed_each_time(self, server: ApiServer, finder: Finder) -> None:
        server.on("GET .*/secrets", sending({"items": [{"metadata": {"name": "s"}}]}))
        for _ in range(2):
            assert ("Secret", "s") in finder.one(REF).live
            assert "secrets" in self.kinds(server)

    @pytest.mark.parametrize(
        ("volumes", "listed"),
        [([], False), ([{"name": "v"}], False), ([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}], True)],
    )
    def test_claims_are_listed_where_one_is_used(
        self, server: ApiServer, finder: Finder, volumes: list[Any], listed: bool
    ) -> None:
        spec = {"containers": [], "volumes": volumes}
        found = {"metadata": {"name": "d", "namespace": "n"}, "spec": {"template": {"spec": spec}}}
        server.on("GET .*/deployments", sending({"items": [found]}))
        finder.one(REF)
        assert ("persistentvolumeclaims" in self.kinds(server)) == listed

    def test_events_are_asked_for_once_while_one_look_follows_another(
        self, server: ApiServer, finder: Finder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unready = pod("5")
        unready["metadata"]["uid"] = "u"
        server.on("GET .*/pods", sending({"items": [unready]}))
        monkeypatch.setattr(happenings, "KEPT", 3600.0)
        assert finder.one(REF).again is None
        assert self.kinds(server).count("events") == 1
        again = finder.one(REF).again
        assert again is not None
        assert 0 < again <= happenings.KEPT
        assert "events" not in self.kinds(server)
        monkeypatch.setattr(happenings, "KEPT", 0.0)
        assert finder.one(REF).again is None
        assert self.kinds(server).count("events") == 1

    def unready(self, number: int) -> list[dict[str, Any]]:
        """Pods that are not ready, each of a workload of its own, the first of them three of one."""
        made = []
        for n in range(number):
            one = pod("5", WorkloadRef(**{**_fields(REF), "id": f"0-{max(n, 2)}"}))
            one["metadata"] |= {"uid": f"u{n}", "name": f"p{n}"}
            made.append(one)
        return made

    def asked_about(self, server: ApiServer) -> list[str]:
        """Of what events were asked for, since the last time."""
        found = [asked.params.get("fieldSelector", "all") for asked in server.urls("/events$")]
        assert all(asked.path == "/api/v1/namespaces/n/events" for asked in server.urls("/events$"))
        server.asked.clear()
        return [each.removeprefix("involvedObject.uid=") for each in found]

    def test_a_survey_asks_for_the_events_of_some_objects(
        self, server: ApiServer, finder: Finder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(happenings, "AT_ONCE", 3)
        server.on("GET", sending(listing("1")))
        server.on("GET .*/pods", sending({"items": self.unready(6)}))
        happened = {"involvedObject": {"uid": "u4"}, "reason": "FailedMount", "message": "no such volume"}
        server.on("uid%3Du4", sending({"items": [happened]}))
        finder.all()
        assert self.asked_about(server) == ["u0", "u1", "u2"]
        finder.all()
        assert self.asked_about(server) == ["u3", "u4", "u5"]
        assert [e.text for found in finder.all().values() for e in found.events] == ["no such volume"]

    def test_a_cluster_whose_events_cannot_be_had_is_surveyed(
        self, server: ApiServer, finder: Finder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(happenings, "KEPT", 0.0)
        server.on("GET", sending(listing("1")))
        server.on("GET .*/pods", sending({"items": self.unready(6)}))
        happened = {"involvedObject": {"uid": "u2"}, "reason": "FailedMount", "message": "no such volume"}
        server.on("uid%3Du2", sending({"items": [happened]}))
        finder.all()
        self.asked_about(server)
        server.on("GET .*/events", failing(500))
        found = finder.all()
        assert len(self.asked_about(server)) == 1
        assert len(found) == 4
        assert [e.text for one in found.values() for e in one.events] == ["no such volume"]
        assert len(finder.one(REF).found.pods) == 3


def _fields(ref: WorkloadRef) -> dict[str, Any]:
    return {name: getattr(ref, name) for name in ref.__struct_fields__}
