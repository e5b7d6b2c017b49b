"""The connection to one engine: docker-py's low-level client with everything said explicitly.

docker-py reads the user's Docker configuration, follows proxy variables and asks for the version when
it is made. None of that is wanted in a gateway: this one uses what it is given, and opening calls nobody."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any

import requests
import urllib3.connection
from docker import APIClient
from docker.auth import AuthConfig, encode_header
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool
from docker.utils import convert_filters, version_gte, version_lt
from requests.adapters import HTTPAdapter

from zun_coe.adapters import heads, images
from zun_coe.adapters.bodies import whole
from zun_coe.adapters.reach import Reach
from zun_coe.adapters.tls import client_context
from zun_coe.errors import Denied, TimedOut, Unavailable
from zun_coe.native.docker.failures import translated

NEWEST = "1.45"
OLDEST = MINIMUM_DOCKER_API_VERSION

# A host that vanished without a word is noticed on a quiet connection after about a minute.
_KEEPALIVE = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class _TcpAdapter(HTTPAdapter):
    """Connections with a TLS context of our own: requests takes certificates and keys from files only."""

    def __init__(self, tls: SSLContext | None, parallelism: int, reach: Reach) -> None:
        self._tls, self._reach = tls, reach
        super().__init__(pool_connections=2, pool_maxsize=parallelism)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        more = {"socket_options": _KEEPALIVE} | ({"ssl_context": self._tls} if self._tls else {})
        super().init_poolmanager(connections, maxsize, block, **more, **options)
        self.poolmanager.pool_classes_by_scheme = self._reach.pools

    def renew(self, tls: SSLContext | None) -> None:
        """Connect like that from now on; connections that are in use stay until they are given back."""
        self._tls = tls
        self.init_poolmanager(self._pool_connections, self._pool_maxsize, self._pool_block)  # type: ignore[attr-defined]  # requests sets them, the stubs name them not

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Where to connect, without the authorities that requests would add to the context's."""
        where, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return where, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to be set: the context says it."""


class _UnixConnection(UnixHTTPConnection):
    """docker-py's leaves its socket open when nobody listens."""

    response_class = heads.Response

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self.unix_socket)
        except BaseException:
            connection.close()
            raise
        self.sock = connection


class _UnixPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> _UnixConnection:  # type: ignore[override]  # the stubs name a protocol that docker-py's own does not meet
        return _UnixConnection(self.base_url, self.socket_path)


class _UnixAdapter(UnixHTTPAdapter):
    """docker-py's keeps a pool for each URL, so that hardly any connection is used twice."""

    def __init__(self, path: str, parallelism: int) -> None:
        super().__init__(f"http+unix://{path}", max_pool_size=parallelism)
        self._pool = _UnixPool("http+docker://localhost", self.socket_path, maxsize=parallelism)

    def get_connection(self, url: bytes | str, proxies: Any = None) -> UnixHTTPConnectionPool:
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()


def tls_of(credentials: Mapping[str, str]) -> SSLContext | None:
    """How to connect with these PEM texts; None where there are none: then the connection is plain. Raises `Denied`
    for what cannot be used."""
    ca_cert, cert, key = (credentials.get(name) for name in ("ca_cert", "client_cert", "client_key"))
    if not (ca_cert or cert or key):
        return None
    if bool(cert) != bool(key):
        raise Denied("client_cert and client_key belong together: one of them is missing")
    with translated("open"):
        return client_context(ca_cert, cert, key)


