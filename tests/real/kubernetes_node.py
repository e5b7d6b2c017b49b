"""Real nodes of a Kubernetes: each a kubelet and a Docker engine of its own, in this process's network."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from tests.real.components import short_folder
from tests.real.engine import Engine
from tests.real.images import busybox_root
from tests.real.isolation import child_of
from tests.real.kubernetes import DNS_ADDRESS, DOMAIN, PATIENCE, SERVICE_RANGE, VOLUMES, ControlPlane
from tests.real.needs import free_port, need
from tests.real.waiting import wait_until

PAUSE = "pause:local"
# It ends when it is told to, which the first process of a container must ask for; the engine would wait for it.
PAUSE_CHANGES = ["""ENTRYPOINT ["sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait; done"]"""]

# A kubelet asks that its pods are killed last, which takes a privilege that root has not everywhere.
RUNTIME = """#!/bin/sh
previous=
for argument; do
    if [ "$previous" = --bundle ]; then
        sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$argument/config.json"
    fi
    previous=$argument
done
exec {runc} "$@"
"""
# In its cell a kubelet finds folders in memory for what it writes outside its own, the volumes, and the settings of
# the kernel that it would make otherwise, for the whole machine.
PREPARE = f"""set -e
mount -t tmpfs zun-test /var/lib
mount -t tmpfs zun-test /var/log
mount --bind "$0" {VOLUMES}
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \\
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=/var/lib/${{setting##*/}}
    echo "${{setting#*=}}" >"$file"
    mount --bind "$file" "/proc/sys/${{setting%=*}}"
done
"""

_numbers = itertools.count(1)


class NodeEngine(Engine):
    """A Docker engine that a kubelet can drive. Host ports are published at `address` only, so that the
    same port can be had on several nodes."""

    address: str

    def prepare(self, volumes: Path) -> None:
        """Give it the image of infrastructure containers, and a kubelet its places to write."""
        repository, tag = PAUSE.split(":")
        self.client().api.import_image_from_data(busybox_root(), repository, tag, changes=PAUSE_CHANGES)
        with (self.folder / "log").open("ab") as log:
            prepared = self._cell.start(["sh", "-c", PREPARE, os.fspath(volumes)], log)
        if prepared.wait() != 0:
            raise RuntimeError(f"the folders of a kubelet could not be made: {self.log[-500:]}")

    def run(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start another program beside the engine, which ends with it. `child_of` what is given back is it."""
        with log.open("ab") as file:
            return self._cell.start(command, file)

    def route(self, addresses: str) -> None:
        """Let this network look for these addresses at the engine's bridge."""
        subprocess.run(["ip", "route", "replace", addresses, "dev", self._bridge], check=True)

    def _options(self, number: int) -> list[str]:
        self.address = f"10.{100 + number}.0.1"
        runtime = self.folder / "runtime"
        runtime.write_text(RUNTIME.format(runc=need("runc", "runc")))
        runtime.chmod(0o755)
        wrapped = [f"--add-runtime=wrapped={runtime}", "--default-runtime=wrapped"]
        return [*super()._options(number), *wrapped, f"--ip={self.address}"]


class Node:
    """A node with an image of busybox (`image`), to be started and closed.

    `name` and `address` are its own; `engine` is its Docker engine. Pods of several nodes reach each other,
    as does this process; names of services are resolved while there are `kubernetes_names.Names`."""

    image = Engine.image

    def __init__(self, plane: ControlPlane, labels: Mapping[str, str] | None = None) -> None:
        self.name = f"node-{next(_numbers)}"
        self._plane = plane
        self._labels = dict(labels or {})
        self.engine = NodeEngine(short_folder())
        self.address = self.engine.address
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def ready(self) -> bool:
        """Whether Kubernetes would run pods on it."""
        nodes = client.CoreV1Api(self._plane.client()).list_node(field_selector=f"metadata.name={self.name}").items
        return any(one.type == "Ready" and one.status == "True" for node in nodes for one in node.status.conditions)

    def start(self) -> None:
        """Start its engine and its kubelet, and wait until it is ready."""
        self.engine.start()
        self.engine.load()
        self.engine.prepare(self._plane.volumes)
        self.start_kubelet()
        self._wait("kubelet", lambda: self.ready)

    def start_kubelet(self) -> None:
        """Start it (again); tells nothing about whether the node is ready."""
        config = self.engine.folder / "kubelet.yaml"
        config.write_text(yaml.safe_dump(self._kubelet_config()))
        labels = ",".join(f"{key}={value}" for key, value in self._labels.items())
        self._run(
            "kubelet",
            {
                "config": config,
                "kubeconfig": self._plane.folder / "kubeconfig",
                "root-dir": self.engine.folder / "data" / "kubelet",
                "cert-dir": self.engine.folder / "data" / "certificates",
                "experimental-dockershim-root-directory": self.engine.folder / "data" / "dockershim",
                "docker-endpoint": self.engine.endpoint,
                "docker": self.engine.endpoint,
                "pod-infra-container-image": PAUSE,
                "hostname-override": self.name,
                "node-ip": self.address,
                "node-labels": labels,
            },
        )

    def kill_kubelet(self) -> None:
        """End it without notice: what runs goes on, and the node is lost after a while (`NODE_GRACE`)."""
        self._kill("kubelet")

    def carry_services(self) -> None:
        """Let services carry traffic: cluster addresses, and node ports on every address of this network. One
        node is enough, since all share this process's network."""
        self._run(
            "kube-proxy",
            {
                "kubeconfig": self._plane.folder / "kubeconfig",
                "hostname-override": self.name,
                "proxy-mode": "iptables",
                "oom-score-adj": 0,
                "conntrack-max-per-core": 0,
                "conntrack-tcp-timeout-established": 0,
                "conntrack-tcp-timeout-close-wait": 0,
                "iptables-min-sync-period": "0s",
                "healthz-port": 0,
                "metrics-bind-address": f"127.0.0.1:{free_port()}",
            },
        )
        # What goes to a cluster address must be on its way somewhere before a rule turns it to a pod.
        self.engine.route(SERVICE_RANGE)
        rules = [need("iptables", "iptables"), "--table=nat", "--list-rules", "KUBE-SERVICES"]
        self._wait("kube-proxy", lambda: subprocess.run(rules, capture_output=True).returncode == 0)

    def log(self, program: str) -> Path:
        """Where `kubelet` or `kube-proxy` writes what it does."""
        return self.engine.folder / f"{program}.log"

    def close(self) -> None:
        """End it with all that runs on it, and let Kubernetes forget it."""
        self.engine.close()
        for program in self._programs.values():
            program.wait()
        if self._plane.api.running:
            client.CoreV1Api(self._plane.client()).delete_node(self.name)

    def _run(self, program: str, options: Mapping[str, Any]) -> None:
        self._programs[program] = self.engine.run(self._plane.command(program, options), self.log(program))

    def _wait(self, program: str, works: Callable[[], bool]) -> None:
        def has_come_up() -> bool:
            if self._programs[program].poll() is not None:
                last_words = self.log(program).read_text().partition("\ngoroutine ")[0][-1000:]
                raise RuntimeError(f"{program} has ended: {last_words}")
            return works()

        wait_until(has_come_up, PATIENCE, f"{program} of {self.name} works")

    def _kill(self, program: str) -> None:
        entered = self._programs[program]
        pid = child_of(entered.pid)
        if entered.poll() is None and pid is not None:
            os.kill(pid, signal.SIGKILL)
        entered.wait()

    def _kubelet_config(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "readOnlyPort": 0,
            "healthzPort": 0,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "clusterDomain": DOMAIN,
            "clusterDNS": [DNS_ADDRESS],
            "volumePluginDir": str(self.engine.folder / "data" / "volume-plugins"),
            # Groups of its own, below those of the engine; a kubelet's own hierarchy would be one for all.
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.engine.control_group}",
            "oomScoreAdj": 0,
            "failSwapOn": False,
            # The disk of the machine is not the node's: nothing is evicted, no image is removed.
            "featureGates": {"SizeMemoryBackedVolumes": True},  # as every kubelet since 1.22
            "evictionHard": dict.fromkeys(["memory.available", "nodefs.available", "imagefs.available"], "0%"),
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "1s",
            "nodeLeaseDurationSeconds": 8,
            "serializeImagePulls": False,
            "registryPullQPS": 0,
            "eventRecordQPS": 1000,
            "eventBurst": 1000,
        }
