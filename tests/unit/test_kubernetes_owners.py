"""What is known without a call of what is there, by what the watches tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest

from tests.unit.kubernetes_specs import ref
from zun_coe.adapters.kubernetes import owners as owners_module
from zun_coe.adapters.kubernetes.freshness import Freshness
from zun_coe.adapters.kubernetes.owners import Owners

WEB = ref()
KINDS = ("Deployment", "Pod", "Service", "PersistentVolumeClaim")
DEPLOYMENT, POD, SERVICE = ((kind, "ns", "web") for kind in ("Deployment", "Pod", "Service"))


@pytest.fixture
def followed() -> Iterator[Owners]:
    """All kinds are watched."""
    freshness = Freshness()
    with ExitStack() as stack:
        for kind in KINDS:
            stack.enter_context(freshness.followed(kind, "1"))
        yield Owners(freshness)


def test_without_watches_nothing_is_known() -> None:
    owners = Owners(Freshness())
    assert not owners.is_new(WEB)
    assert not owners.lacks(WEB, "Deployment")


def test_a_workload_that_nobody_told_of_is_new(followed: Owners) -> None:
    assert followed.is_new(WEB)
    assert followed.lacks(WEB, "Deployment")
    followed.keep(DEPLOYMENT, WEB)
    assert not followed.is_new(WEB)
    assert (followed.lacks(WEB, "Deployment"), followed.lacks(WEB, "Service")) == (False, True)


def test_what_was_sent_is_there_before_it_is_told_of(followed: Owners) -> None:
    followed.send(WEB, "Deployment")
    assert not followed.is_new(WEB)
    assert not followed.lacks(WEB, "Deployment")
    followed.keep(DEPLOYMENT, WEB)
    followed.drop(DEPLOYMENT)
    assert followed.lacks(WEB, "Deployment")
    followed.send(WEB, "Deployment")
    assert not followed.lacks(WEB, "Deployment")


def test_what_went_while_nobody_watched_is_gone(followed: Owners) -> None:
    followed.keep(DEPLOYMENT, WEB)
    followed.keep(SERVICE, WEB)
    followed.listed("Deployment", set())
    assert (followed.lacks(WEB, "Deployment"), followed.lacks(WEB, "Service")) == (True, False)


def test_what_goes_is_worth_a_look_when_all_of_it_is_gone(followed: Owners) -> None:
    """Or when something happens to its pods, which may need help."""
    for place in (DEPLOYMENT, POD, SERVICE):
        followed.keep(place, WEB)
    assert not followed.only_goes(WEB, "Service", gone=True)
    followed.leave(WEB)
    for place in (SERVICE, POD):
        followed.drop(place)
        assert followed.only_goes(WEB, place[0], gone=True)
    assert followed.only_goes(WEB, "Deployment", gone=False)
    assert not followed.only_goes(WEB, "Pod", gone=False)
    other = msgspec.structs.replace(WEB, id="other")
    assert not followed.only_goes(other, "Deployment", gone=False)
    followed.drop(DEPLOYMENT)
    assert not followed.only_goes(WEB, "Deployment", gone=True)
    followed.forget(WEB)
    assert not followed.leaves(WEB)


def test_of_objects_without_number_not_all_are_kept(followed: Owners, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners_module, "MOST", 2)
    followed.keep(("Pod", "ns", "x" * 3000), WEB)
    followed.keep(POD, msgspec.structs.replace(WEB, name="x" * 3000))
    assert followed.is_new(WEB)
    for number in range(5):
        followed.keep(("Pod", "ns", f"web-{number}"), WEB, str(number))
    followed.keep(("Pod", "ns", "web-0"), WEB, "7")
    assert len(followed._refs) == len(followed._versions) == 2
