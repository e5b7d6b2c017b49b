"""A runtime in memory that keeps the protocol, for faults at any call and for tests that must be quick."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Event as StopEvent
from typing import Any

import pytest

from zun_coe.adapters import OPERATIONS, LogLine, LogOptions, LogStream
from zun_coe.errors import Absent, BackendError, Invalid, TimedOut, Unavailable
from zun_coe.model import OperationSupport, Support
from zun_coe.native import runtimes
from zun_coe.native.runtime import ContainerSpec, Found, FoundVolume, PortBinding, Restart, RuntimeInfo

_ids = itertools.count(1)


class Crashed(BaseException):
    """The process that makes a call dies: nothing of ours may catch it and go on."""


@dataclass
class FakeHost:
    """The machine: it survives the runtime that is opened on it. `images`: what is on it; `registry`:
    what a pull finds. `on_call` is asked before each call that changes something and may raise.
    `away`: nothing answers. `ahead`: by how much its clock is. `obedient`: processes end when they are asked to."""

    images: set[str] = field(default_factory=lambda: {"busybox:local"})
    registry: set[str] = field(default_factory=set)
    identity: str = field(default_factory=lambda: f"ENGINE{next(_ids)}")
    memory: int = 8 << 30
    cpus: float = 8.0
    gpus: int = 0
    away: bool = False
    ahead: timedelta = timedelta()
    obedient: bool = True
    on_call: Callable[[str], None] = lambda name: None
    after_call: Callable[[str], None] = lambda name: None
    pulling: threading.Event | None = None
    containers: dict[str, Found] = field(default_factory=dict)
    specs: dict[str, ContainerSpec] = field(default_factory=dict)
    made_networks: dict[str, dict[str, str]] = field(default_factory=dict)
    made_volumes: dict[str, dict[str, str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    listeners: list[SimpleQueue[Mapping[str, str]]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    unlimited: frozenset[str] = frozenset()
    foreign_ports: set[int] = field(default_factory=set)
    stopping: threading.Event = field(default_factory=threading.Event)

    def change(self, id: str, **fields: Any) -> None:
        """Have a container be otherwise, as if it happened by itself."""
        with self.lock:
            self.containers[id] = replace(self.containers[id], **fields)
            labels = self.containers[id].labels
        for listener in self.listeners:
            listener.put(labels)

    def named(self, part: str) -> Found:
        """The only container that has this in its name."""
        (found,) = [f for f in self.containers.values() if part in f.name]
        return found


HOSTS: dict[str, FakeHost] = {}


class FakeRuntime:
    """What opens a `FakeHost`; the endpoint's last part is its key in `HOSTS`."""

    def __init__(self, endpoint: str, **_: Any) -> None:
        self.host = HOSTS[endpoint.rsplit("/", 1)[-1]]

    def info(self) -> RuntimeInfo:
        self._reach("info")
        operations = {name: OperationSupport(support=Support.NATIVE) for name in OPERATIONS}
        versions = {"fake": {"negotiated": "1"}}
        host = self.host
        return RuntimeInfo(
            host.identity,
            versions,
            host.cpus,
            host.memory,
            host.gpus,
            operations,
            ahead=host.ahead,
            unlimited=host.unlimited,
        )

    def find(self, labels: Mapping[str, str], *, exact: bool = True) -> list[Found]:
        self._reach("find")
        with self.host.lock:
            return [f for f in self.host.containers.values() if labels.items() <= f.labels.items()]

    def create(self, spec: ContainerSpec) -> str:
        with self._changing("create") as host:
            for found in host.containers.values():
                if found.name == spec.name:
                    if dict(found.labels) != dict(spec.labels):
                        raise Invalid(f"the name {spec.name} is taken")
                    return found.id
            if spec.image not in host.images:
                raise Absent(f"no such image {spec.image}", "ImageNotFound")
            if missing := [n for n in spec.networks if n not in host.made_networks]:
                raise Absent(f"no network {missing[0]}")
            id = f"c{next(_ids):06d}"
            now = datetime.now(UTC)
            host.containers[id] = Found(
                id,
                spec.name,
                spec.image,
                dict(spec.labels),
                "created",
                cpu=spec.cpu,
                memory=spec.memory,
                networks=tuple(spec.networks),
                created_at=now,
                restart=spec.restart,
            )
            host.specs[id] = spec
            return id

    def start(self, id: str) -> None:
        with self._changing("start") as host:
            found = self._get(id)
            if found.state == "running":
                return
            spec = host.specs[id]
            if missing := [n for n in found.networks if n not in host.made_networks]:
                raise Absent(f"network {missing[0]} not found")
            if spec.entrypoint == ("missing",):
                host.change(id, error="executable file not found")
                raise Invalid("executable file not found", evidence={"call": "start"})
            taken = {b.host_port for f in host.containers.values() if f.state == "running" for b in f.bindings}
            taken |= host.foreign_ports
            if clash := [p.host_port for p in spec.ports if p.host_port and p.host_port in taken]:
                raise Unavailable(f"port {clash[0]} is already allocated", "PortConflict")
            bindings = tuple(
                PortBinding(p.port, p.protocol, p.host_port or 30000 + next(_ids))
                for p in spec.ports
                if p.host_port is not None
            )
            health = "starting" if spec.health else None
            now = datetime.now(UTC) + host.ahead
            host.change(id, state="running", started_at=now, bindings=bindings, address="127.0.0.1", health=health)

    def rejoin(self, id: str) -> None:
        with self._changing("rejoin"):
            self._get(id)

    def reconnect(self, id: str, aliases: Sequence[str]) -> None:
        with self._changing("reconnect") as host:
            found = self._get(id)
            if missing := [n for n in found.detached if n not in host.made_networks]:
                raise Absent(f"network {missing[0]} not found")
            host.change(id, detached=(), unpublished=())

    def stop(self, id: str, timeout: int) -> None:
        self._reach("stop")
        if not self.host.obedient:
            self.host.stopping.wait(timeout)
        with self._changing("stopped") as host:
            if id in host.containers and host.containers[id].state in ("running", "paused"):
                host.change(id, state="exited", exit_code=0, finished_at=datetime.now(UTC), bindings=())

    def restart(self, id: str, timeout: int) -> None:
        self.stop(id, timeout)
        self.start(id)

    def pause(self, id: str) -> None:
        with self._changing("pause") as host:
            self._get(id)
            host.change(id, state="paused")

    def unpause(self, id: str) -> None:
        with self._changing("unpause") as host:
            self._get(id)
            host.change(id, state="running")

    def kill(self, id: str, signal: str) -> None:
        with self._changing("kill") as host:
            if self._get(id).state != "running":
                raise Absent("it is not running")
            host.change(id, state="exited", exit_code=137)

    def remove(self, id: str) -> None:
        with self._changing("remove") as host:
            found = host.containers.pop(id, None)
        if found is not None:
            for listener in self.host.listeners:
                listener.put(found.labels)

    def resize(self, id: str, cpu: float | None, memory: int | None) -> None:
        with self._changing("resize") as host:
            host.change(id, cpu=cpu, memory=memory)

    def set_restart(self, id: str, restart: Restart) -> None:
        with self._changing("set_restart") as host:
            host.change(id, restart=restart)

    def has_image(self, image: str) -> bool:
        self._reach("has_image")
        return image in self.host.images

    def pull(self, image: str, auth: Mapping[str, str] | None) -> None:
        self._reach("pull")
        if self.host.pulling is not None:
            assert self.host.pulling.wait(30)
        with self._changing("pulled") as host:
            if image not in host.registry:
                raise Invalid(f"no manifest for {image}", "ImageNotFound")
            host.images.add(image)

    def import_image(self, image: str, archive: bytes) -> None:
        with self._changing("import") as host:
            host.images.add(image)

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        with self._changing("ensure_network") as host:
            host.made_networks.setdefault(name, dict(labels))

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        self._reach("networks")
        return [n for n, has in self.host.made_networks.items() if labels.items() <= has.items()]

    def remove_network(self, name: str) -> bool:
        with self._changing("remove_network") as host:
            if any(name in host.specs[id].networks for id in host.containers):
                return False
            host.made_networks.pop(name, None)
            return True

    def ensure_volume(self, name: str, labels: Mapping[str, str], size: str | None, driver: str | None) -> None:
        with self._changing("ensure_volume") as host:
            host.made_volumes.setdefault(name, dict(labels))

    def volumes(self, labels: Mapping[str, str]) -> list[FoundVolume]:
        self._reach("volumes")
        found = self.host.made_volumes.items()
        return [FoundVolume(n, has) for n, has in found if labels.items() <= has.items()]

    def remove_volume(self, name: str) -> None:
        with self._changing("remove_volume") as host:
            if any(name in [m.volume for m in host.specs[id].mounts] for id in host.containers):
                raise Unavailable("volume is in use", "VolumeUnavailable")
            host.made_volumes.pop(name, None)

    def logs(self, id: str, instance: str, options: LogOptions) -> LogStream:
        self._reach("logs")
        return FakeLog([LogLine(instance, "stdout", None, f"log of {self._get(id).name}".encode())])

    def events(self, labels: Mapping[str, str], stop: StopEvent) -> Iterator[Mapping[str, str]]:
        self._reach("events")
        queue: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        self.host.listeners.append(queue)
        while not stop.is_set() and not self.host.away:
            try:
                found = queue.get(timeout=0.05)
            except Empty:
                continue
            if labels.items() <= found.items():
                yield found

    def close(self) -> None:
        """Nothing is held."""

    def _get(self, id: str) -> Found:
        if id not in self.host.containers:
            raise Absent(f"no container {id}")
        return self.host.containers[id]

    def _reach(self, name: str) -> None:
        if self.host.away:
            raise TimedOut("it does not answer")
        self.host.calls[name] += 1
        self.host.on_call(name)

    def _changing(self, name: str) -> _Changing:
        return _Changing(self, name)


class _Changing:
    """A call that changes the host: it may fail before, and the caller may die after it took effect."""

    def __init__(self, runtime: FakeRuntime, name: str) -> None:
        self._runtime, self._name = runtime, name

    def __enter__(self) -> FakeHost:
        self._runtime._reach(self._name)
        self._runtime.host.lock.acquire()
        return self._runtime.host

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._runtime.host.lock.release()
        if kind is None:
            self._runtime.host.after_call(self._name)


class FakeLog:
    """Lines that are all there."""

    def __init__(self, lines: list[LogLine]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[LogLine]:
        return iter(self._lines)

    def close(self) -> None:
        """Nothing is held."""


def one_host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """The only host that there is during a test: of the runtime `fake`, at `unix:///a`."""
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FakeRuntime)
    HOSTS.clear()
    HOSTS["a"] = FakeHost()
    return HOSTS["a"]


__all__ = ["HOSTS", "BackendError", "Crashed", "FakeHost", "FakeRuntime", "one_host"]
