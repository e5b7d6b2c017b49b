"""The DNS of a Kubernetes: pods find services by name, as everywhere else."""

from __future__ import annotations

import subprocess

from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer
from kubernetes import client
from urllib3.exceptions import HTTPError

from tests.real.kubernetes import DNS_ADDRESS, DOMAIN, ControlPlane

TIMEOUT = 5


class Names(BaseResolver):
    """A server of names at `DNS_ADDRESS`, over UDP and TCP, for the pods in this process's network.

    It asks the API anew for each answer, so that nothing is out of date: a service has its address, and one that
    is headless those of its ready pods. Whatever else is asked for does not exist; while the API does not answer,
    that is said. To be started and closed."""

    def __init__(self, plane: ControlPlane) -> None:
        self._core = client.CoreV1Api(plane.client())
        self._servers: list[DNSServer] = []

    def start(self) -> None:
        """Listen."""
        subprocess.run(["ip", "address", "add", f"{DNS_ADDRESS}/32", "dev", "lo"], check=True)
        for tcp in (False, True):
            server = DNSServer(self, DNS_ADDRESS, tcp=tcp, logger=DNSLogger("error"), handler=_Handler)
            server.start_thread()
            self._servers.append(server)

    def close(self) -> None:
        """End it."""
        for server in self._servers:
            server.stop()
            server.server.server_close()
        subprocess.run(["ip", "address", "delete", f"{DNS_ADDRESS}/32", "dev", "lo"], check=True)

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """The answer to a question."""
        reply, asked = request.reply(), request.q
        try:
            addresses = self._addresses(str(asked.qname).lower().rstrip("."))
        except (HTTPError, client.ApiException) as error:
            gone = isinstance(error, client.ApiException) and error.status == 404
            reply.header.rcode = RCODE.NXDOMAIN if gone else RCODE.SERVFAIL
            return reply
        if asked.qtype in (QTYPE.A, QTYPE.ANY):
            reply.add_answer(*(RR(asked.qname, QTYPE.A, rdata=A(address), ttl=1) for address in addresses))
        return reply

    def _addresses(self, name: str) -> list[str]:
        """Those of a service. Raises `ApiException` with 404 where it is not one."""
        service, _, rest = name.partition(".")
        namespace, _, domain = rest.partition(".")
        if domain != f"svc.{DOMAIN}":
            raise client.ApiException(404)
        own = self._core.read_namespaced_service(service, namespace, _request_timeout=TIMEOUT).spec.cluster_ip
        if own != "None":
            return [own]
        found = self._core.read_namespaced_endpoints(service, namespace, _request_timeout=TIMEOUT)
        return [address.ip for subset in found.subsets or () for address in subset.addresses or ()]


class _Handler(DNSHandler):
    """Longer answers than these bytes have to be asked for over TCP."""

    udplen = 512
