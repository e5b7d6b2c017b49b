"""Which keys are due after a listing, and what of it a worker may use."""

from __future__ import annotations

import time

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.engine.acting import Key
from zun_coe.engine.sightings import FRESH, TURNS, Sightings
from zun_coe.model import Instance, Observation, WorkloadRef

KEYS = [Key("app", "default", f"id-{n}") for n in range(30)]
RECORDS = dict.fromkeys(KEYS, (1, 2))


def seen(key: Key, **fields: object) -> Observation:
    ref = WorkloadRef(installation="i", cluster="c", project=key.project, noun="app", id=key.id, name=key.id)
    return msgspec.structs.replace(Observation(ref=ref, instances=(Instance(native_id=f"{key.id}-1"),)), **fields)


ALL = {key: seen(key) for key in KEYS}


def rested() -> Sightings:
    """After every key of a first listing was found to be in order."""
    sightings = Sightings()
    for key in sightings.listed(time.monotonic(), ALL, RECORDS):
        sightings.take(key)
        sightings.done(key, quiet=True)
    return sightings


def test_the_first_listing_makes_everything_due() -> None:
    assert set(Sightings().listed(0.0, ALL, RECORDS)) == set(KEYS)


def test_what_rests_is_due_in_turn() -> None:
    sightings = rested()
    turns = [set(sightings.listed(time.monotonic(), ALL, RECORDS)) for _ in range(TURNS)]
    assert sum(map(len, turns)) == len(KEYS)
    assert set().union(*turns) == set(KEYS)


def test_what_changed_is_due() -> None:
    others = [
        (ALL | {KEYS[3]: seen(KEYS[3], hash="another")}, RECORDS),
        ({key: o for key, o in ALL.items() if key != KEYS[3]}, RECORDS),
        (ALL, RECORDS | {KEYS[3]: (3, 2)}),
        (ALL, RECORDS | {KEYS[3]: (1, 3)}),
    ]
    for found, records in others:
        sightings = rested()
        for _ in range(TURNS):
            assert KEYS[3] in sightings.listed(time.monotonic(), found, records)


def test_what_is_not_in_order_is_due_again() -> None:
    sightings = Sightings()
    for key in sightings.listed(time.monotonic(), ALL, RECORDS):
        sightings.take(key)
        sightings.done(key, quiet=False)
    assert set(sightings.listed(time.monotonic(), ALL, RECORDS)) == set(KEYS)


def test_what_is_worked_on_does_not_rest_until_it_is_found_in_order_again() -> None:
    sightings = rested()
    sightings.take(KEYS[0])
    assert KEYS[0] in sightings.listed(time.monotonic(), ALL, RECORDS)
    sightings.done(KEYS[0], quiet=False)
    assert KEYS[0] in sightings.listed(time.monotonic(), ALL, RECORDS)


def test_an_observation_is_used_once_and_only_if_nobody_has_looked_since_it_began() -> None:
    sightings = Sightings()
    sightings.listed(time.monotonic(), ALL, RECORDS)
    assert sightings.take(KEYS[0]) == ALL[KEYS[0]]
    sightings.done(KEYS[0], quiet=True)
    assert sightings.take(KEYS[0]) is None

    began = time.monotonic()
    sightings.take(KEYS[1])
    sightings.listed(began, ALL, RECORDS)
    sightings.done(KEYS[1], quiet=False)
    assert sightings.take(KEYS[1]) is None


def test_what_was_listed_before_a_hint_is_not_used() -> None:
    sightings = Sightings()
    sightings.listed(time.monotonic(), ALL, RECORDS)
    sightings.hint(KEYS[0])
    assert sightings.take(KEYS[0]) is None

    began = time.monotonic()
    sightings.hint(KEYS[1])  # while the cluster is listed
    sightings.listed(began, ALL, RECORDS)
    assert sightings.take(KEYS[1]) is None

    sightings.hint(KEYS[2])
    sightings.listed(time.monotonic(), ALL, RECORDS)
    assert sightings.take(KEYS[2]) == ALL[KEYS[2]]


def test_an_old_observation_is_not_used() -> None:
    sightings = Sightings()
    sightings.listed(time.monotonic() - FRESH, ALL, RECORDS)
    assert sightings.take(KEYS[0]) is None


@given(st.lists(st.tuples(st.sampled_from(KEYS[:3]), st.booleans(), st.booleans())))
def test_nothing_rests_that_was_not_in_order_the_last_time(steps: list[tuple[Key, bool, bool]]) -> None:
    """Keys are worked on, found in order or not, and listed, in any order: only those may be left out of a
    listing that were found in order when they were last worked on."""
    sightings, quiet_last = Sightings(), dict.fromkeys(KEYS[:3], False)
    for key, quiet, list_first in steps:
        if list_first:
            wanted = {k: (1, 2) for k in quiet_last}
            due = sightings.listed(time.monotonic(), {k: ALL[k] for k in quiet_last}, wanted)
            assert all(quiet_last[k] for k in quiet_last.keys() - set(due))
        sightings.take(key)
        sightings.done(key, quiet=quiet)
        quiet_last[key] = quiet
