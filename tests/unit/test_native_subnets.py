"""Subnets of new networks: out of the pool, each once, and none that anybody else uses."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.config import ConfigError, load
from zun_coe.native.subnets import AddressPool, routes, understood

POOL = AddressPool(IPv4Network("10.213.0.0/22"), 26)
NETWORKS = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    st.integers(0, 2**11 - 1).map(lambda low: int(IPv4Network("10.213.0.0/21").network_address) + low),
    st.integers(16, 32),
)


@given(st.lists(NETWORKS, max_size=8))
def test_what_is_free_is_of_the_pool_and_overlaps_with_nothing_that_is_in_use(used: list[IPv4Network]) -> None:
    free = list(POOL.free(used))
    assert len(set(free)) == len(free)
    for subnet in free:
        assert subnet.prefixlen == 26
        assert subnet.subnet_of(POOL.network)
        assert not any(subnet.overlaps(network) for network in used if network.prefixlen >= 22)


def test_the_pool_is_used_to_its_end() -> None:
    used: list[IPv4Network] = []
    while (subnet := next(POOL.free(used), None)) is not None:
        used.append(subnet)
    assert len(used) == POOL.size == 16
    assert list(POOL.free(used[1:])) == used[:1]


def test_a_route_to_all_that_is_private_takes_nothing_from_the_pool() -> None:
    assert len(list(POOL.free([IPv4Network("10.0.0.0/8")]))) == POOL.size
    assert not list(POOL.free([POOL.network]))


def test_what_is_no_ipv4_network_is_in_nobodys_way() -> None:
    told = ["10.1.2.3", "10.2.0.0/16", "fe80::/64", "host.example", "None", "10.3.0.1/24"]
    assert [str(n) for n in understood(told)] == ["10.1.2.3/32", "10.2.0.0/16", "10.3.0.0/24"]


def test_routes_of_a_machine(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "br0\t0005D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert [str(n) for n in routes(table)] == ["10.213.0.0/16", "10.213.5.0/24"]
    assert routes(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("pool", "prefix"),
    [("10.213.0.1/16", 24), ("anything", 24), ("fd00::/64", 80), ("10.1.0.0/16", 15), ("10.1.0.0/24", 30)],
)
def test_a_pool_that_is_none_is_refused_at_the_start(pool: str, prefix: int) -> None:
    with pytest.raises(ConfigError, match="network_"):
        load(environment={}, command_line={"network_pool": pool, "network_prefix": prefix})


def test_an_empty_pool_leaves_the_choice_to_the_engine() -> None:
    assert AddressPool.of(load(environment={}, command_line={"network_pool": ""}).network_pool, 24) is None
