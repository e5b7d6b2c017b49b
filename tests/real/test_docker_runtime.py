"""The Docker runtime against a real engine: what each call does, seen from inside the container and from
the engine, and what each fault becomes."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from tests.real.components import Engine, Registry, free_port, wait_until
from tests.real.images import busybox_root
from zun_coe.adapters import LogLine, LogOptions
from zun_coe.errors import Absent, Denied, Invalid, Unavailable
from zun_coe.model import Exec, Health
from zun_coe.native.docker import DockerRuntime
from zun_coe.native.docker.client import EngineClient
from zun_coe.native.docker.translation import ATTACH
from zun_coe.native.runtime import ContainerSpec, Found, PortBinding, Runtime, RuntimeMount


@pytest.fixture(scope="module")
def runtime(docker_engine: Engine) -> Iterator[DockerRuntime]:
    opened = DockerRuntime(docker_engine.endpoint, timeout=20)
    yield opened
    opened.close()


@pytest.fixture
def labels(request: pytest.FixtureRequest, runtime: DockerRuntime) -> Iterator[dict[str, str]]:
    """Labels of this test alone; what carries them is removed after it."""
    own = {"test": request.node.name}
    yield own
    for container in runtime.find(own):
        runtime.remove(container.id)
    for network in runtime.networks(own):
        assert runtime.remove_network(network)
    for volume in runtime.volumes(own):
        runtime.remove_volume(volume.name)


class Bench:
    """Makes containers of one test."""

    def __init__(self, runtime: DockerRuntime, engine: Engine, labels: Mapping[str, str]) -> None:
        self.runtime, self.engine, self.labels = runtime, engine, labels
        self._number = 0

    def spec(self, script: str, **fields: Any) -> ContainerSpec:
        """A container that runs a shell script, named for the test."""
        self._number += 1
        name = f"{abs(hash(self.labels['test'])):x}-{self._number}"
        base = ContainerSpec(name, self.engine.image, self.labels, args=["sh", "-c", script], restart="never")
        return replace(base, **fields)

    def start(self, script: str, **fields: Any) -> str:
        """Run it."""
        id = self.runtime.create(self.spec(script, **fields))
        self.runtime.start(id)
        return id

    def found(self, id: str, *, exact: bool = True) -> Found:
        """It, as it is found."""
        return next(f for f in self.runtime.find(self.labels, exact=exact) if f.id == id)

    def until(self, id: str, condition: Callable[[Found], object], *, exact: bool = True) -> Found:
        """It, once the condition holds."""
        seen: list[Found] = []

        def holds() -> bool:
            seen.append(self.found(id, exact=exact))
            return bool(condition(seen[-1]))

        wait_until(holds, 30, f"{seen[-1:]} does not come to be as expected")
        return seen[-1]

    def lines(self, id: str, **options: Any) -> list[LogLine]:
        """Its log so far."""
        return list(self.runtime.logs(id, "i", LogOptions(**options)))

    def text(self, id: str) -> str:
        """What it has written so far."""
        return "\n".join(line.text.decode() for line in self.lines(id))

    def output(self, script: str, **fields: Any) -> str:
        """What it writes, run to its end."""
        id = self.start(script, **fields)
        self.until(id, lambda f: f.state == "exited")
        return self.text(id)

    def inspect(self, id: str) -> dict[str, Any]:
        """The engine's own view."""
        told: dict[str, Any] = self.engine.client().api.inspect_container(id)
        return told


@pytest.fixture
def bench(runtime: DockerRuntime, docker_engine: Engine, labels: dict[str, str]) -> Bench:
    return Bench(runtime, docker_engine, labels)


def test_it_is_a_runtime(runtime: DockerRuntime, docker_engine: Engine) -> None:
    told: Runtime = runtime
    info = told.info()
    engine = docker_engine.client().api.info()
    assert (info.identity, info.cpus, info.memory) == (engine["ID"], engine["NCPU"], engine["MemTotal"])
    assert info.versions["docker"]["negotiated"] == "1.41"
    assert info.gpus == 0


