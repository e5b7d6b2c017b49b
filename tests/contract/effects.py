"""What a field does, seen from inside the containers: nothing counts as carried that was not seen.

A class inherits `InsideEffects` beside `AdapterContract` where containers really run: on an engine of this machine,
which it gives as the fixture `engine`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.adapter import (
    FAILING,
    HEEDING,
    PASSING,
    Contract,
    Healing,
    Lifecycle,
    Operating,
    Updating,
    status_with,
)
from tests.contract.world import World, call
from tests.real.answers import status_of
from tests.real.engine import Engine
from tests.real.needs import free_port
from tests.real.registry import Registry
from zun_coe.adapters import kinds
from zun_coe.errors import Conflict, Unsupported
from zun_coe.model import Instance, Support

CPU = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
MEMORY = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
STDIN = "case $(readlink /proc/self/fd/0) in /dev/null) echo closed;; *) echo open;; esac"


@dataclass(frozen=True, eq=False)
class Effect:
    """Fields, a piece of a body that sets them, a command, and what it then prints (a regular expression).
    `body` may say HOST where the folder of the host belongs. `command`: run instead of the shell."""

    fields: tuple[str, ...]
    body: Mapping[str, Any]
    script: str
    expected: str
    command: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for what runs it."""
        return re.sub(r"[^a-z]+", "-", "-".join(self.fields)).strip("-")[:40]


# For the main container and, where it has the fields too, for a sidecar.
COMMON = [
    Effect(("command", "args"), {}, "", "one two", {"command": ["echo", "one"], "args": ["two"]}),
    Effect(("env",), {"env": {"A": "x=y z", "B": ""}}, 'echo "$A|$B|"', r"x=y z\|\|"),
    Effect(("workdir",), {"workdir": "/tmp"}, "pwd", "/tmp"),
    Effect(("user",), {"user": "1000:1000"}, "id -u; id -g", "1000\n1000"),
    Effect(("cpu",), {"cpu": 0.25}, CPU, "25000"),
    Effect(("memory",), {"memory": "32Mi"}, MEMORY, str(32 << 20)),
    Effect(
        ("mounts/*/tmpfs", "mounts/*/tmpfs/size", "mounts/*/path"),
        {"mounts": [{"path": "/scratch", "tmpfs": {"size": "1Mi"}}, {"path": "/more", "tmpfs": {}}]},
        "touch /scratch/x /more/x && df -k /scratch | tail -1 | tr -s ' ' | cut -d' ' -f1,2",
        "tmpfs 1024",
    ),
    Effect(
        ("mounts/*/volume/name", "mounts/*/read_only"),
        {"mounts": [{"path": "/data", "volume": {"name": "seen"}, "read_only": True}]},
        "grep -c ' /data ' /proc/mounts; touch /data/x 2>/dev/null || echo refused",
        "1\nrefused",
    ),
    Effect(("mounts/*/bind",), {"mounts": [{"path": "/b", "bind": "HOST"}]}, "cat /b/file", "from the host"),
]
MAIN = [
    *COMMON,
    Effect(("env_secrets",), {"env_secrets": {"P": "effects/password"}}, 'echo "$P"', "hunter2"),
    Effect(("hostname",), {"hostname": "inside"}, "hostname", "inside"),
    Effect(("tty",), {"tty": True}, "test -t 1 && echo yes", "yes"),
    Effect(("tty",), {}, "test -t 1 || echo no", "no"),
    Effect(("stdin",), {"stdin": True}, STDIN, "open"),
    Effect(("stdin",), {}, STDIN, "closed"),
    Effect(
        ("restart",),
        {"restart": "on_failure", "mounts": [{"path": "/kept", "volume": {"name": "kept"}}]},
        "test -e /kept/x && echo again && exit 0; touch /kept/x; exit 1",
        "again",
    ),
    Effect(("image", "pull"), {"pull": "never"}, "echo here", "here"),
]

