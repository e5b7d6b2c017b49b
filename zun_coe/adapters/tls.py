"""TLS contexts from PEM texts, for every connection that shows a client certificate.

The ssl module reads private keys from files only. A key in a file of the temporary folder stays there when the
process is killed, so it is given as a file that exists in memory alone."""

from __future__ import annotations

import os
import re
import ssl

from zun_coe.errors import causes

_REFUSED = re.compile(r"certificate|alert|PEM|X509|key values mismatch", re.IGNORECASE)


def client_context(
    ca_cert: str | None = None, client_cert: str | None = None, client_key: str | None = None
) -> ssl.SSLContext:
    """How to connect: only to servers whose certificate is signed by the given authorities, or by the system's
    where none is given. The environment (`SSL_CERT_FILE`) does not choose them. Texts are PEM. Raises `OSError`
    (`ssl.SSLError` is one) for what cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_cert:
        context.load_verify_locations(cadata=ca_cert)
    else:
        system = ssl.get_default_verify_paths()
        places = (p if os.path.exists(p) else None for p in (system.openssl_cafile, system.openssl_capath))
        context.load_verify_locations(*places)
    if client_cert and client_key:
        _identify(context, client_cert, client_key)
    return context


def is_distrust(error: BaseException) -> bool:
    """Whether a connection failed because one side does not accept the other's certificate, or ours cannot be read.
    Only what TLS itself says counts: other messages contain the names of hosts. Pure."""
    return any(isinstance(cause, ssl.SSLError) and _REFUSED.search(str(cause)) for cause in causes(error))


def _identify(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a pair by way of an anonymous file in memory (memfd_create(2)), which ends with its descriptor."""
    descriptor = os.memfd_create("zun-coe-client", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{key}\n{certificate}\n")
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
