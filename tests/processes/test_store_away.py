"""What clients see while members of the store die, and that nothing which was acknowledged is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.processes.fleet import Fleet, Member, got, until
from tests.real.etcd import Etcd


@dataclass
class Client:
    """Makes secrets, one after the other. `kept`: the names of those that were acknowledged; `refused`: the
    other answers."""

    api: Member
    kept: list[str] = field(default_factory=list)
    refused: list[httpx.Response] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def write(self) -> httpx.Response:
        """One more."""
        name = f"s{len(self.kept) + len(self.refused)}"
        answer = self.api.http.post("/v1/secrets", json={"name": name, "data": {"a": "b"}})
        if answer.status_code == 201:
            self.kept.append(name)
        else:
            self.refused.append(answer)
        return answer

    def run(self) -> None:
        """On and on."""
        while not self.over.is_set():
            self.write()

    def more(self) -> None:
        """Wait until a few more were acknowledged."""
        before = len(self.kept)
        until(lambda: len(self.kept) > before + 20, f"writes go on ({[a.text for a in self.refused]})")


@contextmanager
def busy(client: Client) -> Iterator[None]:
    """While it makes one after the other."""
    thread = threading.Thread(target=client.run, name="client")
    thread.start()
    try:
        yield
    finally:
        client.over.set()
        thread.join()


@pytest.fixture
def client(own_etcd: Etcd, tmp_path: Path) -> Iterator[Client]:
    fleet = Fleet(tmp_path, own_etcd.url("away"))
    try:
        yield Client(*fleet.start("api"))
    finally:
        fleet.close()


def known(api: Member) -> set[str]:
    """The names of all secrets, a page at a time."""
    names: set[str] = set()
    path = "/v1/secrets?limit=1000"
    while True:
        page = got(api, path)
        names |= {one["name"] for one in page["secrets"]}
        if "next" not in page:
            return names
        path = f"/v1/secrets?limit=1000&marker={page['next']}"


def test_members_die_one_after_the_other(own_etcd: Etcd, client: Client) -> None:
    (leader,) = (member for member in own_etcd.members if member.leads)
    one, two = (member for member in own_etcd.members if member is not leader)
    with busy(client):
        client.more()
        for member in (one, leader):
            member.kill()
            client.more()
            member.start()
            own_etcd.ready()
    assert client.refused == []

    leader.kill()
    two.kill()
    http = client.api.http
    refused = client.write()
    assert refused.status_code == 503, refused.text
    assert int(refused.headers["Retry-After"]) > 0
    read = until(lambda: (answer := http.get("/v1/secrets")).headers.get("Age") and answer, "the copy grows old")
    assert read.status_code == 200
    assert int(read.headers["Age"]) >= 2
    assert known(client.api) >= set(client.kept)
    fresh = http.get("/v1/secrets", headers={"Cache-Control": "no-cache"})
    assert fresh.status_code == 503
    assert "Retry-After" in fresh.headers

    # What is known to be away is not even asked, so that whoever writes waits for nothing and blocks nobody.
    until(lambda: http.get("/readyz").status_code == 503, "it says that it is not ready")
    quick = client.write()
    assert quick.status_code == 503
    assert quick.json()["type"].endswith("store-unavailable")

    leader.start()
    two.start()
    own_etcd.ready()
    until(lambda: client.write().status_code == 201, "writes are taken again")
    again = http.get("/v1/secrets", headers={"Cache-Control": "no-cache"})
    assert again.status_code == 200
    assert "Age" not in again.headers
    assert known(client.api) >= set(client.kept)
