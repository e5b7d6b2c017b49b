"""One host of a cluster: the connection to its runtime, whether it answers, and what was last seen on it."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from threading import Lock
from typing import TypeVar
from urllib.parse import urlsplit

import structlog

from zun_coe.adapters.clocks import steadied
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import BackendError
from zun_coe.model import Host
from zun_coe.native import naming
from zun_coe.native.networks import ProjectNetworks
from zun_coe.native.placement import Claim, HostView, Ports
from zun_coe.native.reachability import Reachability, tells_of_host
from zun_coe.native.replicas import ended_like
from zun_coe.native.runtime import Found, Runtime, RuntimeInfo
from zun_coe.native.shares import SharedPool

T = TypeVar("T")

log = structlog.get_logger()

# How long a port that was found taken by somebody else is not tried again.
CONFLICT_FOR = 30.0


class NativeHost:
    """A host. Calls go through `call`, which notes whether the host answers, and calls `turned` whenever that
    is otherwise than it was. Thread-safe."""

    def __init__(
        self,
        host: Host,
        runtime: Runtime,
        parallelism: int,
        turned: Callable[[], None] = lambda: None,
        label_key: bytes = b"",
        reach: Reach = ELSEWHERE,
    ) -> None:
        self.host, self.runtime, self._label_key, self._reach = host, runtime, label_key, reach
        self.reachability = Reachability(turned)
        self._forged: frozenset[str] = frozenset()
        self.name = host.name
        self.info: RuntimeInfo | None = None
        self.ahead = timedelta()
        self.volumes: frozenset[str] | None = None
        self.surveyed = False
        self.networks = ProjectNetworks(runtime)
        self._tidied: frozenset[str] | None = None
        self._made_volumes: frozenset[str] = frozenset()
        self._seen: dict[str, Found] = {}
        self._ended: dict[str, Found] = {}
        self._claims: dict[str, Claim] = {}
        self._conflicts: dict[tuple[int, str], float] = {}
        self._lock = Lock()
        threads = ThreadPoolExecutor(2 * parallelism, thread_name_prefix=f"host {host.name}")
        self._pool = SharedPool(threads, parallelism)
        self._asking = ThreadPoolExecutor(parallelism, thread_name_prefix=f"looks {host.name}")

    @cached_property
    def local(self) -> bool:
        """Whether it is this machine, so that the addresses of its containers can be reached."""
        return self.host.endpoint.startswith("unix://") or is_own_address(urlsplit(self.host.endpoint).hostname or "")

    @property
    def trusted(self) -> bool:
        """Whether only an admin can have registered it, so that what is asked for at its address may be anywhere. What
        the operator allows to everybody says nothing of who that was."""
        endpoint = urlsplit(self.host.endpoint)
        named = (endpoint.hostname or "", self.host.address or "")
        return endpoint.scheme == "unix" or not all(map(self._reach.allows, named))

    @property
    def publish_on(self) -> str:
        """Where published ports listen: a host that is registered with a loopback address is for itself
        alone, and any other is to be reached from wherever it can be."""
        address = self.host.address or ""
        return address if _is_loopback(address) else "0.0.0.0"  # noqa: S104  # what is published is to be reached

    @property
    def address(self) -> str:
        """Where its published ports are reached."""
        if self.host.address:
            return self.host.address
        return "127.0.0.1" if self.local else urlsplit(self.host.endpoint).hostname or self.name

    @property
    def reachable(self) -> bool:
        """See `Reachability`."""
        return self.reachability.reachable

    def learn(self, info: RuntimeInfo) -> None:
        """This is what the runtime tells of itself and its host."""
        self.info, self.ahead = info, steadied(self.ahead, info.ahead)

    def submit(self, project: str, call: Callable[[], T]) -> Future[T]:
        """Run a call for a project in one of the host's threads."""
        return self._pool.submit(project, partial(self.call, call))

    def ask(self, call: Callable[[], T], *, decides: bool = False, identifies: bool = False) -> Future[T]:
        """The same for a call that changes nothing, and need not wait for those that do."""
        return self._asking.submit(partial(self.call, call, decides=decides, identifies=identifies))

    def call(self, call: Callable[[], T], *, decides: bool = False, identifies: bool = False) -> T:
        """Make a call in this thread. `decides`: it asks who answers or what is there, so that its outcome tells
        whether the host is reachable; `identifies`: it asks who answers. Raises `Unavailable` at once while the host
        is known to hang, or (unless it `identifies`) is distrusted."""
        self.reachability.guard(identifies=identifies)
        started = time.monotonic()
        try:
            result = call()
        except BackendError as error:
            if tells_of_host(error, deciding=decides):
                self.reachability.failed(error, time.monotonic() - started)
            raise
        if decides:
            self.reachability.answered()
        return result

    def find(self, labels: Mapping[str, str], *, exact: bool) -> list[Found]:
        """Containers with these labels (see `Runtime.find`), as far as the gateway wrote the labels itself. The
        others are left alone and logged once."""
        found = self.runtime.find(labels, exact=exact)
        forged = {f.id: f.name for f in found if not naming.is_genuine(f.name, f.labels, self._label_key)}
        for id in forged.keys() - self._forged:
            log.warning("container with foreign labels of ours ignored", host=self.name, name=forged[id], container=id)
        self._forged = self._forged | forged.keys() if forged else self._forged
        return [f for f in found if f.id not in forged] if forged else found

    def saw(self, found: Iterable[Found], labels: Mapping[str, str]) -> None:
        """This is now all that there is on the host with these labels."""
        containers = {container.id: container for container in found}
        names = {container.name for container in containers.values()}
        with self._lock:
            kept = {id: f for id, f in self._seen.items() if not labels.items() <= f.labels.items()}
            self._seen = kept | containers
            over = {id: f for id, f in containers.items() if f.state in ("restarting", "exited")}
            ended = self._ended | {id: ended_like(f, self._ended.get(id)) for id, f in over.items()}
            self._ended = {id: f for id, f in ended.items() if id in self._seen}
            self._claims = {name: claim for name, claim in self._claims.items() if name not in names}

    def last_seen(self, labels: Mapping[str, str]) -> list[Found]:
        """What was there with these labels when it last answered."""
        with self._lock:
            return [f for f in self._seen.values() if labels.items() <= f.labels.items()]

    def ended(self) -> Mapping[str, Found]:
        """Those that had ended when they were last seen so, by id: a runtime forgets how when it starts them again."""
        with self._lock:
            return self._ended

    def claim(self, name: str, claim: Claim) -> None:
        """Something is about to be created here, by this name."""
        with self._lock:
            self._claims[name] = claim

    def unclaim(self, name: str) -> None:
        """It was not created after all."""
        with self._lock:
            self._claims.pop(name, None)

    def conflicting(self, ports: Ports) -> None:
        """One of these ports is taken by something that is not ours."""
        with self._lock:
            self._conflicts |= dict.fromkeys(ports, time.monotonic() + CONFLICT_FOR)

    def view(self) -> HostView:
        """The host as placement sees it."""
        now = time.monotonic()
        info = self.info
        with self._lock:
            claims = (*map(_claim_of, self._seen.values()), *self._claims.values())
            conflicts = frozenset(port for port, until in self._conflicts.items() if until > now)
        return HostView(
            name=self.name,
            labels=self.host.labels,
            schedulable=self.host.schedulable,
            reachable=self.reachable,
            cpus=info.cpus if info else None,
            memory=info.memory if info else None,
            gpus=info.gpus if info else 0,
            claims=claims,
            conflicts=conflicts,
            volumes=self.volumes,
        )

    def tidy(self, labels: Mapping[str, str]) -> None:
        """Remove the networks with these labels that nothing uses. Calls nobody where nothing has left a network
        since the last time."""
        with self._lock:
            used = frozenset(name for found in self._seen.values() for name in found.networks)
        if used == self._tidied:
            return
        left = self.networks.release(name for name in self.runtime.networks(labels) if name not in used)
        self._tidied = used if not left else None

    def saw_volumes(self, names: Iterable[str]) -> None:
        """These are the volumes that it has, besides those made while it was being asked."""
        with self._lock:
            self.volumes = frozenset(names) | self._made_volumes
            self._made_volumes = frozenset()

    def made_volume(self, name: str) -> None:
        """It has this volume now, and still has it when it is away."""
        with self._lock:
            self._made_volumes |= {name}
            if self.volumes is not None:
                self.volumes |= {name}

    def close(self) -> None:
        """Let go of threads and connections; calls under way end at their deadline. Idempotent."""
        self._pool.shutdown()
        self._asking.shutdown(wait=False, cancel_futures=True)
        self.runtime.close()


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_own_address(address: str) -> bool:
    """Whether an address is one of this machine. Names are not resolved, apart from localhost."""
    if address == "localhost":
        return True
    with suppress(ValueError, OSError):
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
            return True
    return False


def _claim_of(found: Found) -> Claim:
    """What a container that is there takes of its host."""
    return Claim(
        workload=found.labels.get(naming.ID, ""),
        slot=int(found.labels.get(naming.SLOT, "1")),
        hash=found.labels.get(naming.HASH, ""),
        memory=found.memory or 0,
        ports=frozenset((b.host_port, b.protocol) for b in found.bindings if b.host_port),
        leading=found.labels.get(naming.ROLE, naming.MAIN) == naming.MAIN,
    )
