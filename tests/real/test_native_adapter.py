"""The native adapter on real Docker engines."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import docker
import httpx
import msgspec
import pytest

from tests.native.driving import Driver, by_slot, changed
from tests.native.workloads import CLUSTER, INSTALLATION, app, container
from tests.real.components import Engine, Registry, free_port, wait_until
from zun_coe.adapters import Connection, Done, LogOptions
from zun_coe.model import (
    Exec,
    Health,
    Host,
    HttpGet,
    Mount,
    Observation,
    Port,
    Sidecar,
    TcpConnect,
    Template,
    Tmpfs,
    Update,
    VolumeSource,
    Workload,
    WorkloadRef,
    bytes_of,
    plain,
    template_hash,
)
from zun_coe.native import naming
from zun_coe.native.adapter import NativeAdapter

IMAGE = Engine.image
# Ends at once when asked to, as a well-made program does.
OBEDIENT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
SERVER = "trap 'exit 0' TERM; httpd -f -p 80 -h / & wait"


def template(script: str = OBEDIENT, **fields: Any) -> Template:
    """A template that runs a shell script."""
    return Template(image=fields.pop("image", IMAGE), args=("sh", "-c", script), **fields)


def connect(*engines: Engine, **fields: Any) -> NativeAdapter:
    """An adapter for hosts named a, b, …"""
    hosts = tuple(Host(name=name, endpoint=e.endpoint) for name, e in zip("abc", engines, strict=False))
    given: dict[str, Any] = {"installation": INSTALLATION, "cluster": CLUSTER, "timeout": 10.0, "host_grace": 60.0}
    return NativeAdapter(Connection(kind="native", hosts=hosts, **(given | fields)))


@pytest.fixture
def driver(docker_engine: Engine) -> Iterator[Driver]:
    """One host; what a test makes is removed after it."""
    adapter = connect(docker_engine)
    yield Driver(adapter)
    adapter.close()
    clear(docker_engine)


def clear(engine: Engine) -> None:
    """Remove all that the gateway makes."""
    client = engine.client()
    for found in client.containers.list(all=True, ignore_removed=True):
        found.remove(force=True, v=True)
    for volume in client.volumes.list():
        volume.remove(force=True)
    client.networks.prune()


def all_ready(seen: Observation) -> bool:
    return bool(seen.instances) and all(i.ready for i in seen.instances)


def log_of(driver: Driver, workload: Workload, options: LogOptions | None = None) -> str:
    """All that the only instance has written."""
    instance = driver.see(workload.ref).instances[0]
    lines = driver.adapter.logs(workload.ref, instance.native_id, options or LogOptions())
    return "\n".join(line.text.decode() for line in lines)


def test_an_app_is_created_scaled_updated_and_removed(driver: Driver, docker_engine: Engine) -> None:
    first = app(template(), replicas=3)
    seen = driver.settle(first)
    assert sorted(by_slot(seen)) == [1, 2, 3]
    assert {i.hash for i in seen.instances} == {first.hash}
    assert seen.hash == first.hash

    five = driver.settle(changed(first, replicas=5))
    assert {i.native_id for i in seen.instances} < {i.native_id for i in five.instances}
    back = driver.settle(changed(first, replicas=2))
    assert {i.native_id for i in back.instances} == {by_slot(seen)[s].native_id for s in (1, 2)}

    newer = template(env={"A": "2"})
    second = changed(
        first, template=newer, hash=template_hash(newer), previous=first.template, previous_hash=first.hash, replicas=2
    )
    done = driver.settle(second)
    assert {i.hash for i in done.instances} == {second.hash}
    assert sorted(by_slot(done)) == [1, 2]

    driver.remove(second.ref)
    ours = {"label": f"{naming.INSTALLATION}={second.ref.installation}"}
    assert not docker_engine.client().containers.list(all=True, filters=ours)
    assert not docker_engine.client().networks.list(filters=ours)


def test_many_replicas_are_created_in_one_step(docker_engine: Engine) -> None:
    """However long each of the calls takes: the machine may be busy with anything else."""
    driver = Driver(connect(docker_engine, timeout=120.0))
    try:
        many = app(template("sleep 1000", stop_timeout=0), replicas=20)
        driver.step(many)
        assert len(driver.see(many.ref).instances) == 20
        driver.step(many)
        assert driver.outcomes[-1] == Done()
        driver.remove(many.ref)
    finally:
        driver.adapter.close()
        clear(docker_engine)


def test_one_port_is_reached_at_several_of_the_host(driver: Driver) -> None:
    numbers = {free_port(), free_port()}
    ports = tuple(Port(port=80, publish=number) for number in numbers)
    seen = driver.settle(container(template(SERVER, ports=ports)))
    (instance,) = seen.instances
    assert {(e.port, e.target) for e in instance.endpoints} == {(number, 80) for number in numbers}
    for number in numbers:
        answer = httpx.get(f"http://127.0.0.1:{number}/none", timeout=30, trust_env=False)
        assert answer.status_code == 404


def test_signal_for_real_time_use_stops_a_container(driver: Driver) -> None:
    halting = "trap 'exit 3' 37; while true; do sleep 0.1; done"  # 34 is SIGRTMIN for programs
    workload = container(template(halting, stop_signal="SIGRTMIN+3", stop_timeout=60))
    driver.settle(workload)
    seen = driver.until(
        changed(workload, desired_state="stopped"), lambda seen: seen.instances[0].state == "exited", 60.0
    )
    assert seen.instances[0].exit_code == 3


def updated(workload: Workload, **fields: Any) -> Workload:
    """The next template of the same workload."""
    newer = msgspec.structs.replace(workload.template, **fields)
    changes = {"template": newer, "hash": template_hash(newer)}
    return changed(workload, previous=workload.template, previous_hash=workload.hash, **changes)


class Watched:
    """Drives a workload while counting, with an eye of its own, what the engine has of it."""

    def __init__(self, engine: Engine) -> None:
        self._client = docker.DockerClient(base_url=engine.endpoint)
        self._client.api.trust_env = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self.most, self.fewest_ready = 0, 1000

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _count(self) -> None:
        while not self._stop.wait(0.02):
            found = self._client.api.containers(all=True)
            self.most = max(self.most, len(found))
            healthy = sum("(healthy)" in c["Status"] for c in found)
            self.fewest_ready = min(self.fewest_ready, healthy)


def test_a_rolling_update_keeps_what_it_promises(driver: Driver, docker_engine: Engine) -> None:
    health = Health(exec=Exec(command=("true",)), interval=0.2, timeout=5)
    first = app(template(health=health), replicas=3, update=Update(max_surge=1, max_unavailable=0))
    driver.settle(first)
    with Watched(docker_engine) as watched:
        driver.settle(updated(first, env={"A": "1"}), 60)
    assert watched.most <= 4
    assert watched.fewest_ready >= 3


def test_an_update_to_what_does_not_start_takes_nothing_away(driver: Driver) -> None:
    first = app(template(), replicas=2)
    kept = driver.settle(first)
    broken = updated(first, command=("/no/such/program",))
    driver.until(broken, lambda seen: any(i.reason == "InvalidSpec" for i in seen.instances))
    driver.step(broken)
    seen = driver.see(first.ref)
    assert {i.native_id for i in kept.instances} <= {i.native_id for i in seen.instances if i.ready}
    halted = changed(broken, halted=True)
    driver.step(halted)
    assert len(driver.see(first.ref).instances) == 3


class TestEffects:
    """What the fields of a template do inside of a container."""

    def test_the_process_is_as_asked_for(self, driver: Driver) -> None:
        script = 'exec 2>&1; id -u; pwd; hostname; echo "$A $S"; grep " /t " /proc/mounts; touch /r/x || echo read only'
        one = container(
            template(
                f"{script}; ls /etc/hostname",
                user="7",
                workdir="/tmp",
                hostname="named",
                env={"A": "a"},
                env_secrets={"S": "s/k"},
                restart="never",
                mounts=(
                    Mount(path="/t", tmpfs=Tmpfs(size="1Mi")),
                    Mount(path="/r", volume=VolumeSource(name="v"), read_only=True),
                ),
            ),
            secrets={"s/k": "hidden"},
            volumes={"v": "volume-1"},
        )
        driver.until(one, lambda seen: seen.instances and seen.instances[0].state == "exited")
        told = log_of(driver, one).splitlines()
        assert told[:4] == ["7", "/tmp", "named", "a hidden"]
        assert "size=1024k" in told[4]
        assert "read only" in told

    def test_apps_of_a_project_find_each_other_by_name_and_those_of_others_do_not(self, driver: Driver) -> None:
        driver.settle(app(template(SERVER), name="web"))
        asks = "(timeout 3 nc web 80 </dev/null && echo reached || echo nobody) 2>/dev/null"
        near = container(template(asks, restart="never"), name="near")
        far = container(
            template(asks, restart="never"), ref=WorkloadRef(**(plain(near.ref) | {"project": "p2", "id": "f" * 32}))
        )
        for workload, expected in ((near, "reached"), (far, "nobody")):
            driver.until(workload, lambda seen: seen.instances and seen.instances[0].state == "exited")
            assert log_of(driver, workload).splitlines()[-1] == expected

    def test_published_ports_lead_to_the_process(self, driver: Driver) -> None:
        port = free_port()
        web = app(template(SERVER, ports=(Port(port=80, publish=port), Port(port=81, publish="auto"))))
        (only,) = driver.settle(web).instances
        assert [(e.target, e.port == port) for e in only.endpoints] == [(80, True), (81, False)]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/bin/sh", timeout=5) as answer:
            assert answer.status == 200

    def test_limits_of_a_container_change_in_place(self, driver: Driver, docker_engine: Engine) -> None:
        one = container(template(cpu=0.5, memory="32Mi"))
        (before,) = driver.settle(one).instances
        assert (before.cpu, before.memory) == (0.5, 32 << 20)
        for cpu, memory in ((0.25, "64Mi"), (None, None), (0.5, None)):
            changes = msgspec.structs.replace(one.template, cpu=cpu, memory=memory)
            (after,) = driver.settle(changed(one, template=changes)).instances
            assert after.native_id == before.native_id
            assert (after.cpu, after.memory) == (cpu, bytes_of(memory) if memory else None)


class TestHealth:
    def test_http_is_probed_and_an_unhealthy_replica_is_replaced(self, driver: Driver) -> None:
        page = "mkdir /w; echo yes > /w/ok; " + SERVER.replace("-h /", "-h /w")
        health = Health(http=HttpGet(port=80, path="/ok"), interval=0.1, timeout=2, retries=2)
        web = app(template(page, health=health))
        (first,) = driver.settle(web).instances
        assert first.health == "healthy"
        container_of(driver, first.native_id).exec_run("rm /w/ok")
        driver.until(web, lambda seen: any(i.reason == "HealthCheckFailing" for i in seen.instances))
        (second,) = driver.settle(web).instances
        assert second.native_id != first.native_id

    def test_tcp_is_probed(self, driver: Driver) -> None:
        health = Health(tcp=TcpConnect(port=80), interval=0.1, timeout=2, retries=2, start_period=20)
        (only,) = driver.settle(app(template(f"sleep 1; {SERVER}", health=health))).instances
        assert only.health == "healthy"

    def test_what_crashes_again_and_again_is_told(self, driver: Driver) -> None:
        workload = app(template("exit 3"))
        seen = driver.until(workload, lambda seen: any(i.reason == "CrashLoop" for i in seen.instances))
        (only,) = seen.instances
        assert not only.ready
        assert only.evidence["exit_code"] == 3
        assert len(driver.see(workload.ref).instances) == 1

    def test_memory_that_a_child_runs_out_of_is_not_the_end_of_its_parent(self, driver: Driver) -> None:
        """The engine says OOMKilled of a process that went on and ended well."""
        script = "(head -c 60m /dev/zero | tail) > /dev/null; exit 0"
        workload = container(template(script, memory="16Mi", restart="never"))
        seen = driver.until(workload, lambda seen: seen.instances and seen.instances[0].state == "exited")
        (only,) = seen.instances
        assert (only.exit_code, only.reason) == (0, None)
        assert only.evidence in ({"out_of_memory": True}, {}), "engines miss it now and then"

    def test_memory_that_runs_out_is_told(self, driver: Driver) -> None:
        eater = container(template("head -c 60m /dev/zero | tail > /dev/null", memory="16Mi", restart="never"))
        seen = driver.until(eater, lambda seen: seen.instances and seen.instances[0].state == "exited")
        assert seen.instances[0].reason in ("OutOfMemory", None)


class TestSidecars:
    def test_they_share_the_network_and_outlive_each_other(self, driver: Driver) -> None:
        asks = "while ! nc 127.0.0.1 80 </dev/null; do sleep 0.1; done; echo reached"
        side = f"trap 'exit 0' TERM; {asks}; sleep 1000 & wait"
        web = app(
            template(
                SERVER,
                ports=(Port(port=80, publish="auto"),),
                sidecars=(Sidecar(name="side", image=IMAGE, args=("sh", "-c", side)),),
            )
        )
        (only,) = driver.settle(web).instances
        wait_until(lambda: "reached" in log_of(driver, web, LogOptions(container="side")), 10)
        with urllib.request.urlopen(f"http://127.0.0.1:{only.endpoints[0].port}/bin/sh", timeout=5) as answer:
            assert answer.status == 200
        container_of(driver, only.native_id).kill()
        (again,) = driver.settle(web).instances
        assert again.native_id == only.native_id
        with urllib.request.urlopen(f"http://127.0.0.1:{again.endpoints[0].port}/bin/sh", timeout=5) as answer:
            assert answer.status == 200
        driver.remove(web.ref)


class TestContainer:
    def test_stop_start_pause_restart_and_kill(self, driver: Driver) -> None:
        one = container(template(f"echo begun; {OBEDIENT}", restart="never"))
        (first,) = driver.settle(one).instances

        def is_now(wanted: Workload, state: str) -> None:
            found = driver.until(wanted, lambda seen: driver.outcomes[-1] == Done())
            assert [(i.native_id, i.state) for i in found.instances] == [(first.native_id, state)]

        def begun_by_now(times: int) -> None:
            wait_until(lambda: log_of(driver, one).splitlines() == ["begun"] * times)

        begun_by_now(1)
        is_now(changed(one, desired_state="paused"), "paused")
        is_now(changed(one, desired_state="stopped"), "exited")
        is_now(one, "running")
        begun_by_now(2)
        again = changed(one, restarts=1)
        is_now(again, "running")
        done = changed(again, restarted=1)
        begun_by_now(3)
        driver.adapter.kill(one.ref, first.native_id, "SIGKILL")
        found = driver.until(done, lambda seen: seen.instances[0].state == "exited")
        assert found.instances[0].exit_code == 137
        is_now(done, "exited")


class TestImages:
    def test_a_private_image_is_pulled_with_its_login(
        self, driver: Driver, docker_engine: Engine, registry: Registry
    ) -> None:
        image = registry.push(docker_engine, "secret:1", private=True)
        nobody = app(template(image=image), name="nobody")
        driver.until(nobody, lambda seen: getattr(driver.outcomes[-1], "reason", None) == "ImagePullFailed")
        driver.settle(changed(nobody, image_auth=registry.auth))

    def test_an_image_that_is_not_there_is_told(self, driver: Driver, registry: Registry) -> None:
        missing = app(template(image=f"{registry.public}/nothing:1"))
        driver.until(missing, lambda seen: getattr(driver.outcomes[-1], "reason", None) == "ImageNotFound")
        assert not driver.see(missing.ref).instances


class TestHosts:
    @pytest.fixture
    def pair(self, docker_engine: Engine, second_engine: Engine) -> Iterator[Driver]:
        adapter = connect(docker_engine, second_engine, timeout=6.0)
        yield Driver(adapter)
        adapter.close()
        clear(docker_engine)
        clear(second_engine)

    def test_replicas_are_on_both_and_one_of_them_may_hang(self, pair: Driver, second_engine: Engine) -> None:
        workload = app(template(), replicas=4)
        seen = pair.settle(workload)
        assert sorted(str(i.host) for i in seen.instances) == ["a", "a", "b", "b"]
        info = pair.adapter.describe()
        assert len(set(info.identity.split())) == 2
        second_engine.freeze()
        try:
            away = pair.see(workload.ref)
            assert sorted((i.host, i.state) for i in away.instances) == [
                *[("a", "running")] * 2,
                *[("b", "unknown")] * 2,
            ]
            pair.step(workload)
        finally:
            second_engine.thaw()
        pair.until(workload, lambda seen: all_ready(seen) and len(seen.instances) == 4)

    def test_hints_come_from_events_of_all(self, pair: Driver) -> None:
        workload = app(template(), replicas=2)
        seen = pair.settle(workload)
        stop = threading.Event()
        heard: list[Any] = []
        reader = threading.Thread(target=lambda: heard.extend(pair.adapter.watch(stop)))
        reader.start()
        try:
            for instance in seen.instances:
                # The connections may not stand yet: what ends is ended until somebody hears of it.
                heard.clear()
                pair.adapter.delete_instance(workload.ref, instance.native_id)
                wait_until(lambda: workload.ref in heard, 10)
        finally:
            stop.set()
            reader.join(10)
        assert not reader.is_alive()


def container_of(driver: Driver, native_id: str) -> Any:
    """The engine's own view of an instance on the first host."""
    endpoint = driver.adapter.connection.hosts[0].endpoint
    client = docker.DockerClient(base_url=endpoint)
    client.api.trust_env = False
    return client.containers.get(native_id)
