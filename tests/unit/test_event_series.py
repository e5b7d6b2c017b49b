"""Messages that say the same of different occasions are equal once they are normalised; others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zun_coe.model.event_series import normalised

SAME = {
    "an id of a container": (
        "web-1: container 4f5a1c9e0b7d ended",
        "web-1: container 0d2b6fe81c33 ended",
    ),
    "a UUID": (
        "pod 0b5c9a52-6a55-4a8e-9d58-0d60cbb1f1ce is gone",
        "pod 4d6fd7c1-97c0-45e0-8de8-ba8a6d7c0f57 is gone",
    ),
    "a digest": (
        "pull of busybox@sha256:4be429a5fbb2e71ae7958bfa558bc637cf3a61baf40a708cb8fff532b39e52d0 failed",
        "pull of busybox@sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7 failed",
    ),
    "an address with a port": (
        "dial tcp 10.0.0.4:8080: connect: connection refused",
        "dial tcp 10.0.17.211:9090: connect: connection refused",
    ),
    "an IPv6 address": ("dial tcp [fe80::1]:80: no route", "dial tcp [2001:db8:0:1::17]:8443: no route"),
    "a delay": ("back-off 10s restarting failed container", "back-off 2m40s restarting failed container"),
    "a duration in words": ("tried again in 1.5 seconds", "tried again in 3 seconds"),
    "a time": ("last seen 2026-01-02T03:04:05.678Z, then lost", "last seen 2026-11-12T13:14:15Z, then lost"),
    "a generated name": (
        'failed to create sandbox for "web-7d9f8b6c5d-x2x4q": no network',
        'failed to create sandbox for "web-65b8d4bf7c-qqz9l": no network',
    ),
    "a sandbox whose name has the ids of the pod and the try": (
        'sandbox container "4f5a1c9e0b7d" of pod "web-7d9f8b6c5d-x2x4q_zun-blue": dial tcp 10.96.0.1:443: refused',
        'sandbox container "0d2b6fe81c33" of pod "web-7d9f8b6c5d-qqz9l_zun-blue": dial tcp 10.96.0.1:443: refused',
    ),
    "a sandbox whose name is taken": (
        'failed to reserve sandbox name "web-65b8d4bf7c-x2x4q_blue_0d2b6fe8_7": reserved for "4f5a1c9e0b7d"',
        'failed to reserve sandbox name "web-65b8d4bf7c-x2x4q_blue_9ae97d36_8": reserved for "0d2b6fe81c33"',
    ),
    "a pointer": ("panic at 0xc0000b4000", "panic at 0xc0001f2a80"),
    "a count": ("The engine restarted it (3 times so far).", "The engine restarted it (27 times so far)."),
}

DIFFERENT = {
    "the reason": ("CrashLoop: it ended", "OutOfMemory: it ended"),
    "a name": ("The volume data is in use", "The volume logs is in use"),
    "words that are hexadecimal": ("the facade is dead", "the decade is dead"),
    "the state": ("It is Running.", "It is Degraded."),
}


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_what_differs_by_occasion_does_not_count(pair: tuple[str, str]) -> None:
    first, second = pair
    assert first != second
    assert normalised(first) == normalised(second)


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_what_is_different_stays_different(pair: tuple[str, str]) -> None:
    first, second = pair
    assert normalised(first) != normalised(second)


def test_words_stay() -> None:
    text = "The app web-frontend can't be reached: added a bad cafe"
    assert normalised(text) == text


@given(st.text())
def test_normalised_twice_is_normalised_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_never_make_a_difference(first: int, second: int) -> None:
    assert normalised(f"tried {first} times") == normalised(f"tried {second} times")
