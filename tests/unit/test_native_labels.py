"""Which labels of a container count: those that the gateway wrote itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.native.workloads import app
from zun_coe.native import containers, naming
from zun_coe.native.naming import MAIN, SIGNED

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
LABELS = st.dictionaries(st.sampled_from(SIGNED), st.text(max_size=20))


def made() -> tuple[str, dict[str, str]]:
    """The name and the labels of a container before labels were signed."""
    workload = app()
    spec = containers.specs(workload, workload.template, workload.hash, 1)[MAIN]
    return spec.name, dict(spec.labels)


@given(LABELS)
def test_signed_labels_are_genuine_whatever_else_the_container_has(labels: dict[str, str]) -> None:
    signed = naming.signed(labels, KEY)
    assert signed.items() >= labels.items()
    assert naming.is_genuine("any", signed | {"com.example": "1"}, KEY)
    assert not naming.is_genuine("any", signed, OTHER_KEY)


@given(LABELS, st.sampled_from(SIGNED), st.text(max_size=20))
def test_a_changed_label_is_not_genuine(labels: dict[str, str], name: str, value: str) -> None:
    signed = naming.signed(labels, KEY)
    assert naming.is_genuine("any", signed | {name: value}, KEY) == (signed[name] == value)


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_no_two_sets_of_labels_share_a_signature(a: str, b: str, c: str, d: str) -> None:
    first = naming.signed({naming.PARTS: a, naming.HEALTH: b}, KEY)[naming.SIGNATURE]
    second = naming.signed({naming.PARTS: c, naming.HEALTH: d}, KEY)[naming.SIGNATURE]
    assert (first == second) == ((a, b) == (c, d))


def test_every_label_is_written_so_that_none_of_an_image_stays() -> None:
    _, labels = made()
    assert set(naming.signed(labels, KEY)) >= {*SIGNED, naming.SIGNATURE}


def test_containers_from_before_signatures_are_known_by_their_names() -> None:
    name, labels = made()
    assert naming.is_genuine(name, labels, KEY)
    assert not naming.is_genuine("somebody-elses", labels, KEY)
    assert not naming.is_genuine(name, labels | {naming.SLOT: "two"}, KEY)
    assert not naming.is_genuine(name, {}, KEY)


def test_a_probe_that_cannot_be_read_is_none() -> None:
    assert naming.probe_of({naming.HEALTH: "x"}) is None
    assert naming.probe_of({naming.HEALTH: '{"interval": "soon"}'}) is None


def test_reserved_labels_are_found_by_their_prefix() -> None:
    assert naming.reserved({"zun.new": "1", "zunami": "2", "com.example": "3"}) == ["zun.new"]


def test_signing_twice_changes_nothing() -> None:
    once = naming.signed(made()[1], KEY)
    assert naming.signed(once, KEY) == once
