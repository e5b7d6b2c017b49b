"""Which class speaks to which runtime. A new runtime of the native COE is one line here."""

from __future__ import annotations

from collections.abc import Callable

from zun_coe.adapters import Connection
from zun_coe.model import Host
from zun_coe.native.docker import DockerRuntime
from zun_coe.native.permitted import permitted
from zun_coe.native.runtime import Runtime

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
    )
    return permitted(runtime, connection.check) if connection.check else runtime
