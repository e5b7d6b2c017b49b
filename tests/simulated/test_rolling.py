"""The simulated orchestrator keeps its promises, or nothing that is tested with it means anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulated.rolling import Plan, bounds, plan
from zun_coe.model import Template, Update, Workload, WorkloadRef

REF = WorkloadRef(installation="i", cluster="c", project="p", noun="app", id="1", name="web")


def workload(replicas: int = 3, **fields: Any) -> Workload:
    return Workload(ref=REF, template=Template(image="web"), hash="new", replicas=replicas, **fields)


@dataclass
class Fake:
    slot: int
    hash: str = "new"
    ready: bool = True


def old(count: int, ready: bool = True) -> list[Fake]:
    return [Fake(n + 1, "old", ready) for n in range(count)]


def carry_out(live: list[Fake], moves: Plan) -> list[Fake]:
    kept = [r for n, r in enumerate(live) if n not in moves.remove]
    return kept + [Fake(slot, hash, ready=False) for slot, hash in moves.create]


def moves_of(wanted: Workload, live: list[Fake], leaving: int = 0) -> Plan:
    return plan(wanted, live, [r.ready for r in live], leaving)


def test_scaling_fills_the_lowest_slots_and_empties_the_highest() -> None:
    assert moves_of(workload(3), [Fake(2)]) == Plan(create=((1, "new"), (3, "new")))
    assert moves_of(workload(1), [Fake(1), Fake(3), Fake(2)]) == Plan(remove=(1, 2))
    assert moves_of(workload(0), [Fake(1), Fake(2)]) == Plan(remove=(0, 1))


def test_surge_comes_before_the_old_ones_go() -> None:
    wanted = workload(3, update=Update(max_surge=1, max_unavailable=0))
    live = old(3)
    first = moves_of(wanted, live)
    assert first == Plan(create=((1, "new"),))
    live = carry_out(live, first)
    assert moves_of(wanted, live) == Plan()
    live[-1].ready = True
    assert moves_of(wanted, live) == Plan(remove=(2,))


def test_recreate_waits_until_all_old_ones_are_gone() -> None:
    wanted = workload(2, update=Update(strategy="recreate"))
    assert moves_of(wanted, old(2)) == Plan(remove=(0, 1))
    assert moves_of(wanted, [], leaving=2) == Plan()
    assert len(moves_of(wanted, [], leaving=0).create) == 2


def test_halted_rollout_replaces_nothing_and_keeps_the_number() -> None:
    halted = workload(3, halted=True, previous=Template(image="old"), previous_hash="old")
    assert moves_of(halted, [*old(3), Fake(1, ready=False)]) == Plan()
    assert moves_of(halted, [*old(2)]) == Plan(create=((3, "old"),))


@pytest.mark.parametrize(("surge", "missing", "expected"), [(1, 0, (4, 5)), ("50%", "50%", (2, 6)), (0, 0, (3, 4))])
def test_bounds(surge: Any, missing: Any, expected: tuple[int, int]) -> None:
    assert bounds(workload(4, update=Update(max_surge=surge, max_unavailable=missing))) == expected


UPDATES = st.builds(
    Update,
    max_surge=st.integers(0, 3) | st.sampled_from(["0%", "25%", "100%"]),
    max_unavailable=st.integers(0, 3) | st.sampled_from(["0%", "25%", "100%"]),
)


@given(UPDATES, st.integers(1, 6), st.integers(0, 6), st.data())
def test_update_keeps_within_its_bounds_and_ends(update: Update, replicas: int, before: int, data: Any) -> None:
    wanted = workload(replicas, update=update)
    fewest, most = bounds(wanted)
    live = old(before)
    promised = min(fewest, before)
    for turn in range(60):
        moves = moves_of(wanted, live)
        live = carry_out(live, moves)
        assert len(live) <= max(most, before)
        assert sum(r.ready for r in live) >= promised
        assert len({(r.slot, r.hash) for r in live}) == len(live)
        promised = max(promised, min(fewest, sum(r.ready for r in live)))
        for replica in live:
            replica.ready = replica.ready or turn > 40 or data.draw(st.booleans())
        if moves == Plan() and all(r.ready for r in live) and moves_of(wanted, live) == Plan():
            break
    assert sorted((r.slot, r.hash) for r in live) == [(n + 1, "new") for n in range(replicas)]
