"""Problems as they go out."""

from __future__ import annotations

import json

import pytest

from zun_coe.api.problems import encode
from zun_coe.model.evidence import named, quoted


def test_a_problem_goes_out_whatever_it_repeats() -> None:
    assert json.loads(encode({"detail": "half: \udfff", "evidence": {"at": object}}))["detail"] == "half: \udfff"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello", '"hello"'),
        ("a\nb\x1b\u202e\udfff", '"a\ufffdb\ufffd\ufffd\ufffd"'),
        ("x" * 61, '"' + "x" * 60 + '…"'),
        ("", '""'),
    ],
)
def test_what_was_given_is_repeated_in_one_line(text: str, told: str) -> None:
    assert quoted(text) == told


@pytest.mark.parametrize("text", ["hello", "registry.example.org:5000/web@sha256:1", "/v1/apps/a"])
def test_what_may_be_a_name_needs_no_quotation_marks(text: str) -> None:
    assert named(text) == text


@pytest.mark.parametrize("text", ["", "a b", "a\n", "-x", "x" * 101])
def test_what_is_no_name_is_quoted(text: str) -> None:
    assert named(text) == quoted(text)
