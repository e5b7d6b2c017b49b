"""Which cause the page of an app tells of."""

from __future__ import annotations

import pytest

from zun_coe.gateway.diagnosing import cause
from zun_coe.model import ClusterInfo, ClusterStatus, Status

KNOWN = ClusterInfo(identity="it")


def of_app(reason: str | None) -> Status:
    """An app about which this was last said."""
    return Status(reason=reason, message=reason and f"the app: {reason}", evidence={"app": 1} if reason else {})


def of_cluster(reason: str | None, *, reachable: bool = True, info: ClusterInfo | None = KNOWN) -> ClusterStatus:
    """A cluster with which this is wrong."""
    evidence = {"cluster": 1} if reason else {}
    return ClusterStatus(reason=reason, message="the cluster", evidence=evidence, reachable=reachable, info=info)


@pytest.mark.parametrize(
    ("app", "cluster", "reachable", "told"),
    [
        (None, None, True, None),
        ("CrashLoop", None, True, "CrashLoop"),
        (None, "BackendChanged", True, "BackendChanged"),
        ("Error", "BackendChanged", True, "BackendChanged"),
        ("Pulling", "BackendUnreachable", False, "BackendUnreachable"),
        ("Pulling", None, False, "BackendUnreachable"),
        ("ImageNotFound", "BackendUnreachable", False, "ImageNotFound"),
        ("CrashLoop", "PermissionDenied", True, "PermissionDenied"),
    ],
)
def test_what_explains_most_is_told(app: str | None, cluster: str | None, reachable: bool, told: str | None) -> None:
    reason, message, evidence = cause(of_app(app), of_cluster(cluster, reachable=reachable))
    assert reason == told
    whose = "app" if told == app else "cluster"
    if told is not None:
        assert (whose in str(message), set(evidence) <= {whose}) == (True, True)


def test_a_cluster_that_was_never_seen_explains_nothing() -> None:
    assert cause(of_app(None), of_cluster("BackendUnreachable", reachable=False, info=None))[0] is None
