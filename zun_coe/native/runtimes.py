"""Which class speaks to which runtime. A new runtime of the native COE is one line here."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from zun_coe.adapters import Connection
from zun_coe.model import Host
from zun_coe.native.docker import DockerRuntime
from zun_coe.native.permitted import permitted
from zun_coe.native.runtime import Runtime
from zun_coe.native.subnets import AddressPool

RUNTIMES: dict[str, Callable[..., Runtime]] = {"docker": DockerRuntime}


def open_runtime(host: Host, connection: Connection) -> Runtime:
    """The runtime of a host. Calls nobody."""
    runtime = RUNTIMES[host.runtime](
        host.endpoint,
        credentials=connection.credentials,
        timeout=connection.timeout,
        pull_timeout=connection.pull_timeout,
        parallelism=connection.parallelism,
        reach=connection.reach,
        pool=AddressPool.of(connection.network_pool, connection.network_prefix),
        beside=[a for a in (host.address, urlsplit(host.endpoint).hostname) if a],
    )
    return permitted(runtime, connection.check) if connection.check else runtime
