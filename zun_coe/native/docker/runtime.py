"""A Docker Engine as a `Runtime`: each call of the protocol as calls of the engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Event as StopEvent
from types import MappingProxyType
from typing import Any

from docker.types import IPAMConfig

from zun_coe.adapters import LogOptions, LogStream
from zun_coe.errors import Absent, BackendError, Invalid, TimedOut, Unavailable
from zun_coe.native.docker import translation
from zun_coe.native.docker.client import NEWEST, OLDEST, Certificates, EngineClient
from zun_coe.native.docker.failures import pull_answered, pull_failure, translated
from zun_coe.native.docker.recall import Glance, Recall, glance
from zun_coe.native.docker.streams import DockerLog, Stream, closing, log_params, objects, tail_start, until_dropped
from zun_coe.native.runtime import ContainerSpec, Found, FoundVolume, RuntimeInfo

# The changes of a container that matter; without them every exec of a health check would be one.
_EVENTS = ["create", "start", "die", "stop", "kill", "pause", "unpause", "destroy", "oom", "rename", "restart"]
_EVENTS += ["update", "health_status"]
_NO_CREDENTIALS: Mapping[str, str] = MappingProxyType({})


class DockerRuntime:
    """One Docker Engine (`native.runtime.Runtime`). Thread-safe. Opening calls nobody.

    `endpoint`: unix:///path or tcp://address:port. `credentials`: PEM texts `ca_cert`, `client_cert`,
    `client_key`; with any of them the connection is TLS and the engine's certificate is checked.
    `timeout`: seconds for connecting and for each read; `pull_timeout`: for a whole pull. `parallelism`:
    connections that are kept, and containers inspected at once. `newest`: the newest API to speak.

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
    ) -> None:
        self._certificates = Certificates(credentials)
        tls = self._certificates.tls()
        self._client = EngineClient(endpoint, tls, timeout, parallelism, newest)
        # Streams end by having their connection cut: apart from those that are used again.
        self._streaming = EngineClient(endpoint, tls, timeout, 1, newest)
        self._pull_timeout = pull_timeout
        self._inspecting = ThreadPoolExecutor(parallelism, thread_name_prefix="docker-inspect")
        self._recall = Recall()
        self._networking = threading.Lock()
        self._host_cpus: int | None = None

    def info(self) -> RuntimeInfo:
        """The engine and its host; agrees on the version anew, as the engine may have been replaced."""
        version = self._client.negotiate()
        with translated("info"):
            told = self._client.info()
            info = translation.runtime_info(told, version, self._client.api_version, OLDEST)
        self._host_cpus = int(info.cpus or 1)
        self._streaming.renegotiate()
        return info

    def find(self, labels: Mapping[str, str], *, exact: bool = True) -> list[Found]:
        """Containers with these labels: one call for the list and one for each that has to be inspected."""
        wanted = {"label": [f"{name}={value}" for name, value in labels.items()]}
        client = self._client.ready()
        with translated("list"):
            listed = {str(s["Id"]): glance(s) for s in client.containers(all=True, filters=wanted)}
        self._recall.drop_gone(labels, listed)
        known = {} if exact else {id: f for id, g in listed.items() if (f := self._recall.recall(id, g))}
        inspected = self._inspecting.map(self._look, [(id, g) for id, g in listed.items() if id not in known])
        found = known | {f.id: f for f in inspected if f}
        return [found[id] for id in listed if id in found]

    def create(self, spec: ContainerSpec) -> str:
        """See `Runtime.create`. A container that is adopted joins the networks that it has not joined yet."""
        client = self._client.ready()
        if spec.networks:
            self._require_network(spec.networks[0])
        body = translation.container_body(self._explicit(spec), client.api_version)
        try:
            with translated("create"):
                id = client.create_named(body, spec.name)
        except Unavailable as error:
            if error.evidence.get("status") != 409:
                raise
            return self._adopt(spec)
        self._join(id, translation.joins_later(spec))
        return id

    def start(self, id: str) -> None:
        """See `Runtime.start`. Joins the networks that a create which was cut off did not come to."""
        inspected = self._inspect(id)
        self._join(id, translation.still_to_join(inspected))
        self._recall.forget(id)
        with translated("start"):
            self._client.ready().start(id)

    def stop(self, id: str, timeout: int) -> None:
        """See `Runtime.stop`. Has its own time besides the grace."""
        self._recall.forget(id)
        with _ignoring_absent(), translated("stop"):
            self._client.ready().stop(id, timeout)

    def restart(self, id: str, timeout: int) -> None:
        """See `Runtime.restart`."""
        self._recall.forget(id)
        with translated("restart"):
            self._client.ready().restart(id, timeout)

    def pause(self, id: str) -> None:
        """See `Runtime.pause`."""
        self._recall.forget(id)
        if self._inspect(id)["State"].get("Paused"):
            return
        with translated("pause"):
            self._client.ready().pause(id)

    def unpause(self, id: str) -> None:
        """See `Runtime.unpause`."""
        self._recall.forget(id)
        if not self._inspect(id)["State"].get("Paused"):
            return
        with translated("unpause"):
            self._client.ready().unpause(id)

    def kill(self, id: str, signal: str) -> None:
        """See `Runtime.kill`."""
        self._recall.forget(id)
        with translated("kill"):
            self._client.ready().kill(id, signal)

    def remove(self, id: str) -> None:
        """See `Runtime.remove`. No-op also while the engine is at it already."""
        self._recall.forget(id)
        try:
            with _ignoring_absent(), translated("remove"):
                self._client.ready().remove_container(id, v=True, force=True)
        except Unavailable as error:
            if "already in progress" not in error.message:
                raise

    def resize(self, id: str, cpu: float | None, memory: int | None) -> None:
        """See `Runtime.resize`."""
        self._recall.forget(id)
        if self._host_cpus is None and cpu is None:
            self.info()
        client = self._client.ready()
        with translated("update"):
            client.update_limits(id, translation.limits_body(cpu, memory, self._host_cpus or 1, client.api_version))

    def has_image(self, image: str) -> bool:
        """See `Runtime.has_image`."""
        return self._image(image) is not None

    def pull(self, image: str, auth: Mapping[str, str] | None) -> None:
        """See `Runtime.pull`. The deadline is of the whole pull, however lively it is."""
        stream = self._open_pull(image, auth)
        alarm = threading.Timer(self._pull_timeout, stream.close)
        alarm.daemon = True
        alarm.start()
        try:
            for told in objects(stream):
                if message := told.get("error"):
                    raise pull_failure(str(message), logged_in=bool(auth))
            if stream.closed:
                raise _too_long(self._pull_timeout)
        finally:
            alarm.cancel()
            stream.close()

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """See `Runtime.ensure_network`. Raises `Invalid` where one of that name has not these labels."""
        with self._networking:
            there = self._networks_named(name)
            if not there:
                self._create_network(name, labels)
                there = self._networks_named(name)
            for surplus in there[1:]:
                self._drop_network(str(surplus["Id"]))
        for network in there[:1]:
            _require_labels("network", name, network.get("Labels"), labels)

    def networks(self, labels: Mapping[str, str]) -> list[str]:
        """See `Runtime.networks`."""
        wanted = {"label": [f"{name}={value}" for name, value in labels.items()]}
        with translated("networks"):
            return sorted({str(n["Name"]) for n in self._client.ready().networks(filters=wanted)})

    def remove_network(self, name: str) -> bool:
        """See `Runtime.remove_network`. A stopped container uses it too, though the engine would not mind."""
        with translated("list"):
            users = self._client.ready().containers(all=True, filters={"network": name})
        return not users and self._drop_network(name)

    def ensure_volume(self, name: str, labels: Mapping[str, str], size: str | None, driver: str | None) -> None:
        """See `Runtime.ensure_volume`. Raises `Invalid` for a size, and where one of that name has not these labels."""
        if size is not None:
            raise Invalid("the local volumes of Docker have no size", "VolumeUnavailable")
        with translated("volume"):
            volume = self._client.ready().create_volume(name, driver or "local", {}, dict(labels))
        _require_labels("volume", name, volume.get("Labels"), labels)

    def volumes(self, labels: Mapping[str, str]) -> list[FoundVolume]:
        """See `Runtime.volumes`."""
        wanted = {"label": [f"{name}={value}" for name, value in labels.items()]}
        with translated("volumes"):
            listed = self._client.ready().volumes(filters=wanted)["Volumes"] or []
            return [FoundVolume(str(v["Name"]), dict(v.get("Labels") or {})) for v in listed]

    def remove_volume(self, name: str) -> None:
        """See `Runtime.remove_volume`."""
        with _ignoring_absent(), translated("remove volume"):
            self._client.ready().remove_volume(name)

    def logs(self, id: str, instance: str, options: LogOptions) -> LogStream:
        """See `Runtime.logs`. Followed, it ends when the container stops."""
        tty = bool(self._inspect(id)["Config"].get("Tty"))
        skip = 0
        if options.tail and options.stream:
            # The engine counts the lines of both streams.
            every = DockerLog(self._open_logs(id, replace(options, follow=False, tail=None)), instance, tty=tty)
            since, skip = tail_start(list(every), options.tail)
            options = replace(options, tail=None, since=since or options.since)
        return DockerLog(self._open_logs(id, options), instance, tty=tty, skip=skip)

    def events(self, labels: Mapping[str, str], stop: StopEvent) -> Iterator[Mapping[str, str]]:
        """See `Runtime.events`. Raises when it can't be opened, ends when the connection is dropped."""
        wanted = {
            "type": ["container"],
            "event": _EVENTS,
            "label": [f"{name}={value}" for name, value in labels.items()],
        }
        with translated("events"):
            stream = Stream("events", self._streaming.ready().open_events(wanted))
        closing(stream, stop)
        for event in until_dropped(objects(stream)):
            yield translation.labels_of_event(event)

    def close(self) -> None:
        """See `Runtime.close`. Logs and events that are open are closed by those who read them."""
        self._inspecting.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        self._streaming.close()
        self._certificates.remove()

    def _look(self, listed: tuple[str, Glance]) -> Found | None:
        id, seen = listed
        try:
            return self._recall.keep(seen, translation.found(self._inspect(id)))
        except Absent:
            return None

    def _inspect(self, id: str) -> Mapping[str, Any]:
        client = self._client.ready()
        with translated("inspect"):
            told: Mapping[str, Any] = client.inspect_container(id)
        return told

    def _image(self, image: str) -> Mapping[str, Any] | None:
        client = self._client.ready()
        try:
            with translated("image"):
                told = client.image(image)
        except Absent:
            return None
        return told

    def _explicit(self, spec: ContainerSpec) -> ContainerSpec:
        if not translation.wants_no_arguments(spec):
            return spec
        entrypoint = ((self._image(spec.image) or {}).get("Config") or {}).get("Entrypoint")
        return replace(spec, entrypoint=entrypoint or ())

    def _adopt(self, spec: ContainerSpec) -> str:
        try:
            inspected = self._inspect(spec.name)
        except Absent as error:
            raise Unavailable(f"the name {spec.name} was taken until now", "Error", error.evidence) from error
        if translation.is_leaving(inspected):
            raise Unavailable(f"the name {spec.name} is taken by a container that is being removed", "Error")
        _require_labels("container", spec.name, inspected["Config"].get("Labels"), spec.labels)
        self._join(str(inspected["Id"]), translation.still_to_join(inspected))
        return str(inspected["Id"])

    def _join(self, id: str, networks: Mapping[str, Sequence[str]]) -> None:
        for name, aliases in networks.items():
            try:
                with translated("connect"):
                    self._client.ready().connect_container_to_network(id, name, aliases=list(aliases))
            except BackendError as error:
                if "already exists in network" not in error.message:
                    raise

    def _require_network(self, name: str) -> None:
        """The engine would take a name that is not there, and fail at the start."""
        client = self._client.ready()
        with translated("network"):
            client.inspect_network(name)

    def _networks_named(self, name: str) -> list[Mapping[str, Any]]:
        """Oldest first. The engine's filter matches parts of names."""
        client = self._client.ready()
        with translated("networks"):
            named = [n for n in client.networks(names=[name]) if n["Name"] == name]
        return sorted(named, key=lambda n: (str(n.get("Created")), str(n["Id"])))

    def _create_network(self, name: str, labels: Mapping[str, str]) -> None:
        client = self._client.ready()
        try:
            with translated("network"):
                client.create_network(
                    name,
                    "bridge",
                    {},
                    IPAMConfig(),
                    check_duplicate=True,
                    labels=dict(labels),
                    attachable=False,
                )
        except Unavailable as error:
            if error.evidence.get("status") != 409:
                raise

    def _drop_network(self, name: str) -> bool:
        client = self._client.ready()
        try:
            with _ignoring_absent(), translated("remove network"):
                client.remove_network(name)
        except BackendError as error:
            if "active endpoints" in error.message:
                return False
            raise
        return True

    def _open_logs(self, id: str, options: LogOptions) -> Stream:
        client = self._streaming.ready()
        with translated("logs"):
            return Stream("logs", client.open_logs(id, log_params(options), follow=options.follow))

    def _open_pull(self, image: str, auth: Mapping[str, str] | None) -> Stream:
        client = self._streaming.ready()
        with translated("pull"), pull_answered(logged_in=bool(auth)):
            return Stream("pull", client.open_pull(image, _login(auth), self._pull_timeout))


@contextmanager
def _ignoring_absent() -> Iterator[None]:
    try:
        yield
    except Absent:
        return


def _login(auth: Mapping[str, str] | None) -> dict[str, str] | None:
    if not auth:
        return None
    told = {"username": auth.get("username"), "password": auth.get("password"), "serveraddress": auth.get("server")}
    return {name: value for name, value in told.items() if value is not None}


def _too_long(seconds: float) -> TimedOut:
    message = f"the pull took longer than {seconds:g} seconds"
    return TimedOut(message, "ImagePullFailed", {"call": "pull", "status": None, "message": message})


def _require_labels(kind: str, name: str, there: Mapping[str, str] | None, asked: Mapping[str, str]) -> None:
    if not asked.items() <= (there or {}).items():
        message = f"there is a {kind} named {name} which is not ours"
        raise Invalid(message, "Error", {"call": "create", "status": 409, "message": message})
