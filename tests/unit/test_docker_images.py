"""What a registry knows an image as, of all that an engine tells of it."""

from __future__ import annotations

import pytest

from zun_coe.native.docker.images import digest_of

D = "sha256:" + "9" * 64
TOLD = [f"busybox@{D}", f"127.0.0.1:5000/web@{D}"]


@pytest.mark.parametrize(
    ("reference", "digest"),
    [
        ("busybox:1", TOLD[0]),
        ("docker.io/library/busybox", TOLD[0]),
        ("127.0.0.1:5000/web:1", TOLD[1]),
        (f"127.0.0.1:5000/web@{D}", TOLD[1]),
        ("another/web:1", None),
        ("BUSYBOX", None),
    ],
)
def test_digest_is_of_the_repository_that_was_asked_for(reference: str, digest: str | None) -> None:
    assert digest_of(TOLD, reference) == digest


def test_image_that_came_from_nowhere_has_none() -> None:
    assert digest_of([], "busybox:local") is None
