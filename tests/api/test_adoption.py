"""What else runs on a cluster, and taking it over, as a client sees it; over a cluster that others use, too."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
import pytest
import structlog
from click.testing import CliRunner

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, SCHEME, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.adapters import Foreign, Offer
from zun_coe.cli import main
from zun_coe.errors import Absent, Denied, Invalid, TimedOut
from zun_coe.model import Placement, Template, Update

KIND = "crowded"
WARNED = ("Helm manages it (release web).",)
SINCE = datetime(2026, 1, 2, tzinfo=UTC)


class CrowdedAdapter(SimulatedAdapter):
    """A simulated cluster on which others run things."""

    others: ClassVar[dict[tuple[str, str], Template | Exception]] = {}
    meanwhile: ClassVar[list[Callable[[], None]]] = []
    """What happens, once each, while somebody asks what an app would be."""

    def foreign(self, known: Collection[str] = ()) -> Sequence[Foreign]:
        """See `adapters.Adopts`."""
        if error := next((e for e in self.others.values() if isinstance(e, TimedOut)), None):
            raise error
        return [
            Foreign("Deployment", namespace, name, ("web:1",), 2, 1, SINCE, (str(t),))
            if isinstance(t, Exception)
            else Foreign("Deployment", namespace, name, ("web:1",), 2, 1, SINCE, (), self.offer(namespace, name))
            for (namespace, name), t in self.others.items()
        ]

    def offer(self, namespace: str, name: str) -> Offer:
        """See `adapters.Adopts`."""
        if self.meanwhile:
            self.meanwhile.pop()()
        found = self.others.get((namespace, name), Absent(f"There is no {name}."))
        if isinstance(found, Exception):
            raise found
        place = f"{namespace}/{name}"
        warnings = WARNED if name == "charted" else ()
        return Offer(found, 2, Update(max_surge="25%"), Placement(), {"app": name}, place, {"kept": [1]}, warnings)


@pytest.fixture(scope="module")
def crowded(service: Service) -> Iterator[None]:
    """The public cluster `crowd` of the project `operators`."""
    patch = pytest.MonkeyPatch()
    patch.setitem(adapters.kinds(), KIND, CrowdedAdapter)
    patch.setitem(CLUSTERS, "crowd", SimulatedCluster(seed=7))
    with service.client("operators") as api:
        body = {"name": "crowd", "kind": KIND, "endpoint": f"{SCHEME}crowd", "public": True}
        assert api.post("/v1/clusters", json=body).status_code == 202
        wait_until(lambda: api.get("/v1/clusters/crowd").json()["status"]["phase"] == "Ready", message="it is ready")
        yield
        assert api.delete("/v1/clusters/crowd?force=true&wait=20").status_code == 204
    patch.undo()


@pytest.fixture
def others(crowded: None, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Any]:
    """What others run there."""
    found: dict[tuple[str, str], Any] = {
        ("shop", "web"): Template(image="web:1", env={"A": "1"}),
        ("shop", "db"): Invalid(
            "It has a volume.", evidence={"differences": [{"pointer": "/spec/volumes", "found": [1]}]}
        ),
        ("bank", "x-1.y"): Template(image="web:1"),
    }
    monkeypatch.setattr(CrowdedAdapter, "others", found)
    return found


def body(name: str = "web", namespace: str = "shop") -> dict[str, Any]:
    return {"adopt": {"namespace": namespace, "name": name}, "cluster": "crowd"}


@pytest.mark.usefixtures("others")
def test_what_runs_there_is_listed_a_page_at_a_time(api: httpx.Client) -> None:
    path = "/v1/clusters/crowd/workloads"
    page = api.get(path, params={"limit": 2}).json()
    assert [(w["namespace"], w["name"], w["adoptable"]) for w in page["workloads"]] == [
        ("bank", "x-1.y", True),
        ("shop", "db", False),
    ]
    assert page["workloads"][1] == {
        "kind": "Deployment",
        "namespace": "shop",
        "name": "db",
        "images": ["web:1"],
        "replicas": 2,
        "ready": 1,
        "created_at": "2026-01-02T00:00:00.000000Z",
        "adoptable": False,
        "reason": "It has a volume.",
        "refused": [{"pointer": "/adopt", "detail": "It has a volume."}],
    }
    rest = api.get(path, params={"marker": page["next"]}).json()
    assert ([w["name"] for w in rest["workloads"]], "next" in rest) == (["web"], False)
    assert len(api.get(path, params={"namespace": "shop"}).json()["workloads"]) == 2


@pytest.mark.usefixtures("others")
def test_what_others_run_is_not_for_everybody(other: httpx.Client, service: Service) -> None:
    assert other.get("/v1/clusters/crowd/workloads").status_code == 403
    assert other.post("/v1/apps/adopt", json=body()).status_code == 403
    with service.client("operators", roles="reader") as reader:
        assert reader.get("/v1/clusters/crowd/workloads").status_code == 200
        assert reader.post("/v1/apps/adopt", json=body()).status_code == 403


@pytest.mark.usefixtures("others")
def test_an_app_takes_it_over(api: httpx.Client) -> None:
    answer = api.post("/v1/apps/adopt", json=body(), params={"wait": 20})
    assert answer.status_code == 200, answer.text
    app = answer.json()
    assert (app["name"], app["image"], app["env"], app["replicas"]) == ("web", "web:1", {"A": "1"}, 2)
    assert (app["labels"], app["update"]["max_surge"]) == ({"app": "web"}, "25%")
    assert app["adopted"] == {"namespace": "shop", "name": "web"}
    (event,) = api.get("/v1/events", params={"type": "AppAdopted"}).json()["events"]
    assert event["data"] == {"adopted": "shop/web"}

    again = api.put("/v1/apps/web", json=app | {"replicas": 3})
    assert again.status_code == 202
    assert again.json()["adopted"] == {"namespace": "shop", "name": "web"}
    taken = api.post("/v1/apps/adopt", json=body() | {"name": "b"})
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (422, "/adopt")
    assert api.delete("/v1/apps/web", params={"wait": 20}).status_code == 204


@pytest.mark.usefixtures("others")
def test_two_that_take_it_over_at_once(api: httpx.Client, service: Service, project: str) -> None:
    """One of them does, and the other one is refused, although both were told that it is free."""

    def quicker() -> None:
        with service.client(project) as another:
            assert another.post("/v1/apps/adopt", json=body() | {"name": "quicker"}).status_code == 202

    CrowdedAdapter.meanwhile.append(quicker)
    slower = api.post("/v1/apps/adopt", json=body() | {"name": "slower"})
    assert slower.status_code == 422, slower.text
    assert "takes it over already" in slower.text
    assert [app["name"] for app in api.get("/v1/apps").json()["apps"]] == ["quicker"]
    assert api.delete("/v1/apps/quicker", params={"wait": 20}).status_code == 204
    assert api.post("/v1/apps/adopt", json=body(), params={"wait": 20}).status_code == 200, "it can be had again"
    assert api.delete("/v1/apps/web", params={"wait": 20}).status_code == 204


@pytest.mark.usefixtures("others")
def test_it_is_as_any_other_request(api: httpx.Client, app_of: Callable[..., Any]) -> None:
    keyed = {"Idempotency-Key": "k-1"}
    first = api.post("/v1/apps/adopt", json=body() | {"name": "one"}, headers=keyed)
    again = api.post("/v1/apps/adopt", json=body() | {"name": "one"}, headers=keyed)
    assert (first.status_code, again.status_code) == (202, 202)
    assert (again.json()["id"], again.headers["Idempotency-Replayed"]) == (first.json()["id"], "true")
    app_of("web")
    assert api.post("/v1/apps/adopt", json=body()).json()["type"].endswith("/name-taken")
    assert api.post("/v1/apps/adopt", json=body(), headers={"If-None-Match": "*"}).status_code == 412
    assert api.delete("/v1/apps/one", params={"wait": 20}).status_code == 204


REFUSED = [
    ("db", Invalid("It has a volume.", evidence={"differences": [{"pointer": "/a", "found": 1}]}), 422, "/adopt"),
    ("none", Absent("There is no none."), 422, "/adopt/name"),
    ("hidden", Denied("You may not look.", evidence={"verb": "get"}), 422, "/adopt/namespace"),
    ("strange", Template(image="web:1", env={"bad name": "1"}), 422, "/env/bad name"),
    ("loss", Template(image="web:1", gpu=1), 422, "/gpu"),
    ("host", Template(image="web:1", networks=("host",)), 422, "/networks"),
]


@pytest.mark.parametrize(("name", "why", "status", "pointer"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_cannot_be_taken_over(
    api: httpx.Client, others: dict[tuple[str, str], Any], name: str, why: Any, status: int, pointer: str
) -> None:
    others["shop", name] = why
    answer = api.post("/v1/apps/adopt", json=body(name))
    told = answer.json()
    assert (answer.status_code, [e["pointer"] for e in told["errors"]]) == (status, [pointer])
    assert told.get("differences") == (why.evidence.get("differences") if isinstance(why, Invalid) else None)
    assert api.get("/v1/apps").json() == {"apps": []}
    assert api.post("/v1/apps/adopt", json=body(name), params={"dry_run": True}).json()["errors"] == told["errors"]
    listed = {w["name"]: w for w in api.get("/v1/clusters/crowd/workloads").json()["workloads"]}
    if not isinstance(why, Absent | Denied):
        assert (listed[name]["adoptable"], listed[name]["refused"]) == (False, told["errors"])


@pytest.mark.usefixtures("others")
def test_what_it_would_be_is_shown_without_being_written(api: httpx.Client) -> None:
    answer = api.post("/v1/apps/adopt", json=body(), params={"dry_run": True})
    assert (answer.status_code, answer.json()["image"], answer.json()["adopted"]["name"]) == (200, "web:1", "web")
    assert api.get("/v1/apps").json() == {"apps": []}
    assert api.get("/v1/events", params={"type": "AppAdopted"}).json()["events"] == []


def test_what_something_else_manages_is_taken_over_on_purpose_only(
    api: httpx.Client, others: dict[tuple[str, str], Any]
) -> None:
    others["shop", "charted"] = Template(image="web:1")
    refused = api.post("/v1/apps/adopt", json=body("charted"))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/force")
    assert WARNED[0] in refused.json()["errors"][0]["detail"]
    forced = api.post("/v1/apps/adopt", json=body("charted") | {"force": True}, params={"wait": 20})
    assert forced.status_code == 200
    assert api.delete("/v1/apps/charted", params={"wait": 20}).status_code == 204


def test_a_cluster_that_does_not_answer(api: httpx.Client, others: dict[tuple[str, str], Any]) -> None:
    others["shop", "slow"] = TimedOut("It took too long.")
    others["shop", "key"] = Denied("Who are you?")
    assert api.post("/v1/apps/adopt", json=body("slow")).status_code == 504
    assert api.post("/v1/apps/adopt", json=body("key")).status_code == 502
    assert api.get("/v1/clusters/crowd/workloads").status_code == 504


@pytest.mark.usefixtures("others")
def test_a_cluster_that_is_known_to_be_away_is_not_asked(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def phase() -> str:
        return str(api.get("/v1/clusters/crowd").json()["status"]["phase"])

    faults = CLUSTERS["crowd"].faults
    monkeypatch.setattr(CrowdedAdapter, "foreign", lambda self: pytest.fail("it is asked"))
    faults.away = True
    wait_until(lambda: phase() == "Unreachable", message="nobody has noticed")
    refused = api.get("/v1/clusters/crowd/workloads")
    assert (refused.status_code, refused.json()["reason"]) == (502, "BackendUnreachable")
    faults.away = False
    wait_until(lambda: phase() == "Ready", message="it is back")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        ({"adopt": {"namespace": "shop"}}, ["/adopt/name"]),
        ({"adopt": {"namespace": "shop", "name": "UPPER"}}, ["/adopt/name"]),
        ({"adopt": "shop/web"}, ["/adopt"]),
        (body() | {"image": "web:2"}, ["/image"]),
        ({"cluster": "crowd"}, ["/adopt"]),
    ],
)
def test_bodies_that_are_wrong(api: httpx.Client, given: Any, pointers: list[str]) -> None:
    answer = api.post("/v1/apps/adopt", json=given)
    assert (answer.status_code, [e["pointer"] for e in answer.json()["errors"]]) == (400, pointers)


@pytest.mark.usefixtures("others")
def test_its_name_has_to_be_a_name(api: httpx.Client) -> None:
    refused = api.post("/v1/apps/adopt", json=body("x-1.y", "bank"))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/name")
    assert (
        api.post("/v1/apps/adopt", json=body("x-1.y", "bank") | {"name": "xy"}, params={"wait": 20}).status_code == 200
    )
    assert api.delete("/v1/apps/xy", params={"wait": 20}).status_code == 204


def test_clusters_that_cannot_tell(api: httpx.Client) -> None:
    assert api.get("/v1/clusters/here/workloads").status_code == 409
    refused = api.post("/v1/apps/adopt", json=body() | {"cluster": "here"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/adopt")
    operations = api.get("/v1/clusters/here/capabilities").json()["operations"]
    assert {o["name"]: o["support"] for o in operations}["adopt"] == "none"
    assert api.get("/v1/clusters/nowhere/workloads").status_code == 404


@pytest.fixture
def quiet() -> Iterator[None]:
    """The gateway in this process logs where no command's output is."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("others", "quiet")