MEMORY = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
CPU = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
INSIDE: list[tuple[str, dict[str, Any], str, str]] = [
    ("env", {"env": {"A": "x=y z"}}, 'echo "$A"', "x=y z"),
    ("workdir", {"workdir": "/tmp"}, "pwd", "/tmp"),
    ("user", {"user": "1000:1000"}, "id -u; id -g", "1000\n1000"),
    ("user by name", {"user": "app"}, "id -un", "app"),
    ("hostname", {"hostname": "box"}, "hostname", "box"),
    ("tty", {"tty": True}, "test -t 1 && echo yes", "yes"),
    ("no tty", {}, "test -t 1 || echo no", "no"),
    ("memory", {"memory": 32 << 20}, MEMORY, str(32 << 20)),
    ("cpu", {"cpu": 0.25}, CPU, "25000"),
    ("entrypoint", {"entrypoint": ["echo", "a"], "args": ["b"]}, "", "a b"),
    ("entrypoint alone", {"entrypoint": ["echo", "a"], "args": None}, "", "a"),
    (
        "tmpfs",
        {"mounts": [RuntimeMount("/m", tmpfs=True, size=1 << 20)]},
        "df -k /m | tail -1 | tr -s ' ' | cut -d' ' -f1,2; touch /m/x && echo written",
        "tmpfs 1024\nwritten",
    ),
    (
        "read-only tmpfs",
        {"mounts": [RuntimeMount("/m", read_only=True, tmpfs=True)]},
        "touch /m/x 2>/dev/null || echo refused",
        "refused",
    ),
]


@pytest.mark.parametrize(("fields", "script", "expected"), [row[1:] for row in INSIDE], ids=[row[0] for row in INSIDE])
def test_what_was_asked_for_is_so_inside(bench: Bench, fields: dict[str, Any], script: str, expected: str) -> None:
    assert bench.output(script, **fields) == expected


def test_nothing_rests_on_the_engine_or_the_image(bench: Bench, docker_engine: Engine) -> None:
    docker_engine.load("quirky:0")
    api = docker_engine.client().api
    holder = api.create_container("quirky:0", "sh")["Id"]
    changes = ['ENTRYPOINT ["/bin/echo","own"]', 'CMD ["args"]', "HEALTHCHECK --start-period=90s CMD false"]
    api.commit(holder, "quirky", "1", changes="\n".join(changes))
    api.remove_container(holder)
    assert bench.output("", image="quirky:1", args=None) == "own args"
    assert bench.output("", image="quirky:1", args=[]) == "own"
    id = bench.start("", image="quirky:1", args=None)
    told = bench.inspect(id)
    assert told["Config"]["Healthcheck"]["Test"] == ["NONE"]
    assert told["HostConfig"]["LogConfig"]["Type"] == "json-file"
    assert told["HostConfig"]["Init"] is False
    assert told["HostConfig"]["RestartPolicy"]["Name"] == "no"
    check = Health(exec=Exec(command=("true",)))
    own = bench.inspect(bench.start("", image="quirky:1", args=None, health=check))["Config"]["Healthcheck"]
    assert own["StartPeriod"] < 10**9


def test_volumes_and_binds(bench: Bench, tmp_path: Any) -> None:
    runtime, labels = bench.runtime, bench.labels
    for _ in range(2):
        runtime.ensure_volume("vol-1", labels, None, None)
    assert [v.name for v in runtime.volumes(labels)] == ["vol-1"]
    (tmp_path / "seen").write_text("from outside\n")
    volume = RuntimeMount("/v", volume="vol-1")
    assert bench.output("echo kept > /v/x; cat /v/x", mounts=[volume]) == "kept"
    bind = RuntimeMount("/b", read_only=True, bind=str(tmp_path))
    script = "cat /v/x /b/seen; touch /v/y 2>/dev/null || echo no; touch /b/y 2>/dev/null || echo no"
    assert bench.output(script, mounts=[replace(volume, read_only=True), bind]) == "kept\nfrom outside\nno\nno"
    with pytest.raises(Unavailable) as used:
        runtime.remove_volume("vol-1")
    assert used.value.reason == "VolumeUnavailable"
    for container in runtime.find(labels):
        runtime.remove(container.id)
    for _ in range(2):
        runtime.remove_volume("vol-1")
    assert runtime.volumes(labels) == []


