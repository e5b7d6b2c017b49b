"""What happens to a simulated cluster behind the gateway's back, on a test's command."""

from __future__ import annotations

from msgspec.structs import replace

from tests.simulated.cluster import SimulatedCluster
from tests.simulated.container import Container
from tests.simulated.program import Image
from zun_coe.model import Workload, WorkloadRef


class Outside:
    """Somebody with a shell on the machines. Each call raises `Absent` for a container that is not there."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster

    def containers(self, name: str | None = None) -> list[Container]:
        """All containers, or those of every workload with this name."""
        with self._cluster.changed:
            groups = [g for g in self._cluster.groups() if name in (None, g.ref.name)]
            for group in groups:
                self._cluster.pass_time(group)
            return [c for g in groups for c in g.containers.values()]

    def workload(self, name: str) -> Workload:
        """What was last asked for under this name. Raises `LookupError` where there is none."""
        with self._cluster.changed:
            return next(g.workload for g in self._cluster.groups() if g.ref.name == name)

    def die(self, native_id: str, code: int = 1, reason: str | None = None) -> None:
        """A process ends by itself, or with reason OutOfMemory by the kernel."""
        with self._cluster.holding(native_id) as (container, now):
            container.end(code, now, reason)

    def set_ready(self, native_id: str, ready: bool) -> None:
        """A health check begins to pass or to fail."""
        with self._cluster.holding(native_id) as (container, now):
            container.set_ready(ready, now)

    def delete(self, native_id: str) -> None:
        """A container disappears without a trace."""
        with self._cluster.holding(native_id) as (container, _):
            container.state = "gone"

    def stop(self, native_id: str) -> None:
        """Somebody stops a container by hand."""
        with self._cluster.holding(native_id) as (container, now):
            container.stop(now)

    def log(self, native_id: str, text: str, stream: str = "stdout") -> None:
        """A process prints a line."""
        with self._cluster.holding(native_id) as (container, now):
            container.log(now, text, stream)

    def forget(self, ref: WorkloadRef) -> None:
        """A whole workload disappears without a trace."""
        with self._cluster.changed:
            if group := self._cluster.group(ref):
                group.containers.clear()
                self._cluster.touched(group)
                self._cluster.drop(group)

    def scale(self, ref: WorkloadRef, replicas: int) -> None:
        """Somebody scales a workload by hand."""
        with self._cluster.changed:
            if group := self._cluster.group(ref):
                group.declare(replace(group.workload, replicas=replicas), self._cluster.clock())
                self._cluster.touched(group)

    def set_image(self, name: str, image: Image) -> None:
        """An image comes, goes, or changes; what waits for it goes on."""
        with self._cluster.changed:
            self._cluster.images[name] = image
            self._cluster.fetch_again(name)
            for group in self._cluster.groups():
                self._cluster.pass_time(group)

    def reinstall(self) -> None:
        """Another cluster answers at the same address: empty, with an identity of its own."""
        with self._cluster.changed:
            self._cluster.identity += "-again"
            for group in self._cluster.groups():
                self.forget(group.ref)
