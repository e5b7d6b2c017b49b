"""The way to one API server: `ApiClient` of the `kubernetes` package, with plain JSON in and out.

The package takes about 100 ms and 10 MiB to import, so `client` imports this module at its first call only. Of the
package neither models nor `dynamic` are used. Its pool manager is replaced by a pool of our own, which follows no
proxies, redirects or retries, and reads no certificates from files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from urllib3.connection import HTTPSConnection

from zun_coe.adapters.kubernetes.naming import FIELD_MANAGER

APPLY = "application/apply-patch+yaml"
# What YAML takes for the end of a line, for a byte order mark, or not at all, where it is not escaped (YAML 1.1, 5).
_NO_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class Pool(urllib3.HTTPSConnectionPool):
    """The connections to one server, as `ApiClient` wants its pool manager."""

    def clear(self) -> None:
        """Close the connections that nobody uses."""
        self.close()


class Transport:
    """Calls over connections that are kept. Thread-safe; making one calls nobody. `options`: of urllib3's
    connections, which are of the class `connections`."""

    def __init__(
        self,
        host: str,
        port: int,
        parallelism: int,
        options: Mapping[str, Any],
        connections: type[HTTPSConnection] = HTTPSConnection,
    ) -> None:
        self.pool = Pool(host, port, maxsize=parallelism, retries=False, **options)
        self.pool.ConnectionCls = connections
        # An empty proxy keeps the package from looking for one in the environment.
        self._api = ApiClient(Configuration(host=f"https://{host}", proxy="", no_proxy="*"))
        self._api.user_agent = FIELD_MANAGER
        self._api.rest_client.pool_manager = self.pool

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        timeout: float,
    ) -> urllib3.BaseHTTPResponse:
        """The answer, whatever its code, with its body unread. `url`: path and query. `timeout`: seconds until it
        begins. Raises urllib3's errors."""
        sent = as_yaml(body) if headers.get("Content-Type") == APPLY else body
        try:
            answer = self._api.call_api(method, url, dict(headers), sent, _request_timeout=timeout)
        except ApiException as error:  # nothing but what went wrong with TLS
            raise urllib3.exceptions.SSLError(error.reason) from error.__context__
        found: urllib3.BaseHTTPResponse = answer.response
        return found

    def close(self) -> None:
        """Close the connections that nobody uses; no call may follow. Idempotent."""
        self.pool.close()


def as_yaml(body: Any) -> bytes:
    """JSON that a reader of YAML takes for the same. Characters beyond the Basic Multilingual Plane stay as they
    are, since YAML has no surrogates. Pure."""
    encoded = msgspec.json.encode(body)
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _NO_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded.decode()).encode()