def test_a_volume_that_cannot_be_had(bench: Bench) -> None:
    with pytest.raises(Invalid):
        bench.runtime.ensure_volume("vol-2", bench.labels, "1Gi", None)
    bench.runtime.ensure_volume("vol-2", bench.labels, None, None)
    with pytest.raises(Invalid, match="not ours"):
        bench.runtime.ensure_volume("vol-2", {"test": "another"}, None, None)
    with pytest.raises(Invalid) as missing:
        bench.runtime.create(bench.spec("", mounts=[RuntimeMount("/b", bind="/nowhere/at/all")]))
    assert missing.value.reason == "VolumeUnavailable"


def test_ports_are_reached_where_they_are_published(bench: Bench) -> None:
    number = free_port()
    ports = [PortBinding(80, host_port=0), PortBinding(81, host_port=number), PortBinding(82)]
    id = bench.start("httpd -h /www -p 80; httpd -f -h /www -p 81", ports=ports)
    found = bench.found(id)
    published = {b.port: b.host_port for b in found.bindings}
    assert set(published) == {80, 81}
    assert published[81] == number
    for port in published.values():
        assert wait_until(lambda port=port: _fetch(port), 10) == b"hello\n"  # type: ignore[misc]  # the default binds the loop's variable


def _fetch(port: int) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            content: bytes = answer.read()
            return content
    except OSError:
        return b""


def test_a_port_that_is_taken(bench: Bench) -> None:
    number = free_port()
    bench.start("sleep 60", ports=[PortBinding(80, host_port=number)])
    second = bench.runtime.create(bench.spec("sleep 60", ports=[PortBinding(80, host_port=number)]))
    with pytest.raises(Unavailable) as taken:
        bench.runtime.start(second)
    assert taken.value.reason == "PortConflict"
    assert taken.value.evidence["call"] == "start"
    found = bench.found(second)
    assert found.state == "created"
    assert found.error is not None
    assert str(number) in found.error


def test_networks(bench: Bench) -> None:
    runtime, labels = bench.runtime, bench.labels
    with ThreadPoolExecutor(4) as pool:
        for name in ("front", "back"):
            list(pool.map(lambda _, name=name: runtime.ensure_network(name, labels), range(4)))
    assert runtime.networks(labels) == ["back", "front"]
    with pytest.raises(Invalid, match="not ours"):
        runtime.ensure_network("front", {"test": "another"})
    web = bench.start("sleep 60", networks=["front", "back"], aliases=["web"])
    joined = bench.inspect(web)["NetworkSettings"]["Networks"]
    assert set(joined) == {"front", "back"}
    assert bench.found(web).address == joined["front"]["IPAddress"]
    for name in ("front", "back"):
        told = bench.output("nslookup web 127.0.0.11", networks=[name])
        assert joined[name]["IPAddress"] in told
    runtime.stop(web, 0)
    assert not runtime.remove_network("front")  # a stopped container still needs it
    for container in runtime.find(labels):
        runtime.remove(container.id)
    assert runtime.remove_network("front")
    assert runtime.remove_network("front")


def test_a_network_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(Absent):
        bench.runtime.create(bench.spec("", networks=["nowhere"]))
    assert bench.runtime.find(bench.labels) == []


def test_another_containers_network(bench: Bench) -> None:
    main = bench.start("sleep 60")
    address = bench.found(main).address
    assert address is not None
    sidecar = bench.start("ip -4 addr show eth0; sleep 60", join=main)
    wait_until(lambda: address in bench.text(sidecar), 10)
    assert bench.found(sidecar).address is None


def test_the_hosts_network(bench: Bench) -> None:
    ours = {name for _, name in socket.if_nameindex()}
    told = bench.output("ls /sys/class/net; hostname", host_network=True, hostname="box").split()
    # Interfaces of containers come and go with other tests' containers.
    assert {name for name in ours if not name.startswith("veth")} <= set(told)
    assert told[-1] == "box"


def test_create_twice_is_create_once(bench: Bench) -> None:
    spec = bench.spec("sleep 60")

    def create(_: int) -> str | None:
        try:
            return bench.runtime.create(spec)
        except Unavailable:
            return None  # another one is being created just now: to be tried again

    with ThreadPoolExecutor(4) as pool:
        ids = {*pool.map(create, range(4)), bench.runtime.create(spec)} - {None}
    assert len(ids) == 1
    with pytest.raises(Invalid, match="not ours"):
        bench.runtime.create(replace(spec, labels={"test": "another"}))
    assert [f.id for f in bench.runtime.find(bench.labels)] == list(ids)


