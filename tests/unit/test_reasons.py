"""Every reason is explained: what it means, what to do, and where each kind of cluster has it from."""

from __future__ import annotations

from zun_coe.adapters import kinds
from zun_coe.gateway.diagnosing import ADVICE
from zun_coe.model.reasons import MEANINGS
from zun_coe.model.status import Reason

REASONS: tuple[str, ...] = Reason.__args__  # type: ignore[attr-defined]  # typing has no public way to list a Literal


def test_what_it_means_and_what_to_do() -> None:
    assert tuple(MEANINGS) == REASONS  # what explains most comes first, as where replicas disagree
    assert set(ADVICE) == set(REASONS)


def test_where_it_comes_from() -> None:
    for kind in ("kubernetes", "native"):
        assert set(kinds()[kind].reasons) == set(REASONS)