class EngineClient(APIClient):
    """docker-py's client for one engine: thread-safe, deadlines on connecting and on every read, so many
    kept connections as `parallelism` says. The version is agreed on at the first call, not when it is made.

    What docker-py has no call for, or none with a deadline, is here: its methods raise docker-py's and
    requests' errors, as docker-py's own do."""

    def __init__(
        self, endpoint: str, tls: SSLContext | None, timeout: float, parallelism: int, newest: str, reach: Reach
    ) -> None:
        with translated("open"):
            super().__init__(endpoint, OLDEST, timeout, tls is not None, max_pool_size=parallelism)  # type: ignore[arg-type]  # seconds may be a fraction; the stubs say int
        self.trust_env = False
        self._general_configs: dict[str, Any] = {}
        self._auth_configs = AuthConfig({})
        self._newest = newest
        self._negotiation = threading.Lock()
        self._negotiated = False
        if endpoint.startswith("unix://"):
            self._custom_adapter = _UnixAdapter(endpoint.removeprefix("unix://"), parallelism)
            self.mount("http+docker://", self._custom_adapter)
        else:
            for scheme in ("http://", "https://"):
                self.mount(scheme, _TcpAdapter(tls, parallelism, reach))
        self._encrypted = tls is not None

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        """Send one request, to nobody but the engine: a redirect may lead to addresses that only admins may name.
        Bodies are bounded in size and in time, but for those of streams that went well. Raises requests' errors,
        `TooManyRedirects` for a redirect, and those of `bodies.whole`."""
        began = time.monotonic()
        answer = super().send(request, **{**how, "allow_redirects": False, "stream": True})
        if answer.is_redirect:
            answer.close()
            raise requests.TooManyRedirects("the endpoint redirects elsewhere, which is not followed")
        if not how.get("stream") or not answer.ok:
            deadline = began + _seconds(how.get("timeout"), self.timeout)
            try:
                answer._content = whole(answer.raw, str(request.path_url), deadline, "the engine")
            except TimedOut as error:  # as one that does not begin in time: what that tells depends on the call
                raise requests.ReadTimeout(error.message) from error
            answer._content_consumed = True  # type: ignore[attr-defined]  # as requests itself does; its stubs name it not
        return answer

    def renew(self, tls: SSLContext | None) -> bool:
        """Connect with these certificates from the next call on; False where the connection would be encrypted and
        was not, or the other way round."""
        if (tls is not None) != self._encrypted:
            return False
        for adapter in self.adapters.values():
            if isinstance(adapter, _TcpAdapter):
                adapter.renew(tls)
        return True

    def ready(self) -> EngineClient:
        """Itself, once the version is agreed on: calls the engine the first time only."""
        if not self._negotiated:
            with self._negotiation:
                if not self._negotiated:
                    self.negotiate()
        return self

    def negotiate(self) -> Mapping[str, Any]:
        """Ask for the engine's version and use the newest that both know; the engine's answer."""
        with translated("version"):
            told: dict[str, Any] = self.version(api_version=False)
            theirs, least = str(told["ApiVersion"]), str(told.get("MinAPIVersion") or OLDEST)
            too_old, too_new = version_lt(theirs, OLDEST), version_lt(self._newest, least)
        if too_old or too_new:
            message = f"the engine speaks API {least} to {theirs}; {OLDEST} to {self._newest} are supported"
            raise Unavailable(message, "Error", {"call": "version", "status": 200, "message": message})
        self._version = self._newest if version_gte(theirs, self._newest) else theirs
        self._negotiated = True
        return told

    def renegotiate(self) -> None:
        """Agree on the version anew at the next call."""
        self._negotiated = False

    def create_named(self, body: Mapping[str, Any], name: str) -> tuple[str, list[str]]:
        """Create a container; its id, and what the engine warns of."""
        told = self._checked(
            self.post(self._at("/containers/create"), params={"name": name}, json=dict(body), timeout=self.timeout)
        )
        answer = told.json()
        return str(answer["Id"]), list(answer.get("Warnings") or ())

    def image(self, name: str) -> Mapping[str, Any]:
        """An image that is on the host."""
        told: dict[str, Any] = self.inspect_image(name)  # type: ignore[no-untyped-call]  # docker-py decorates it without types
        return told

    def update_terms(self, id: str, terms: Mapping[str, Any]) -> list[str]:
        """Change resources or the restart policy of a container (docker-py's `update_container` has no NanoCpus); what
        is warned of."""
        url = self._at("/containers/{0}/update", id)
        told = self._checked(self.post(url, json=dict(terms), timeout=self.timeout))
        return list(told.json().get("Warnings") or ())

    def open_logs(self, id: str, params: Mapping[str, Any], *, follow: bool) -> requests.Response:
        """The log as a stream of bytes as the engine frames it."""
        url = self._at("/containers/{0}/logs", id)
        response = self._checked(self.get(url, params=params, stream=True, timeout=self.timeout))
        return self._endless(response) if follow else response

    def open_events(self, filters: Mapping[str, Any]) -> requests.Response:
        """Events as they come, one JSON object after the other."""
        params = {"filters": convert_filters(filters)}
        response = self.get(self._at("/events"), params=params, stream=True, timeout=self.timeout)
        return self._endless(self._checked(response))

    def open_pull(self, image: str, auth: Mapping[str, str] | None, deadline: float) -> requests.Response:
        """A pull under way, as the engine tells of it. Closing the answer ends the pull."""
        repository, tag = images.split(image)
        params = {"fromImage": repository, "tag": tag or "latest"}
        headers = {"X-Registry-Auth": encode_header(dict(auth))} if auth else {}
        limits = (self.timeout, deadline)
        return self._checked(
            self.post(self._at("/images/create"), params=params, headers=headers, stream=True, timeout=limits)
        )

    def _endless(self, response: requests.Response) -> requests.Response:
        """The engine answers at once; what follows may take for ever."""
        self._disable_socket_timeout(self._get_raw_response_socket(response))  # type: ignore[attr-defined]  # docker-py's own, missing in its stubs
        return response

    def _at(self, path: str, *parts: str) -> str:
        return str(self._url(path, *parts))  # type: ignore[attr-defined]  # docker-py's own, missing in its stubs

    def _checked(self, response: requests.Response) -> requests.Response:
        self._raise_for_status(response)  # type: ignore[attr-defined]  # docker-py's own, missing in its stubs
        return response


def _seconds(timeout: Any, usual: float) -> float:
    """The time for a whole answer, whose every read may take `timeout` (a number, or one for connecting and one for
    reading; None: no end was said)."""
    read = timeout[1] if isinstance(timeout, tuple) else timeout
    return 2 * usual + (usual if read is None else read)