def test_a_create_that_was_cut_off_is_completed(bench: Bench) -> None:
    """Whoever comes next, `create` again or `start`, joins the networks that were not joined."""
    for name in ("one", "two"):
        bench.runtime.ensure_network(name, bench.labels)
    for finish in (bench.runtime.create, None):
        spec = bench.spec("sleep 60", networks=["one", "two"], aliases=["web"])
        id = bench.runtime.create(spec)
        bench.engine.client().api.disconnect_container_from_network(id, "two")
        if finish is not None:
            assert finish(spec) == id
            assert set(bench.inspect(id)["NetworkSettings"]["Networks"]) == {"one", "two"}
        bench.runtime.start(id)
        joined = bench.inspect(id)["NetworkSettings"]["Networks"]
        assert set(joined) == {"one", "two"}
        assert "web" in joined["two"]["Aliases"]


def test_the_life_of_a_container(bench: Bench) -> None:
    runtime = bench.runtime
    id = runtime.create(bench.spec("trap 'exit 3' USR1; while :; do sleep 0.05; done", stop_signal="SIGUSR1"))
    assert bench.found(id).state == "created"
    for _ in range(2):
        runtime.start(id)
    started = bench.found(id)
    assert (started.state, started.exit_code) == ("running", None)
    assert started.healthy_since == started.started_at
    # The engine also hears of both from containerd, later: for a moment it may go back to the state before.
    for _ in range(2):
        runtime.pause(id)
        wait_until(lambda: bench.found(id).state == "paused", 30)
    for _ in range(2):
        runtime.unpause(id)
        wait_until(lambda: bench.found(id).state == "running", 30)
    runtime.restart(id, 5)
    again = bench.found(id)
    assert again.state == "running"
    assert again.started_at is not None
    assert started.started_at is not None
    assert again.started_at > started.started_at
    for _ in range(2):
        runtime.stop(id, 5)
    stopped = bench.found(id)
    assert (stopped.state, stopped.exit_code) == ("exited", 3)
    with pytest.raises(Absent):
        runtime.kill(id, "TERM")
    for _ in range(2):
        runtime.remove(id)
    assert runtime.find(bench.labels) == []
    runtime.stop(id, 1)
    for call in (
        runtime.start,
        runtime.pause,
        lambda gone: runtime.kill(gone, "TERM"),
        lambda gone: runtime.restart(gone, 1),
    ):
        with pytest.raises(Absent):
            call(id)


def test_one_that_ignores_its_stop_signal_is_killed(bench: Bench) -> None:
    id = bench.start("trap '' TERM; echo ready; while :; do sleep 1; done")
    wait_until(lambda: bench.text(id) == "ready", 10)
    bench.runtime.stop(id, 1)
    assert bench.found(id).exit_code == 137


def test_kill_sends_the_signal(bench: Bench) -> None:
    id = bench.start("trap 'echo heard' HUP; echo ready; while :; do sleep 0.05; done")
    wait_until(lambda: bench.text(id) == "ready", 10)
    bench.runtime.kill(id, "SIGHUP")
    wait_until(lambda: bench.text(id) == "ready\nheard", 10)
    with pytest.raises(Invalid):
        bench.runtime.kill(id, "SIGNONSENSE")


def test_restart_policies(bench: Bench) -> None:
    always = bench.start("exit 0", restart="always")
    failing = bench.start("exit 1", restart="on_failure")
    fine = bench.start("exit 0", restart="on_failure")
    never = bench.start("exit 1", restart="never")
    bench.until(always, lambda f: f.restarts >= 1)
    bench.until(failing, lambda f: f.restarts >= 1)
    assert (bench.until(fine, lambda f: f.state == "exited").exit_code) == 0
    assert (bench.until(never, lambda f: f.state == "exited").exit_code) == 1
    bench.runtime.stop(always, 1)
    assert bench.found(always).state == "exited"


