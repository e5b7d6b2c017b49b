"""Real etcd servers, and a wire to cut."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.real.needs import free_port, need
from tests.real.process import Process
from tests.real.waiting import wait_until


class Member(Process):
    """One etcd server. `endpoint` is its host:port. What it stored is kept while it is not running."""

    def __init__(
        self, program: str, folder: Path, name: str, port: int, peers: dict[str, int], tls: Authority | None
    ) -> None:
        client, peer = f"{'https' if tls else 'http'}://127.0.0.1:{port}", f"http://127.0.0.1:{peers[name]}"
        cluster = ",".join(f"{other}=http://127.0.0.1:{number}" for other, number in peers.items())
        options = {
            "name": name,
            "data-dir": folder / name,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
        }
        if tls:
            cert, key = tls.issue("server")
            options |= {"cert-file": cert, "key-file": key, "trusted-ca-file": tls.ca, "client-cert-auth": "true"}
        command = [program, *(f"--{option}={value}" for option, value in options.items())]
        super().__init__(command, folder / f"{name}.log")
        self.endpoint = f"127.0.0.1:{port}"
        self._http = (
            urllib3.PoolManager(retries=False, timeout=2)
            if tls is None
            else urllib3.PoolManager(retries=False, timeout=2, ca_certs=tls.ca, cert_file=cert, key_file=key)
        )
        self._url = client

    @property
    def healthy(self) -> bool:
        """Whether it serves, with a majority behind it."""
        return b"true" in self._get("/health")

    def _end(self, how: signal.Signals, timeout: float = 10.0) -> None:
        super()._end(how, timeout)
        self._http.clear()

    @property
    def leads(self) -> bool:
        """Whether it is the leader."""
        return b"etcd_server_is_leader 1" in self._get("/metrics")

    def _get(self, path: str) -> bytes:
        with suppress(urllib3.exceptions.HTTPError):
            return self._http.request("GET", self._url + path).data
        return b""


class Authority:
    """Certificates for 127.0.0.1, in files of a folder. `ca` is the one to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        basics = x509.BasicConstraints(ca=True, path_length=None)
        self.ca = self._write("ca", self._signed(self._name, self._key, basics))

    def issue(self, name: str) -> tuple[str, str]:
        """The files of a new certificate, for servers and clients alike, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        cert = self._write(f"{name}-cert", self._signed(subject, key, address, uses))
        return cert, self._write(f"{name}-key", pem)

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        now = datetime.now(UTC)
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    def _write(self, name: str, content: bytes) -> str:
        file = self._folder / f"{name}.pem"
        file.write_bytes(content)
        return str(file)


class Etcd:
    """An etcd of one or three members, which is ready when this returns. To be closed. With `tls` clients
    need a certificate of that authority."""

    def __init__(self, folder: Path, members: int = 1, tls: Authority | None = None) -> None:
        program = need("etcd", "etcd-server")
        peers = {f"m{n}": free_port() for n in range(members)}
        self.members = [Member(program, folder, name, free_port(), peers, tls) for name in peers]
        for member in self.members:
            member.start()
        self.ready()

    @property
    def endpoints(self) -> list[str]:
        """Where its members are."""
        return [member.endpoint for member in self.members]

    def url(self, namespace: str) -> str:
        """The URL of a store in it."""
        return f"etcd://{','.join(self.endpoints)}/{namespace}"

    def ready(self) -> None:
        """Wait until all members that run serve."""
        running = [member for member in self.members if member.running]
        wait_until(lambda: all(member.healthy for member in running), 30, "etcd is healthy")

    def close(self) -> None:
        """End all of them."""
        for member in self.members:
            member.kill()


class Wire:
    """A TCP proxy before a server. With `swallow` it passes requests on and, when the answer comes, cuts
    the connection instead. `cut` breaks all connections that are there."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.swallow = threading.Event()
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections that are there; new ones are taken."""
        _shut(self._open)

    def close(self) -> None:
        """Take no more connections, and break those that are there."""
        _shut([self._listener, *self._open])
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._lay(self._listener.accept()[0])

    def _lay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        self._open += [client, server]
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pass, args=(source, target, source is server), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError), source, target:
            while (data := source.recv(1 << 16)) and not (answers and self.swallow.is_set()):
                target.sendall(data)
            _shut([source, target])


def _shut(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
