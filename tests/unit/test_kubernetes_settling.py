"""What was as wanted is compared again only when it, or what is wanted, is otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.native.workloads import app
from tests.unit.kubernetes_pods import pod, running
from zun_coe.adapters.kubernetes.settling import Settled, versioned
from zun_coe.adapters.kubernetes.survey import Found
from zun_coe.model import Adopted, Instance, Observation, Workload

WORKLOAD = app(replicas=2)


def listed(kind: str, version: str = "7") -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "web", "uid": f"uid-{kind}", "resourceVersion": version}}


def found(deployment: str = "7", service: str = "7", claim: str = "7") -> Found:
    return Found(
        deployment=listed("Deployment", deployment),
        services=[listed("Service", service)],
        claims=[listed("PersistentVolumeClaim", claim)],
        pods=[pod(running())],
    )


def seen(there: Found, *instances: Instance) -> Observation:
    return versioned(Observation(ref=WORKLOAD.ref, instances=instances), there)


def settled(workload: Workload = WORKLOAD, *wanted: dict[str, Any]) -> Settled:
    made = Settled()
    made.keep(workload, [listed("Deployment"), *wanted], found())
    return made


def test_it_holds_while_nothing_is_otherwise() -> None:
    assert settled().holds(WORKLOAD, seen(found()))
    assert not Settled().holds(WORKLOAD, seen(found()))


@pytest.mark.parametrize("kind", ["deployment", "service", "claim"])
def test_it_does_not_when_an_object_is(kind: str) -> None:
    assert not settled().holds(WORKLOAD, seen(found(**{kind: "8"})))


def test_it_does_not_when_more_or_less_is_there() -> None:
    fewer = Found(deployment=listed("Deployment"), claims=found().claims)
    assert not settled().holds(WORKLOAD, seen(fewer))
    assert not settled().holds(WORKLOAD, seen(Found()))


def test_it_does_not_when_something_else_is_wanted() -> None:
    assert not settled().holds(msgspec.structs.replace(WORKLOAD, replicas=3), seen(found()))


def test_it_does_not_while_something_goes() -> None:
    assert not settled().holds(WORKLOAD, seen(found(), Instance(native_id="web-1", state="removing")))


def test_it_does_not_of_what_nobody_has_seen() -> None:
    assert not settled().holds(WORKLOAD, None)
    assert not settled().holds(WORKLOAD, Observation(ref=WORKLOAD.ref))


def test_what_no_list_shows_never_settles() -> None:
    assert not settled(WORKLOAD, {"kind": "Secret"}).holds(WORKLOAD, seen(found()))
    taken_over = msgspec.structs.replace(WORKLOAD, adopted=Adopted(namespace="n", name="w", place="n/w", hash="a"))
    assert not settled(taken_over).holds(taken_over, seen(found()))


def test_a_pod_of_its_own_counts() -> None:
    one, other = (Found(pods=[pod(running(), metadata={"resourceVersion": v})]) for v in ("1", "2"))
    made = Settled()
    made.keep(WORKLOAD, [{"kind": "Pod"}], one)
    assert made.holds(WORKLOAD, seen(one))
    assert not made.holds(WORKLOAD, seen(other))


def test_what_is_being_taken_away_is_forgotten() -> None:
    made = settled()
    made.forget(WORKLOAD.ref.id)
    assert not made.holds(WORKLOAD, seen(found()))


def test_an_observation_says_the_same_with_its_version() -> None:
    plain = Observation(ref=WORKLOAD.ref, hash="a", instances=(Instance(native_id="web-1"),))
    known = versioned(plain, found())
    assert {name: getattr(known, name) for name in plain.__struct_fields__} == msgspec.structs.asdict(plain)
    assert versioned(plain, Found()) is plain