def test_limits_are_changed_in_place(bench: Bench) -> None:
    id = bench.start(f"while :; do echo $({MEMORY}) $({CPU}); sleep 0.1; done", cpu=0.5, memory=64 << 20)

    def last() -> str:
        return bench.text(id).rpartition("\n")[2]

    wait_until(lambda: last() == f"{64 << 20} 50000", 10)
    for cpu, memory, quota in ((0.25, 32 << 20, "25000"), (0.75, 128 << 20, "75000")):
        bench.runtime.resize(id, cpu, memory)
        assert (bench.found(id).cpu, bench.found(id).memory) == (cpu, memory)
        wait_until(lambda told=f"{memory} {quota}": last() == told, 10)  # type: ignore[misc]  # the default binds the loop's variable
    bench.runtime.resize(id, None, None)
    assert (bench.found(id).cpu, bench.found(id).memory) == (None, None)
    wait_until(lambda: last().partition(" ")[0] in ("max", str((1 << 63) - 4096)), 10)
    bench.runtime.resize(id, 0.5, 16 << 20)
    assert (bench.found(id, exact=False).cpu, bench.found(id, exact=False).memory) == (0.5, 16 << 20)


def test_the_restart_policy_is_changed_in_place(bench: Bench) -> None:
    id = bench.start("sleep 100", restart="always", memory=64 << 20)
    for policy in ("never", "on_failure", "always"):
        bench.runtime.set_restart(id, policy)
        assert (bench.found(id).restart, bench.found(id).memory) == (policy, 64 << 20)


def test_a_limit_that_the_engine_refuses(bench: Bench) -> None:
    with pytest.raises(Invalid):
        bench.runtime.create(bench.spec("", cpu=10_000))
    with pytest.raises(Invalid):
        bench.runtime.create(bench.spec("", memory=1 << 20))


def test_out_of_memory(bench: Bench) -> None:
    id = bench.start("dd if=/dev/zero of=/dev/null bs=64M", memory=16 << 20, entrypoint=None)
    found = bench.until(id, lambda f: f.state == "exited")
    assert found.oom_killed or found.exit_code == 137


@pytest.mark.parametrize(
    "fields",
    [{"args": ["nonsense"]}, {"args": ["/etc"]}, {"user": "nobody-here"}],
    ids=["no such command", "not a program", "no such user"],
)
def test_what_cannot_be_started_is_invalid(bench: Bench, fields: dict[str, Any]) -> None:
    id = bench.runtime.create(bench.spec("", **fields))
    with pytest.raises(Invalid) as refused:
        bench.runtime.start(id)
    assert refused.value.evidence["message"]
    found = bench.found(id)
    assert found.state == "created"
    assert found.error


def test_health_of_exec(bench: Bench) -> None:
    check = Health(exec=Exec(command=("test", "-e", "/tmp/ok")), interval=0.2, timeout=5, retries=2)
    id = bench.start("sleep 0.3; touch /tmp/ok; sleep 1.5; rm /tmp/ok; sleep 60", health=check)
    assert bench.found(id).health == "starting"
    healthy = bench.until(id, lambda f: f.health == "healthy", exact=False)
    assert healthy.started_at is not None
    assert healthy.healthy_since is not None
    assert healthy.healthy_since > healthy.started_at
    later = bench.found(id)
    assert later.health != "healthy" or later.healthy_since == healthy.healthy_since
    unhealthy = bench.until(id, lambda f: f.health == "unhealthy", exact=False)
    assert unhealthy.healthy_since is None
    assert unhealthy.health_log


def test_a_gpu_where_there_is_none(bench: Bench) -> None:
    id = bench.runtime.create(bench.spec("", gpu=1))
    with pytest.raises(Invalid, match="device driver"):
        bench.runtime.start(id)


