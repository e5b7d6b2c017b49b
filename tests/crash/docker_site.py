"""A site whose cluster is a real Docker engine: the real adapter and the real runtime, and every request that
changes something on the engine counted as a change of the process's life. What the gateway would do in threads
is done at once, and its clock runs ahead of the engine's by what the turns last. Each thread may have a site of
its own at the same engine: what they make carries labels that differ."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
import requests

from tests.contract.world import CLUSTER, call
from tests.crash.clockwork import Clockwork, Here, Site, hand_turned
from tests.crash.life import Life
from tests.crash.native_site import Hinted, Pool
from tests.real.engine import Engine
from tests.real.images import busybox_root
from tests.simulated import Faults
from zun_coe import engine as engines
from zun_coe.adapters import Connection
from zun_coe.model import Host, Observation
from zun_coe.native import adapter, hosts, jobs, naming, pause, survey
from zun_coe.native.docker import looking, runtime
from zun_coe.native.docker.client import EngineClient

IMAGES = ("web:1", "web:2", "log:1")
# They sleep, and end at once when they are asked to.
_SLEEPS = ['CMD ["sh", "-c", "trap \'exit 0\' TERM; sleep 100000 & wait"]', "ENV PATH=/bin"]
_READS = frozenset({"GET", "HEAD"})


class _Own(threading.local):
    site: DockerSite


own = _Own()
"""The site of this thread."""


class DockerSite(Site):
    """An engine and a store's file, and the process that has them now."""

    def __init__(self, folder: Path, there: Engine) -> None:
        super().__init__(folder)
        # An engine that hangs on a busy machine is none that is away.
        self.settings = replace(self.settings, backend_timeout=120.0)
        self.engine, self.installation, self.requests = there, "", 0
        self.cluster: Any = Machine(self)
        self.clients: list[MortalClient] = []
        own.site = self

    def now(self) -> datetime:
        """See `Site`: ahead of the engine's date."""
        return datetime.now(UTC) + timedelta(seconds=self.time)

    def boot(self, life: Life | None = None) -> Clockwork:
        """See `Site`."""
        self.life = life or self.new_life()
        return super().boot(self.life)

    def register(self) -> None:
        """See `Site`."""
        self.installation = self.running.process.gateway._tools.installation
        host = {"name": "a", "runtime": "docker", "endpoint": self.engine.endpoint, "address": "127.0.0.1"}
        body = {"name": CLUSTER, "kind": "native", "hosts": [host], "public": True}
        self.running.process.gateway.clusters.create(call(), body)
        self.running.turn()

    def left(self) -> list[str]:
        """The names of all that is on the engine, asked without the gateway."""
        networks = [str(network["Name"]) for network in self._networks()]
        return [c["Names"][0] for c in self._containers()] + [v["Name"] for v in self.volumes()] + networks

    def volumes(self) -> list[Any]:
        """The volumes, as the engine tells of them."""
        return self._api.volumes(filters=self._ours)["Volumes"] or []

    def close(self) -> None:
        """See `Site`. Nothing of it is left on the engine."""
        super().close()
        for client in self.clients:
            client.close()
        for container in self._containers():
            self._api.remove_container(container["Id"], force=True, v=True)
        for volume in self.volumes():
            self._api.remove_volume(volume["Name"])
        for network in self._networks():
            self._api.remove_network(network["Id"])

    @property
    def _api(self) -> docker.APIClient:
        return self.engine.client().api

    @property
    def _ours(self) -> dict[str, str]:
        return {"label": f"{naming.INSTALLATION}={self.installation}"}

    def _containers(self) -> list[Any]:
        return list(self._api.containers(all=True, filters=self._ours))

    def _networks(self) -> list[Any]:
        return list(self._api.networks(filters=self._ours))


class Machine:
    """What a story looks at: all that the site has on the engine."""

    def __init__(self, site: DockerSite) -> None:
        self._site = site
        self.images: dict[str, Any] = {}
        self.faults = Faults()
        self._requests = 0

    @property
    def volumes(self) -> set[tuple[str, str]]:
        """Each volume by its host and the id of its record."""
        return {("a", str(volume["Labels"][naming.ID])) for volume in self._site.volumes()}

    def groups(self) -> list[Any]:
        """Something that has not come to its end, where the engine was asked for changes since the last look:
        nothing here changes by itself."""
        before, self._requests = self._requests, self._site.requests
        return [SimpleNamespace(next_at=lambda now: now)] if self._requests != before else []

    def read_all(self, installation: str, cluster: str, label_key: bytes = b"") -> list[Observation]:
        """Everything of one installation and one cluster of it."""
        host = Host(name="a", runtime="docker", endpoint=self._site.engine.endpoint)
        looking = adapter.NativeAdapter(Connection(installation, cluster, "native", hosts=(host,), label_key=label_key))
        try:
            return looking.observe(None)
        finally:
            looking.close()


class MortalClient(EngineClient):
    """A connection to the engine as one process has it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._site, self._life = own.site, own.site.life
        self._site.clients.append(self)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """See `requests.Session`."""
        make = super().send
        if request.method in _READS:
            self._life.breathe()
            return make(request, **options)
        self._site.requests += 1
        return self._life.change(f"{request.method} {request.path_url}", lambda: make(request, **options))


class SiteTime(datetime):
    """The date at the site of this thread."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return own.site.now()


class Turned(Hinted):
    """A runner with the time of its site."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._reconciler._clock = own.site.now


def with_images(there: Engine) -> Engine:
    """The engine, with the images that stories run, and the gateway's own, which only the first of all runs
    would have to make. Idempotent."""
    api = there.client().api
    for image in IMAGES:
        if not api.images(image):
            api.import_image_from_data(busybox_root(), *image.split(":"), changes=_SLEEPS)
    opened = runtime.DockerRuntime(there.endpoint)
    opened.import_image(pause.IMAGE, pause.archive(platform.machine()))
    opened.close()
    return there


@contextmanager
def docker_by_hand() -> Iterator[None]:
    """As `hand_turned`, with native clusters on real engines."""
    with hand_turned(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "ClusterRunner", Turned)
        patch.setattr(runtime, "EngineClient", MortalClient)
        for module in (adapter, survey):
            patch.setattr(module, "datetime", SiteTime)
        for module in (hosts, looking):
            patch.setattr(module, "ThreadPoolExecutor", Pool)
        # A job that is done at once is done while its place is still being looked for.
        patch.setattr(jobs, "threading", SimpleNamespace(Lock=jobs.threading.RLock, Thread=Here))
        yield
