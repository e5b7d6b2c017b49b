"""The end of something takes everything of it along, however much there is, and nothing that somebody still needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contract.world import CLUSTER, call
from tests.crash.clockwork import Site, hand_turned, quick_folder
from tests.crash.place import Place
from tests.crash.scenarios import VOLUME
from tests.crash.story import begin
from zun_coe.errors import Invalid
from zun_coe.model import Revision, Template
from zun_coe.store import Put
from zun_coe.store.records import encode, revision_key


@pytest.fixture
def place() -> Iterator[Place]:
    with hand_turned(), quick_folder() as folder:
        story = begin(Site(folder), lambda story: None)
        yield Place(story)
        story.site.close()


def test_an_app_has_any_number_of_revisions(place: Place) -> None:
    place.story.create("app", "web")
    place.story.settle()
    key, store = place.key("app", "web"), place.process.store
    for number in range(2, 302):
        record = Revision(
            app=key.id, number=number, template=Template(image="i"), hash="h", created_at=datetime.now(UTC)
        )
        store.transact([], [Put(revision_key(key.project, key.id, number), encode(record))])
    place.process.gateway.refresh()
    place.story.delete("app", "web")
    place.story.settle()
    assert store.list(f"revision/{key.project}/{key.id}/").records == ()
    assert store.list(f"intent/app/{key.project}/").records == ()


def test_a_volume_that_somebody_begins_to_mount_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.story.create("app", "web", mounts=VOLUME)
    place.story.settle()
    ledger = place.runner._ledger
    place.story.delete("app", "web", volumes=True)
    finalise, tries = ledger.finalise, []

    def late(*given: Any, **named: Any) -> None:
        if not tries:
            body = {"name": "late", "cluster": CLUSTER, "image": "web:1", "mounts": VOLUME}
            place.process.gateway.apps.create(call(), body)
        tries.append(given)
        finalise(*given, **named)

    monkeypatch.setattr(ledger, "finalise", late)
    views = place.process.gateway.views
    for _ in range(20):
        place.story.turn()
    assert views.named("app", "default", "web") is None
    assert len(tries) == 2, "the first decided on what was no longer so"
    assert views.named("volume", "default", "data").intent.deletion is None
    place.story.wanted.clear()


@pytest.mark.parametrize("when", ["apply", "remove"])
def test_no_error_of_a_backend_is_too_long(place: Place, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """What it says is kept as far as there is room for it, and the key is not stuck over that."""
    long = "it says the same again and again; " * 100_000
    place.story.create("app", "web")
    place.story.settle()
    adapter = place.runner._adapter._adapter

    def failing(*_: Any) -> Any:
        raise Invalid(long, "InvalidSpec", {"said": long})

    monkeypatch.setattr(adapter, when, failing)
    key = place.key("app", "web")
    if when == "remove":
        place.story.delete("app", "web")
    else:
        place.story.patch("web", image="web:2")
    place.runner._try(key)
    status = place.process.gateway.views.named("app", "default", "web").status
    assert status.reason == "InvalidSpec"
    assert len(encode(status)) < 20_000
    monkeypatch.undo()
    place.story.wanted.clear()