_HEALTH = ("http/port", "http/path", "tcp/port", "exec/command", "interval", "timeout", "retries", "start_period")
# Which case shows the effect of what no single command can show.
ELSEWHERE: Mapping[str, str] = {
    "labels": "test_labels_and_port_names_are_kept",
    "ports/*/name": "test_labels_and_port_names_are_kept",
    "ports/*/port": "test_published_port_answers",
    "ports/*/publish": "test_published_port_answers",
    "ports/*/protocol": "test_both_protocols_are_published",
    "networks": "test_containers_of_one_project_find_each_other",
    "stop_signal": "test_stop_signal_is_heard_and_its_time_is_kept",
    "stop_timeout": "test_stop_signal_is_heard_and_its_time_is_kept",
    "desired_state": "test_container_created_stopped",
    "replicas": "test_scale_up_down_and_to_zero",
    "image_auth": "test_private_image_needs_its_login",
    "mounts/*/volume/class": "test_volume_of_a_class_that_is_not_there_is_told_of",
    "sidecars/*/mounts/*/volume/class": "test_volume_of_a_class_that_is_not_there_is_told_of",
    "placement/constraints": "test_constraint_that_no_node_meets_is_refused_or_told",
    "update/strategy": "test_update_that_recreates_never_mixes",
    "update/max_surge": "test_rolling_update_keeps_what_it_promises",
    "update/max_unavailable": "test_rolling_update_keeps_what_it_promises",
    "update/min_ready": "test_new_replica_is_trusted_after_a_while_only",
    "update/deadline": "test_failed_update_pauses",
    "update/paused": "test_paused_update_waits_for_leave",
    "update/on_failure": "test_failed_update_goes_back",
    "sidecars/*/name": "test_fields_of_sidecars_have_their_effect",
    "sidecars/*/image": "test_fields_of_sidecars_have_their_effect",
    "sidecars/*/pull": "test_fields_of_sidecars_have_their_effect",
    **{f"health/{name}": "test_health_checks" for name in _HEALTH},
    **{f"sidecars/*/health/{name}": "test_health_of_a_sidecar_counts" for name in _HEALTH},
}
# What one node, no device, and storage that lets volumes grow as they like cannot show.
UNSEEN = {"placement/spread", "gpu", "mounts/*/volume/size", "sidecars/*/mounts/*/volume/size"}


