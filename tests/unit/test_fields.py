"""The accounting of leaves: nothing is dropped in silence, and what is refused is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.adapters.fields import (
    MAPS,
    Accounting,
    Carried,
    absent,
    covers,
    emulated,
    leaves_of,
    losses,
    native,
    pattern_of,
    refusals,
)
from zun_coe.model import (
    ClusterInfo,
    Exec,
    Health,
    Mount,
    OperationSupport,
    Placement,
    Port,
    Sidecar,
    Support,
    Template,
    Tmpfs,
    Update,
    VolumeSource,
    Workload,
    WorkloadRef,
)

INFO = ClusterInfo(identity="x")


class Everything(dict[str, Carried]):
    """Carries what it does not name."""

    def __missing__(self, key: str) -> Carried:
        return native()


def accounting(named: dict[str, Carried]) -> Accounting:
    return Everything(named)


def workload(template: Template | None = None, noun: Any = "app", **fields: Any) -> Workload:
    ref = WorkloadRef(installation="i", cluster="c", project="p", noun=noun, id="1", name="web")
    return Workload(ref=ref, template=template or Template(image="web"), hash="h", **fields)


def leaves(subject: Workload) -> dict[str, tuple[Any, bool]]:
    return {pointer: (value, changed) for pointer, value, changed in leaves_of(subject)}


def pointers(
    subject: Workload, fields: Accounting, info: ClusterInfo = INFO, accept: tuple[str, ...] = ()
) -> list[str]:
    return [r.pointer for r in refusals(subject, fields, info, accept)]


def test_leaves_of_a_bare_app_are_its_defaults() -> None:
    assert leaves(workload()) == {
        "/image": ("web", True),
        "/pull": ("missing", False),
        "/tty": (False, False),
        "/stdin": (False, False),
        "/gpu": (0, False),
        "/restart": ("always", False),
        "/stop_timeout": (10, False),
        "/desired_state": ("running", False),
        "/replicas": (1, False),
        "/update/strategy": ("rolling", False),
        "/update/max_surge": (1, False),
        "/update/max_unavailable": (0, False),
        "/update/min_ready": (0, False),
        "/update/deadline": (600, False),
        "/update/paused": (False, False),
        "/update/on_failure": ("pause", False),
    }


def test_leaves_of_a_container_have_nothing_of_an_app() -> None:
    found = leaves(workload(noun="container"))
    assert not [p for p in found if p.split("/")[1] in ("replicas", "update", "placement")]


def test_lists_of_objects_are_walked_and_lists_of_text_are_leaves() -> None:
    template = Template(
        image="web",
        args=("a", "b"),
        ports=(Port(port=80), Port(port=81, publish="auto")),
        health=Health(exec=Exec(command=("true",))),
        mounts=(Mount(path="/d", volume=VolumeSource(name="d", class_="fast")),),
        sidecars=(Sidecar(name="s", image="s", mounts=(Mount(path="/t", tmpfs=Tmpfs(size="1Mi")),)),),
    )
    found = leaves(workload(template))
    assert found["/args"] == (["a", "b"], True)
    assert found["/ports/1/publish"] == ("auto", True)
    assert found["/ports/0/protocol"] == ("tcp", False)
    assert found["/health/exec/command"] == (["true"], True)
    assert found["/health/interval"] == (10, False)
    assert found["/mounts/0/volume/class"] == ("fast", True)
    assert found["/sidecars/0/mounts/0/tmpfs/size"] == ("1Mi", True)


def test_maps_of_users_are_one_leaf_whatever_their_keys() -> None:
    template = Template(image="web", env={"labels": "x", "a/b": "y"}, env_secrets={"P": "db/p"})
    subject = workload(template, labels={"env": "1"}, placement=Placement(constraints={"zone": "a"}))
    found = leaves(subject)
    assert found["/env"] == ({"labels": "x", "a/b": "y"}, True)
    assert found["/env_secrets"] == ({"P": "db/p"}, True)
    assert found["/labels"] == ({"env": "1"}, True)
    assert found["/placement/constraints"] == ({"zone": "a"}, True)


def test_memory_as_a_file_system_counts_even_without_a_size() -> None:
    found = leaves(workload(Template(image="web", mounts=(Mount(path="/t", tmpfs=Tmpfs()),))))
    assert found["/mounts/0/tmpfs"] == ({}, True)


@pytest.mark.parametrize(
    ("pointer", "pattern"),
    [
        ("/image", "/image"),
        ("/ports/0/publish", "/ports/*/publish"),
        ("/sidecars/12/mounts/3/path", "/sidecars/*/mounts/*/path"),
        ("/args", "/args"),
    ],
)
def test_patterns(pointer: str, pattern: str) -> None:
    assert pattern_of(pointer) == pattern


def test_what_is_not_carried_is_refused_when_it_is_asked_for() -> None:
    fields = accounting({"/gpu": absent("There are none."), "/tty": absent("No terminals.")})
    assert pointers(workload(), fields) == []
    (refusal,) = refusals(workload(Template(image="web", gpu=1)), fields, INFO)
    assert (refusal.pointer, refusal.detail, refusal.value) == ("/gpu", "There are none.", False)


def test_every_item_of_a_list_is_refused_by_itself() -> None:
    template = Template(image="web", ports=(Port(port=80, publish=80), Port(port=81), Port(port=82, publish=82)))
    assert pointers(workload(template), accounting({"/ports/*/publish": absent("No.")})) == [
        "/ports/0/publish",
        "/ports/2/publish",
    ]


def test_values_are_judged_defaults_included() -> None:
    def judge(_: Workload, value: Any, info: ClusterInfo) -> str | None:
        assert info is INFO
        return f"Not {value}." if value in (600, "rolling") else None

    fields = accounting({"/update/deadline": native(accepts=judge), "/update/strategy": emulated("Slow.", judge)})
    found = refusals(workload(), fields, INFO)
    assert [(r.pointer, r.detail, r.value) for r in found] == [
        ("/update/strategy", "Not rolling.", True),
        ("/update/deadline", "Not 600.", True),
    ]
    assert pointers(workload(update=Update(deadline=5, strategy="recreate")), fields) == []


def test_cluster_can_carry_less_than_its_kind() -> None:
    less = ClusterInfo(identity="x", overrides={"/gpu": OperationSupport(support=Support.NONE, note="No driver.")})
    (refusal,) = refusals(workload(Template(image="web", gpu=1)), accounting({}), less)
    assert refusal.detail == "No driver."


def test_cluster_can_carry_more_than_its_kind() -> None:
    more = ClusterInfo(identity="x", overrides={"/gpu": OperationSupport(support=Support.NATIVE)})
    assert pointers(workload(Template(image="web", gpu=1)), accounting({"/gpu": absent("None.")}), more) == []


def test_field_that_is_not_accounted_for_is_an_error() -> None:
    with pytest.raises(KeyError):
        refusals(workload(), {"/image": native()}, INFO)


def test_accepted_loss_covers_what_is_below_it_and_nothing_else() -> None:
    template = Template(
        image="web", gpu=1, sidecars=(Sidecar(name="s", image="s"), Sidecar(name="t", image="t", user="1"))
    )
    none = absent("No.")
    named = {f"/sidecars/*/{f}": none for f in ("name", "image", "user")} | {"/gpu": none}
    fields = Everything(named)
    subject = workload(template)
    assert pointers(subject, fields, accept=("/sidecars",)) == ["/gpu"]
    assert pointers(subject, fields, accept=("/sidecars/0",)) == [
        "/gpu",
        "/sidecars/1/name",
        "/sidecars/1/image",
        "/sidecars/1/user",
    ]
    assert pointers(subject, fields, accept=("/side", "/gp")) == pointers(subject, fields)
    assert [r.pointer for r in losses(subject, fields, INFO, ("/gpu", "/sidecars/1"))] == [
        "/gpu",
        "/sidecars/1/name",
        "/sidecars/1/image",
        "/sidecars/1/user",
    ]
    assert losses(subject, fields, INFO, ()) == []


@pytest.mark.parametrize(
    ("accepted", "pointer", "expected"),
    [
        ("/a", "/a", True),
        ("/a", "/a/0/b", True),
        ("/a/", "/a/b", True),
        ("/a", "/ab", False),
        ("/a/b", "/a", False),
    ],
)
def test_covers(accepted: str, pointer: str, expected: bool) -> None:
    assert covers(accepted, pointer) is expected


TEXTS = st.text(max_size=3)
TEMPLATES = st.builds(
    Template,
    image=st.just("web"),
    command=st.none() | st.lists(TEXTS, max_size=2).map(tuple),
    env=st.dictionaries(TEXTS, TEXTS, max_size=2),
    ports=st.lists(st.builds(Port, port=st.integers(1, 9), publish=st.none() | st.integers(1, 9)), max_size=2).map(
        tuple
    ),
    cpu=st.none() | st.floats(0.1, 4),
    gpu=st.integers(0, 2),
    mounts=st.lists(st.builds(Mount, path=TEXTS, tmpfs=st.none() | st.builds(Tmpfs)), max_size=2).map(tuple),
    sidecars=st.lists(st.builds(Sidecar, name=TEXTS, image=TEXTS, env=st.dictionaries(TEXTS, TEXTS)), max_size=2).map(
        tuple
    ),
)


@given(TEMPLATES, st.sampled_from(["app", "container"]))
def test_what_is_changed_is_among_the_leaves_and_nothing_hides(template: Template, noun: str) -> None:
    """Refusing everything that can be refused names exactly what differs from the defaults."""
    subject = workload(template, noun=noun)
    found = leaves(subject)
    refused = {r.pointer for r in refusals(subject, _Nothing(), INFO)}
    assert refused == {p for p, (_, changed) in found.items() if changed}
    for pointer, (value, _) in found.items():
        assert not isinstance(value, Mapping) or value == {} or pointer.rsplit("/", 1)[-1] in MAPS


class _Nothing(dict[str, Carried]):
    """Carries nothing."""

    def __missing__(self, key: str) -> Carried:
        return absent("No.")
