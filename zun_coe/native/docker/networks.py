"""Networks on an engine's host."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from docker.types import IPAMConfig, IPAMPool

from zun_coe.errors import BackendError, Unavailable
from zun_coe.native.docker.client import EngineClient
from zun_coe.native.docker.failures import ignoring_absent, translated
from zun_coe.native.docker.reading import require_labels
from zun_coe.native.docker.translation import labelled
from zun_coe.native.subnets import AddressPool, routes, understood


class Networks:
    """Bridge networks by name, with subnets out of a pool where there is one. `beside`: addresses that no network
    may have, such as the engine's own. Thread-safe."""

    def __init__(self, client: EngineClient, pool: AddressPool | None = None, beside: Sequence[str] = ()) -> None:
        self._client, self._pool, self._beside = client, pool, understood(beside)
        self._lock = threading.Lock()

    def ensure(self, name: str, labels: Mapping[str, str]) -> None:
        """See `Runtime.ensure_network`. Raises `Invalid` where one of that name has not these labels."""
        with self._lock:
            there = self._named(name)
            if not there:
                self._create(name, labels)
                there = self._named(name)
            for network in there:
                require_labels("network", name, network.get("Labels"), labels)
            # Two that were created at once have the same name: one goes.
            for surplus in there[1:]:
                self._drop(str(surplus["Id"]))

    def names(self, labels: Mapping[str, str]) -> list[str]:
        """See `Runtime.networks`."""
        with translated("networks"):
            return sorted({str(n["Name"]) for n in self._client.ready().networks(filters=labelled(labels))})

    def remove(self, name: str) -> bool:
        """See `Runtime.remove_network`. A stopped container uses it too, though the engine would not mind."""
        with translated("list"):
            users = self._client.ready().containers(all=True, filters={"network": name})
        return not users and self._drop(name)

    def require(self, name: str) -> None:
        """The engine would take a name that is not there, and fail at the start."""
        client = self._client.ready()
        with translated("network"):
            client.inspect_network(name)

    def join(self, id: str, networks: Mapping[str, Sequence[str]]) -> None:
        """Have a container join them all, under the aliases. Idempotent."""
        for name, aliases in networks.items():
            try:
                with translated("connect"):
                    self._client.ready().connect_container_to_network(id, name, aliases=list(aliases))
            except BackendError as error:
                if "already exists in network" not in error.message:
                    raise

    def rejoin(self, id: str, name: str, aliases: Sequence[str]) -> None:
        """Have a container that does not run leave the network of a name and join the one that has it now."""
        with ignoring_absent(), translated("disconnect"):
            self._client.ready().disconnect_container_from_network(id, name, force=True)
        self.join(id, {name: aliases})

    def _named(self, name: str) -> list[Mapping[str, Any]]:
        """Oldest first. The engine's filter matches parts of names."""
        client = self._client.ready()
        with translated("networks"):
            named = [n for n in client.networks(names=[name]) if n["Name"] == name]
        return sorted(named, key=lambda n: (str(n.get("Created")), str(n["Id"])))

    def _create(self, name: str, labels: Mapping[str, str]) -> None:
        """Out of the pool, the first subnet that the engine takes: it may know of others that are in use."""
        if self._pool is None:
            return self._create_with(name, labels, IPAMConfig())
        for subnet in self._pool.free(self._used()):
            try:
                return self._create_with(name, labels, IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]))
            except Unavailable as error:
                if error.reason != "QuotaExceeded":
                    raise
        raise _exhausted(self._pool)

    def _used(self) -> list[IPv4Network]:
        """What no network may overlap with: those of the engine, and whatever this machine has a route to, since it
        is the host itself or has to be reached from there."""
        with translated("networks"):
            listed = self._client.ready().networks()
            configs = [c for network in listed for c in (network.get("IPAM") or {}).get("Config") or ()]
        return [*understood(str(c.get("Subnet")) for c in configs), *routes(), *self._beside]

    def _create_with(self, name: str, labels: Mapping[str, str], addresses: IPAMConfig) -> None:
        client = self._client.ready()
        try:
            with translated("network"):
                client.create_network(
                    name, "bridge", {}, addresses, check_duplicate=True, labels=dict(labels), attachable=False
                )
        except Unavailable as error:
            if error.evidence.get("status") != 409:
                raise

    def _drop(self, name: str) -> bool:
        client = self._client.ready()
        try:
            with ignoring_absent(), translated("remove network"):
                client.remove_network(name)
        except BackendError as error:
            if "active endpoints" in error.message:
                return False
            raise
        return True


def _exhausted(pool: AddressPool) -> Unavailable:
    message = (
        f"All {pool.size} subnets of {pool.network} are in use on the host, so that no network can be created there;"
        " delete what is not needed, or have the operator enlarge network_pool."
    )
    return Unavailable(message, "QuotaExceeded", {"call": "network", "pool": str(pool.network), "prefix": pool.prefix})
