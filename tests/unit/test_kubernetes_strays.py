"""What runs of an app without its Deployment, and what does not go although it was deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.kubernetes_pods import AT, REPLICA_SET, before, owned, pod, ref, running
from zun_coe.adapters.kubernetes import strays, survey, wire
from zun_coe.adapters.kubernetes.converging import Erase
from zun_coe.adapters.kubernetes.survey import Found

APP = ref("app")
LEAVING = {"deletionTimestamp": before(60)}


def replica(name: str, **metadata: Any) -> wire.Pod:
    return pod(running(), name=name, owner=APP, metadata=metadata)


def there(**metadata: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": owned(APP, "web") | metadata}


class TestLoose:
    def test_a_pod_that_was_let_go_is_no_replica(self) -> None:
        found = Found(pods=(replica("kept"), replica("loose", ownerReferences=[])), at=AT)
        assert [i.name for i in survey.observation(APP, found).instances] == ["kept"]

    def test_a_container_of_its_own_is_kept_by_nobody(self) -> None:
        found = Found(pods=(pod(running(), name="web"),), at=AT)
        assert [i.name for i in survey.observation(ref(), found).instances] == ["web"]

    def test_it_is_taken_away_once(self) -> None:
        gone = replica("gone", ownerReferences=[], **LEAVING)
        pods = [replica("kept"), replica("loose", ownerReferences=[]), gone]
        assert list(strays.loose(pods)) == [Erase("Pod", "loose", "uid-loose")]


class TestReplicaSets:
    def test_those_of_nobody_are_taken_away(self) -> None:
        own = {"kind": "Deployment", "name": "web", "uid": "uid-web"}
        those = [{"metadata": owned(APP, "a")}, {"metadata": owned(APP, "b") | {"ownerReferences": [own]}}]
        assert list(strays.replica_sets(those)) == [Erase("ReplicaSet", "a", "uid-a")]

    @pytest.mark.parametrize(("metadata", "expected"), [({}, True), ({"ownerReferences": []}, False), (LEAVING, False)])
    def test_they_are_asked_for_where_they_keep_something(self, metadata: dict[str, Any], expected: bool) -> None:
        assert strays.orphaned([replica("web-1", **metadata)]) is expected


class TestKept:
    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {"finalizers": ["example.com/a"]},
            LEAVING,
            LEAVING | {"finalizers": ["foregroundDeletion"]},
            {"deletionTimestamp": before(1), "finalizers": ["example.com/a"]},
        ],
    )
    def test_nothing_to_tell(self, metadata: dict[str, Any]) -> None:
        assert strays.kept([there(**metadata)], [replica("web-1", **metadata)], AT) is None

    def test_who_keeps_it_is_told(self) -> None:
        told = strays.kept([there(**LEAVING, finalizers=["foregroundDeletion", "b/b", "a/a"])], [], AT)
        assert told is not None
        assert (told.reason, told.evidence["finalizers"]) == ("Error", ["a/a", "b/b"])
        assert "Deployment web" in told.message
        assert "the finalizers a/a, b/b" in told.message

    def test_pods_are_kept_as_well(self) -> None:
        told = strays.kept([], [replica("web-1", **LEAVING, finalizers=["a/a"], ownerReferences=REPLICA_SET)], AT)
        assert told is not None
        assert "the finalizer a/a" in told.message
