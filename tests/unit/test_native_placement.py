"""Where a new replica goes, and why it goes nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.model import Placement, Port, Sidecar, Template
from zun_coe.native.placement import Claim, HostView, Needs, Refused, place

MIB = 1 << 20


def needs(volumes: dict[str, str] | None = None, placement: Placement | None = None, **fields: Any) -> Needs:
    template = Template(image="i", **fields)
    return Needs.of("w", "h", template, placement or Placement(), volumes or {})


def refused(wanted: Needs, *hosts: HostView) -> Refused:
    answer = place(wanted, hosts)
    assert isinstance(answer, Refused), answer
    return answer


@pytest.mark.parametrize(
    ("host", "wanted", "reason", "words"),
    [
        (HostView("a", reachable=False), needs(), "Unschedulable", "a: it is away"),
        (HostView("a", schedulable=False), needs(), "Unschedulable", "a: it takes nothing new"),
        (HostView("a", cpus=2), needs(cpu=2.5), "Unschedulable", "a: it has 2 CPUs"),
        (HostView("a", memory=64 * MIB), needs(memory="65Mi"), "Unschedulable", "64Mi of memory left"),
        (HostView("a"), needs(gpu=1), "Unschedulable", "a: it has 0 GPUs"),
        (
            HostView("a", {"disk": "hdd"}),
            needs(placement=Placement(constraints={"disk": "ssd"})),
            "Unschedulable",
            "the label disk=ssd",
        ),
        (
            HostView("a", claims=(Claim("other", 1, "x", ports=frozenset({(80, "tcp")})),)),
            needs(ports=(Port(port=8, publish=80),)),
            "PortConflict",
            "port 80/tcp is taken",
        ),
    ],
)
def test_what_is_in_the_way_is_said(host: HostView, wanted: Needs, reason: str, words: str) -> None:
    answer = refused(wanted, host)
    assert answer.reason == reason
    assert words in answer.message


def test_the_same_number_for_another_protocol_is_another_port() -> None:
    host = HostView("a", claims=(Claim("other", 1, "x", ports=frozenset({(53, "udp")})),))
    assert place(needs(ports=(Port(port=53, publish=53),)), [host]) == "a"


def test_memory_is_promised_once() -> None:
    host = HostView("a", memory=100 * MIB, claims=(Claim("other", 1, "x", memory=60 * MIB),))
    assert place(needs(memory="40Mi"), [host]) == "a"
    assert "40Mi of memory left" in refused(needs(memory="41Mi"), host).message


def test_sidecars_count() -> None:
    wanted = needs(memory="30Mi", sidecars=(Sidecar(name="s", image="i", memory="30Mi"),))
    refused(wanted, HostView("a", memory=50 * MIB))


def test_a_volume_leads_to_its_host() -> None:
    hosts = [HostView("a"), HostView("b", volumes=frozenset({"zun-v"}))]
    assert place(needs({"zun-v": "data"}), hosts) == "b"
    away = refused(needs({"zun-v": "data"}), hosts[0], replace(hosts[1], reachable=False))
    assert away.reason == "VolumeUnavailable"


def test_volumes_on_different_hosts_cannot_be_had_at_once() -> None:
    hosts = [HostView("a", volumes=frozenset({"zun-u"})), HostView("b", volumes=frozenset({"zun-v"}))]
    assert refused(needs({"zun-v": "v", "zun-u": "u"}), *hosts).reason == "VolumeUnavailable"


def test_a_volume_is_not_made_anew_while_a_host_may_have_it() -> None:
    hosts = [HostView("a"), HostView("b", volumes=None, reachable=False)]
    assert "may have the volume data" in refused(needs({"zun-v": "data"}), *hosts).message
    known = [HostView("a", volumes=frozenset({"zun-v"})), hosts[1]]
    assert place(needs({"zun-v": "data"}), known) == "a"


def test_a_cluster_without_hosts() -> None:
    assert "no hosts" in refused(needs()).message


@given(st.integers(1, 6), st.integers(1, 30))
def test_replicas_are_spread_evenly(hosts: int, replicas: int) -> None:
    views = {str(n): HostView(str(n)) for n in range(hosts)}
    for slot in range(replicas):
        name = place(needs(), list(views.values()))
        assert isinstance(name, str)
        views[name] = views[name].holding(needs().claim(slot))
    counts = [len(view.claims) for view in views.values()]
    assert max(counts) - min(counts) <= 1


@given(st.lists(st.sampled_from("xyz"), min_size=1, max_size=6), st.integers(1, 20))
def test_replicas_are_spread_over_the_values_of_a_label(zones: list[str], replicas: int) -> None:
    views = {str(n): HostView(str(n), {"zone": zone}) for n, zone in enumerate(zones)}
    wanted = needs(placement=Placement(spread="zone"))
    for slot in range(replicas):
        name = place(wanted, list(views.values()))
        assert isinstance(name, str)
        views[name] = views[name].holding(wanted.claim(slot))
    counts = dict.fromkeys(zones, 0)
    for view in views.values():
        counts[view.labels["zone"]] += len(view.claims)
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.integers(1, 5), st.integers(1, 5))
def test_the_replicas_of_a_new_template_are_spread_whatever_the_old_ones_do(hosts: int, old: int) -> None:
    crowded = HostView("0", claims=tuple(Claim("w", s, "old") for s in range(old)))
    views = {"0": crowded} | {str(n): HostView(str(n)) for n in range(1, hosts)}
    for slot in range(hosts):
        name = place(needs(), list(views.values()))
        assert isinstance(name, str)
        views[name] = views[name].holding(needs().claim(slot))
    assert all(sum(c.hash == "h" for c in view.claims) == 1 for view in views.values())
