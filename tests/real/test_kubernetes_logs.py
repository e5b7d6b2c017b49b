"""What containers print on a real node, as the adapter reads it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.real.components import wait_until
from tests.real.kubernetes import ControlPlane
from tests.real.kubernetes_node import Node
from zun_coe.adapters import LogLine, LogOptions
from zun_coe.adapters.kubernetes import naming, wire
from zun_coe.adapters.kubernetes.client import Client
from zun_coe.adapters.kubernetes.logs import CUT, pod_logs
from zun_coe.adapters.kubernetes.paths import collection, path
from zun_coe.errors import Absent, Invalid

FOREVER = "exec sleep 1000"


@pytest.fixture
def client(kubernetes: ControlPlane, kubernetes_node: Node) -> Iterator[Client]:
    opened = Client(kubernetes.connection())
    yield opened
    opened.close()


def run(client: Client, namespace: str, name: str, *scripts: str, restart: str = "Never", **fields: Any) -> None:
    """A pod with a container for each script: main, second, …"""
    names = ("main", "second")
    containers = [
        {"name": n, "image": Node.image, "command": ["sh", "-c", s], **fields}
        for n, s in zip(names, scripts, strict=False)
    ]
    spec = {"containers": containers, "restartPolicy": restart, "terminationGracePeriodSeconds": 0}
    client.create(collection("Pod", namespace), {"metadata": {"name": name}, "spec": spec})


def status(client: Client, namespace: str, name: str) -> wire.ContainerStatus | None:
    pod = client.read(path("Pod", name, namespace), wire.Pod)
    return next((s for s in pod.status.container_statuses if s.name == "main"), None)


def ended(client: Client, namespace: str, name: str) -> bool:
    found = status(client, namespace, name)
    return found is not None and found.state.terminated is not None


def running(client: Client, namespace: str, name: str) -> bool:
    found = status(client, namespace, name)
    return found is not None and found.state.running is not None


def known_as(client: Client, namespace: str, name: str) -> str:
    """The id of a pod as an instance."""
    return naming.instance_id(name, client.read(path("Pod", name, namespace), wire.Pod).metadata.uid)


def read(client: Client, namespace: str, name: str, container: str = "main", **options: Any) -> list[LogLine]:
    return [*pod_logs(client, namespace, known_as(client, namespace, name), container, LogOptions(**options))]


def texts(lines: list[LogLine]) -> list[bytes]:
    return [line.text for line in lines]


def test_lines_of_a_container_that_has_ended(client: Client, namespace: str) -> None:
    script = "for i in 1 2 3 4; do echo $i; sleep 0.4; done; echo oops >&2"
    run(client, namespace, "a", script, "echo second")
    wait_until(partial(ended, client, namespace, "a"))
    found = read(client, namespace, "a")
    assert texts(found) == [b"1", b"2", b"3", b"4", b"oops"]
    assert {(line.instance, line.stream, line.partial) for line in found} == {("a", "stdout", False)}
    times = [line.at for line in found if line.at]
    assert times == sorted(times)
    assert len(times) == 5
    assert texts(read(client, namespace, "a", tail=2)) == [b"4", b"oops"]
    assert read(client, namespace, "a", tail=0) == []
    assert texts(read(client, namespace, "a", since=times[2])) == [b"3", b"4", b"oops"]
    assert texts(read(client, namespace, "a", since=times[2] + timedelta(microseconds=1))) == [b"4", b"oops"]
    assert texts(read(client, namespace, "a", tail=1, since=times[2])) == [b"oops"]
    assert texts(read(client, namespace, "a", follow=True)) == [b"1", b"2", b"3", b"4", b"oops"]
    assert texts(read(client, namespace, "a", "second")) == [b"second"]


def test_long_lines_and_bytes_come_whole(client: Client, namespace: str) -> None:
    script = f"head -c {CUT + 100} /dev/zero | tr '\\0' x; echo; printf 'no end'"
    run(client, namespace, "a", script)
    wait_until(partial(ended, client, namespace, "a"))
    found = read(client, namespace, "a")
    assert [(len(line.text), line.partial) for line in found[:2]] == [(CUT, True), (100, False)]
    assert b"".join(texts(found)) == b"x" * (CUT + 100) + b"no end"


def test_lines_of_a_terminal_end_like_others(client: Client, namespace: str) -> None:
    run(client, namespace, "a", "echo one; echo two", tty=True)
    wait_until(partial(ended, client, namespace, "a"))
    assert texts(read(client, namespace, "a")) == [b"one", b"two"]


def test_what_the_run_before_printed_is_shown_until_there_is_more(client: Client, namespace: str) -> None:
    script = f"if [ -e /there/once ]; then {FOREVER}; fi; touch /there/once; echo last words; exit 1"
    volume = {"name": "there", "emptyDir": {}}
    container = {
        "name": "main",
        "image": Node.image,
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "there", "mountPath": "/there"}],
    }
    spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 0}
    client.create(collection("Pod", namespace), {"metadata": {"name": "a"}, "spec": spec})

    def restarted() -> bool:
        found = status(client, namespace, "a")
        return found is not None and found.restart_count == 1 and found.state.running is not None

    wait_until(restarted)
    assert texts(read(client, namespace, "a")) == [b"last words"]
    follower = Follower(client, namespace)
    wait_until(lambda: texts(follower.lines) == [b"last words"])
    follower.close()


def test_following_a_silent_container_can_be_ended(client: Client, namespace: str) -> None:
    run(client, namespace, "a", f"trap 'echo woken' USR1; {FOREVER}")
    wait_until(partial(running, client, namespace, "a"))
    follower = Follower(client, namespace)
    follower.close()
    assert follower.lines == []


def test_lines_are_followed_as_they_come(client: Client, namespace: str) -> None:
    run(client, namespace, "a", "echo one; while [ ! -e /go ]; do sleep 0.1; done; echo two")
    wait_until(partial(running, client, namespace, "a"))
    follower = Follower(client, namespace)
    wait_until(lambda: texts(follower.lines) == [b"one"])
    follower.close()


def test_what_has_not_started_has_printed_nothing(client: Client, namespace: str) -> None:
    spec = {"containers": [{"name": "main", "image": Node.image}], "nodeSelector": {"nobody": "has-this"}}
    client.create(collection("Pod", namespace), {"metadata": {"name": "unplaced"}, "spec": spec})
    run(client, namespace, "missing", "true", image="missing:local", imagePullPolicy="Never")
    wait_until(lambda: status(client, namespace, "missing"))
    for name in ("unplaced", "missing"):
        assert read(client, namespace, name) == []
        assert read(client, namespace, name, follow=True) == []


def test_what_is_not_there(client: Client, namespace: str) -> None:
    run(client, namespace, "a", FOREVER)
    with pytest.raises(Absent):
        pod_logs(client, namespace, naming.instance_id("b", "1"), "main", LogOptions())
    with pytest.raises(Absent, match="another one has its name"):
        pod_logs(client, namespace, naming.instance_id("a", "1"), "main", LogOptions())
    with pytest.raises(Absent, match="a has no container other"):
        read(client, namespace, "a", "other")
    with pytest.raises(Invalid, match="stdout from stderr"):
        read(client, namespace, "a", stream="stderr")


class Follower:
    """Follows the pod `a` in a thread of its own."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.lines: list[LogLine] = []
        self._logs = pod_logs(client, namespace, known_as(client, namespace, "a"), "main", LogOptions(follow=True))
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.lines.extend(self._logs)
        except Exception as error:
            self._errors.append(error)

    def close(self) -> None:
        """End it, which works at any time, and tells of no error."""
        self._logs.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert self._errors == []
