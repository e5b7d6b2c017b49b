"""When credentials expire, as far as they say so themselves."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import msgspec
from cryptography import x509


class _Claims(msgspec.Struct):
    exp: float | None = None


_CLAIMS = msgspec.json.Decoder(_Claims)


def expiry(certificate: str | None = None, token: str | None = None) -> datetime | None:
    """The earlier end of a client certificate (PEM, with those after it that lead to its authority) and a token, where
    that is a JWT (RFC 7519, 4.1.4); None where neither says one, or cannot be read."""
    ends = (_of_certificate(certificate or ""), _of_token(token or ""))
    return min((end for end in ends if end is not None), default=None)


def expired(certificate: str | None = None, token: str | None = None) -> str | None:
    """What to tell whoever registers such credentials after their end; None where that is yet to come, or not known."""
    end = expiry(certificate, token)
    if end is None or end > datetime.now(UTC):
        return None
    return f"It expired at {end:%Y-%m-%d %H:%M} UTC; give one that is still valid."


def _of_certificate(text: str) -> datetime | None:
    try:
        return x509.load_pem_x509_certificates(text.encode())[0].not_valid_after_utc
    except ValueError:
        return None


def _of_token(text: str) -> datetime | None:
    parts = text.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = _CLAIMS.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return None if claims.exp is None else datetime.fromtimestamp(claims.exp, UTC)
    except (ValueError, OverflowError, OSError, msgspec.MsgspecError):
        return None
