"""The rules of both stores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zun_coe.errors import Fenced
from zun_coe.store import At, Held, Missing, Present
from zun_coe.store.rules import State, failure, prefix_end

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(prefix=TEXT, key=TEXT)
def test_a_range_of_keys_is_a_prefix(prefix: str, key: str) -> None:
    first, end = prefix.encode(), prefix_end(prefix.encode())
    assert (first <= key.encode() < end) == key.startswith(prefix)
    assert first <= (prefix + key).encode() < end


CONDITIONS = st.one_of(
    st.builds(Missing, st.just("a")),
    st.builds(Present, st.just("a")),
    st.builds(At, st.just("a"), st.integers(1, 3)),
    st.builds(Held, st.just("a"), st.integers(1, 3)),
)
STATES = st.none() | st.builds(State, st.integers(1, 3), st.none() | st.integers(1, 3))


@given(conditions=st.lists(CONDITIONS, max_size=5), state=STATES)
def test_a_transaction_fails_when_one_of_its_conditions_does(
    conditions: list[Missing | Present | At | Held], state: State | None
) -> None:
    states = {} if state is None else {"a": state}
    each = [failure([condition], states) for condition in conditions]
    told = failure(conditions, states)
    failed = [error for error in each if error]
    assert (told is None) == (not failed)
    if any(isinstance(error, Fenced) for error in failed):
        assert isinstance(told, Fenced)
    elif failed:
        assert str(told) == str(failed[0])
