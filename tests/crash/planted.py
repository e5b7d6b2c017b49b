"""The secrets that are planted, each to be recognised by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "planted-token-7f3a"
NEWER = "planted-newer-token-19c2"
ENV = "planted-env-secret-55d0"
LOST = "planted-unused-secret-8e81"
IMAGE = "planted-registry-password-c4b6"
WRONG = "planted-in-a-wrong-place-02aa"
PLANE_TOKEN = "planted-plane-token-61b7"
CONFIG_TOKEN = "planted-kubeconfig-token-d3e9"
RENEWED = "planted-renewed-token-90fc"
DRIFTED = "planted-by-somebody-else-2b48"

_key = ec.derive_private_key(int.from_bytes(b"planted-client-key-a81d", "big"), ec.SECP256R1())
KEY = _key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
"""A client's key, always the same."""

ALL = (TOKEN, NEWER, ENV, LOST, IMAGE, WRONG, PLANE_TOKEN, CONFIG_TOKEN, RENEWED, DRIFTED, KEY.splitlines()[1])


def certificate() -> str:
    """One for the key, which its owner has signed."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "planted")])
    builder = x509.CertificateBuilder(
        name, name, _key.public_key(), 1, datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)
    )
    return builder.sign(_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
