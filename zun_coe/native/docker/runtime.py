"""A Docker Engine as a `Runtime`: each call of the protocol as calls of the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event as StopEvent
from types import MappingProxyType
from typing import Any

from zun_coe.adapters import LogOptions, LogStream
from zun_coe.adapters.reach import ELSEWHERE, Reach
from zun_coe.errors import Absent, Invalid, Unavailable
from zun_coe.native.docker import reading, translation
from zun_coe.native.docker.client import NEWEST, OLDEST, EngineClient, tls_of
from zun_coe.native.docker.failures import ignoring_absent, translated
from zun_coe.native.docker.images import Images
from zun_coe.native.docker.looking import Looks
from zun_coe.native.docker.networks import Networks
from zun_coe.native.docker.reading import require_labels
from zun_coe.native.docker.recall import glance
from zun_coe.native.docker.streams import (
    DockerLog,
    Stream,
    closing,
    in_time,
    log_params,
    objects,
    tail_start,
    until_dropped,
)
from zun_coe.native.naming import reserved
from zun_coe.native.runtime import ContainerSpec, Found, FoundVolume, Restart, RuntimeInfo
from zun_coe.native.subnets import AddressPool

# The changes of a container that matter; without them every exec of a health check would be one.
_EVENTS = ["create", "start", "die", "stop", "kill", "pause", "unpause", "destroy", "oom", "rename", "restart"]
_EVENTS += ["update", "health_status"]
# Connections kept for each call made at once: steps, looks, stops in the background and probes have theirs.
_KEPT = 4
# Connections of logs and pulls that came to their end and may be used again.
_STREAMS = 32
# So many containers of the gateway's are on one host at most: no real one carries as many.
_MOST = 10_000
# For so many seconds the lines of a log are counted at most.
_COUNTING = 60.0
_NO_CREDENTIALS: Mapping[str, str] = MappingProxyType({})


class DockerRuntime:
    """One Docker Engine (`native.runtime.Runtime`). Thread-safe. Opening calls nobody.

    `endpoint`: unix:///path or tcp://address:port. `credentials`: PEM texts `ca_cert`, `client_cert`,
    `client_key`; with any of them the connection is TLS and the engine's certificate is checked.
    `timeout`: seconds for connecting and for each read; `pull_timeout`: for a whole pull. `parallelism`:
    connections that are kept, and containers inspected at once. `newest`: the newest API to speak. `reach`: where
    connections may be made to. `pool`: where the subnets of networks come from, None where the engine chooses;
    `beside`: addresses that none of them has.

    A signal sent with `kill` that ends the process counts for the engine as a stop on purpose: its restart
    policy leaves the container down. Names given to `networks` must exist; without `networks`, `join` and
    `host_network` a container is on the engine's own bridge. Ports are published on IPv4."""

    def __init__(
        self,
        endpoint: str,
        *,
        credentials: Mapping[str, str] = _NO_CREDENTIALS,
        timeout: float = 15.0,
        pull_timeout: float = 900.0,
        parallelism: int = 8,
        newest: str = NEWEST,
        reach: Reach = ELSEWHERE,
        pool: AddressPool | None = None,
        beside: Sequence[str] = (),
    ) -> None:
        self._endpoint = endpoint
        tls = tls_of(credentials if endpoint.startswith("tcp:") else {})
        self._client = EngineClient(endpoint, tls, timeout, _KEPT * parallelism, newest, reach)
        # Streams end by having their connection cut: apart from those that are used again.
        self._streaming = EngineClient(endpoint, tls, timeout, _STREAMS, newest, reach)
        self._networks = Networks(self._client, pool, beside)
        self._images = Images(self._client, self._streaming, pull_timeout)
        self._looks = Looks(self._inspect, parallelism, self._images.digest)
        self._host_cpus: int | None = None

    def renew(self, credentials: Mapping[str, Any]) -> bool:
        """See `Runtime.renew`."""
        tls = tls_of(credentials if self._endpoint.startswith("tcp:") else {})
        return self._client.renew(tls) and self._streaming.renew(tls)

    def info(self) -> RuntimeInfo:
        """The engine and its host; agrees on the version anew, as the engine may have been replaced."""
        version = self._client.negotiate()
        with translated("info"):
            asked = datetime.now(UTC)
            told = self._client.info()
            ahead = reading.clock_ahead(told, asked, datetime.now(UTC))
            info = reading.runtime_info(told, version, self._client.api_version, OLDEST)
        self._host_cpus = int(info.cpus or 1)
        self._streaming.renegotiate()
        return replace(info, ahead=ahead)

    def find(self, labels: Mapping[str, str], *, exact: bool = True) -> list[Found]:
        """Containers with these labels: one call for the list and one for each that has to be inspected."""
        client = self._client.ready()
        turn, at = self._looks.turn, time.monotonic()
        with translated("list"):
            told = client.containers(all=True, filters=translation.labelled(labels))
            if len(told) > _MOST:
                message = f"the engine tells of {len(told)} containers; {_MOST} of one host are kept at most"
                raise Unavailable(message, "Error", {"call": "list", "message": message})
            listed = {str(s["Id"]): glance(s, at) for s in told}
        return list(self._looks.at(listed, labels, turn, exact=exact).values())

    def create(self, spec: ContainerSpec) -> str:
        """See `Runtime.create`. A container that is adopted joins the networks that it has not joined yet."""
        client = self._client.ready()
        self._refuse_reserved_labels(spec.image)
        if translation.wants_no_arguments(spec):
            spec = replace(spec, entrypoint=self._images.entrypoint(spec.image))
        if spec.networks:
            self._networks.require(spec.networks[0])
        body = translation.container_body(spec, client.api_version)
        try:
            with translated("create"):
                id, warnings = client.create_named(body, spec.name)
        except Unavailable as error:
            if "already in use" not in error.message:
                raise
            return self._adopt(spec)
        if left_out := reading.discarded(warnings):
            self.remove(id)
            raise _unlimited("create", left_out)
        self._networks.join(id, translation.joins_later(spec))
        return id

    def start(self, id: str) -> None:
        """See `Runtime.start`. Joins the networks that a create which was cut off did not come to."""
        inspected = self._inspect(id)
        self._networks.join(id, reading.still_to_join(inspected))
        with self._changing(id, "start") as client:
            client.start(id)

    def rejoin(self, id: str) -> None:
        """See `Runtime.rejoin`. The engine knows the networks of a container by their ids."""
        inspected = self._inspect(id)
        with self._changing(id, "connect"):
            for name in reading.networks_of(inspected):
                self._networks.rejoin(id, name, reading.aliases_of(inspected, name))

    def reconnect(self, id: str, aliases: Sequence[str]) -> None:
        """See `Runtime.reconnect`. Joining its main network publishes its ports, too."""
        inspected = self._inspect(id)
        lost = reading.detached_from(inspected)
        with self._changing(id, "connect"):
            self._networks.join(id, {name: aliases for name in lost})
            if not lost and reading.unpublished(inspected):
                for name in reading.networks_of(inspected)[:1]:
                    self._networks.rejoin(id, name, aliases)

    def stop(self, id: str, timeout: int) -> None:
        """See `Runtime.stop`. Has its own time besides the grace."""
        with ignoring_absent(), self._changing(id, "stop") as client:
            client.stop(id, timeout)

    def restart(self, id: str, timeout: int) -> None:
        """See `Runtime.restart`."""
        with self._changing(id, "restart") as client:
            client.restart(id, timeout)

    def pause(self, id: str) -> None:
        """See `Runtime.pause`."""
        if self._inspect(id)["State"].get("Paused"):
            return
        with self._changing(id, "pause") as client:
            client.pause(id)

    def unpause(self, id: str) -> None:
        """See `Runtime.unpause`."""
        if not self._inspect(id)["State"].get("Paused"):
            return
        with self._changing(id, "unpause") as client:
            client.unpause(id)

    def kill(self, id: str, signal: str) -> None:
        """See `Runtime.kill`."""
        with self._changing(id, "kill") as client:
            client.kill(id, signal)

    def remove(self, id: str) -> None:
        """See `Runtime.remove`. No-op also while the engine is at it already."""
        try:
            with ignoring_absent(), self._changing(id, "remove") as client:
                client.remove_container(id, v=True, force=True)
        except Unavailable as error:
            if "already in progress" not in error.message:
                raise

    def resize(self, id: str, cpu: float | None, memory: int | None) -> None:
        """See `Runtime.resize`."""
        if self._host_cpus is None and cpu is None:
            self.info()
        with self._changing(id, "update") as client:
            body = translation.limits_body(cpu, memory, self._host_cpus or 1, client.api_version)
            warnings = client.update_terms(id, body)
        if (cpu or memory) and (left_out := reading.discarded(warnings)):
            raise _unlimited("update", left_out)

    def set_restart(self, id: str, restart: Restart) -> None:
        """See `Runtime.set_restart`."""
        with self._changing(id, "update") as client:
            client.update_terms(id, {"RestartPolicy": translation.restart_policy(restart)})

    def has_image(self, image: str) -> bool:
        """See `Runtime.has_image`."""
        return self._images.there(image)

    def pull(self, image: str, auth: Mapping[str, str] | None) -> None:
        """See `Runtime.pull`. The deadline is of the whole pull, however lively it is."""
        self._images.pull(image, auth)

    def import_image(self, image: str, archive: bytes) -> None:
        """See `Runtime.import_image`."""
        self._images.make(image, archive)

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """See `Runtime.ensure_network`. Raises `Invalid` where one of that name has not these labels."""
        self._networks.ensure(name, labels)

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        """See `Runtime.networks`."""
        return self._networks.names(labels)

    def remove_network(self, name: str) -> bool:
        """See `Runtime.remove_network`. A stopped container uses it too, though the engine would not mind."""
        return self._networks.remove(name)

    def ensure_volume(self, name: str, labels: Mapping[str, str], size: str | None, driver: str | None) -> None:
        """See `Runtime.ensure_volume`. Raises `Invalid` for a size, and where one of that name has not these labels."""
        if size is not None:
            raise Invalid("the local volumes of Docker have no size", "VolumeUnavailable")
        with translated("volume"):
            volume = self._client.ready().create_volume(name, driver or "local", {}, dict(labels))
        require_labels("volume", name, volume.get("Labels"), labels)

    def volumes(self, labels: Mapping[str, str]) -> list[FoundVolume]:
        """See `Runtime.volumes`."""
        with translated("volumes"):
            listed = self._client.ready().volumes(filters=translation.labelled(labels))["Volumes"] or []
            return [FoundVolume(str(v["Name"]), dict(v.get("Labels") or {})) for v in listed]

    def remove_volume(self, name: str) -> None:
        """See `Runtime.remove_volume`."""
        with ignoring_absent(), translated("remove volume"):
            self._client.ready().remove_volume(name)

    def logs(self, id: str, instance: str, options: LogOptions) -> LogStream:
        """See `Runtime.logs`. Followed, it ends when the container stops."""
        tty = bool(self._inspect(id)["Config"].get("Tty"))
        skip = 0
        if options.tail and options.stream:
            since, skip = self._tail_start(id, instance, options, tty=tty)
            options = replace(options, tail=None, since=since or options.since)
        return DockerLog(self._open_logs(id, options), instance, tty=tty, skip=skip)

    def _tail_start(self, id: str, instance: str, options: LogOptions, *, tty: bool) -> tuple[datetime | None, int]:
        """Where the last lines of one stream begin: the engine counts the lines of both."""
        whole = replace(options, follow=False, tail=None)
        every = DockerLog(self._open_logs(id, whole), instance, tty=tty)
        try:
            return tail_start(in_time(every, _COUNTING), options.tail or 0)
        finally:
            every.close()

    def events(self, labels: Mapping[str, str], stop: StopEvent) -> Iterator[Mapping[str, str]]:
        """See `Runtime.events`. Raises when it can't be opened, ends when the connection is dropped."""
        wanted = {"type": ["container"], "event": _EVENTS, **translation.labelled(labels)}
        with translated("events"):
            stream = Stream("events", self._streaming.ready().open_events(wanted))
        closing(stream, stop)
        self._looks.listening()
        for event in until_dropped(objects(stream)):
            self._looks.heard(event)
            yield reading.labels_of_event(event)

    def close(self) -> None:
        """See `Runtime.close`. Logs and events that are open are closed by those who read them."""
        self._looks.close()
        self._client.close()
        self._streaming.close()

    @contextmanager
    def _changing(self, id: str, call: str) -> Iterator[EngineClient]:
        """A call that changes a container: what is remembered of it holds no longer."""
        client = self._client.ready()
        try:
            with translated(call):
                yield client
        finally:
            self._looks.forget(id)

    def _refuse_reserved_labels(self, image: str) -> None:
        """An engine gives a container the labels of its image, those too that are the gateway's own words."""
        if found := reserved(self._images.labels(image)):
            message = f"the image {image} has labels that are reserved for the gateway ({', '.join(found[:5])})"
            evidence = {"labels": found[:20], "message": f"{message}; build it without them"}
            raise Invalid(f"{message}; build it without them.", "InvalidSpec", evidence)

    def _inspect(self, id: str) -> Mapping[str, Any]:
        client = self._client.ready()
        with translated("inspect"):
            told: Mapping[str, Any] = client.inspect_container(id)
        return told

    def _adopt(self, spec: ContainerSpec) -> str:
        try:
            inspected = self._inspect(spec.name)
        except Absent as error:
            message = f"a container named {spec.name} is being created or removed just now"
            raise Unavailable(message, "Error", error.evidence) from error
        if reading.is_leaving(inspected):
            raise Unavailable(f"the name {spec.name} is taken by a container that is being removed", "Error")
        require_labels("container", spec.name, inspected["Config"].get("Labels"), spec.labels)
        self._networks.join(str(inspected["Id"]), reading.still_to_join(inspected))
        return str(inspected["Id"])

    def _open_logs(self, id: str, options: LogOptions) -> Stream:
        client = self._streaming.ready()
        with translated("logs"):
            return Stream("logs", client.open_logs(id, log_params(options), follow=options.follow))


def _unlimited(call: str, warning: str) -> Invalid:
    """A limit was asked for and would be lost in silence."""
    message = f"The engine does not keep a limit that was asked for: {warning}"
    return Invalid(message, "InvalidSpec", {"call": call, "message": warning})
