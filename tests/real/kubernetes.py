"""A real Kubernetes without nodes: its API, its controllers and its scheduler, on an etcd of their own."""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client

from tests.real.certificates import Authority
from tests.real.etcd import Etcd
from tests.real.isolation import is_isolated
from tests.real.kubeconfig import kubeconfig
from tests.real.needs import free_port, missing
from tests.real.process import Process
from tests.real.waiting import wait_until
from zun_coe.adapters import Connection

BUILDER = Path(__file__).parents[2] / "scripts" / "kubernetes"
SERVICE_RANGE = "10.96.0.0/16"
# Where pods look for names, and what those end with. It is none of the addresses that a service may get.
DNS_ADDRESS = "10.97.0.10"
DOMAIN = "cluster.local"
STORAGE_CLASS = "standard"
# Where the provisioner that is part of the controllers puts volumes; that is fixed in its source.
VOLUMES = Path("/tmp/hostpath_pv")
# The seconds in which any of it must have started, on a machine that has other things to do.
PATIENCE = 180
# Kubelets that were silent for this long have lost their node (seconds).
NODE_GRACE = 16
# What a bind mount needs to be seen by one process alone.
WITH_VOLUMES = ["unshare", "--mount", "sh", "-c", f'mount --bind "$0" {VOLUMES} && exec "$@"']

Rule = Mapping[str, list[str]]

_numbers = itertools.count(1)


def need_kubernetes() -> Path:
    """The folder of its programs; the test is skipped, or fails, where they have not been built (see `need`)."""
    asked = subprocess.run([BUILDER, "--where"], capture_output=True, text=True)
    return Path(asked.stdout.strip()) if asked.returncode == 0 else missing(asked.stderr.strip())