class TestImages:
    def test_pull(self, runtime: DockerRuntime, docker_engine: Engine, registry: Registry) -> None:
        reference = registry.push(docker_engine, "pulled:1")
        assert not runtime.has_image(reference)
        for _ in range(2):
            runtime.pull(reference, None)
        assert runtime.has_image(reference)
        docker_engine.client().images.remove(reference)

    def test_pull_with_a_login(self, runtime: DockerRuntime, docker_engine: Engine, registry: Registry) -> None:
        reference = registry.push(docker_engine, "private:1", private=True)
        for auth in (None, {"username": registry.username, "password": "wrong"}):
            with pytest.raises(Denied) as denied:
                runtime.pull(reference, auth)
            assert denied.value.reason == "ImagePullFailed"
        runtime.pull(reference, registry.auth | {"server": registry.private})
        assert runtime.has_image(reference)
        docker_engine.client().images.remove(reference)

    def test_what_cannot_be_pulled(self, runtime: DockerRuntime, registry: Registry) -> None:
        with pytest.raises(Invalid) as missing:
            runtime.pull(f"{registry.public}/nothing:1", None)
        assert missing.value.reason == "ImageNotFound"
        with pytest.raises(Unavailable) as refused:
            runtime.pull(f"127.0.0.1:{free_port()}/x:1", None)
        assert refused.value.reason == "ImagePullFailed"
        assert refused.value.evidence["call"] == "pull"
        with pytest.raises(Invalid) as nonsense:
            runtime.pull("UPPER/case:1", None)
        assert nonsense.value.reason == "InvalidSpec"

    def test_import(self, runtime: DockerRuntime, docker_engine: Engine) -> None:
        for _ in range(2):
            runtime.import_image("imported:1", busybox_root())
        assert runtime.has_image("imported:1")
        docker_engine.client().images.remove("imported:1")

    def test_create_without_the_image(self, bench: Bench) -> None:
        with pytest.raises(Absent) as missing:
            bench.runtime.create(bench.spec("", image="nothing:1"))
        assert missing.value.reason == "ImageNotFound"


