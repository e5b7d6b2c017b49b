"""A whole gateway in this process, without HTTP: store, use cases, engine, and one cluster registered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast
from uuid import uuid4

from tests.real.waiting import POLL, wait_until
from zun_coe.adapters import Adapter, Connection, Done, LogOptions, open_adapter
from zun_coe.api.contract import check
from zun_coe.auth import Principal
from zun_coe.config import Settings
from zun_coe.gateway import Answer, Call, Query, Settle
from zun_coe.model import Cluster, Instance, Intent, Observation, Workload, WorkloadRef, assemble
from zun_coe.process import Process, Role

CLUSTER = "here"
Noun = Literal["app", "container"]
Body = Mapping[str, Any]


class World:
    """One gateway with the state in `folder`. `patience`: the seconds in which anything must have happened;
    `glance`: those between two looks at the cluster, which have their price. `settings`: those that differ from a
    world's own."""

    def __init__(
        self, folder: Path, cluster: Body, patience: float = 30.0, glance: float = POLL, **settings: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.patience, self.glance = patience, glance
        usual = Settings(
            store=f"sqlite:///{folder / 'state.db'}",
            resync=1.0,
            lease=5.0,
            backoff=0.1,
            max_backoff=1.0,
            backend_timeout=10.0,
            allow_bind=True,
        )
        self.settings = replace(usual, **settings)
        self._body = dict(cluster) | {"name": CLUSTER, "public": True}
        self.process = Process(self.settings)
        self.process.start()

    def register(self) -> None:
        """Register the cluster and wait until it is ready."""
        self.process.gateway.clusters.create(call(), self._body)
        self.until(lambda: self.cluster()["status"]["phase"] == "Ready", "the cluster is not ready")

    def restart(self, role: Role = "serve") -> None:
        """End the process and start it again, as another process on the same state would be."""
        self.process.stop()
        self.process = Process(self.settings, role)
        self.process.start()

    def close(self) -> None:
        """End everything; what this gateway started is removed from the cluster behind its back."""
        with self.adapter() as adapter:
            volumes = self._volumes()
            self.process.stop()
            wait_until(lambda: self._sweep(adapter), self.patience, "the cluster was not cleaned up", self.glance)
            for volume in volumes:
                adapter.remove_volume(volume["name"], volume["id"], volume["project"])

    # What users do.

    def create(self, noun: Noun, body: Body, project: str = "default") -> Any:
        """Create an app or a container; it, as the answer shows it."""
        return shown(self._cases(noun).create(call(project), body))

    def adopt(self, body: Body, project: str = "default") -> Any:
        """Take over what runs in the cluster; the app, as the answer shows it."""
        return shown(self.process.gateway.apps.adopt(call(project), body, check("AppCreate").problems))

    def patch(self, noun: Noun, name: str, body: Body, project: str = "default") -> Any:
        """Change some of it; it, as the answer shows it."""
        return shown(self._cases(noun).patch(call(project), name, body))

    def act(self, name: str, action: str, **options: Any) -> Any:
        """start, stop, restart, pause, unpause, kill a container."""
        return shown(self.process.gateway.containers.act(call(), name, action, **options))

    def delete(self, noun: Noun, name: str, project: str = "default", **flags: bool) -> None:
        """Ask for its deletion."""
        self._cases(noun).delete(call(project), name, **flags).complete()

    def deleted(self, noun: Noun, name: str, project: str = "default", **flags: bool) -> None:
        """Delete it and wait until it is gone."""
        settle = self._cases(noun).delete(call(project), name, **flags).complete().settle
        assert settle is not None
        self.until(lambda: self.process.gateway.settled(settle), f"{name} is not gone")

    def show(self, noun: Noun, name: str, project: str = "default") -> Any:
        """It, as users see it."""
        return shown(self._cases(noun).show(call(project), name))

    def replicas(self, name: str, project: str = "default") -> list[Any]:
        """The replicas of an app, as containers."""
        return list(shown(self.process.gateway.apps.containers(call(project), name, Query()))["containers"])

    def events(self, type: str | None = None) -> list[Any]:
        """Every event, or those of a type, the oldest first."""
        filters = {} if type is None else {"type": type}
        page = shown(self.process.gateway.events.list(call(), Query(limit=1000, filters=filters)))
        return list(page["events"])

    def logs(self, noun: Noun, name: str, container: str | None = None, project: str = "default") -> list[str]:
        """The lines that all instances have printed so far, one instance after the other."""
        sources = self.process.gateway.log_sources(call(project), noun, name, container)
        lines = []
        for instance in sources.instances():
            stream = sources.open(instance, LogOptions(container=container))
            lines += [line.text.decode() for line in stream]
            stream.close()
        return lines

    def cluster(self) -> Any:
        """The cluster, as users see it."""
        return shown(self.process.gateway.clusters.show(call(), CLUSTER))

    # Waiting.

    def until(self, condition: Callable[[], Any], message: str, timeout: float | None = None) -> Any:
        """Wait for something; it."""
        return wait_until(condition, timeout or self.patience, message, self.glance)

    def settled(self, noun: Noun, name: str, phase: str, project: str = "default") -> Any:
        """Wait until it has settled in a phase at its newest generation, as `?wait` does; it."""

        def look() -> Any:
            found = self.show(noun, name, project)
            answer = self.process.gateway.settled(Settle(noun, project, found["id"], found["generation"]))
            return found if answer and (found := shown(answer))["status"]["phase"] == phase else None

        return wait_until(look, self.patience, Report(self, noun, name, project, f"{name} is not {phase}"))

    def away(self) -> Any:
        """Wait until the cluster is seen to be away; its status."""
        return self.until(lambda: self._status(reachable=False), "nobody notices that the cluster is away")

    def back(self) -> Any:
        """Wait until the cluster is seen to be there again; its status."""
        return self.until(lambda: self._status(reachable=True), "the cluster is not back")

    # What is below the use cases.

    @contextmanager
    def adapter(self) -> Iterator[Adapter]:
        """A connection to the cluster besides the engine's own."""
        gateway = self.process.gateway
        record = cast(Cluster, gateway.views.named("cluster", "default", CLUSTER).intent)
        credentials = self.process.vault.open(record.credentials) if record.credentials else {}
        key = self.process.vault.label_key
        adapter = open_adapter(Connection.to(record, self.installation, credentials, self.settings, label_key=key))
        try:
            yield adapter
        finally:
            adapter.close()

    @property
    def engines_own(self) -> Adapter:
        """The engine's connection to the cluster."""
        assert self.process.engine is not None
        (runner,) = self.process.engine.runners()
        return runner._adapter

    @property
    def installation(self) -> str:
        """The id of this gateway."""
        return self.process.gateway._tools.installation

    def workload(self, noun: Noun, name: str, project: str = "default") -> Workload:
        """It, as an adapter is asked for it when nothing is being rolled out."""
        found = self.process.gateway.views.named(noun, project, name)
        return assemble(self.installation, cast(Intent, found.intent), found.status)

    def observe(self, ref: WorkloadRef | None = None) -> list[Observation]:
        """What is there, asked of the cluster itself."""
        with self.adapter() as adapter:
            return adapter.observe(ref)

    def instances(self, ref: WorkloadRef) -> list[Instance]:
        """The instances that are there and not on their way out, asked of the cluster itself."""
        return [i for o in self.observe(ref) for i in o.instances if i.state != "removing"]

    def _status(self, *, reachable: bool) -> Any:
        status = self.cluster()["status"]
        return status if status["reachable"] is reachable else None

    def _cases(self, noun: Noun) -> Any:
        return getattr(self.process.gateway, f"{noun}s")

    def _volumes(self) -> list[Any]:
        page = self.process.gateway.volumes.list(call(), Query(all_projects=True))
        return list(shown(page)["volumes"])

    def _sweep(self, adapter: Adapter) -> bool:
        return all([isinstance(adapter.remove(o.ref, o), Done) for o in adapter.observe(None)])


class Report:
    """A message that says how things stood when the time was up."""

    def __init__(self, world: World, noun: Noun, name: str, project: str, message: str) -> None:
        self._world, self._noun, self._name, self._project, self._message = world, noun, name, project, message

    def __call__(self) -> str:
        status = self._world.show(self._noun, self._name, self._project)["status"]
        return f"{self._message}: {json.dumps(status, indent=1)}"


def call(project: str = "default", **conditions: Any) -> Call:
    """A request by an admin of a project."""
    roles = frozenset({"admin"} if project == "default" else {"member"})
    return Call(principal=Principal(project=project, roles=roles), request_id=f"req-{uuid4()}", **conditions)


def shown(answer: Answer) -> Any:
    """The body of an answer."""
    answer = answer.complete()
    assert answer.body is not None
    return json.loads(answer.body)