class ControlPlane:
    """Kubernetes 1.20 on the loopback. To be started and closed.

    `endpoint` is its URL, `authority` what signs its certificates; `etcd`, `api`, `controllers` and `scheduler`
    are processes to torment (`ready` waits until the API serves again). There are four ways in: `token`, an
    administrator's; `token_for` a service account with rights of its own; `certificate_for` a user, who has no
    rights until somebody grants them; and `kubeconfig` with any token. Claims of the storage class `standard`,
    which is the default, are bound where this runs as root."""

    def __init__(self, folder: Path) -> None:
        self.programs = need_kubernetes()
        self.folder = folder
        self.authority = Authority()
        self.token = secrets.token_hex(16)
        self._port = free_port()
        self.endpoint = f"https://127.0.0.1:{self._port}"
        self.volumes = folder / "volumes"
        self._clients: dict[str, client.ApiClient] = {}
        for part in ("etcd", "volumes"):
            (folder / part).mkdir()
        self._write_files()
        self.etcd = Etcd(folder / "etcd")
        self.api = self.process("kube-apiserver", self._api_options())
        self.controllers = self.process("kube-controller-manager", self._controller_options(), *self._with_volumes())
        self.scheduler = self.process("kube-scheduler", self._follower_options())

    def start(self) -> None:
        """Start all of it and wait until pods can be made."""
        self.api.start()
        self.ready()
        self.controllers.start()
        self.scheduler.start()
        self._make_storage_class()
        self._wait_for_account("default")

    def ready(self) -> None:
        """Wait until the API serves, for instance after `api.kill()` and `api.start()`."""
        admin = {"Authorization": f"Bearer {self.token}"}
        with urllib3.PoolManager(retries=False, timeout=5, headers=admin, ca_certs=self.folder / "ca.pem") as http:
            wait_until(lambda: self._serves(http), PATIENCE, "Kubernetes serves")

    def close(self) -> None:
        """End all of it."""
        for connection in self._clients.values():
            connection.close()
        for process in (self.scheduler, self.controllers, self.api):
            process.kill()
        self.etcd.close()

    def client(self, token: str = "") -> client.ApiClient:
        """The connection of the administrator, or of another token; closed with all of this."""
        token = token or self.token
        if token not in self._clients:
            configuration = client.Configuration(
                host=self.endpoint,
                api_key={"authorization": f"Bearer {token}"},
                ssl_ca_cert=str(self.folder / "ca.pem"),
                retries=False,
            )
            configuration.proxy = None
            self._clients[token] = client.ApiClient(configuration)
        return self._clients[token]

    def namespace(self, name: str = "") -> str:
        """A new namespace that takes pods; with a name that is unique where none is given."""
        name = name or f"test-{next(_numbers)}"
        client.CoreV1Api(self.client()).create_namespace({"metadata": {"name": name}})
        self._wait_for_account(name)
        return name

    def drop_namespace(self, name: str) -> None:
        """Let a namespace go with all in it, at once and without waiting; pods get no grace."""
        core = client.CoreV1Api(self.client())
        core.delete_namespace(name)
        core.delete_collection_namespaced_pod(name, grace_period_seconds=0)

    def token_for(self, name: str, rules: Iterable[Rule], namespace: str = "") -> str:
        """The token of a new service account that may do what these rules of RBAC say: in the namespace, or,
        without one, everywhere. It lives in that namespace, or in `default`."""
        connection, home = self.client(), namespace or "default"
        kind = "Role" if namespace else "ClusterRole"
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        account = {"kind": "ServiceAccount", "name": name, "namespace": home}
        core, rights = client.CoreV1Api(connection), client.RbacAuthorizationV1Api(connection)
        core.create_namespaced_service_account(home, {"metadata": {"name": name}})
        allowed = {"metadata": {"name": name}, "rules": list(rules)}
        binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [account]}
        if namespace:
            rights.create_namespaced_role(namespace, allowed)
            rights.create_namespaced_role_binding(namespace, binding)
        else:
            rights.create_cluster_role(allowed)
            rights.create_cluster_role_binding(binding)
        body = {"spec": {"audiences": [self.endpoint], "expirationSeconds": 3600}}
        return str(core.create_namespaced_service_account_token(name, home, body).status.token)

    def certificate_for(self, name: str) -> dict[str, str]:
        """The credentials (`ca_cert`, `client_cert`, `client_key`) of a user of that name."""
        return self.authority.credentials(name)

    def kubeconfig(self, token: str = "", namespace: str = "default") -> str:
        """The text of such a file."""
        return kubeconfig(self.endpoint, self.authority.certificate, {"token": token or self.token}, namespace)

    def credentials_of(self, token: str = "") -> dict[str, str]:
        """The credentials (`ca_cert`, `token`) of the administrator, or of another token."""
        return {"ca_cert": self.authority.certificate, "token": token or self.token}

    def body(self, token: str = "", **fields: Any) -> dict[str, Any]:
        """What registers it as a cluster, with such credentials."""
        return {"kind": "kubernetes", "endpoint": self.endpoint, "credentials": self.credentials_of(token)} | fields

    def connection(self, token: str = "", **fields: Any) -> Connection:
        """What an adapter needs to reach it, with such credentials."""
        return Connection(**({"installation": "i", "cluster": "c"} | self.body(token) | fields))

    def process(self, program: str, options: Mapping[str, Any], *before: str) -> Process:
        """One of its programs, not started yet; `before` is what it is run by."""
        return Process([*before, *self.command(program, options)], self.folder / f"{program}.log")

    def command(self, program: str, options: Mapping[str, Any]) -> list[str]:
        """The command line of one of its programs."""
        return [str(self.programs / program), *(f"--{name}={value}" for name, value in options.items())]

    def _serves(self, http: urllib3.PoolManager) -> bool:
        if not self.api.running:
            raise RuntimeError(f"kube-apiserver has ended: {self.api.log.read_text()[-2000:]}")
        with suppress(urllib3.exceptions.HTTPError):
            return http.request("GET", f"{self.endpoint}/readyz").status == 200
        return False

    def _write_files(self) -> None:
        self.authority.save(self.folder, "api", "127.0.0.1")
        self.authority.save(self.folder, "accounts", "127.0.0.1")
        (self.folder / "tokens").write_text(f"{self.token},admin,admin,system:masters\n")
        (self.folder / "kubeconfig").write_text(self.kubeconfig())

    def _api_options(self) -> dict[str, Any]:
        return {
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "endpoint-reconciler-type": "none",
            "secure-port": self._port,
            "insecure-port": 0,
            "etcd-servers": f"http://{self.etcd.endpoints[0]}",
            "authorization-mode": "RBAC",
            "token-auth-file": self.folder / "tokens",
            "client-ca-file": self.folder / "ca.pem",
            "tls-cert-file": self.folder / "api.pem",
            "tls-private-key-file": self.folder / "api-key.pem",
            "service-account-key-file": self.folder / "accounts.pem",
            "service-account-signing-key-file": self.folder / "accounts-key.pem",
            "service-account-issuer": self.endpoint,
            "service-cluster-ip-range": SERVICE_RANGE,
            "allow-privileged": "true",
            "kubelet-preferred-address-types": "InternalIP",
        }

    def _controller_options(self) -> dict[str, Any]:
        return self._follower_options() | {
            "service-account-private-key-file": self.folder / "accounts-key.pem",
            "root-ca-file": self.folder / "ca.pem",
            "flex-volume-plugin-dir": self.folder / "plugins",
            "enable-hostpath-provisioner": str(is_isolated()).lower(),
            "pvclaimbinder-sync-period": "1s",
            "node-monitor-period": "1s",
            "node-monitor-grace-period": f"{NODE_GRACE}s",
        }

    def _follower_options(self) -> dict[str, Any]:
        return {
            "kubeconfig": self.folder / "kubeconfig",
            "leader-elect": "false",
            "port": 0,
            "secure-port": 0,
            "kube-api-qps": 200,
            "kube-api-burst": 400,
        }

    def _with_volumes(self) -> list[str]:
        if not is_isolated():
            return []
        VOLUMES.mkdir(exist_ok=True)
        return [*WITH_VOLUMES, os.fspath(self.volumes)]

    def _make_storage_class(self) -> None:
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        client.StorageV1Api(self.client()).create_storage_class(
            {
                "metadata": {"name": STORAGE_CLASS, "annotations": default},
                "provisioner": "kubernetes.io/host-path",
                "reclaimPolicy": "Delete",
            }
        )

    def _wait_for_account(self, namespace: str) -> None:
        # Until the controllers have made this account, the namespace takes no pods.
        core = client.CoreV1Api(self.client())

        def is_there() -> bool:
            accounts = core.list_namespaced_service_account(namespace).items
            return any(account.secrets for account in accounts)

        wait_until(is_there, PATIENCE, f"The service account of {namespace}")
