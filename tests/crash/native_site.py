"""A site whose cluster is native: hosts in memory, the real adapter, and all that it does on them counted as
changes of the process's life. What it would do in threads is done at once, and its time is the site's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, ClassVar, TypeVar

import pytest

from tests.contract.world import CLUSTER, call
from tests.crash.clockwork import Clockwork, HandTurned, Here, Site, hand_turned
from tests.crash.life import Life
from tests.native import fake
from tests.native.fake import HOSTS, FakeHost, FakeRuntime
from tests.simulated import Faults
from zun_coe import engine
from zun_coe.adapters import Connection
from zun_coe.errors import Invalid
from zun_coe.model import Host, Observation
from zun_coe.native import adapter, hosts, jobs, naming, runtimes, survey
from zun_coe.native.permitted import CHANGES
from zun_coe.native.runtime import ContainerSpec

T = TypeVar("T")
KIND = "in-memory"
IMAGES = frozenset({"web:1", "web:2", "log:1", "broken:1"})
ENDS_AT_ONCE = ("true",)


class HostLife(Life):
    """Counts what is done on hosts. What is written is counted elsewhere."""

    def change(self, name: str, make: Callable[[], T]) -> T:
        """See `Life`."""
        if name.partition(" ")[0] in CHANGES:
            return super().change(name, make)
        self.breathe()
        return make()


class NativeSite(Site):
    """Hosts and a store's file, and the process that has them now."""

    new_life = HostLife

    def __init__(self, folder: Path, names: Sequence[str] = ("a",)) -> None:
        super().__init__(folder)
        self.hosts = {name: FakeHost(images=set(IMAGES)) for name in names}
        HOSTS.clear()
        HOSTS.update(self.hosts)
        self.cluster: Any = Machines(self.hosts)

    def boot(self, life: Life | None = None) -> Clockwork:
        """See `Site`."""
        MortalRuntime.life = life = life or self.new_life()
        SiteTime.site = self
        return super().boot(life)

    def register(self) -> None:
        """See `Site`."""
        self.running.process.gateway.clusters.create(call(), self._body())
        self.running.turn()

    def drain(self, *names: str) -> None:
        """Let nothing new on some of the hosts, and whatever there is on the others."""
        self.running.process.gateway.clusters.patch(call(), CLUSTER, {"hosts": self._body(names)["hosts"]})

    def _body(self, drained: Sequence[str] = ()) -> dict[str, Any]:
        listed = [
            {"name": name, "runtime": KIND, "endpoint": f"unix:///{name}", "schedulable": name not in drained}
            for name in self.hosts
        ]
        return {"name": CLUSTER, "kind": "native", "hosts": listed, "public": True}


class Machines:
    """What a story looks at: all that is on the hosts, asked of themselves."""

    def __init__(self, hosts: Mapping[str, FakeHost]) -> None:
        self._hosts = hosts
        self.images: dict[str, Any] = {}
        self.faults = Faults()
        self._changes = 0

    @property
    def volumes(self) -> set[tuple[str, str]]:
        """Each volume by its host and the id of its record."""
        return {
            (name, labels[naming.ID]) for name, host in self._hosts.items() for labels in host.made_volumes.values()
        }

    def groups(self) -> list[Any]:
        """Something that has not come to its end, where hosts were changed since this was asked last: nothing
        here changes by itself."""
        before = self._changes
        self._changes = sum(host.calls[name] for host in self._hosts.values() for name in CHANGES)
        return [SimpleNamespace(next_at=lambda now: now)] if self._changes != before else []

    def read_all(self, installation: str, cluster: str, label_key: bytes = b"") -> list[Observation]:
        """Everything of one installation and one cluster of it."""
        registered = tuple(Host(name=name, runtime="fake", endpoint=f"unix:///{name}") for name in self._hosts)
        connection = Connection(installation, cluster, "native", hosts=registered, label_key=label_key)
        looking = adapter.NativeAdapter(connection)
        try:
            return looking.observe(None)
        finally:
            looking.close()


class MortalRuntime:
    """A runtime as one process has it. Some containers end as soon as they are started, others never start."""

    life: ClassVar[Life]

    def __init__(self, endpoint: str, **_: Any) -> None:
        self._runtime, self._life = FakeRuntime(endpoint), self.life

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._runtime, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            if name not in CHANGES:
                self._life.breathe()
                return made(*arguments, **options)
            told = next((a.name if isinstance(a, ContainerSpec) else a for a in arguments), "")
            return self._life.change(f"{name} {told}", lambda: made(*arguments, **options))

        return counted

    def start(self, id: str) -> None:
        def begin() -> None:
            host = self._runtime.host
            if host.specs[id].image == "broken:1":
                host.change(id, error="executable file not found")
                raise Invalid("executable file not found", evidence={"call": "start"})
            self._runtime.start(id)
            if host.specs[id].entrypoint == ENDS_AT_ONCE:
                host.change(id, state="exited", exit_code=0, finished_at=SiteTime.now(UTC))

        self._life.change(f"start {id}", begin)


class Pool:
    """What would be done in threads, done at once."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, call: Callable[..., T], *arguments: Any) -> Future[T]:
        """The call, made."""
        future: Future[T] = Future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:  # it is for whoever asks for the result
            future.set_exception(error)
        return future

    def map(self, call: Callable[[Any], T], things: Iterable[Any]) -> Iterator[T]:
        """The calls, made."""
        return iter([call(one) for one in things])

    def shutdown(self, **_: Any) -> None:
        """Nothing is held."""

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass


class SiteTime(datetime):
    """The date at the site."""

    site: ClassVar[Site]

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return cls.site.now()


class Hinted(HandTurned):
    """Its cluster hints at everything all the time."""

    def turn(self) -> None:
        for key in self._wanted():
            self.queue.add(key)
        super().turn()


@contextmanager
def native_by_hand() -> Iterator[None]:
    """As `hand_turned`, with native clusters on hosts in memory."""
    with hand_turned(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "ClusterRunner", Hinted)
        patch.setitem(runtimes.RUNTIMES, KIND, MortalRuntime)
        patch.setitem(runtimes.RUNTIMES, "fake", FakeRuntime)
        for module in (adapter, survey, fake):
            patch.setattr(module, "datetime", SiteTime)
        patch.setattr(hosts, "ThreadPoolExecutor", Pool)
        # A job that is done at once is done while its place is still being looked for.
        patch.setattr(jobs, "threading", SimpleNamespace(Lock=jobs.threading.RLock, Thread=Here))
        yield
