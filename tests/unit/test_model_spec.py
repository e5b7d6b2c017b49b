"""Names of templates, sizes, shares, and the two JSON forms of a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.model import (
    Exec,
    Health,
    HttpGet,
    Mount,
    Placement,
    Port,
    Sidecar,
    Template,
    Update,
    Value,
    VolumeSource,
    Workload,
    WorkloadRef,
    bytes_of,
    canonical,
    plain,
    share_of,
    template_hash,
)
from zun_coe.model.spec import Tmpfs
from zun_coe.model.value import timestamp
from zun_coe.model.workload import spec_of

FULL = Template(
    image="registry.example/web:1.2",
    image_auth="login",
    pull="always",
    command=("/bin/web",),
    args=("--verbose",),
    env={"B": "2", "A": "1"},
    env_secrets={"PASSWORD": "db/password"},
    workdir="/srv",
    user="1000",
    hostname="web",
    tty=True,
    stdin=True,
    ports=(Port(port=80, name="http", publish="auto"), Port(port=53, protocol="udp", publish=30053)),
    cpu=0.5,
    memory="128Mi",
    gpu=1,
    health=Health(http=HttpGet(port=80, path="/up"), interval=2),
    mounts=(
        Mount(path="/data", volume=VolumeSource(name="data", size="1Gi", class_="fast")),
        Mount(path="/etc/web", bind="/srv/web", read_only=True),
        Mount(path="/tmp", tmpfs=Tmpfs(size="8Mi")),
    ),
    networks=("back",),
    restart="on_failure",
    stop_signal="SIGINT",
    stop_timeout=3,
    sidecars=(Sidecar(name="log", image="log:1", health=Health(exec=Exec(command=("true",)))),),
)


def ref(noun: str = "app") -> WorkloadRef:
    return WorkloadRef(installation="i", cluster="c", project="p", noun=noun, id="1", name="web")  # type: ignore[arg-type]  # only app and container are passed


# Written down once and for all: a hash that changes would roll out every app there is.
GOLDEN = [
    (Template(image="busybox"), 0, "86f4436baf5570f69349bc6cfad53e02"),
    (Template(image="busybox"), 1, "f62a64a04580f4ca3dbcae62e2bb8342"),
    (FULL, 0, "0bf13f4e2bd6287cc3492fccc036fb90"),
    (FULL, 7, "b51cf50c923b2bdb2479931931017dee"),
]


@pytest.mark.parametrize(("template", "restarts", "expected"), GOLDEN)
def test_hash_stays_what_it_was(template: Template, restarts: int, expected: str) -> None:
    assert template_hash(template, restarts) == expected


def test_new_optional_field_changes_no_hash() -> None:
    class Newer(Template, frozen=True, kw_only=True):
        shininess: int = 3
        extras: dict[str, str] = msgspec.field(default_factory=dict)

    assert template_hash(Newer(image="busybox")) == template_hash(Template(image="busybox"))
    assert template_hash(Newer(image="busybox", shininess=4)) != template_hash(Template(image="busybox"))


def test_new_optional_field_of_an_inner_object_changes_no_hash() -> None:
    class NewerPort(Port, frozen=True, kw_only=True):
        shine: bool = False

    new = Template(image="busybox", ports=(NewerPort(port=80),))
    assert template_hash(new) == template_hash(Template(image="busybox", ports=(Port(port=80),)))


def test_default_that_is_written_out_changes_no_hash() -> None:
    assert template_hash(Template(image="a", pull="missing", gpu=0)) == template_hash(Template(image="a"))


def test_order_of_env_changes_no_hash_and_order_of_args_does() -> None:
    assert template_hash(Template(image="a", env={"A": "1", "B": "2"})) == template_hash(
        Template(image="a", env={"B": "2", "A": "1"})
    )
    assert template_hash(Template(image="a", args=("1", "2"))) != template_hash(Template(image="a", args=("2", "1")))


@pytest.mark.parametrize(
    "field", [f for f in Template.__struct_fields__ if f not in ("image", "stop_timeout", "health", "sidecars")]
)
def test_every_field_is_part_of_the_hash(field: str) -> None:
    changed = msgspec.structs.replace(Template(image="x"), **{field: getattr(FULL, field)})
    assert template_hash(changed) != template_hash(Template(image="x"))


def test_no_command_and_an_empty_one_are_two_things() -> None:
    assert template_hash(Template(image="a", command=())) != template_hash(Template(image="a"))


@given(st.builds(Template, image=st.text(min_size=1), env=st.dictionaries(st.text(), st.text()), gpu=st.integers(0, 9)))
def test_template_survives_its_json(template: Template) -> None:
    again = msgspec.json.decode(msgspec.json.encode(template), type=Template)
    assert again == template
    assert template_hash(again) == template_hash(template)
    assert len(template_hash(template)) == 32


def test_template_reads_back_from_what_users_see() -> None:
    assert msgspec.convert(plain(FULL), type=Template) == FULL


@pytest.mark.parametrize(
    ("size", "expected"),
    [("1Ki", 1024), ("64Mi", 67_108_864), ("1.5Gi", 1_610_612_736), ("0Mi", 0), ("0.5Ki", 512)],
)
def test_sizes(size: str, expected: int) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["128m", "128M", "128", "Mi", "", "x1Mi", "1 MiB", "1Ti"])
def test_other_sizes_are_refused(size: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whose sentence it is does not matter: the contract refuses these first
        bytes_of(size)


@pytest.mark.parametrize(
    ("value", "total", "up", "expected"),
    [
        (3, 10, True, 3),
        (0, 10, False, 0),
        ("25%", 10, True, 3),
        ("25%", 10, False, 2),
        ("0%", 10, True, 0),
        ("1%", 1, True, 1),
        ("99%", 1, False, 0),
        ("100%", 7, False, 7),
        ("50%", 0, True, 0),
    ],
)
def test_shares(value: int | str, total: int, up: bool, expected: int) -> None:
    assert share_of(value, total, up=up) == expected


@given(st.integers(0, 100), st.integers(0, 1000))
def test_shares_round_by_less_than_one(percent: int, total: int) -> None:
    exact = Fraction(total * percent, 100)
    low, high = (share_of(f"{percent}%", total, up=up) for up in (False, True))
    assert low <= exact <= high
    assert high - low == (exact.denominator != 1)


class Inner(Value, frozen=True, kw_only=True):
    a: int = 1
    class_: str | None = msgspec.field(default=None, name="class")


class Outer(Value, frozen=True, kw_only=True):
    name: str
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    when: datetime | None = None
    more: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    value: Outer
    shown: dict[str, Any]
    hashed: dict[str, Any]


FORMS = [
    Form(Outer(name="x"), {"name": "x", "inner": {"a": 1}, "inners": [], "more": {}}, {"name": "x"}),
    Form(
        Outer(name="x", inner=Inner(a=2, class_="c"), inners=(Inner(), Inner(a=3)), more={"k": None, "l": [1]}),
        {
            "name": "x",
            "inner": {"a": 2, "class": "c"},
            "inners": [{"a": 1}, {"a": 3}],
            "more": {"k": None, "l": [1]},
        },
        {"name": "x", "inner": {"a": 2, "class": "c"}, "inners": [{}, {"a": 3}], "more": {"k": None, "l": [1]}},
    ),
]


@pytest.mark.parametrize("form", FORMS)
def test_plain_shows_defaults_and_leaves_out_what_is_not_set(form: Form) -> None:
    assert plain(form.value) == form.shown


@pytest.mark.parametrize("form", FORMS)
def test_canonical_leaves_out_defaults(form: Form) -> None:
    assert canonical(form.value) == form.hashed


def test_times_are_text_that_sorts() -> None:
    moment = datetime(2030, 1, 2, 3, 4, 5, 60, tzinfo=UTC)
    assert timestamp(moment) == "2030-01-02T03:04:05.000060Z"
    assert plain(Outer(name="x", when=moment))["when"] == timestamp(moment)
    assert timestamp(moment) < timestamp(moment.replace(microsecond=61)) < timestamp(moment.replace(second=6))


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    assert msgspec.json.decode(b'{"name": "x", "shine": 1}', type=Outer) == Outer(name="x")


def test_spec_of_an_app_has_everything_that_was_asked_for() -> None:
    workload = Workload(
        ref=ref(), template=FULL, hash="h", replicas=2, labels={"a": "b"}, placement=Placement(spread="zone")
    )
    spec = spec_of(workload)
    assert spec.items() >= plain(FULL).items()
    assert spec["labels"] == {"a": "b"}
    assert spec["desired_state"] == "running"
    assert spec["replicas"] == 2
    assert spec["update"] == plain(Update())
    assert spec["placement"] == {"constraints": {}, "spread": "zone"}


def test_spec_of_a_container_has_nothing_of_an_app() -> None:
    spec = spec_of(Workload(ref=ref("container"), template=Template(image="a"), hash="h"))
    assert not spec.keys() & {"replicas", "update", "placement"}


@pytest.mark.parametrize(
    ("noun", "state", "wanted"),
    [("app", "running", 3), ("app", "stopped", 0), ("container", "running", 1), ("container", "stopped", 1)],
)
def test_wanted_instances(noun: str, state: Any, wanted: int) -> None:
    workload = Workload(ref=ref(noun), template=Template(image="a"), hash="h", replicas=3, desired_state=state)
    assert workload.wanted == wanted


def test_secrets_are_not_printed() -> None:
    workload = Workload(ref=ref(), template=FULL, hash="h", secrets={"db/password": "hunter2"})
    assert "hunter2" not in repr(workload)
    assert "hunter2" not in str(workload)
