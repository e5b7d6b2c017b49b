"""Requests for which a cluster has to be asked hold no thread that others need, and few of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import httpx
import pytest

from tests.api.conftest import Service
from tests.real.waiting import wait_until
from tests.simulated import CLUSTERS, SCHEME, SimulatedAdapter, SimulatedCluster
from zun_coe import adapters
from zun_coe.adapters import Foreign, Offer
from zun_coe.api.reaching import Reaching
from zun_coe.errors import Busy, TimedOut, Unavailable
from zun_coe.gateway import Answer, BackendCall
from zun_coe.gateway.backends import BackendCalls
from zun_coe.model import Placement, Template, Update, WorkloadRef

KIND = "sluggish"
PROJECT = "operators"


class SluggishAdapter(SimulatedAdapter):
    """A simulated cluster that answers nobody who waits for it, until it is allowed to."""

    answering: ClassVar[threading.Event] = threading.Event()
    asked: ClassVar[list[str]] = []

    def _hang(self, call: str) -> None:
        self.asked.append(call)
        self.answering.wait(60)

    def foreign(self, known: Collection[str] = ()) -> Sequence[Foreign]:
        """See `adapters.Adopts`."""
        self._hang("foreign")
        return []

    def offer(self, namespace: str, name: str) -> Offer:
        """See `adapters.Adopts`."""
        self._hang("offer")
        return Offer(Template(image="web:1"), 1, Update(), Placement(), {}, f"{namespace}/{name}", {})

    def kill(self, ref: WorkloadRef, native_id: str, signal: str) -> None:
        """See `adapters.Kill`."""
        self._hang("kill")
        super().kill(ref, native_id, signal)

    def delete_instance(self, ref: WorkloadRef, native_id: str) -> None:
        """See `adapters.DeleteInstance`."""
        self._hang("delete")
        super().delete_instance(ref, native_id)


@pytest.fixture(scope="module")
def sluggish(service: Service) -> Iterator[None]:
    """The cluster `mud` with the app `web`, whose replicas run."""
    patch = pytest.MonkeyPatch()
    patch.setitem(adapters.kinds(), KIND, SluggishAdapter)
    patch.setitem(CLUSTERS, "mud", SimulatedCluster(seed=8))
    with service.client(PROJECT) as api:
        body = {"name": "mud", "kind": KIND, "endpoint": f"{SCHEME}mud"}
        assert api.post("/v1/clusters", json=body).status_code == 202
        ready = "the cluster is not ready"
        wait_until(lambda: api.get("/v1/clusters/mud").json()["status"]["phase"] == "Ready", message=ready)
        app = {"name": "web", "cluster": "mud", "image": "web:1", "replicas": 2}
        assert api.post("/v1/apps", params={"wait": 20}, json=app).status_code == 200
    yield
    patch.undo()


@pytest.fixture
def hanging(sluggish: None) -> Iterator[None]:
    """Nobody gets an answer while the test lasts."""
    SluggishAdapter.answering.clear()
    SluggishAdapter.asked.clear()
    yield
    SluggishAdapter.answering.set()


def adoption(api: httpx.Client, name: str = "taken", **params: int) -> httpx.Response:
    """Somebody wants to take something over."""
    body = {"adopt": {"namespace": "n", "name": name}, "cluster": "mud"}
    return api.post("/v1/apps/adopt", json=body, params=params)


REQUESTS: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "foreign": lambda api: api.get("/v1/clusters/mud/workloads"),
    "kill": lambda api: api.post("/v1/containers/web-1/kill"),
    "delete": lambda api: api.delete("/v1/containers/web-2"),
    "offer": adoption,
}


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("kind", list(REQUESTS))
def test_a_cluster_that_hangs_holds_nobody_else_up(service: Service, kind: str) -> None:
    allowed = service.process.settings.backend_threads_per_cluster
    many = 64
    with ThreadPoolExecutor(many) as pool, service.client(PROJECT) as api:
        asking = [pool.submit(REQUESTS[kind], api) for _ in range(many)]
        done = "those who are too many are not refused"
        wait_until(lambda: sum(one.done() for one in asking) == many - allowed, message=done)
        refused = [one.result() for one in asking if one.done()]
        assert {one.status_code for one in refused} == {503}
        assert all(int(one.headers["Retry-After"]) > 0 for one in refused)
        assert {one.json()["type"].rpartition("/")[2] for one in refused} == {"cluster-busy"}
        with service.client("somebody") as other:
            assert other.get("/v1/apps").status_code == 200
            assert other.post("/v1/secrets", json={"name": "a", "data": {"a": "b"}}).status_code in (201, 409)
        assert SluggishAdapter.asked == [kind] * allowed
        SluggishAdapter.answering.set()
        wait(asking)
        assert {one.result().status_code for one in asking} - {503} <= {200, 202, 404, 409}
        assert REQUESTS["foreign"](api).status_code == 200  # there are threads again


@pytest.mark.usefixtures("hanging")
def test_waiting_begins_once_the_cluster_has_answered(service: Service) -> None:
    with service.client(PROJECT) as api, ThreadPoolExecutor(1) as pool:
        adopting = pool.submit(adoption, api, "waited", wait=20)
        wait_until(lambda: SluggishAdapter.asked == ["offer"], message="it is not asked for")
        assert not adopting.done()
        SluggishAdapter.answering.set()
        assert adopting.result().status_code == 200
        assert adopting.result().json()["status"]["phase"] == "Running"


def test_there_is_an_answer_before_the_cluster_has_one() -> None:
    calls, free = BackendCalls(1, 1, 1), threading.Event()

    def run() -> Answer:
        free.wait(60)
        raise TimedOut("no answer")

    layer = Reaching(cast(Any, None), gateway=cast(Any, SimpleNamespace(backend_calls=calls)), deadline=0.05)

    async def asked_twice() -> None:
        with pytest.raises(TimedOut, match=r"within 0.05 seconds; what was asked of it may still be done"):
            await layer._answer(BackendCall("p", "a", run))
        with pytest.raises(Busy):  # it still has its thread
            await layer._answer(BackendCall("p", "a", run))
        free.set()

    asyncio.run(asked_twice())
    calls.close()


@pytest.mark.usefixtures("sluggish")
def test_a_cluster_that_asks_to_be_left_alone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def overloaded(self: SluggishAdapter, known: Collection[str]) -> Sequence[Foreign]:
        raise Unavailable("too many requests", retry_after=6.5)

    monkeypatch.setattr(SluggishAdapter, "foreign", overloaded)
    with service.client(PROJECT) as api:
        answer = REQUESTS["foreign"](api)
    assert (answer.status_code, answer.headers["Retry-After"]) == (502, "7")


@pytest.mark.usefixtures("sluggish")
def test_what_a_backend_says_is_cut(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def talkative(self: SluggishAdapter, known: Collection[str]) -> Sequence[Foreign]:
        raise Unavailable("x" * 100_000, evidence={"message": "y" * 100_000, "at": object()})

    monkeypatch.setattr(SluggishAdapter, "foreign", talkative)
    with service.client(PROJECT) as api:
        answer = REQUESTS["foreign"](api)
    assert answer.status_code == 502
    assert answer.json()["detail"].endswith("(100000 characters)")
    assert len(answer.content) < 5000


class TestShares:
    """How many calls there may be at once."""

    CALLS: ClassVar[dict[str, int]] = {"threads": 6, "per_cluster": 2, "per_project": 4}

    def _call(self, project: str, cluster: str, until: threading.Event) -> BackendCall:
        def run() -> Answer:
            until.wait(60)
            return Answer(200)

        return BackendCall(project, cluster, run)

    def test_of_a_cluster_of_a_project_and_of_all(self) -> None:
        calls, free = BackendCalls(**self.CALLS), threading.Event()
        started = [calls.start(self._call("p", "a", free)) for _ in range(2)]
        with pytest.raises(Busy, match="of this cluster"):
            calls.start(self._call("q", "a", free))
        started += [calls.start(self._call("p", "b", free)) for _ in range(2)]
        with pytest.raises(Busy, match="for this project"):
            calls.start(self._call("p", "c", free))
        started += [calls.start(self._call("q", "c", free)) for _ in range(2)]
        with pytest.raises(Busy, match="of clusters"):
            calls.start(self._call("r", "d", free))
        free.set()
        assert [one.result(20).status for one in started] == [200] * 6
        assert calls.start(self._call("p", "a", free)).result(20).status == 200
        calls.close()

    def test_a_call_that_fails_gives_its_share_back(self) -> None:
        calls = BackendCalls(**self.CALLS)

        def fail() -> Answer:
            raise TimedOut("no answer")

        for _ in range(20):
            with pytest.raises(TimedOut):
                calls.start(BackendCall("p", "a", fail)).result(20)
        calls.close()