def test_on_the_command_line(service: Service, project: str) -> None:
    def run(*line: str, code: int = 0) -> Any:
        before = ["--endpoint", service.server.url, "--project", project]
        result = CliRunner().invoke(main, [*before, *line])
        assert result.exit_code == code, (result.output, result.exc_info)
        return result

    table = run("cluster", "workloads", "crowd").stdout.splitlines()
    assert table[0].split() == ["NAMESPACE", "NAME", "KIND", "READY", "IMAGES", "AGE", "ADOPTABLE", "REASON"]
    assert len(table) == 4
    found = json.loads(run("cluster", "workloads", "crowd", "--namespace", "bank", "-o", "json").stdout)
    assert [w["name"] for w in found["workloads"]] == ["x-1.y"]
    refused = run("app", "adopt", "crowd", "shop/db", code=1).stderr
    assert "/spec/volumes: there is [1], an app would have null" in refused
    run("app", "adopt", "crowd", "shop", code=2)
    assert "Running" in run("app", "adopt", "crowd", "shop/web", "--name", "mine", "--wait=20").stdout
    run("app", "delete", "mine", "-y", "--wait=20")


def test_an_app_may_have_the_name_of_the_operation(api: httpx.Client, app_of: Callable[..., Any]) -> None:
    app_of("adopt")
    assert api.get("/v1/apps/adopt").json()["name"] == "adopt"
    assert api.put("/v1/apps/adopt", json={"cluster": "here", "image": "web:2"}).status_code == 202
    assert api.patch("/v1/apps/adopt", json={"replicas": 2}).status_code == 202
    assert api.delete("/v1/apps/adopt", params={"wait": 20}).status_code == 204
    refused = api.request("OPTIONS", "/v1/apps/adopt")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "DELETE, GET, HEAD, PATCH, POST, PUT")
