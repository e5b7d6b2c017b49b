"""When credentials expire, as they say themselves."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.real.certificates import Authority
from zun_coe.adapters.expiry import expiry

END = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)


def jwt(claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def test_a_token_says_it() -> None:
    assert expiry(token=jwt({"exp": END.timestamp(), "sub": "ü"})) == END


@pytest.mark.parametrize(
    "token", ["", "abc", "a.b.c", "a.b", jwt({}), jwt({"exp": "soon"}), jwt({"exp": 1e300}), jwt([])]
)
def test_tokens_that_do_not(token: str) -> None:
    assert expiry(token=token) is None


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    expiry(text, text)


def test_a_certificate_says_it_and_the_earlier_end_counts() -> None:
    certificate = Authority().credentials("us")["client_cert"]
    end = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
    assert expiry(certificate) == end
    assert expiry(certificate, jwt({"exp": end.timestamp() - 60})) == end - timedelta(seconds=60)
    assert expiry(certificate, jwt({"exp": end.timestamp() + 60})) == end
    assert expiry("nonsense", jwt({"exp": END.timestamp()})) == END