class InsideEffects(Contract):
    """Every field that a cluster says it carries, and the case that shows it."""

    @pytest.fixture
    def engine(self) -> Engine:
        """What runs the containers in the end."""
        raise NotImplementedError

    @pytest.fixture
    def image(self, engine: Engine) -> str:
        """See `Contract`."""
        return engine.image

    @pytest.fixture
    def missing_image(self) -> str:
        """See `Contract`. Nobody listens there."""
        return f"127.0.0.1:{free_port()}/nobody/nothing:1"

    @pytest.fixture
    def host_folder(self, tmp_path: Path) -> Path:
        """A folder that containers can be given."""
        return tmp_path

    @pytest.fixture
    def private_image(self, engine: Engine, registry: Registry) -> tuple[str, str, str]:
        """An image that needs a login, the user and the password."""
        return registry.push(engine, "secret:1", private=True), registry.username, registry.password

    def test_every_field_that_is_carried_has_its_case(self, cluster_body: Mapping[str, Any]) -> None:
        seen = {f for effect in MAIN for f in effect.fields} | {f"sidecars/*/{f}" for e in COMMON for f in e.fields}
        fields = kinds()[cluster_body["kind"]].fields
        carried = {pattern.lstrip("/") for pattern, c in fields.items() if c.support is not Support.NONE}
        assert carried - seen - set(ELSEWHERE) - UNSEEN == set()
        cases = (InsideEffects, Healing, Lifecycle, Operating, Updating)
        assert [case for case in ELSEWHERE.values() if not any(hasattr(c, case) for c in cases)] == []

    def test_fields_have_their_effect(self, world: World, body: Any, host_folder: Path) -> None:
        self.prepare(world, host_folder)
        effects = [e for e in MAIN if self.carried(world, e)]
        for number, effect in enumerate(effects):
            wanted = body(
                f"{effect.name}-{number}", effect.script, **({"restart": "never"} | placed(effect, host_folder))
            )
            world.create("container", wanted | dict(effect.command))
        found = {}
        for number, effect in enumerate(effects):
            name = f"{effect.name}-{number}"
            world.settled("container", name, "Exited")
            lines = "\n".join(line.rstrip("\r") for line in world.logs("container", name))
            found |= {} if re.fullmatch(effect.expected, lines) else {name: (effect.expected, lines)}
        assert found == {}

    def test_fields_of_sidecars_have_their_effect(self, world: World, body: Any, image: str, host_folder: Path) -> None:
        self.prepare(world, host_folder)
        effects = [e for e in COMMON if self.carried(world, e, "/sidecars/*")]
        if not effects:
            pytest.skip("there are no sidecars")
        sidecars = [
            {
                "name": effect.name,
                "image": image,
                "pull": "never",
                "command": ["sh", "-c", f"{effect.script}; {HEEDING}"],
            }
            | placed(effect, host_folder)
            | (
                {"command": ["sh", "-c", f'echo "$0" "$1"; {HEEDING}'], "args": ["one", "two"]}
                if effect.command
                else {}
            )
            for effect in effects
        ]
        world.create("app", body(sidecars=sidecars))
        world.settled("app", "web", "Running")

        def wrong() -> dict[str, Any]:
            printed = {e: "\n".join(world.logs("app", "web", e.name)) for e in effects}
            return {e.name: (e.expected, told) for e, told in printed.items() if not re.fullmatch(e.expected, told)}

        world.until(lambda: not wrong(), Lazily(wrong))

    def test_sidecar_shares_the_network_of_its_replica(self, world: World, body: Any, image: str) -> None:
        self.carries(world, "/sidecars/*/name")
        ask = "until wget -q -O - http://127.0.0.1:8099/; do sleep 0.1; done; " + HEEDING
        sidecars = [{"name": "probe", "image": image, "command": ["sh", "-c", ask]}]
        world.create(
            "app", body(script="echo hi > /tmp/index.html; httpd -f -p 8099 -h /tmp", replicas=2, sidecars=sidecars)
        )
        world.settled("app", "web", "Running")
        world.until(lambda: world.logs("app", "web", "probe")[-2:] == ["hi"] * 2, "the sidecars reach nothing")

    def test_labels_and_port_names_are_kept(self, world: World, body: Any) -> None:
        fields = {"labels": {"tier": "front"}, "ports": [{"port": 80, "name": "http"}]}
        world.create("app", body(**fields))
        found = world.settled("app", "web", "Running")
        assert found["labels"] == {"tier": "front"}
        assert found["ports"][0]["name"] == "http"
        world.patch("app", "web", {"labels": {"tier": "back"}})
        assert world.settled("app", "web", "Running")["revision"] == 1

    def test_published_port_answers(self, world: World, body: Any) -> None:
        script = "echo $HOSTNAME > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
        health = {"tcp": {"port": 8080}, "interval": 1, "timeout": 1}
        world.create("app", body(script=script, ports=[{"port": 8080, "publish": "auto"}], replicas=2, health=health))
        status = world.settled("app", "web", "Running")["status"]
        for endpoint in status["endpoints"]:
            assert endpoint["target"] == 8080
            url = f"http://{endpoint['address']}:{endpoint['port']}/"
            world.until(lambda url=url: status_of(url) == 200, "no answer")
        assert status["endpoints"]

    def test_both_protocols_are_published(self, world: World, body: Any) -> None:
        ports = [{"port": 53, "publish": "auto"}, {"port": 53, "protocol": "udp", "publish": "auto"}]
        world.create("app", body(ports=ports))
        status = world.settled("app", "web", "Running")["status"]
        assert {e["protocol"] for e in status["endpoints"]} == {"tcp", "udp"}

    def test_containers_of_one_project_find_each_other(self, world: World, body: Any) -> None:
        several, back = True, ["back"]
        try:
            world.create("app", body("db", networks=back), "blue")
        except Unsupported:
            several, back = False, []
            world.create("app", body("db"), "blue")
        world.settled("app", "db", "Running", "blue")
        ask = "nslookup -type=a db | grep -A1 -q '^Name' && echo found || echo nobody; ls /sys/class/net | grep -c eth"
        expected = {
            ("blue", "both"): ["found", "2" if several else "1"],
            ("blue", "own"): ["found", "1"],
            ("red", "both"): ["nobody", "2" if several else "1"],
        }
        for project, name in expected:
            networks = back if name == "both" else []
            world.create("container", body(name, ask, networks=networks, restart="never"), project)
        for project, name in expected:
            world.settled("container", name, "Exited", project)
        assert {(p, n): world.logs("container", n, project=p) for p, n in expected} == expected

    def test_stop_signal_is_heard_and_its_time_is_kept(self, world: World, body: Any) -> None:
        """The image's own signal, where no other can be chosen. What was heard is kept: the output may go as well.
        One that did not hear it would outlast the test's patience."""
        signal = "USR1" if self.supports(world, "/stop_signal") else "TERM"
        chosen = {"stop_signal": "SIGUSR1"} if signal == "USR1" else {}
        kept = {"mounts": [{"path": "/kept", "volume": {"name": "kept"}}]}
        patient = f"trap 'echo heard > /kept/said; exit 0' {signal}; echo up; while :; do sleep 0.05; done"
        stubborn = f"trap '' {signal}; echo up; while :; do sleep 0.05; done"
        for name, script, seconds in (("patient", patient, 600), ("stubborn", stubborn, 1)):
            world.create("container", body(name, script, stop_timeout=seconds, **chosen, **kept))
            world.settled("container", name, "Running")
            world.until(lambda n=name: world.logs("container", n) == ["up"], "it does not start")
        began = time.monotonic()
        for name in ("patient", "stubborn"):
            world.act(name, "stop")
            world.settled("container", name, "Stopped")
        assert time.monotonic() - began >= 1
        world.create("container", body("reader", "cat /kept/said", restart="never", **kept))
        world.settled("container", "reader", "Exited")
        assert world.logs("container", "reader") == ["heard"]

    def test_health_checks(self, world: World, body: Any) -> None:
        """Each kind passes and fails, and the four numbers do what they say."""
        quick = {"interval": 1, "timeout": 1, "retries": 1}
        serve = "echo hi > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
        good = {
            "http": {"http": {"port": 8080, "path": "/index.html"}},
            "tcp": {"tcp": {"port": 8080}},
            "exec": {"exec": {"command": ["test", "-e", "/tmp/index.html"]}},
        }
        bad = {
            "path": {"http": {"port": 8080, "path": "/nothing"}},
            "port": {"tcp": {"port": 8081}},
            "false": {"exec": {"command": ["false"]}},
            "slow": {"exec": {"command": ["sleep", "60"]}},
            "later": {"exec": {"command": ["false"]}, "start_period": 4},
            "often": {"exec": {"command": ["false"]}, "retries": 4},
        }
        ports = {"ports": [{"port": 8080, "publish": "auto"}, {"port": 8081, "publish": "auto"}]}
        for name, check in (good | bad).items():
            world.create("container", body(name, serve, health=quick | check, **ports))
        for name in good:
            world.until(lambda n=name: healthy(world, n), f"{name} does not get healthy")
        for name in bad:
            world.until(lambda n=name: failing(world, n), f"{name} is not told to be failing")
        # The check of `later` may fail for 4 seconds before it counts, that of `often` 4 times.
        for name in ("later", "often"):
            assert seconds_until_failing(world, name) >= 3

    def test_health_of_a_sidecar_counts(self, world: World, body: Any, image: str) -> None:
        self.carries(world, "/sidecars/*/health/exec/command")
        sidecar = {"name": "side", "image": image, "command": ["sleep", "1000"]}
        world.create("app", body(sidecars=[sidecar | {"health": FAILING}], update={"deadline": 3}))
        world.settled("app", "web", "Failed")
        world.patch("app", "web", {"sidecars": [sidecar | {"health": PASSING}]})
        world.settled("app", "web", "Running")

    def test_volume_outlives_what_uses_it(self, world: World, body: Any) -> None:
        mounts = [{"path": "/data", "volume": {"name": "kept"}}]
        world.create("container", body("writer", "echo written > /data/x", mounts=mounts, restart="never"))
        world.settled("container", "writer", "Exited")
        with pytest.raises(Conflict):
            world.process.gateway.volumes.delete(call(), "kept")
        world.deleted("container", "writer")
        world.create("container", body("reader", "cat /data/x", mounts=mounts, restart="never"))
        world.settled("container", "reader", "Exited")
        assert world.logs("container", "reader") == ["written"]
        world.deleted("container", "reader")
        settle = world.process.gateway.volumes.delete(call(), "kept").settle
        assert settle is not None
        world.until(lambda: world.process.gateway.settled(settle), "the volume is not gone")

    def test_constraint_that_no_node_meets_is_refused_or_told(self, world: World, body: Any) -> None:
        self.carries(world, "/placement/constraints")
        nowhere = body(placement={"constraints": {"zone": "nowhere"}})
        refused: list[str] = []
        try:
            world.create("app", nowhere)
        except Unsupported as error:
            refused = [p.pointer for p in error.problems]
        if refused:
            assert refused == ["/placement/constraints"]
            return
        world.until(lambda: status_with(world, "app", "Unschedulable"), "it is not told that there is no room")
        assert [i for i in world.instances(world.workload("app", "web").ref) if i.host or i.ready] == []

    def test_volume_of_a_class_that_is_not_there_is_told_of(self, world: World, body: Any) -> None:
        mounts = [{"path": "/data", "volume": {"name": "data", "class": "no-such-class"}}]
        if not self.supports(world, "/mounts/*/volume/class"):
            with pytest.raises(Unsupported) as caught:
                world.create("app", body(mounts=mounts))
            assert [p.pointer for p in caught.value.problems] == ["/mounts/0/volume/class"]
            return
        world.create("app", body(mounts=mounts))
        world.until(lambda: status_with(world, "app", "VolumeUnavailable"), "it is not told that there is no volume")

    def test_new_replica_is_trusted_after_a_while_only(self, world: World, body: Any) -> None:
        world.create("app", body(health=PASSING, update={"min_ready": 2}))
        world.settled("app", "web", "Running")
        ref = world.workload("app", "web").ref
        before = world.instances(ref)[0].native_id
        world.patch("app", "web", {"env": {"VERSION": "2"}})
        seen: list[Instance] = []

        def is_let_go() -> bool:
            seen[:] = world.instances(ref)
            return not any(i.native_id == before and i.state != "removing" for i in seen)

        world.until(is_let_go, "the old one stays")
        (since,) = (i.ready_since for i in seen if i.native_id != before)
        assert since is not None
        assert datetime.now(UTC) - since >= timedelta(seconds=1)

    def test_private_image_needs_its_login(self, world: World, body: Any, private_image: tuple[str, str, str]) -> None:
        reference, username, password = private_image
        world.create("app", body(image=reference))
        world.until(lambda: status_with(world, "app", "ImagePullFailed", "ImageNotFound"), "it is not told")
        login = {"name": "login", "data": {"username": username, "password": password}}
        world.process.gateway.secrets.create(call(), login)
        world.patch("app", "web", {"image_auth": "login"})
        world.settled("app", "web", "Running")

    def prepare(self, world: World, host_folder: Path) -> None:
        """What the effects need: a secret, and a file on the host."""
        world.process.gateway.secrets.create(call(), {"name": "effects", "data": {"password": "hunter2"}})
        (host_folder / "file").write_text("from the host\n")

    def carried(self, world: World, effect: Effect, prefix: str = "") -> bool:
        """Whether the cluster says that it carries all of the fields."""
        with world.adapter() as adapter:
            return all(adapter.fields[f"{prefix}/{f}"].support is not Support.NONE for f in effect.fields)

    def carries(self, world: World, pattern: str) -> None:
        """Skip where the cluster says that it does not carry a field."""
        if not self.supports(world, pattern):
            with world.adapter() as adapter:
                pytest.skip(f"{pattern}: {adapter.fields[pattern].note}")

    def supports(self, world: World, pattern: str) -> bool:
        """Whether the cluster says that it carries a field."""
        with world.adapter() as adapter:
            return adapter.fields[pattern].support is not Support.NONE


class Lazily:
    """A message that is made when it is needed."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __str__(self) -> str:
        return str(self._make())


def placed(effect: Effect, host_folder: Path) -> dict[str, Any]:
    """The body of an effect with the folder of the host in its place."""
    mounts = [m | ({"bind": str(host_folder)} if "bind" in m else {}) for m in effect.body.get("mounts", ())]
    return dict(effect.body) | ({"mounts": mounts} if mounts else {})


def healthy(world: World, name: str) -> bool:
    """Whether the cluster says that a container's check passes."""
    instances = world.process.gateway.views.named("container", "default", name).status.instances
    return [i.health for i in instances] == ["healthy"]


def failing(world: World, name: str) -> bool:
    """Whether users see that a container's check fails."""
    return world.show("container", name)["status"].get("reason") == "HealthCheckFailing"


def seconds_until_failing(world: World, name: str) -> float:
    """From the start of a container until it was told that its check fails."""
    (instance,) = world.process.gateway.views.named("container", "default", name).status.instances
    told = [e for e in world.events() if (e["subject_name"], e.get("reason")) == (name, "HealthCheckFailing")]
    return float((datetime.fromisoformat(told[0]["at"]) - instance.started_at).total_seconds())
