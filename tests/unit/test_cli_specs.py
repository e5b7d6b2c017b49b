"""From flags to bodies: what is understood, and what is said about what is not."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.cli import specs
from zun_coe.cli.specs import APP_FLAGS, CONTAINER_FLAGS, body_of, merge, unset


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("80", {"port": 80}),
        ("80:8080", {"port": 80, "publish": 8080}),
        ("80:auto", {"port": 80, "publish": "auto"}),
        ("53/udp", {"port": 53, "protocol": "udp"}),
        ("web=80:auto/tcp", {"port": 80, "publish": "auto", "protocol": "tcp", "name": "web"}),
    ],
)
def test_ports(text: str, entry: dict[str, Any]) -> None:
    assert specs.port(text) == entry


@pytest.mark.parametrize("text", ["", "x", "80:", "80:some", "80/sctp", ":80", "=80", "80:80:80", "-1"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError, match="is no port"):
        specs.port(text)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("volume=data,path=/data", {"path": "/data", "volume": {"name": "data"}}),
        (
            "volume=data,path=/data,size=1Gi,class=fast,ro",
            {"path": "/data", "read_only": True, "volume": {"name": "data", "size": "1Gi", "class": "fast"}},
        ),
        ("bind=/srv,path=/x,ro", {"path": "/x", "read_only": True, "bind": "/srv"}),
        ("tmpfs=64Mi,path=/tmp", {"path": "/tmp", "tmpfs": {"size": "64Mi"}}),
        ("tmpfs,path=/tmp,ro=false", {"path": "/tmp", "read_only": False, "tmpfs": {}}),
    ],
)
def test_mounts(text: str, entry: dict[str, Any]) -> None:
    assert specs.mount(text) == entry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path=/x", "exactly one of"),
        ("volume=a,bind=/b,path=/x", "exactly one of"),
        ("volume=a", "needs path"),
        ("volume=,path=/x", "needs a value for volume"),
        ("tmpfs,path=/x,size=1Mi", "are for volumes"),
        ("volume=a,path=/x,mode=7", "has 'mode'"),
    ],
)
def test_what_is_no_mount(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.*Write volume=data,path=/data or "):
        specs.mount(text)


@pytest.mark.parametrize(
    ("pointer", "option"),
    [
        ("/image", "--image"),
        ("/ports/0/port", "--port"),
        ("/health/http/port", "--health-http"),
        ("/env/A", "--env"),
        ("/update/max_surge", "--max-surge"),
        ("/replicas", "--replicas"),
        ("/update", None),
        ("/sidecars/0/image", None),
        ("", None),
    ],
)
def test_the_option_that_sets_a_field(pointer: str, option: str | None) -> None:
    assert specs.option_of(APP_FLAGS, pointer) == option


@pytest.mark.parametrize("text", ["x", "", "0", "11", "1.5", "١"])
def test_what_is_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number from 1 to 10"):
        specs.within(specs.whole, "a whole number", 1, 10)(text)
    assert specs.within(specs.whole, "a whole number", 1, 10)("10") == 10


def test_hosts() -> None:
    text = "name=a,endpoint=unix:///var/run/docker.sock,address=10.0.0.4,label.disk=ssd,drained"
    assert specs.host(text) == {
        "name": "a",
        "endpoint": "unix:///var/run/docker.sock",
        "address": "10.0.0.4",
        "labels": {"disk": "ssd"},
        "schedulable": False,
    }
    for wrong in ("address=10.0.0.4", "name=a,speed=9", "name"):
        with pytest.raises(ValueError, match=r"needs name|says nothing"):
            specs.host(wrong)


def test_pairs_numbers_and_tags() -> None:
    assert specs.pair("A=b=c") == ("A", "b=c")
    assert specs.pair("A=") == ("A", "")
    assert specs.pair("A-") == ("A", None)
    assert (specs.number("2"), specs.number("0.5")) == (2, 0.5)
    assert (specs.count_or_share("2"), specs.count_or_share("25%")) == (2, "25%")
    assert (specs.etag("4"), specs.etag('"4"'), specs.etag("*")) == ('"4"', '"4"', "*")
    for read, wrong in ((specs.pair, "A"), (specs.pair, "=b"), (specs.pair, "-"), (specs.number, "nan")):
        with pytest.raises(ValueError, match="is no "):
            read(wrong)
    with pytest.raises(ValueError, match="is no whole number"):
        specs.whole("1.5")
    with pytest.raises(ValueError, match="can't be split"):
        specs.words('echo "')


def test_probes() -> None:
    assert specs.http_probe("80") == {"port": 80}
    assert specs.http_probe("80/up/now") == {"port": 80, "path": "/up/now"}
    assert specs.exec_probe("sh -c 'exit 0'") == {"command": ["sh", "-c", "exit 0"]}


def test_body_of_an_app() -> None:
    values = {
        "image": "web:1",
        "replicas": 2,
        "env": (("A", "1"), ("B", "2")),
        "port": ({"port": 80},),
        "command": ["sh"],
        "arg": ("-c", "id"),
        "health_tcp": {"port": 80},
        "health_interval": 5,
        "max_surge": "25%",
        "paused": False,
        "memory": None,
        "mount": (),
    }
    assert body_of(APP_FLAGS, values) == {
        "replicas": 2,
        "image": "web:1",
        "command": ["sh"],
        "args": ["-c", "id"],
        "env": {"A": "1", "B": "2"},
        "ports": [{"port": 80}],
        "health": {"tcp": {"port": 80}, "interval": 5},
        "update": {"max_surge": "25%", "paused": False},
    }


def test_command_behind_the_dashes() -> None:
    assert body_of(CONTAINER_FLAGS, {}, ("sleep", "5")) == {"command": ["sleep"], "args": ["5"]}
    assert body_of(CONTAINER_FLAGS, {}, ("top",)) == {"command": ["top"]}
    assert body_of(CONTAINER_FLAGS, {}, ("top",), patch=True) == {"command": ["top"], "args": None}
    with pytest.raises(ValueError, match="not in both"):
        body_of(CONTAINER_FLAGS, {"arg": ("x",)}, ("top",))


def test_patches_take_away() -> None:
    assert body_of(APP_FLAGS, {"env": (("A", None),)}, patch=True) == {"env": {"A": None}}
    with pytest.raises(ValueError, match="--env A- takes something away"):
        body_of(APP_FLAGS, {"env": (("A", None),)})
    probe = body_of(APP_FLAGS, {"health_tcp": {"port": 1}}, patch=True)
    assert probe == {"health": {"tcp": {"port": 1}, "http": None, "exec": None}}
    assert body_of(APP_FLAGS, {"health_retries": 1}, patch=True) == {"health": {"retries": 1}}
    with pytest.raises(ValueError, match="exclude each other"):
        body_of(APP_FLAGS, {"health_tcp": {"port": 1}, "health_http": {"port": 1}})


def test_unset() -> None:
    patch = {"health": None, "update": {"deadline": None, "paused": None}}
    assert unset(["health", "update.deadline", "/update/paused"]) == patch
    with pytest.raises(ValueError, match="names no field"):
        unset(["/"])


def test_flags_have_names_of_their_own_and_known_fields() -> None:
    assert len({f.option for f in APP_FLAGS}) == len(APP_FLAGS)
    assert len({f.path for f in APP_FLAGS}) == len(APP_FLAGS)


names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=8)
ports = st.fixed_dictionaries(
    {"port": st.integers(0, 99999)},
    optional={
        "publish": st.one_of(st.integers(0, 99999), st.just("auto")),
        "protocol": st.sampled_from(["tcp", "udp"]),
        "name": names,
    },
)
objects = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
).filter(lambda v: isinstance(v, dict))


@given(ports)
def test_every_port_can_be_written(entry: dict[str, Any]) -> None:
    text = f"{entry['port']}"
    text = f"{entry['name']}={text}" if "name" in entry else text
    text += f":{entry['publish']}" if "publish" in entry else ""
    text += f"/{entry['protocol']}" if "protocol" in entry else ""
    assert specs.port(text) == entry


@given(names, st.text())
def test_every_variable_can_be_written(name: str, value: str) -> None:
    assert specs.pair(f"{name}={value}") == (name, value)


@given(st.text())
def test_what_is_not_understood_is_refused_and_nothing_worse(text: str) -> None:
    for flag in APP_FLAGS:
        with suppress(ValueError):
            json.dumps(flag.read(text))


@given(objects, objects)
def test_merging(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = merge(base, over)
    assert merge(merged, over) == merged
    assert merge(base, {}) == base
    assert merge({}, over) == over
    assert set(merged) == set(base) | set(over)
