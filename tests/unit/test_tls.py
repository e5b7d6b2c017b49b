"""When a connection that failed tells of distrust, whatever the hosts are called."""

from __future__ import annotations

import ssl

import pytest
import requests
import urllib3.exceptions

from tests.real.certificates import Authority
from zun_coe.adapters.kubernetes.failures import errors
from zun_coe.adapters.tls import client_context, is_distrust
from zun_coe.errors import BackendError, Denied, Unavailable
from zun_coe.native.docker.failures import translated

HOST = "alertmanager-certificate.example"
ALERT = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)")


def unreachable() -> Exception:
    pool = urllib3.HTTPSConnectionPool(HOST, 6443)
    failed = urllib3.exceptions.NewConnectionError(pool, f"Failed to connect to {HOST}: Connection refused")
    return urllib3.exceptions.MaxRetryError(pool, "/version", failed)


def distrusted() -> Exception:
    pool = urllib3.HTTPSConnectionPool(HOST, 6443)
    return urllib3.exceptions.MaxRetryError(pool, "/version", urllib3.exceptions.SSLError(ALERT))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("package", [errors, translated])
def test_a_name_is_no_alert(package: object, wrapped: bool) -> None:
    for error, kind in ((unreachable(), Unavailable), (distrusted(), Denied)):
        raised = requests.exceptions.ConnectionError(error) if wrapped else error
        with pytest.raises(BackendError) as caught, package("version"):  # type: ignore[operator]  # either package's
            raise raised
        assert type(caught.value) is kind


def test_what_is_no_certificate() -> None:
    with pytest.raises(ssl.SSLError) as caught:
        client_context("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert caught.value
    ours, theirs = Authority().credentials("a"), Authority().credentials("b")
    with pytest.raises(ssl.SSLError) as caught:
        client_context(ours["ca_cert"], ours["client_cert"], theirs["client_key"])
    assert is_distrust(caught.value)
