"""Statuses of any size: in parts where they are large, the same whole in the copy, one change at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.model import ClusterInfo, ClusterStatus, Endpoint, Instance, Node, Observation, Status, Value, WorkloadRef
from zun_coe.model.evidence import (
    BYTES,
    ENDPOINTS,
    TEXT,
    capped,
    capped_endpoints,
    capped_info,
    capped_observation,
    cut,
)
from zun_coe.model.parts import RUN, Part, divide, unpacked, whole
from zun_coe.store.records import decode, encode, part_key, type_of

jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2000),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=200), inner, max_size=30),
    max_leaves=40,
)
evidences = st.dictionaries(st.text(max_size=200), jsons, max_size=25)


@given(evidences)
def test_capped_evidence_is_small_and_stays_as_it_is(evidence: dict[str, Any]) -> None:
    once = capped(evidence)
    assert len(msgspec.json.encode(once)) <= BYTES + 10
    assert capped(once) == once
    assert decode_json(once) == once


def decode_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


@given(st.text(max_size=3000))
def test_a_text_is_cut_once(text: str) -> None:
    assert len(cut(text)) <= TEXT
    assert cut(cut(text)) == cut(text)
    assert len(text) > TEXT or cut(text) == text


def test_small_evidence_stays_whole() -> None:
    evidence = {"status": 500, "message": "no", "list": [1, {"a": None}]}
    assert capped(evidence) == evidence


def test_an_observation_is_capped_in_all_of_its_places() -> None:
    large = {"output": "x" * 100_000}
    instance = Instance(native_id="1", message="m" * 5000, evidence=large)
    ref = WorkloadRef(installation="i", cluster="c", project="p", noun="app", id="1", name="web")
    seen = capped_observation(Observation(ref=ref, instances=(instance,), message="m" * 5000, evidence=large))
    assert len(encode(seen)) < 6000
    assert capped_observation(seen) == seen


def test_a_description_of_a_cluster_is_capped_in_all_of_its_places() -> None:
    large = "x" * 100_000
    node = Node(
        name=large,
        address=large,
        labels={f"{n}{large}": large for n in range(1000)} | {"a": "b"},
        version=large,
        message=large,
        facts={"os": large, "taints": [large] * 1000},
    )
    told = capped_info(ClusterInfo(identity=f"a={large}\nb=2", versions={"docker": {"engine": large}}, nodes=(node,)))
    assert len(encode(told)) < 500_000
    assert capped_info(told) == told
    assert told.identity.endswith("\nb=2")


def test_a_description_of_usual_size_stays_as_it_is() -> None:
    facts = {"runtime": "containerd://1.7.2", "taints": ["gpu"]}
    nodes = tuple(Node(name=f"n{n}", labels={"kubernetes.io/os": "linux"}, facts=facts) for n in range(5000))
    info = ClusterInfo(identity="namespace/web=1", versions={"kubernetes": {"negotiated": "v1.30.1"}}, nodes=nodes)
    assert capped_info(info) == info


def test_a_port_on_every_node_of_a_large_cluster() -> None:
    ports = range(1, 65)
    every = [
        Endpoint(address=f"10.0.{n // 256}.{n % 256}", port=30000 + p, target=p) for p in ports for n in range(1500)
    ]
    kept = capped_endpoints(every)
    assert len(kept) <= ENDPOINTS
    assert {endpoint.target for endpoint in kept} == set(ports)
    assert capped_endpoints(kept) == kept
    few = every[:ENDPOINTS]
    assert capped_endpoints([*few, *few]) == tuple(few)


def instances(count: int, start: int = 0) -> tuple[Instance, ...]:
    many = range(start, start + count)
    return tuple(Instance(native_id=f"n{n}", slot=n + 1, evidence={"exit": n % 3} if n % 2 else {}) for n in many)


class Kept:
    """What a store would have of one status."""

    def __init__(self) -> None:
        self.parts: dict[str, Value] = {}
        self.writes = 0

    def write(self, status: Value) -> Value:
        """What is read after it was written."""
        self.writes += 1
        divided = divide(status, f"w{self.writes}", self.find)
        for name, part in divided.new.items():
            assert name not in self.parts, "a part never changes"
            self.parts[name] = unpacked(decode(encode(part), type(part)))
        kept = decode(encode(divided.status), type(divided.status))
        self.new = set(divided.new)
        return whole(kept, lambda name: self.parts[name])  # type: ignore[arg-type, return-value]  # they are parts

    def find(self, name: str) -> Part | None:
        return self.parts.get(name)  # type: ignore[return-value]  # they are parts


def test_what_is_read_is_what_was_written() -> None:
    kept = Kept()
    status = Status(phase="Running")
    for count in (0, 1, RUN, RUN + 1, 500, 500, 499, 3, 0, 200):
        status = msgspec.structs.replace(status, instances=instances(count))
        read = kept.write(status)
        assert isinstance(read, Status)
        assert read.instances == status.instances
        assert bool(read.parts) is (count > RUN)
        status = read


def test_only_parts_that_differ_are_written_again() -> None:
    kept = Kept()
    first = kept.write(Status(instances=instances(500)))
    assert isinstance(first, Status)
    assert len(kept.new) == -(-500 // RUN)
    changed = list(first.instances)
    changed[RUN] = msgspec.structs.replace(changed[RUN], ready=True)
    second = kept.write(msgspec.structs.replace(first, instances=tuple(changed)))
    assert kept.new == {"w2-1"}
    third = kept.write(second)
    assert kept.new == set()
    assert third == second


def test_nodes_of_a_cluster_are_in_parts_too() -> None:
    kept, nodes = Kept(), tuple(Node(name=f"node-{n}", facts={"k": "v" * 1000}) for n in range(1500))
    read = kept.write(ClusterStatus(info=ClusterInfo(identity="i", nodes=nodes)))
    assert isinstance(read, ClusterStatus)
    assert read.info is not None
    assert read.info.nodes == nodes
    few = kept.write(msgspec.structs.replace(read, info=msgspec.structs.replace(read.info, nodes=nodes[:2])))
    assert isinstance(few, ClusterStatus)
    assert few.parts == ()


def test_a_status_of_before_is_read_as_it_was() -> None:
    old = b'{"phase":"Running","instances":[{"native_id":"a"},{"native_id":"b"}]}'
    status = decode(old, Status)
    assert [i.native_id for i in whole(status, lambda name: pytest.fail(name)).instances] == ["a", "b"]


def test_equal_evidence_is_kept_once() -> None:
    evidence = {"output": "y" * 3000}
    many = tuple(Instance(native_id=f"n{n}", evidence=dict(evidence)) for n in range(RUN + 1))
    divided = divide(Status(instances=many), "w", lambda name: None)
    assert sum(len(encode(part)) for part in divided.new.values()) < 2 * 3000 + 400 * (RUN + 1)
    assert type_of(part_key("app", "p", "1", "w-0")) is type(divided.new["w-0"])