class TestFind:
    def test_what_has_not_changed_is_not_inspected_again(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = [bench.start("sleep 60") for _ in range(3)]
        inspected: list[str] = []
        inspect = bench.runtime._looks._inspect

        def noting(id: str) -> Mapping[str, Any]:
            inspected.append(id)
            return inspect(id)

        monkeypatch.setattr(bench.runtime._looks, "_inspect", noting)

        def looks() -> list[str]:
            inspected.clear()
            assert {f.id for f in bench.runtime.find(bench.labels, exact=False)} == set(ids)
            return sorted(inspected)

        # Until they have run for some seconds, each is inspected each time.
        wait_until(lambda: looks() == [], 20)
        bench.engine.client().api.stop(ids[0], timeout=0)
        assert looks() == ids[:1]
        bench.runtime.resize(ids[1], 0.5, None)
        assert ids[1] in looks()
        assert bench.found(ids[1], exact=False).cpu == 0.5

    def test_many(self, bench: Bench) -> None:
        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(lambda n: bench.runtime.create(_named(bench, n)), range(12)))
        assert {f.id for f in bench.runtime.find(bench.labels)} == ids
        assert {f.id for f in bench.runtime.find(bench.labels, exact=False)} == ids
        assert bench.runtime.find({"test": "nobody's"}) == []

    def test_one_is_inspected_by_whoever_asks(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each hand-over to another thread delays what users see of a death."""
        bench.start("sleep 60")
        asking: list[threading.Thread] = []
        inspect = bench.runtime._looks._inspect

        def noting(id: str) -> Mapping[str, Any]:
            asking.append(threading.current_thread())
            return inspect(id)

        monkeypatch.setattr(bench.runtime._looks, "_inspect", noting)
        assert len(bench.runtime.find(bench.labels)) == 1
        assert asking == [threading.current_thread()]

    def test_one_that_the_engine_keeps_to_itself_while_it_starts_it_again(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        id = bench.start("sleep 0.2; exit 3", restart="always")
        bench.found(id)
        # The more often it ends, the longer the engine waits before it starts it again.
        wait_until(lambda: bench.found(id).restarts >= 5, 60)
        released, inspected = threading.Event(), list[str]()
        inspect = bench.runtime._looks._inspect

        def held(id: str) -> Mapping[str, Any]:
            inspected.append(id)
            released.wait(60)
            return inspect(id)

        def listed() -> str:
            return str(bench.engine.client().api.containers(all=True, filters={"id": id})[0]["State"])

        wait_until(lambda: listed() == "running", 30)
        wait_until(lambda: listed() == "restarting", 30)
        monkeypatch.setattr(bench.runtime._looks, "_inspect", held)
        for _ in range(2):
            assert (bench.found(id).state, bench.found(id).exit_code) == ("restarting", 3)
        assert inspected == [id]
        released.set()
        wait_until(lambda: bench.found(id).restarts >= 6, 30)

    def test_those_that_vanish_meanwhile_are_left_out(self, bench: Bench) -> None:
        ids = [bench.runtime.create(_named(bench, n)) for n in range(8)]
        with ThreadPoolExecutor(8) as pool:
            removals = [pool.submit(bench.runtime.remove, id) for id in ids]
            while not all(r.done() for r in removals):
                assert {f.id for f in bench.runtime.find(bench.labels)} <= set(ids)
        assert bench.runtime.find(bench.labels) == []

    def test_a_change_behind_our_back_is_seen(self, bench: Bench) -> None:
        id = bench.start("sleep 60")
        api = bench.engine.client().api
        assert bench.found(id, exact=False).state == "running"
        api.pause(id)
        assert bench.found(id, exact=False).state == "paused"
        api.unpause(id)
        api.rename(id, f"renamed-{id[:8]}")
        assert bench.found(id, exact=False).name == f"renamed-{id[:8]}"
        started = bench.found(id, exact=False).started_at
        api.restart(id, timeout=0)
        assert bench.found(id, exact=False).started_at != started
        api.remove_container(id, force=True)
        assert bench.runtime.find(bench.labels, exact=False) == []


def _named(bench: Bench, number: int) -> ContainerSpec:
    return replace(bench.spec("sleep 60"), name=f"many-{abs(hash(bench.labels['test'])):x}-{number}")


class TestLogs:
    def test_lines(self, bench: Bench) -> None:
        before = datetime.now(UTC) - timedelta(seconds=1)
        id = bench.start(r"printf 'a\n\nä\r\n'; sleep 0.2; echo e >&2; sleep 0.2; printf end")
        bench.until(id, lambda f: f.state == "exited")
        lines = bench.lines(id)
        assert [(line.stream, line.text, line.partial) for line in lines] == [
            ("stdout", b"a", False),
            ("stdout", b"", False),
            ("stdout", "ä\r".encode(), False),
            ("stderr", b"e", False),
            ("stdout", b"end", True),
        ]
        times = [line.at for line in lines if line.at]
        assert len(times) == len(lines)
        assert before < times[0] <= times[-1] < datetime.now(UTC) + timedelta(seconds=1)
        assert any(at.microsecond % 1000 for at in times)
        assert [line.text for line in bench.lines(id, tail=2)] == [b"e", b"end"]
        assert [line.text for line in bench.lines(id, stream="stderr")] == [b"e"]
        assert [line.text for line in bench.lines(id, stream="stdout", tail=2)] == ["ä\r".encode(), b"end"]
        assert [line.text for line in bench.lines(id, since=times[3])] == [b"e", b"end"]
        assert bench.lines(id, tail=0) == []

    @pytest.mark.parametrize("tty", [False, True])
    def test_long_lines_come_in_parts(self, bench: Bench, tty: bool) -> None:
        id = bench.start("head -c 40000 /dev/zero | tr '\\0' x; echo; echo short", tty=tty)
        bench.until(id, lambda f: f.state == "exited")
        lines = bench.lines(id)
        assert b"".join(line.text for line in lines[:-1]) == b"x" * 40000
        assert [line.partial for line in lines] == [True] * (len(lines) - 2) + [False, False]
        assert lines[-1].text == b"short"
        assert max(len(line.text) for line in lines) <= 16384

    @pytest.mark.parametrize("tty", [False, True])
    def test_following_ends_with_the_container(self, bench: Bench, tty: bool) -> None:
        id = bench.start("for i in 1 2 3; do echo $i; sleep 0.2; done", tty=tty)
        assert [line.text for line in bench.lines(id, follow=True)] == [b"1", b"2", b"3"]

    def test_following_with_a_tail_of_one_stream(self, bench: Bench) -> None:
        id = bench.start("for i in 1 2 3; do echo $i; echo e$i >&2; done; sleep 0.5; echo 4")
        wait_until(lambda: len(bench.lines(id)) == 6, 10)
        assert [line.text for line in bench.lines(id, follow=True, stream="stdout", tail=2)] == [b"2", b"3", b"4"]

    @pytest.mark.parametrize("when", ["silent", "busy", "before it is read"])
    def test_closing_from_another_thread(self, bench: Bench, when: str) -> None:
        id = bench.start("echo a; while :; do sleep 0.01; test -e /tmp/go && echo b; done")
        if when == "busy":
            bench.engine.client().containers.get(id).exec_run("touch /tmp/go")
        stream = bench.runtime.logs(id, "i", LogOptions(follow=True))
        if when == "before it is read":
            stream.close()
            assert list(stream) == []
            return
        lines: list[LogLine] = []
        reader = threading.Thread(target=lambda: lines.extend(_first(stream, lines)))
        reader.start()
        wait_until(lambda: lines, 10)
        stream.close()
        stream.close()
        reader.join(5)
        assert not reader.is_alive()
        assert lines[0].text == b"a"

    def test_following_in_silence_outlasts_the_deadline(self, bench: Bench) -> None:
        impatient = DockerRuntime(bench.engine.endpoint, timeout=0.5)
        id = bench.start("echo a; sleep 1.5; echo b")
        assert [line.text for line in impatient.logs(id, "i", LogOptions(follow=True))] == [b"a", b"b"]
        impatient.close()

    def test_of_what_is_gone(self, bench: Bench) -> None:
        with pytest.raises(Absent):
            bench.runtime.logs("gone", "i", LogOptions())


def _first(stream: Any, lines: list[LogLine]) -> list[LogLine]:
    for line in stream:
        lines.append(line)
    return []


class TestEvents:
    def test_changes_of_ours_and_of_nobody_else(self, bench: Bench) -> None:
        stop, seen = threading.Event(), list[Mapping[str, str]]()
        reader = threading.Thread(target=lambda: seen.extend(bench.runtime.events(bench.labels, stop)))
        reader.start()

        def heard(change: Callable[[], object]) -> None:
            before = len(seen)
            change()
            wait_until(lambda: len(seen) > before, 10)

        # Nothing says that the stream is open but that something new comes of it.
        numbers = count()
        wait_until(lambda: bench.runtime.create(_named(bench, next(numbers))) and seen, 10)
        id = bench.runtime.find(bench.labels)[0].id
        heard(lambda: bench.runtime.start(id))
        heard(lambda: bench.runtime.pause(id))
        heard(lambda: bench.runtime.unpause(id))
        heard(lambda: bench.runtime.stop(id, 0))
        heard(lambda: bench.runtime.remove(id))
        stop.set()
        reader.join(1.5)
        assert not reader.is_alive()
        whole = bench.labels | {ATTACH: "{}"}
        assert all(dict(labels) == whole for labels in seen)


@pytest.mark.parametrize("api", ["1.24", "1.30"])
def test_an_old_api(docker_engine: Engine, labels: dict[str, str], api: str) -> None:
    old = DockerRuntime(docker_engine.endpoint, newest=api)
    assert old.info().versions["docker"]["negotiated"] == api
    old.ensure_network("old", labels)
    old.ensure_volume("old", labels, None, None)
    mounts = [RuntimeMount("/v", volume="old"), RuntimeMount("/t", tmpfs=True, size=1 << 20)]
    bench = Bench(old, docker_engine, labels)
    told = bench.output(
        f"{CPU}; {MEMORY}; touch /v/x && df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2",
        cpu=0.5,
        memory=32 << 20,
        networks=["old"],
        mounts=mounts,
    )
    assert told.split() == ["50000", str(32 << 20), "1024"]
    id = bench.start("sleep 60")
    old.resize(id, 0.25, 16 << 20)
    assert (bench.found(id).cpu, bench.found(id).memory) == (0.25, 16 << 20)
    old.close()


def test_a_limit_that_the_engine_leaves_out_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an engine without privileges does it: it warns, and makes the container without its limit."""
    warning = (
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."
    )
    create, update = EngineClient.create_named, EngineClient.update_terms
    id = bench.start("sleep 100", memory=32 << 20)
    monkeypatch.setattr(EngineClient, "create_named", lambda *args: (create(*args)[0], [warning]))
    monkeypatch.setattr(EngineClient, "update_terms", lambda *args: [*update(*args), warning])
    with pytest.raises(Invalid, match="Limitation discarded"):
        bench.runtime.create(bench.spec("sleep 100", memory=32 << 20))
    assert [found.id for found in bench.runtime.find(bench.labels)] == [id], "what was made is gone"
    with pytest.raises(Invalid, match="Limitation discarded"):
        bench.runtime.resize(id, None, 64 << 20)
    bench.runtime.resize(id, None, None)
