"""The Docker runtime's pure rules: requests, answers, frames, lines, what a list tells, what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.docker_answers import inspected
from zun_coe.adapters import OPERATIONS, LogLine, LogOptions
from zun_coe.errors import Absent, BackendError, Denied, Invalid, TimedOut, Unavailable
from zun_coe.model import Exec, Health, Support
from zun_coe.model.status import Reason
from zun_coe.native.docker.failures import answered, pull_failure, translated
from zun_coe.native.docker.reading import (
    discarded,
    found,
    labels_of_event,
    moment,
    require_labels,
    runtime_info,
    still_to_join,
)
from zun_coe.native.docker.recall import Recall, glance, unchanged
from zun_coe.native.docker.streams import CUT, Multiplexed, Terminal, log_params, tail_start
from zun_coe.native.docker.translation import ATTACH, container_body, joins_later, limits_body, wants_no_arguments
from zun_coe.native.runtime import ContainerSpec, Found, PortBinding, RuntimeMount

NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)


def spec(**fields: Any) -> ContainerSpec:
    return ContainerSpec(**({"name": "web-1", "image": "web:1", "labels": {"zun.id": "1"}} | fields))


def body(api: str = "1.41", **fields: Any) -> dict[str, Any]:
    return container_body(spec(**fields), api)


def host(api: str = "1.41", **fields: Any) -> dict[str, Any]:
    config: dict[str, Any] = body(api, **fields)["HostConfig"]
    return config


# How Moby's verifyPlatformContainerResources begins its warnings.
KERNEL = "Your kernel does not support"


class TestWhatIsAskedFor:
    def test_a_bare_container_leaves_nothing_to_the_engine(self) -> None:
        told = host()
        assert told["RestartPolicy"] == {"Name": "unless-stopped", "MaximumRetryCount": 0}
        assert told["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
        assert (told["NanoCpus"], told["Memory"], told["MemorySwap"]) == (0, 0, 0)
        assert (told["Init"], told["Privileged"], told["AutoRemove"], told["ReadonlyRootfs"]) == (False,) * 4
        assert (told["NetworkMode"], told["IpcMode"]) == ("bridge", "private")
        assert body()["Healthcheck"] == {"Test": ["NONE"]}

    @pytest.mark.parametrize(
        ("ours", "theirs"), [("always", "unless-stopped"), ("on_failure", "on-failure"), ("never", "no")]
    )
    def test_restart(self, ours: str, theirs: str) -> None:
        assert host(restart=ours)["RestartPolicy"] == {"Name": theirs, "MaximumRetryCount": 0}

    @pytest.mark.parametrize(
        ("entrypoint", "args", "asked"),
        [
            (None, None, {}),
            (["a"], None, {"Entrypoint": ["a"], "Cmd": []}),
            (None, ["b"], {"Cmd": ["b"]}),
            (["a"], ["b"], {"Entrypoint": ["a"], "Cmd": ["b"]}),
        ],
    )
    def test_command(self, entrypoint: Any, args: Any, asked: dict[str, Any]) -> None:
        told = body(entrypoint=entrypoint, args=args)
        assert {k: told[k] for k in ("Entrypoint", "Cmd") if k in told} == asked

    def test_no_arguments_differ_from_those_of_the_image(self) -> None:
        assert wants_no_arguments(spec(args=[]))
        assert not wants_no_arguments(spec())
        assert not wants_no_arguments(spec(entrypoint=["a"], args=[]))

    def test_limits(self) -> None:
        told = host(cpu=0.5, memory=64 << 20)
        assert (told["NanoCpus"], told["Memory"], told["MemorySwap"]) == (500_000_000, 64 << 20, 64 << 20)

    def test_ports(self) -> None:
        ports = [PortBinding(80, host_port=8080), PortBinding(53, "udp", 0), PortBinding(9000)]
        told = body(ports=ports)
        assert told["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}, "9000/tcp": {}}
        assert told["HostConfig"]["PortBindings"] == {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
            "53/udp": [{"HostIp": "0.0.0.0", "HostPort": ""}],
        }

    def test_mounts(self) -> None:
        mounts = [
            RuntimeMount("/v", volume="vol"),
            RuntimeMount("/b", read_only=True, bind="/srv"),
            RuntimeMount("/t", tmpfs=True, size=1 << 20),
        ]
        volume, bind, tmpfs = host(mounts=mounts)["Mounts"]
        assert (volume["Type"], volume["Source"], volume["Target"], volume["ReadOnly"]) == (
            "volume",
            "vol",
            "/v",
            False,
        )
        assert (bind["Type"], bind["Source"], bind["ReadOnly"]) == ("bind", "/srv", True)
        assert (tmpfs["Type"], tmpfs["TmpfsOptions"]["SizeBytes"]) == ("tmpfs", 1 << 20)
        old = host("1.24", mounts=mounts)
        assert old["Binds"] == ["vol:/v:rw", "/srv:/b:ro"]
        assert old["Tmpfs"] == {"/t": f"mode=1777,size={1 << 20}"}
        assert "Mounts" not in old

    def test_networks(self) -> None:
        told = body(networks=["front", "back"], aliases=["web"])
        assert told["HostConfig"]["NetworkMode"] == "front"
        assert told["NetworkingConfig"] == {"EndpointsConfig": {"front": {"Aliases": ["web"]}}}
        assert told["Labels"] == {"zun.id": "1", ATTACH: '{"back":["web"]}'}
        assert joins_later(spec(networks=["front", "back"], aliases=["web"])) == {"back": ["web"]}

    def test_another_containers_network(self) -> None:
        told = body(join="abc")
        assert told["HostConfig"]["NetworkMode"] == "container:abc"
        assert "NetworkingConfig" not in told

    def test_the_hosts_network_has_its_ports_as_they_are(self) -> None:
        told = host(host_network=True, ports=[PortBinding(80, host_port=80)])
        assert (told["NetworkMode"], told["PortBindings"]) == ("host", {})
        with pytest.raises(Invalid):
            host(host_network=True, ports=[PortBinding(80, host_port=8080)])

    def test_health_with_no_field_left_to_the_image(self) -> None:
        check = Health(exec=Exec(command=("true",)), interval=0.5, timeout=2, retries=4)
        told = body("1.44", health=check)["Healthcheck"]
        assert told["Test"] == ["CMD", "true"]
        assert (told["Interval"], told["Timeout"], told["Retries"]) == (500_000_000, 2_000_000_000, 4)
        # None of them may be 0, which stands for the image's own.
        assert all(told.values())
        assert told["StartInterval"] == told["Interval"]

    def test_gpus(self) -> None:
        assert host(gpu=2)["DeviceRequests"] == [{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}]
        assert "DeviceRequests" not in host()

    @pytest.mark.parametrize(
        "fields", [{"gpu": 1}, {"health": Health(exec=Exec(command=("true",)), start_period=5)}], ids=["gpu", "health"]
    )
    def test_what_an_old_engine_cannot_carry_is_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(Invalid, match="later"):
            body("1.24", **fields)

    def test_an_old_engine_is_asked_in_its_own_way(self) -> None:
        told = body("1.24", cpu=0.5)
        assert "StopTimeout" not in told
        assert (told["HostConfig"]["CpuPeriod"], told["HostConfig"]["CpuQuota"]) == (100_000, 50_000)
        assert not {"NanoCpus", "Init", "IpcMode", "Mounts"} & set(told["HostConfig"])


class TestWhatIsFound:
    def test_a_running_container(self) -> None:
        told = found(
            inspected(
                RestartCount=2,
                HostConfig={"NetworkMode": "front", "NanoCpus": 500_000_000, "Memory": 64 << 20},
                NetworkSettings={
                    "Networks": {"back": {"IPAddress": "10.0.1.2"}, "front": {"IPAddress": "10.0.0.2"}},
                    "Ports": {
                        "80/tcp": [{"HostIp": "::", "HostPort": "8081"}, {"HostIp": "0.0.0.0", "HostPort": "8080"}],
                        "81/tcp": None,
                    },
                },
            )
        )
        assert (told.id, told.name, told.image, told.labels) == ("abc", "web-1", "web:1", {"zun.id": "1"})
        assert (told.state, told.exit_code, told.error, told.restarts) == ("running", None, None, 2)
        assert (told.cpu, told.memory, told.address) == (0.5, 64 << 20, "10.0.0.2")
        assert told.bindings == (PortBinding(80, "tcp", 8080),)
        assert told.started_at == NOW == told.healthy_since

    def test_of_an_answer_that_is_far_too_large_little_is_kept(self) -> None:
        long, ours = "x" * 1_000_000, {"zun.id": "1", "zun.attach": "{}"}
        many = {f"n{n}{long if n % 2 else ''}": {} for n in range(3000)}
        told = found(
            inspected(
                {"Error": long, "Health": {"Status": "healthy", "Log": [{"Output": long, "ExitCode": 0}] * 1000}},
                Name=f"/{long}",
                Config={"Image": long, "Labels": {"big": long, "zun.big": long} | ours},
                NetworkSettings={
                    "Networks": many,
                    "Ports": {f"{n}/tcp": [{"HostPort": str(n)}] for n in range(1, 60_000)},
                },
            )
        )
        assert told.labels == ours
        assert len(repr(told)) < 300_000

    def test_an_image_with_large_labels_hides_none_of_ours(self) -> None:
        labels = {"zun.id": "1", "io.buildpacks.build.metadata": "x" * 100_000}
        assert found(inspected(Config={"Image": "web:1", "Labels": labels})).labels == {"zun.id": "1"}
        few = {"zun.id": "1", "io.buildpacks.build.metadata": "x" * 10_000}
        assert found(inspected(Config={"Image": "web:1", "Labels": few})).labels == few

    @pytest.mark.parametrize(
        ("state", "joined", "ports", "detached", "unpublished"),
        [
            ("running", ["front", "back"], [8080], (), ()),
            ("running", ["back"], [8080], ("front",), ()),
            ("running", ["front"], [8080], ("back",), ()),
            ("running", [], [], ("front", "back"), (80,)),
            ("exited", [], [], (), ()),
        ],
    )
    def test_one_that_was_taken_off_a_network(
        self, state: str, joined: list[str], ports: list[int], detached: Any, unpublished: Any
    ) -> None:
        bindings = {"80/tcp": [{"HostPort": "0"}]}
        there = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)} for port in ports] or None, "81/tcp": None}
        told = found(
            inspected(
                {"Status": state},
                Config={"Image": "web:1", "Labels": {ATTACH: '{"back": ["web"]}'}},
                HostConfig={"NetworkMode": "front", "PortBindings": bindings},
                NetworkSettings={"Networks": dict.fromkeys(joined), "Ports": there},
            )
        )
        assert (told.detached, told.unpublished) == (detached, unpublished)

    @pytest.mark.parametrize("mode", ["host", "none", "default", "container:abc"])
    def test_one_without_a_network_of_its_own(self, mode: str) -> None:
        there = {"host": {}} if mode == "host" else {}
        told = found(inspected(HostConfig={"NetworkMode": mode}, NetworkSettings={"Networks": there}))
        assert (told.detached, told.unpublished) == ((), ())

    @pytest.mark.parametrize(
        ("info", "unlimited"),
        [
            ({"MemoryLimit": True, "SwapLimit": True, "CpuCfsQuota": True, "PidsLimit": True}, set()),
            ({}, set()),
            ({"MemoryLimit": True, "SwapLimit": False, "CpuCfsQuota": True}, {"swap"}),
            (
                {"MemoryLimit": False, "SwapLimit": False, "CpuCfsQuota": False, "PidsLimit": False},
                {"memory", "swap", "cpu", "pids"},
            ),
        ],
    )
    def test_limits_that_an_engine_can_not_keep(self, info: dict[str, bool], unlimited: set[str]) -> None:
        assert runtime_info({"ID": "x"} | info, {}, "1.41", "1.24").unlimited == unlimited

    @pytest.mark.parametrize(
        ("warning", "lost"),
        [
            (f"{KERNEL} memory limit capabilities or the cgroup is not mounted. Limitation discarded.", True),
            (f"{KERNEL} CPU CFS quota or the cgroup is not mounted. CPU quota discarded.", True),
            (f"{KERNEL} swap limit capabilities or the cgroup is not mounted. Memory limited without swap.", False),
            (f"{KERNEL} PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.", False),
            ("IPv4 forwarding is disabled. Networking will not work.", False),
        ],
    )
    def test_limits_that_an_engine_has_left_out(self, warning: str, lost: bool) -> None:
        assert discarded(["Something else.", warning]) == (warning if lost else None)
        assert discarded(None) is None

    def test_one_that_could_not_be_started(self) -> None:
        told = found(
            inspected({"Status": "created", "ExitCode": 127, "Error": "no sh", "StartedAt": "0001-01-01T00:00:00Z"})
        )
        assert (told.state, told.exit_code, told.error) == ("created", 127, "no sh")
        assert (told.started_at, told.healthy_since) == (None, None)

    def test_one_that_has_ended(self) -> None:
        ended = {"Status": "exited", "ExitCode": 137, "OOMKilled": True, "FinishedAt": "2026-05-04T03:02:05Z"}
        told = found(inspected(ended))
        assert (told.state, told.exit_code, told.oom_killed) == ("exited", 137, True)
        assert told.finished_at == datetime(2026, 5, 4, 3, 2, 5, tzinfo=UTC)
        assert told.healthy_since is None

    @pytest.mark.parametrize(
        ("results", "since"),
        [
            ([0, 0], 0),
            ([1, 0, 0], 1),
            ([0, 1, 0], 0),  # one failure of two that it takes
            ([0, 1, 1, 0, 0], 3),
        ],
    )
    def test_healthy_since_it_last_recovered(self, results: list[int], since: int) -> None:
        log = [{"ExitCode": code, "End": f"2026-05-04T03:02:0{i}Z", "Output": f"{i}"} for i, code in enumerate(results)]
        config = {"Image": "web:1", "Healthcheck": {"Retries": 2}}
        told = found(inspected({"Health": {"Status": "healthy", "Log": log}}, Config=config))
        assert told.health == "healthy"
        assert told.healthy_since == datetime(2026, 5, 4, 3, 2, since, tzinfo=UTC)
        assert told.health_log == tuple(str(i) for i in range(len(results)))

    def test_networks_that_are_still_to_be_joined(self) -> None:
        new = {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}
        config = {"Image": "web:1", "Labels": {ATTACH: '{"back":["web"],"side":[]}'}}
        joined: dict[str, Any] = {"Networks": {"front": {}, "side": {}}}
        assert still_to_join(inspected(new, Config=config, NetworkSettings=joined)) == {"back": ["web"]}
        assert still_to_join(inspected(Config=config, NetworkSettings=joined)) == {}

    @pytest.mark.parametrize("text", ["x", "[1]", '{"back": "web"}', "null"])
    def test_a_note_that_is_none_of_ours_says_nothing(self, text: str) -> None:
        """Containers of former versions may have it from their image; the others of the host are to be seen."""
        config = {"Image": "web:1", "Labels": {ATTACH: text}}
        assert found(inspected(Config=config)).detached == ("front",)
        new = {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}
        assert still_to_join(inspected(new, Config=config)) == {}

    def test_somebody_elses_is_refused(self) -> None:
        require_labels("container", "web", {"a": "1", "b": "2"}, {"a": "1"})
        with pytest.raises(Invalid, match="not ours"):
            require_labels("container", "web", {"a": "2"}, {"a": "1"})
        with pytest.raises(Invalid, match="not ours"):
            require_labels("container", "web", None, {"a": "1"})

    def test_the_engine(self) -> None:
        info = {
            "ID": "E",
            "NCPU": 4,
            "MemTotal": 1 << 33,
            "GenericResources": [
                {"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "u1"}},
                {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}},
                {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
            ],
        }
        told = runtime_info(info, {"Version": "20.10.24"}, "1.41", "1.24")
        assert (told.identity, told.cpus, told.memory, told.gpus) == ("E", 4, 1 << 33, 3)
        assert told.versions["docker"] == {"negotiated": "1.41", "supported": "1.24 and later", "engine": "20.10.24"}
        assert set(told.operations) == set(OPERATIONS)
        assert told.operations["exec"].support is Support.NONE
        assert told.operations["logs_follow"].support is Support.NATIVE
        found_by_cdi = info | {"DiscoveredDevices": [{"ID": "nvidia.com/gpu=0"}, {"ID": "nvidia.com/gpu=all"}]}
        assert runtime_info(found_by_cdi, {}, "1.41", "1.24").gpus == 1

    def test_an_event_gives_the_labels(self) -> None:
        event = {"Actor": {"Attributes": {"image": "web", "name": "w", "exitCode": "1", "zun.id": "1"}}}
        assert labels_of_event(event) == {"zun.id": "1"}

    @given(st.datetimes(min_value=datetime(2000, 1, 1)), st.integers(0, 999))
    def test_times_keep_their_microseconds(self, at: datetime, nanos: int) -> None:
        assert moment(f"{at.isoformat(timespec='microseconds')}{nanos:03d}Z") == at.replace(tzinfo=UTC)


class TestRoundTrips:
    @given(st.integers(1, 6400), st.integers(6, 1 << 20), st.sampled_from(["1.24", "1.41", "1.45"]))
    def test_limits_come_back_as_they_were_asked_for(self, hundredths: int, mebibytes: int, api: str) -> None:
        cpu, memory = hundredths / 100, mebibytes << 20
        for config in (host(api, cpu=cpu, memory=memory), limits_body(cpu, memory, 4, api)):
            told = found(inspected(HostConfig=config))
            assert (told.cpu, told.memory) == (cpu, memory)

    @given(st.integers(1, 256), st.sampled_from(["1.24", "1.41"]))
    def test_limits_that_were_lifted_are_none(self, cpus: int, api: str) -> None:
        told = found(inspected(HostConfig=limits_body(None, None, cpus, api)))
        assert (told.cpu, told.memory) == (None, None)

    @given(st.dictionaries(st.text(min_size=1).filter(lambda n: "=" not in n), st.text()))
    def test_environment(self, env: dict[str, str]) -> None:
        told = body(env=env)["Env"]
        assert dict(entry.split("=", 1) for entry in told) == env


def frame(stream: int, message: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(message).to_bytes(4, "big") + message


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


STAMP = b"2026-05-04T03:02:01.123456789Z "
LINE = st.binary(max_size=200).filter(lambda b: b"\n" not in b)


class TestLogs:
    @given(st.lists(st.tuples(st.sampled_from([1, 2]), LINE, st.booleans())), st.lists(st.integers(0, 300)))
    def test_frames_in_any_pieces(self, messages: list[tuple[int, bytes, bool]], sizes: list[int]) -> None:
        data = b"".join(frame(s, STAMP + text + (b"" if partial else b"\n")) for s, text, partial in messages)
        decoder = Multiplexed("i")
        lines = [line for piece in cut(data, sizes) for line in decoder.feed(piece)]
        names = {1: "stdout", 2: "stderr"}
        assert lines == [LogLine("i", names[s], NOW, text, partial) for s, text, partial in messages]  # type: ignore[arg-type]  # a literal looked up

    @given(st.lists(LINE.filter(lambda b: not b.endswith(b"\r"))), st.lists(st.integers(0, 300)))
    def test_a_terminals_lines_in_any_pieces(self, texts: list[bytes], sizes: list[int]) -> None:
        data = b"".join(STAMP + text + b"\r\n" for text in texts)
        decoder = Terminal("i")
        lines = [line for piece in cut(data, sizes) for line in decoder.feed(piece)] + list(decoder.end())
        assert lines == [LogLine("i", "stdout", NOW, text) for text in texts]

    def test_a_terminals_long_line_comes_in_parts(self) -> None:
        decoder = Terminal("i")
        data = STAMP + b"a" * CUT + STAMP + b"b" * CUT + STAMP + b"c\r\n"
        assert [(line.text[:1], len(line.text), line.partial) for line in decoder.feed(data)] == [
            (b"a", CUT, True),
            (b"b", CUT, True),
            (b"c", 1, False),
        ]

    def test_what_a_terminal_has_not_ended_is_partial(self) -> None:
        decoder = Terminal("i")
        assert list(decoder.feed(STAMP + b"prompt> ")) == []
        assert list(decoder.end()) == [LogLine("i", "stdout", NOW, b"prompt> ", partial=True)]

    def test_what_is_asked_for(self) -> None:
        options = LogOptions(follow=True, tail=3, since=NOW, stream="stderr")
        assert log_params(options) == {
            "stdout": 0,
            "stderr": 1,
            "timestamps": 1,
            "follow": 1,
            "tail": "3",
            "since": f"{int(NOW.timestamp())}.123456000",
        }
        assert log_params(LogOptions())["tail"] == "all"

    @given(st.lists(st.integers(0, 5)), st.integers(1, 8))
    def test_where_the_tail_begins(self, offsets: list[int], tail: int) -> None:
        lines = [LogLine("i", "stdout", NOW + timedelta(seconds=n), b"") for n in sorted(offsets)]
        since, skip = tail_start(lines, tail)
        later = [line for line in lines if since is None or (line.at and line.at >= since)]
        assert later[skip:] == lines[-tail:]


def human(seconds: float) -> str:
    """How engines word a duration (go-units)."""
    hours = int(seconds / 3600 + 0.5)
    steps = [
        (seconds < 1, "Less than a second"),
        (seconds < 2, "1 second"),
        (seconds < 60, f"{int(seconds)} seconds"),
        (seconds < 120, "About a minute"),
        (seconds < 3600, f"{int(seconds / 60)} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 14, f"{hours // 24} days"),
        (hours < 24 * 60, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 730, f"{hours // 24 // 30} months"),
    ]
    return next((words for holds, words in steps if holds), f"{hours // 24 // 365} years")


def listed(seconds: float, suffix: str = "", state: str = "running") -> dict[str, Any]:
    return {"State": state, "Status": f"Up {human(seconds)}{suffix}", "Names": ["/web-1"]}


UPTIME = st.floats(6, 5 * 365 * 86400)


class TestRecall:
    @given(UPTIME, st.floats(0, 40 * 86400), st.floats(-1, 1))
    def test_time_alone_changes_nothing(self, uptime: float, elapsed: float, jitter: float) -> None:
        before, now = glance(listed(uptime), 100), glance(listed(uptime + elapsed), 100 + elapsed + jitter)
        assert unchanged(before, now)

    @given(UPTIME, st.floats(0, 86400), st.data())
    def test_a_restart_in_between_is_seen(self, uptime: float, elapsed: float, data: st.DataObject) -> None:
        again = data.draw(st.floats(0, elapsed))
        before, now = glance(listed(uptime), 100), glance(listed(again), 100 + elapsed)
        low, _ = before.since
        # Within the coarseness of the words: a restart is told from no restart where the first run was long enough.
        if again + max(1.0, again) + 3 < low + elapsed:
            assert not unchanged(before, now)

    @pytest.mark.parametrize(
        "after",
        [
            listed(130, " (unhealthy)"),
            listed(130, " (Paused)", "paused"),
            listed(130) | {"Names": ["/other"]},
            listed(130) | {"Ports": [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]},
            listed(130) | {"NetworkSettings": {"Networks": {"n": {"IPAddress": "10.0.0.9"}}}},
        ],
    )
    def test_a_change_is_seen(self, after: dict[str, Any]) -> None:
        assert not unchanged(glance(listed(120), 0), glance(after, 10))

    def test_young_or_silent_lines_are_not_relied_on(self) -> None:
        assert not unchanged(glance(listed(3), 0), glance(listed(4), 1))
        created = {"State": "created", "Status": "Created"}
        assert not unchanged(glance(created, 0), glance(created, 1))

    def test_what_is_gone_is_forgotten_and_nothing_else(self) -> None:
        memory = Recall()
        for number, label in enumerate(("a", "a", "b")):
            memory.keep(glance(listed(100), 0), Found(str(number), "n", "i", {"app": label}, "running"), memory.turn)
        memory.drop_gone({"app": "a"}, ["1"])
        assert [memory.recall(str(n), glance(listed(101), 1)) is not None for n in range(3)] == [False, True, True]

    def test_it_is_bounded(self) -> None:
        memory = Recall(limit=3)
        for number in range(10):
            memory.keep(glance(listed(100), 0), Found(str(number), "n", "i", {}, "running"), memory.turn)
        assert len(memory) == 3

    def test_a_look_from_before_our_own_change_is_not_kept(self) -> None:
        memory, seen = Recall(), glance(listed(100), 0)
        turn = memory.turn
        memory.forget("1")
        memory.keep(seen, Found("1", "n", "i", {}, "running"), turn)
        assert memory.recall("1", glance(listed(101), 1)) is None
        memory.keep(seen, Found("1", "n", "i", {}, "running"), memory.turn)
        assert memory.recall("1", glance(listed(101), 1)) is not None

    def test_health_is_remembered_for_longer_than_the_engine_does(self) -> None:
        memory, seen = Recall(), glance(listed(100), 0)
        healthy: dict[str, Any] = {"health": "healthy", "started_at": NOW}
        early, late = NOW + timedelta(seconds=1), NOW + timedelta(seconds=60)
        memory.keep(seen, Found("1", "n", "i", {}, "running", healthy_since=early, **healthy), 0)
        kept = memory.keep(seen, Found("1", "n", "i", {}, "running", healthy_since=late, **healthy), 0)
        assert kept.healthy_since == early


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "message", "kind", "reason"),
        [
            (500, "Bind for 0.0.0.0:80 failed: port is already allocated", Unavailable, "PortConflict"),
            (500, "listen tcp4 0.0.0.0:80: bind: address already in use", Unavailable, "PortConflict"),
            (404, "No such image: web:1", Absent, "ImageNotFound"),
            (404, "network x not found", Absent, "Error"),
            (400, 'exec: "nope": executable file not found in $PATH: unknown', Invalid, "InvalidSpec"),
            (500, "unable to find user bob: no matching entries in passwd file", Invalid, "InvalidSpec"),
            (400, "invalid mount config: bind source path does not exist: /x", Invalid, "VolumeUnavailable"),
            (409, "remove v: volume is in use - [abc]", Unavailable, "VolumeUnavailable"),
            (409, "Container abc is not running", Absent, "Error"),
            (403, "authorization denied by plugin", Denied, "PermissionDenied"),
            (400, "client version 1.45 is too new. Maximum supported API version is 1.41", Unavailable, "Error"),
            (404, "404 page not found", Unavailable, "BackendUnreachable"),
            (500, "input/output error", Unavailable, "Error"),
            (503, "", Unavailable, "BackendUnreachable"),
            (504, "", TimedOut, "BackendUnreachable"),
            (418, "", Invalid, "InvalidSpec"),
        ],
    )
    def test_answers(self, status: int, message: str, kind: type[BackendError], reason: str) -> None:
        error = answered("call", status, message)
        assert (type(error), error.reason) == (kind, reason)
        assert error.evidence == {"call": "call", "status": status, "message": message}

    def test_a_socket_that_the_user_may_not_open_is_no_matter_of_trust(self) -> None:
        inner = PermissionError(13, "Permission denied")
        with pytest.raises(Denied, match="has to be in the group that owns it") as told, translated("ping"):
            raise requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", inner))
        assert "trust" not in str(told.value)
        assert "Permission denied" in told.value.evidence["message"]

    @given(st.integers(0, 599), st.text())
    def test_every_answer_has_a_reason_of_the_vocabulary(self, status: int, message: str) -> None:
        reasons = Reason.__args__  # type: ignore[attr-defined]  # typing has no public way to list a Literal
        assert answered("call", status, message).reason in reasons
        assert pull_failure(message, logged_in=bool(status % 2)).reason in reasons

    @pytest.mark.parametrize(
        ("message", "logged_in", "kind", "reason"),
        [
            ("manifest for h/x:1 not found: manifest unknown", True, Invalid, "ImageNotFound"),
            (
                "pull access denied for x, repository does not exist or may require login",
                False,
                Invalid,
                "ImageNotFound",
            ),
            (
                "pull access denied for x, repository does not exist or may require login",
                True,
                Denied,
                "ImagePullFailed",
            ),
            ("Get https://h/v2/: unauthorized: authentication required", False, Denied, "ImagePullFailed"),
            ("no basic auth credentials", False, Denied, "ImagePullFailed"),
            ("dial tcp: lookup h: no such host", False, Unavailable, "ImagePullFailed"),
            ("invalid reference format", False, Invalid, "InvalidSpec"),
        ],
    )
    def test_pulls(self, message: str, logged_in: bool, kind: type[BackendError], reason: str) -> None:
        error = pull_failure(message, logged_in=logged_in)
        assert (type(error), error.reason) == (kind, reason)
